"""Find strategies and signals by name.

A plugin is one file with one public class; the file's name is the plugin's name. The project's own ``./strategies`` and
``./signals`` come before the shipped ones. Listing imports nothing: names and summaries are read with ``ast``.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import os
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from freqlstm.errors import FreqlstmError, PluginError, UnknownName, UsageError
from freqlstm.quiet import quiet_tensorflow

Kind = Literal["strategy", "signal"]
Origin = Literal["project", "shipped", "installed"]

FOLDERS: dict[Kind, str] = {"strategy": "strategies", "signal": "signals"}

# Recognised by name, so that finding a plugin never imports Backtrader or Keras unless the plugin itself does.
BASES: dict[Kind, tuple[str, str]] = {
    "strategy": ("backtrader.strategy", "Strategy"),
    "signal": ("freqlstm.signal", "Signal"),
}


COMMENTED = re.compile(r"^ +(\w.*?)#\s*(.+)$", re.MULTILINE)  # name: type = default  # comment
PREFIX = "freqlstm_"  # of the names under which plugins are imported
ASSIGNED = re.compile(r"(\w+)(?:: [^=#]+)? ?=(?!=)")


@dataclass(frozen=True)
class Plugin:
    """A strategy or signal file that was found but not necessarily imported."""

    kind: Kind
    name: str
    path: Path
    origin: Origin
    digest: str = field(repr=False)  # SHA-256 of the file
    summary: str = ""  # first line of the file's docstring
    shadows: Path | None = None  # the file of the same name that this one hides
    root: Path = field(default=Path(), repr=False)  # the project's folder, where other plugins are looked for first

    @property
    def module_name(self) -> str:
        """The name under which the file is imported: another one for each place and each content."""
        place = hashlib.sha256(str(self.path).encode()).hexdigest()[:8]
        return f"{PREFIX}{self.kind}_{self.name}_{place}_{self.digest[:8]}"

    def load(self) -> type:
        """Import the file and return its one public class; the same class each time while the process lives."""
        with quiet_tensorflow() if self.kind == "signal" else nullcontext():
            module = sys.modules.get(self.module_name) or _execute(self)
        loaded: Any = _public_class(self, module)
        if self.kind == "signal":
            loaded.project = self.root
        return loaded  # type: ignore[no-any-return]

    @contextmanager
    def blamed(self) -> Iterator[None]:
        """Whatever stops under a line of this file becomes a PluginError that names the line."""
        try:
            yield
        except FreqlstmError:
            raise
        except (Exception, SystemExit) as error:  # a plugin that leaves the program would look like success
            if not _lines(self.path, error):
                raise
            raise PluginError(f"{shown(self.path)} stopped: {_reason(self.path, error)}. Correct the file.") from error

    def parameters(self) -> list[Parameter]:
        """The parameters of the class, the file's own ones first. Imports the file."""
        loaded: Any = self.load()
        if self.kind == "signal":
            with self.blamed():
                defaults: dict[str, object] = loaded().parameters
        else:
            defaults = dict(loaded.params._getitems())
        comments: dict[str, str] = {}
        for part in loaded.__mro__:
            if not part.__module__.startswith(("backtrader", "builtins")):
                for code, comment in COMMENTED.findall(inspect.getsource(part)):
                    first, *rest = ASSIGNED.findall(code) or [""]
                    for name in rest if first == "params" else [first]:  # params = dict(...) on one line
                        comments.setdefault(name, comment)
        known = [name for name in comments if name in defaults]
        return [Parameter(n, defaults[n], comments.get(n, "")) for n in dict.fromkeys([*known, *defaults])]


@dataclass(frozen=True)
class Parameter:
    """A parameter of a plugin, its default, and the comment on the line that sets it."""

    name: str
    default: object
    comment: str


def style_free(name: str) -> str:
    """``LstmRsi``, ``lstm_rsi`` and ``lstm-rsi`` are one name."""
    return re.sub(r"[-_\s]", "", name).casefold()


