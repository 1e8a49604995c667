"""What `freqlstm init` and `freqlstm new` write: a project's folders, and plugins that run as they are."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from string import Template

from freqlstm.errors import UsageError
from freqlstm.files import explained, make_folder, write_text
from freqlstm.plugins import FOLDERS, Kind, discover, shipped, shown, style_free

MODELS: dict[Kind, str] = {"strategy": "lstm_rsi", "signal": "lstm"}  # the shipped plugins that new ones start as

README = Template("""\
# $name

A freqlstm project.

    freqlstm backtest --strategy my_strategy     # on the demo market, to an HTML tearsheet
    freqlstm check my_strategy                   # proves that it never peeks at the future
    freqlstm download -p BTC/USDT -i 1m --days 90
    freqlstm backtest --strategy my_strategy --pairs BTC/USDT

`strategies/` and `signals/` hold your own plugins, one file each; they come before the shipped ones of the same name, which
`freqlstm strategies` and `freqlstm signals` list. `data/` holds candles, `models/` fitted signals, `backtests/results/` what
runs leave behind. A backtest is not financial advice.
""")

IGNORED = """\
/data/
/models/
/backtests/results/
__pycache__/
"""


def init(folder: Path) -> list[Path]:
    """Make ``folder`` a project; returns the files that were written. What is there already is never touched."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{shown(folder)} is a file. Give the name of a folder, new or not.")
    files = {
        "README.md": README.substitute(name=folder.resolve().name),
        ".gitignore": IGNORED,
        "strategies/my_strategy.py": _plugin_text("strategy", "my_strategy"),
        "signals/my_signal.py": _plugin_text("signal", "my_signal"),
    }
    with explained(folder):
        make_folder((folder / "backtests").resolve())
    fresh = [folder / name for name in files if not (folder / name).exists()]
    for path in fresh:
        _write(path, files[path.relative_to(folder).as_posix()])
    return fresh


def new(kind: Kind, name: str, root: Path) -> Path:
    """Write a plugin of that name into the project at ``root``, ready to run; returns its file."""
    stem = snake_case(name)
    if not stem.isidentifier() or stem.startswith("_") or keyword.iskeyword(stem):
        raise UsageError(f"{name!r} cannot be the name of a {kind}. Use letters, digits and '_', as in 'my_{kind}'.")
    for plugin in discover(kind, root):
        if plugin.origin == "project" and style_free(plugin.name) == style_free(stem):
            raise UsageError(f"{shown(plugin.path)} exists already. Choose another name, or change that file.")
    path = root / FOLDERS[kind] / f"{stem}.py"
    _write(path, _plugin_text(kind, stem))
    return path


def snake_case(name: str) -> str:
    """``MyDip``, ``my-dip`` and ``my_dip.py`` as ``my_dip``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.removesuffix(".py")).replace("-", "_").lower()


def _plugin_text(kind: Kind, stem: str) -> str:
    """A shipped plugin under another name."""
    source = shipped(kind, MODELS[kind]).path.read_text(encoding="utf-8")
    return re.sub(rf"\b{_class_name(MODELS[kind])}\b", _class_name(stem), source)


def _class_name(stem: str) -> str:
    return "".join(word.capitalize() for word in stem.split("_"))


def _write(path: Path, text: str) -> None:
    with explained(path):
        make_folder(path.parent.resolve())
    write_text(path, text)
