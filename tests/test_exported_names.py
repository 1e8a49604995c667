from __future__ import annotations

import ast
import inspect
from pathlib import Path
from types import ModuleType

import pytest

import freqlstm


def test_the_public_names_are_these() -> None:
    assert freqlstm.__all__ == ["Bars", "Candles", "FreqlstmError", "Signal", "Strategy", "feature", "vote"]


@pytest.mark.parametrize("name", freqlstm.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert inspect.getdoc(getattr(freqlstm, name))


def test_nothing_else_is_public() -> None:
    made_here = {
        name
        for name, value in vars(freqlstm).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and getattr(value, "__module__", "") == "freqlstm"
    }
    assert not made_here - set(freqlstm.__all__)


def test_the_names_that_type_checkers_see_are_the_ones_that_python_finds() -> None:
    tree = ast.parse(Path(freqlstm.__file__).read_text(encoding="utf-8"))
    seen = {
        alias.name: node.module
        for block in ast.walk(tree)
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == freqlstm._HOME
    assert sorted(seen) == sorted(freqlstm.__all__)


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'freqlstm' has no attribute 'Stratgey'"):
        freqlstm.Stratgey  # noqa: B018


def test_no_module_hides_a_public_name() -> None:
    modules = {path.stem for path in Path(freqlstm.__file__).parent.glob("*.py")}
    assert not modules & set(freqlstm.__all__)