def discover(kind: Kind, root: Path) -> list[Plugin]:
    """Every plugin that the project in folder ``root`` can use, its own first, each by name. Imports nothing."""
    seen: dict[str, Plugin] = {}
    for folder, origin in _folders(kind, root):
        for path in sorted(folder.glob("*.py")):
            if path.name.startswith(("_", ".")):
                continue
            plugin = replace(_read(kind, path, origin), root=root)
            key = style_free(plugin.name)
            if key not in seen:
                seen[key] = plugin
            elif seen[key].path.parent != folder:
                seen[key] = replace(seen[key], shadows=seen[key].shadows or path)
            else:
                raise PluginError(
                    f"{shown(seen[key].path)} and {shown(path)} are the same name, {plugin.name!r}: capitals, '-' and '_' "
                    f"don't count. Rename one of them."
                )
    return list(seen.values())


def find(kind: Kind, name: str, root: Path) -> Plugin:
    """The plugin called ``name`` in any style of writing, or the one in the file ``name`` if that is a path to one."""
    if name.endswith(".py"):
        for path in (Path(name), root / name):
            if path.is_file():
                origins = dict(_folders(kind, root))
                return replace(_read(kind, path.resolve(), origins.get(path.resolve().parent, "project")), root=root)
        raise UsageError(
            f"There is no file {name!r}. Give the path of a {kind} file, or a name that `freqlstm {FOLDERS[kind]}` lists."
        )
    plugins = {plugin.name: plugin for plugin in discover(kind, root)}
    for plugin in plugins.values():
        if style_free(plugin.name) == style_free(name):
            return plugin
    raise UnknownName(kind, name, plugins, f"`freqlstm {FOLDERS[kind]}` lists what there is.")


def shipped(kind: Kind, name: str) -> Plugin:
    """The plugin of exactly that name that comes with freqlstm, whatever a project calls its own."""
    for folder, origin in _installed_folders(kind):
        if origin == "shipped" and (folder / f"{name}.py").is_file():
            return _read(kind, folder / f"{name}.py", origin)
    raise PluginError(f"The {kind} {name!r}, which comes with freqlstm, is missing. Install freqlstm again.")


