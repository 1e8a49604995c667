"""API keys: read from the environment or a private file, and shown to nobody."""

from __future__ import annotations

import logging
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from freqlstm.errors import KeysError

KEY, SECRET = "FREQLSTM_API_KEY", "FREQLSTM_API_SECRET"
HIDDEN = "[hidden]"
HOW = (
    f"Put them into {KEY} and {SECRET}, or into a TOML file with the lines api_key = \"...\" and api_secret = \"...\" that "
    f"only you can read (chmod 600)."
)  # fmt: skip


@dataclass(frozen=True, repr=False)
class Keys:
    """A key and its secret. They appear in no repr, and :func:`hide` takes them out of any text."""

    key: str = field(repr=False)
    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        for what, value in (("key", self.key), ("secret", self.secret)):
            if not value.strip():
                raise KeysError(f"There is no API {what}. {HOW}")
            if len(value) < 8 or value != value.strip():
                raise KeysError(f"The API {what} is incomplete or has spaces around it. Copy it again, whole.")
        _secrets.update((self.key, self.secret))

    def __repr__(self) -> str:
        return f"Keys({HIDDEN})"


def read_keys(path: Path | None = None, environment: Mapping[str, str] = os.environ) -> Keys:
    """The keys of the file at ``path``, else of the environment."""
    if path is None:
        if not environment.get(KEY) and not environment.get(SECRET):
            raise KeysError(f"There are no API keys. {HOW}")
        return Keys(environment.get(KEY, "").strip(), environment.get(SECRET, "").strip())
    try:
        mode = path.stat().st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise KeysError(f"{path} can be read by others (mode {stat.S_IMODE(mode):o}). Run: chmod 600 {path}")
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise KeysError(f"There is no file {path}. {HOW}") from None
    except OSError as error:
        raise KeysError(f"{path} could not be read: {error.strerror}. {HOW}") from None
    except ValueError:  # neither the text nor the parser's error may be shown: they hold the secret
        raise KeysError(f'{path} is not a TOML file with the lines api_key = "..." and api_secret = "...".') from None
    values = [read.get(name, "") for name in ("api_key", "api_secret")]
    if not all(isinstance(value, str) for value in values):
        raise KeysError(f"The keys in {path} are not text. Put them between quotation marks.")
    return Keys(*(value.strip() for value in values))


def keep_secret(word: str) -> None:
    """Have :func:`hide` take this out of any text too."""
    _secrets.add(word)


def hide(text: str) -> str:
    """``text`` without any key, secret or signature."""
    for word in _secrets:
        text = text.replace(word, HIDDEN)
    return re.sub(r"(signature['\"]?\s*[=:]\s*['\"]?)[^&\s'\"]+", rf"\g<1>{HIDDEN}", text)


def guard_logs() -> None:
    """Keep keys and signatures out of everything that Python's logging writes from now on, by whichever library."""
    made = logging.getLogRecordFactory()
    if getattr(made, "guards_keys", False):
        return

    def guarded(*arguments: Any, **options: Any) -> logging.LogRecord:
        record = made(*arguments, **options)
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.exc_text = record.exc_text and hide(record.exc_text)
        message = record.getMessage()
        if (clean := hide(message)) != message:
            record.msg, record.args = clean, None
        return record

    guarded.guards_keys = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(guarded)


_secrets: set[str] = set()
