"""Digests of sources, versions of libraries, and JSON that proves itself unchanged."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
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
    assert [file.name for file in mine] == ["dip.py", "__init__.py", "tools.py"]


def test_a_module_anywhere_on_the_path_that_is_no_installed_library_counts(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "lib"
    (elsewhere / "mylib" / "inner").mkdir(parents=True)
    for name in ("__init__", "inner/__init__", "inner/deep", "other"):
        (elsewhere / "mylib" / f"{name}.py").write_text("raise SystemExit('this is never run')\n")
    (elsewhere / "single.py").write_text("from mylib.inner import deep\n")
    plugin.write_text("import single\nimport numpy\n")
    assert not [file for file in provenance._sources(plugin) if elsewhere in file.parents]
    monkeypatch.syspath_prepend(str(elsewhere))
    found = [str(file.relative_to(elsewhere)) for file in provenance._sources(plugin) if elsewhere in file.parents]
    assert found == ["single.py", "mylib/__init__.py", "mylib/inner/__init__.py", "mylib/inner/deep.py"]
    assert not [file for file in provenance._sources(plugin) if "numpy" in file.parts]
    before = provenance.source_digest(plugin)
    (elsewhere / "mylib" / "inner" / "deep.py").write_text("X = 1\n")
    assert provenance.source_digest(plugin) != before


def test_an_editable_install_is_found_through_its_finder(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "checkout" / "src.py"
    source.parent.mkdir()
    source.write_text("")

    class Finder:
        @staticmethod
        def find_spec(name: str, path: object, target: object = None) -> object:
            return importlib.util.spec_from_file_location(name, source) if name == "edited" else None

    monkeypatch.setattr("sys.meta_path", [Finder, *sys.meta_path])
    plugin.write_text("from edited import thing\n")
    assert source in provenance._sources(plugin)


@pytest.mark.parametrize("written", ['files = ("bias.csv",)', 'files: ClassVar[tuple[str, ...]] = ("bias.csv",)'])
def test_a_file_that_a_signal_names_counts(written: str, plugin: Path) -> None:
    plugin.write_text(f"from typing import ClassVar\nfrom freqlstm import Signal\nclass Mine(Signal):\n    {written}\n")
    data = plugin.with_name("bias.csv")
    data.write_text("1")
    before = provenance.source_digest(plugin)
    plugin.with_name("other.csv").write_text("1")
    assert provenance.source_digest(plugin) == before
    data.write_text("-1")
    assert provenance.source_digest(plugin) != before


def test_the_settings_of_keras_count_as_keras_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KERAS_BACKEND", "KERAS_HOME"):
        monkeypatch.delenv(name, raising=False)
    lstm, momentum = (ROOT / "signals" / f"{name}.py" for name in ("lstm", "momentum"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    plain = provenance.library_versions(lstm)
    assert (plain["keras backend"], plain["keras floatx"]) == ("tensorflow", "float32")
    (tmp_path / "keras.json").write_text('{"backend": "numpy", "floatx": "float64"}')
    written = provenance.library_versions(lstm)
    assert (written["keras backend"], written["keras floatx"]) == ("numpy", "float64")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert provenance.library_versions(lstm)["keras backend"] == "jax"
    assert not [name for name in provenance.library_versions(momentum) if name.startswith("keras")]
    program = (
        "import keras\nfrom pathlib import Path\nfrom freqlstm import provenance as p\n"
        f"v = p.library_versions(Path({str(lstm)!r}))\n"
        "assert (keras.backend.backend(), keras.config.floatx()) == (v['keras backend'], v['keras floatx']), v\n"
    )
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)


def test_the_machine_is_what_can_change_the_last_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    made = provenance.machine()
    assert all(made[name] for name in ("system", "machine", "cpu_features"))
    assert all(isinstance(name, str) for name in made["cpu_features"])
    assert made["keras_backend"] == "jax"


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
