"""Run files: TOML whose tables and keys are the fields of frozen dataclasses."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from freqlstm.errors import UnknownName, UsageError


def read_toml(path: Path, instead: str) -> dict[str, Any]:
    """The tables and keys of a run file; ``instead`` says in messages what else could be given."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"There is no run file {path}. Give one, or {instead}.") from None
    except OSError as error:
        raise UsageError(
            f"The run file {path} cannot be read: {error.strerror}. Give a TOML file, or {instead}."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{path} is not a TOML file: {error}. Correct it, or copy one from the folder backtests."
        ) from error


_TYPES: Mapping[str, tuple[type, ...]] = {
    "str": (str,), "bool": (bool,), "int": (int,), "int | None": (int,), "float": (int, float), "tuple[str, ...]": (list, tuple),
}  # fmt: skip


_IN_WORDS = {
    "str": "a text", "bool": "true or false", "int": "a whole number", "int | None": "a whole number", "float": "a number",
    "tuple[str, ...]": "a list of texts",
}  # fmt: skip


def checked_keys(kind: Any, content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """``content`` as arguments of the dataclass ``kind``; an unknown key or a value of the wrong type is refused."""
    known = {item.name: item for item in fields(kind)}
    for key, value in content.items():
        if key not in known:
            raise UnknownName(f"key in {where}", key, known)
        wanted = _TYPES.get(str(known[key].type), (Mapping,))
        fits = isinstance(value, wanted) and (bool in wanted or not isinstance(value, bool))
        if not fits or (list in wanted and not all(isinstance(each, str) for each in value)):
            raise UsageError(
                f"Key {key!r} in {where} is {value!r}. It must be {_IN_WORDS.get(str(known[key].type), 'a table')}."
            )
    return dict(content)