def shown(path: Path) -> Path:
    """``path`` as a person would write it: relative to the current folder where it lies inside."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _folders(kind: Kind, root: Path) -> Iterator[tuple[Path, Origin]]:
    """The folders to search, in order, each once."""
    shipped = list(_installed_folders(kind))
    own = (root / FOLDERS[kind]).resolve()
    if own not in [folder for folder, _ in shipped]:  # in a checkout of freqlstm they are the same folder
        yield own, "project"
    yield from shipped


def _installed_folders(kind: Kind) -> Iterator[tuple[Path, Origin]]:
    """Folders beside this checkout, if it is one, and those of the packages that entry points name."""
    checkout = Path(__file__).resolve().parents[1]
    found: list[Path] = []
    if (checkout / "setup.cfg").is_file():
        found.append(checkout / FOLDERS[kind])
        yield found[0], "shipped"
    for entry in entry_points(group=f"freqlstm.{FOLDERS[kind]}"):
        spec = find_spec(entry.value)
        for location in (spec.submodule_search_locations or []) if spec else []:
            folder = Path(location).resolve()
            if folder not in found:
                found.append(folder)
                yield folder, "shipped" if entry.value == f"freqlstm_{FOLDERS[kind]}" else "installed"


def _read(kind: Kind, path: Path, origin: Origin) -> Plugin:
    """What can be said of a plugin file without running it; a broken file is listed too, as what it is."""
    source = _source(path)
    try:
        docstring = ast.get_docstring(ast.parse(source)) or ""
        summary = docstring.strip().partition("\n")[0]
    except (SyntaxError, ValueError) as error:
        summary = f"(broken: {_syntax(error)})"
    return Plugin(kind, path.stem, path, origin, hashlib.sha256(source).hexdigest(), summary)


def _source(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PluginError(f"{shown(path)} cannot be read: {error.strerror}. Put its permissions right.") from error


def _syntax(error: SyntaxError | ValueError) -> str:
    line = f"line {error.lineno}: " if isinstance(error, SyntaxError) and error.lineno else ""
    return f"{line}{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"


def _execute(plugin: Plugin) -> ModuleType:
    """Run exactly the bytes that the digest covers: no bytecode cache, whose clock counts in whole seconds."""
    source = _source(plugin.path)
    if hashlib.sha256(source).hexdigest() != plugin.digest:
        raise PluginError(
            f"{shown(plugin.path)} was changed while it was being used. Let it be until the run is over, and run again."
        )
    module = ModuleType(plugin.module_name)
    module.__file__ = str(plugin.path)
    sys.modules[plugin.module_name] = module  # before it runs: Backtrader's metaclass and dataclasses look it up there
    try:
        with _neighbours(plugin.path):
            exec(compile(source, str(plugin.path), "exec", dont_inherit=True), module.__dict__)  # noqa: S102
    except BaseException as error:  # SystemExit among them: a plugin that leaves the program would look like success
        del sys.modules[plugin.module_name]
        if isinstance(error, KeyboardInterrupt):
            raise
        raise PluginError(
            f"{shown(plugin.path)} is broken: {_reason(plugin.path, error)}. Correct the file."
        ) from error
    return module


def imported_from(folder: Path, plugins: bool) -> list[str]:
    """The names of the modules whose files lie in that folder: of its plugins, or of what they import from beside them."""
    inside = f"{folder}{os.sep}"
    return [
        name
        for name, module in list(sys.modules.items())
        if name.startswith(PREFIX) is plugins
        and (getattr(module, "__file__", None) or "").startswith(inside)
        and os.path.dirname(module.__file__ or "") == str(folder)
    ]


@contextmanager
def _neighbours(path: Path) -> Iterator[None]:
    """A plugin can import modules beside its file and from its project, read anew; a library of the same name comes first."""
    folders = [str(path.parent), str(path.parent.parent)]
    for name in imported_from(path.parent, plugins=False):
        del sys.modules[name]
    sys.path += [folder for folder in folders if folder not in sys.path]
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # its clock counts in whole seconds
    try:
        yield
    finally:
        sys.dont_write_bytecode = written


def _lines(path: Path, error: BaseException) -> list[int | None]:
    """The lines of a plugin file that were running when it was stopped, the innermost last."""
    return [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]


def _reason(path: Path, error: BaseException) -> str:
    """Line and message of what stopped a plugin file, in the file's own terms."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return _syntax(error)
    lines = _lines(path, error)
    text = " ".join(str(error).split()).rstrip(".")
    return f"{f'line {lines[-1]}: ' if lines else ''}{type(error).__name__}{f': {text}' if text else ''}"


def _public_class(plugin: Plugin, module: ModuleType) -> type:
    classes = [
        value
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__ and not name.startswith("_")
    ]
    usable = {
        value.__name__: value
        for value in classes
        if any((base.__module__, base.__qualname__) == BASES[plugin.kind] for base in value.__mro__)
    }
    if len(usable) == 1:
        return next(iter(usable.values()))
    base = {"strategy": "freqlstm.Strategy (or bt.Strategy)", "signal": "freqlstm.Signal"}[plugin.kind]
    if usable:
        raise PluginError(
            f"{shown(plugin.path)} has {len(usable)} public {plugin.kind} classes: {', '.join(usable)}. "
            f"Keep one; give the others their own files, or names that begin with '_'."
        )
    held = f"only {', '.join(value.__name__ for value in classes)}" if classes else "no public class"
    raise PluginError(
        f"{shown(plugin.path)} has no public class that subclasses {base}: it holds {held}. Add one, or move the file "
        f"out of {FOLDERS[plugin.kind]}/."
    )
