"""What a prediction was made from: digests of source files, library versions, and JSON that proves itself unchanged.

Nothing here imports a plugin or a library to learn its version, so a cache can be looked up without TensorFlow.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import json
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from freqlstm.errors import ModelError, PluginError
from freqlstm.files import jsonable, write_json

PACKAGE = Path(__file__).parent
ALWAYS = ("signal", "predictions")  # modules that shape every prediction, whatever the plugin imports
# Modules that cannot change what a prediction is.
UNRELATED = ("errors", "files", "jobs", "plugins", "progress", "quiet", "store")
LIBRARIES = ("site-packages", "dist-packages")  # folders into which packages are installed
DISTRIBUTIONS = {"sklearn": "scikit-learn"}  # where the name to import is not the name to install


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(value: object) -> str:
    """SHA-256 of a JSON-able value: equal if and only if the values are, whatever the order of their keys."""
    text = json.dumps(jsonable(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def source_digest(path: Path) -> str:
    """SHA-256 over a plugin file and all that it imports, directly or not, and that has no version of its own.

    That is every file of its project, of freqlstm, and of other places on the path that are not installed libraries; and
    the files that a class of theirs names in ``files``.
    """
    return fingerprint([file_digest(file) for file in _sources(path)])


def library_versions(path: Path) -> dict[str, str]:
    """Versions of Python and of every library that a plugin file imports, directly or not."""
    names = {module.partition(".")[0] for file in _sources(path) for module in _imports(file)} - sys.stdlib_module_names
    versions = {name: _version(name) for name in sorted(names - {"", "freqlstm"})}
    keras = keras_settings() if "keras" in names else {}
    if keras:
        versions[keras["keras backend"]] = _version(keras["keras backend"])
    known = {name: found for name, found in sorted(versions.items()) if found}
    return {"python": platform.python_version(), **known, **keras}


def keras_settings() -> dict[str, str]:
    """The settings outside any source that change what a Keras network computes, found as Keras finds them.

    Those of the variables KERAS_... in the environment and of keras.json; Keras is not imported.
    """
    home = Path("~").expanduser()
    folder = os.environ.get("KERAS_HOME") or str((home if os.access(home, os.W_OK) else Path("/tmp")) / ".keras")
    try:
        configured = json.loads((Path(folder).expanduser() / "keras.json").read_bytes())
    except (OSError, ValueError):
        configured = {}
    configured = configured if isinstance(configured, dict) else {}
    settings = {
        "keras backend": os.environ.get("KERAS_BACKEND") or configured.get("backend", "tensorflow"),
        "keras floatx": configured.get("floatx", "float32"),
        "keras epsilon": configured.get("epsilon", 1e-7),
        "keras image_data_format": configured.get("image_data_format", "channels_last"),
        "keras max epochs": os.environ.get("KERAS_MAX_EPOCHS", "no limit"),
        "keras max steps per epoch": os.environ.get("KERAS_MAX_STEPS_PER_EPOCH", "no limit"),
    }
    return {name: str(value) for name, value in settings.items()}


def machine() -> dict[str, Any]:
    """What of this computer can change the last bits of a result: system, processor, and the instructions numpy uses."""
    import numpy as np

    simd: Any = np.show_config(mode="dicts")
    simd = simd.get("SIMD Extensions", {})
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu_features": [*simd.get("baseline", []), *simd.get("found", [])],
        "keras_backend": keras_settings()["keras backend"],
    }


@cache
def _version(name: str) -> str | None:
    try:
        return version(DISTRIBUTIONS.get(name, name))
    except PackageNotFoundError:
        return None


def _sources(path: Path) -> list[Path]:
    """The plugin file, every file that it imports, directly or not, and what they name in ``files``, in the order met."""
    found = [path.resolve(), *(PACKAGE / f"{name}.py" for name in ALWAYS)]
    for file in found:  # grows while it is walked
        if file.suffix != ".py":
            continue
        for module in _imports(file):
            found += [source for source in _files(module, file) if source not in found]
        if file.parent != PACKAGE:
            found += [named for named in named_files(file) if named not in found and named.is_file()]
    return found


def named_files(path: Path) -> list[Path]:
    """What the classes of a Python file name in ``files``, relative to that file, without running it."""
    names = _read(path)[1]
    return list(dict.fromkeys((path.parent / name).resolve() for name in names))


def _imports(path: Path) -> tuple[str, ...]:
    """Dotted names that a file imports, without running it; a relative one begins with its dots."""
    return _read(path)[0]


def _read(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    try:
        return _names_in(path.read_bytes())
    except OSError as error:
        raise PluginError(f"{path} cannot be read: {error.strerror}. Put its permissions right.") from error
    except (SyntaxError, ValueError) as error:
        raise PluginError(f"{path} is broken: {error}. Correct the file.") from error


@lru_cache(maxsize=256)
def _names_in(source: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The dotted names that a source imports, and the file names that its classes give as ``files``."""
    names: list[str] = []
    files: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            names += [module, *(f"{module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.ClassDef) and node.bases:
            files += [name for statement in node.body for name in _texts_of_files(statement)]
    return tuple(names), tuple(files)


def _texts_of_files(statement: ast.stmt) -> list[str]:
    """The texts of ``files = ("a.csv", ...)``; none if the statement is another or its value not written out."""
    if not isinstance(statement, ast.Assign | ast.AnnAssign):
        return []
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    value = statement.value
    if not any(isinstance(target, ast.Name) and target.id == "files" for target in targets):
        return []
    items = value.elts if isinstance(value, ast.Tuple | ast.List) else []
    return [item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)]


def _files(module: str, importer: Path) -> Iterable[Path]:
    """The source of a module, and of the packages it is in, that is no installed library: only freqlstm and its signals are.

    Found without importing it: the importing file's project first, then wherever this process would import it from.
    """
    own = importer.is_relative_to(PACKAGE)
    return _files_of_package(module, importer.parent) if own else _files_from(module, importer.parent)


@cache
def _files_of_package(module: str, folder: Path) -> tuple[Path, ...]:
    """What a file of freqlstm imports: found once, since none comes or goes while it is used."""
    return tuple(_files_from(module, folder))


def _files_from(module: str, folder: Path) -> Iterator[Path]:
    steps = [step for step in module.split(".") if step]
    if not steps or steps[0] in sys.stdlib_module_names:
        return
    folders = [folder, folder.parent]
    if folders[1].name in LIBRARIES and steps[0] != folder.name:
        folders.pop()  # what lies beside an installed package is not part of it: its version tells enough
    if steps[0] == "freqlstm":
        steps, folders = steps[1:], [PACKAGE]
        if steps and steps[0] in UNRELATED:
            return
    elif steps[0] == "freqlstm_signals" and (spec := find_spec(steps[0])) and spec.submodule_search_locations:
        steps, folders = steps[1:], [Path(spec.submodule_search_locations[0])]
    own = list(_along(steps, folders))
    yield from own
    if not own and not module.startswith((".", "freqlstm.")) and module != "freqlstm":
        spec = _spec(steps[0])
        if spec is None:
            return
        if spec.origin and Path(spec.origin).is_file() and not _installed(Path(spec.origin)):
            yield Path(spec.origin).resolve()
        packages = [Path(place) for place in spec.submodule_search_locations or ()]
        yield from _along(steps[1:], [place for place in packages if not _installed(place)])


def _along(steps: list[str], folders: list[Path]) -> Iterator[Path]:
    """The files of a dotted name and of the packages that it goes through, in each of the folders."""
    for folder in folders:
        for count in range(1, len(steps) + 1):
            place = folder.joinpath(*steps[:count])
            for candidate in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
                if candidate.is_file():
                    yield candidate.resolve()


def _spec(name: str) -> importlib.machinery.ModuleSpec | None:
    """Where a top-level module would be imported from now, whatever of that name was imported before."""
    for finder in sys.meta_path:
        with suppress(ImportError, AttributeError, ValueError):
            if (spec := finder.find_spec(name, None)) is not None:
                return spec
    return None


def _installed(path: Path) -> bool:
    """Whether a file belongs to an installed library or to Python."""
    return any(name in path.parts for name in LIBRARIES) or path.is_relative_to(Path(os.__file__).parent)


def write_sealed(path: Path, value: dict[str, Any]) -> None:
    """Write JSON together with its own digest."""
    body = jsonable(value)
    write_json(path, {**body, "seal": fingerprint(body)})


def read_sealed(path: Path) -> dict[str, Any]:
    """What :func:`write_sealed` wrote; a ModelError if it is absent, cut short, or changed since in any value."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ModelError(f"There is no file {path}. Fit the signal and save it first.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is corrupt: {error}. Delete its folder and fit the signal again.") from error
    if not isinstance(value, dict) or not isinstance(value.get("seal"), str):
        raise ModelError(
            f"{path} is not a file of freqlstm: it has no seal. Delete its folder and fit the signal again."
        )
    seal = value.pop("seal")
    if seal != fingerprint(value):
        raise ModelError(f"{path} was changed since it was written. Delete its folder and fit the signal again.")
    return value
