"""Digests of sources, versions of libraries, and JSON that proves itself unchanged."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freqlstm import provenance
from freqlstm.errors import ModelError, PluginError

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    folder = tmp_path / "signals"
    folder.mkdir()
    (folder / "base.py").write_text("import scipy.stats\nfrom deeper import thing\n")
    (folder / "deeper.py").write_text("thing = 1\n")
    (folder / "unrelated.py").write_text("")
    (folder / "mine.py").write_text("import os\nimport sklearn\nfrom freqlstm import Signal\nfrom base import Base\n")
    return folder / "mine.py"


@pytest.mark.parametrize(("name", "counts"), [("mine", True), ("base", True), ("deeper", True), ("unrelated", False)])
def test_the_digest_covers_what_the_plugin_imports_directly_or_not(name: str, counts: bool, plugin: Path) -> None:
    before = provenance.source_digest(plugin)
    file = plugin.with_name(f"{name}.py")
    file.write_text(file.read_text() + "# changed\n")
    assert (provenance.source_digest(plugin) != before) == counts


def test_the_digest_of_a_shipped_signal_covers_the_modules_that_shape_predictions() -> None:
    lstm = {file.stem for file in provenance._sources(ROOT / "signals" / "lstm.py")}
    assert {
        "lstm",
        "keras_signal",
        "signal",
        "features",
        "labels",
        "windows",
        "folds",
        "targets",
        "predictions",
    } <= lstm
    assert not lstm & {"errors", "store", "progress", "strategy", "backtest"}
    assert "keras_signal" not in {file.stem for file in provenance._sources(ROOT / "signals" / "momentum.py")}


def test_an_import_of_a_sibling_by_package_or_by_dots_is_followed(plugin: Path) -> None:
    for line in (
        "from signals.deeper import thing",
        "from .deeper import thing",
        "from . import deeper",
        "import deeper",
    ):
        plugin.write_text(line)
        assert plugin.with_name("deeper.py") in provenance._sources(plugin), line


def test_the_libraries_beside_an_installed_plugin_are_not_its_source(tmp_path: Path) -> None:
    installed = tmp_path / "site-packages"
    for name in ("dips", "keras"):
        (installed / name).mkdir(parents=True)
        (installed / name / "__init__.py").write_text("")
    (installed / "dips" / "tools.py").write_text("")
    (installed / "dips" / "dip.py").write_text("import keras\nfrom dips.tools import thing\n")
    mine = [file for file in provenance._sources(installed / "dips" / "dip.py") if tmp_path in file.parents]
    assert [file.name for file in mine] == ["dip.py", "tools.py"]


def test_versions_are_those_of_every_library_imported(plugin: Path) -> None:
    versions = provenance.library_versions(plugin)
    assert versions["numpy"] == np.__version__
    assert versions["pandas"] == pd.__version__
    assert "python" in versions
    assert "scipy" in versions
    assert not {"os", "freqlstm", "base", "keras"} & versions.keys()
    assert "keras" in provenance.library_versions(ROOT / "signals" / "lstm.py")


def test_a_broken_plugin_is_named(plugin: Path) -> None:
    plugin.write_text("def")
    with pytest.raises(PluginError, match=r"mine\.py is broken: invalid syntax"):
        provenance.source_digest(plugin)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text().filter(lambda key: key != "seal"), json_values, max_size=4))
def test_sealed_json_is_read_as_it_was_written(value: dict[str, object]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        provenance.write_sealed(Path(folder) / "x.json", value)
        assert provenance.read_sealed(Path(folder) / "x.json") == value


def test_a_float_is_kept_to_the_last_bit(tmp_path: Path) -> None:
    numbers = [0.1 + 0.2, math.pi, 5e-324, 1.7976931348623157e308, -0.0]
    provenance.write_sealed(tmp_path / "x.json", {"numbers": numbers})
    assert provenance.read_sealed(tmp_path / "x.json")["numbers"] == numbers


def test_json_that_was_changed_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    provenance.write_sealed(file, {"slope": 0.5})
    file.write_text(file.read_text().replace("0.5", "0.6"))
    with pytest.raises(ModelError, match=r"x\.json was changed since it was written\. Delete its folder and fit"):
        provenance.read_sealed(file)


def test_a_fingerprint_ignores_the_order_of_keys_and_nothing_else() -> None:
    assert provenance.fingerprint({"a": 1, "b": [1, 2]}) == provenance.fingerprint({"b": [1, 2], "a": 1})
    assert provenance.fingerprint({"b": [1, 2]}) != provenance.fingerprint({"b": [2, 1]})
    assert provenance.fingerprint(1) != provenance.fingerprint(1.5)
