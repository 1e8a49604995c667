"""What a prediction was made from: digests of source files, library versions, and JSON that proves itself unchanged.

Nothing here imports a plugin or a library to learn its version, so a cache can be looked up without TensorFlow.
"""

from __future__ import annotations

import ast
import hashlib
import json
import platform
import sys
from collections.abc import Iterator
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
    """SHA-256 over a plugin file and every file of its project, and of freqlstm, that it imports, directly or not."""
    return fingerprint([file_digest(file) for file in _sources(path)])


def library_versions(path: Path) -> dict[str, str]:
    """Versions of Python and of every library that a plugin file imports, directly or not."""
    names = {module.partition(".")[0] for file in _sources(path) for module in _imports(file)} - sys.stdlib_module_names
    versions = {name: _version(name) for name in sorted(names - {"", "freqlstm"})}
    return {"python": platform.python_version(), **{name: found for name, found in versions.items() if found}}


@cache
def _version(name: str) -> str | None:
    try:
        return version(DISTRIBUTIONS.get(name, name))
    except PackageNotFoundError:
        return None


def _sources(path: Path) -> list[Path]:
    """The plugin file and every file that it imports, directly or not, in the order in which they are met."""
    found = [path.resolve(), *(PACKAGE / f"{name}.py" for name in ALWAYS)]
    for file in found:  # grows while it is walked
        for module in _imports(file):
            found += [source for source in _files(module, file) if source not in found]
    return found


def _imports(path: Path) -> tuple[str, ...]:
    """Dotted names that a file imports, without running it; a relative one begins with its dots."""
    try:
        return _imports_of(path.read_bytes())
    except OSError as error:
        raise PluginError(f"{path} cannot be read: {error.strerror}. Put its permissions right.") from error
    except (SyntaxError, ValueError) as error:
        raise PluginError(f"{path} is broken: {error}. Correct the file.") from error


@lru_cache(maxsize=256)
def _imports_of(source: bytes) -> tuple[str, ...]:
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            names += [module, *(f"{module}.{alias.name}" for alias in node.names)]
    return tuple(names)


def _files(module: str, importer: Path) -> Iterator[Path]:
    """The source of a module that is part of freqlstm, of the shipped signals or of the importing file's project."""
    steps = [step for step in module.split(".") if step]
    if not steps or steps[0] in sys.stdlib_module_names:
        return
    folders = [importer.parent, importer.parent.parent]
    if steps[0] == "freqlstm":
        steps, folders = steps[1:], [PACKAGE]
        if steps and steps[0] in UNRELATED:
            return
    elif steps[0] == "freqlstm_signals" and (spec := find_spec(steps[0])) and spec.submodule_search_locations:
        steps, folders = steps[1:], [Path(spec.submodule_search_locations[0])]
    for folder in folders if steps else ():
        place = folder.joinpath(*steps)
        for candidate in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
            if candidate.is_file():
                yield candidate.resolve()


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
