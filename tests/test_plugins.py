from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from freqlstm import plugins
from freqlstm.errors import PluginError, UnknownName, UsageError
from freqlstm.plugins import discover, find

STRATEGY = '"""Never trades."""\nimport backtrader as bt\n\n\nclass Idle(bt.Strategy):\n    params = dict(\n        days=3,  # how long\n    )\n'
SIGNAL = '"""Says nothing."""\nfrom freqlstm import Signal\n\n\nclass Mute(Signal):\n    horizon: int = 5  # bars\n'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project, which is also the current folder."""
    (tmp_path / "strategies").mkdir()
    (tmp_path / "signals").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def strategy(project: Path, name: str, text: str = STRATEGY) -> Path:
    path = project / "strategies" / f"{name}.py"
    path.write_text(text)
    return path


def test_the_projects_own_plugins_come_first_and_the_shipped_ones_follow(project: Path) -> None:
    strategy(project, "zebra")
    found = discover("strategy", project)
    assert (found[0].name, found[0].origin, found[0].summary) == ("zebra", "project", "Never trades.")
    assert {"lstm_rsi", "buy_and_hold"} <= {plugin.name for plugin in found[1:]}
    assert {plugin.origin for plugin in found[1:]} == {"shipped"}


def test_listing_runs_no_plugin(project: Path) -> None:
    strategy(project, "loud", '"""Shouts."""\nraise SystemExit("I was run")\n')
    assert find("strategy", "loud", project).summary == "Shouts."


def test_listing_imports_neither_backtrader_nor_keras(project: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from freqlstm.plugins import discover\n"
        "assert discover('strategy', Path('.')) and discover('signal', Path('.'))\n"
        "heavy = {'backtrader', 'keras', 'tensorflow', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(plugins.__file__).parents[1])


def test_a_project_plugin_hides_the_shipped_one_of_its_name_and_says_so(project: Path) -> None:
    path = strategy(project, "LstmRsi")
    plugin = find("strategy", "lstm_rsi", project)
    assert (plugin.path, plugin.origin) == (path, "project")
    assert plugin.shadows is not None
    assert plugin.shadows.name == "lstm_rsi.py"
    assert len([p for p in discover("strategy", project) if plugins.style_free(p.name) == "lstmrsi"]) == 1


@pytest.mark.parametrize("written", ["lstm_rsi", "lstm-rsi", "LstmRsi", "LSTM_RSI"])
def test_the_style_of_a_name_does_not_matter(project: Path, written: str) -> None:
    assert find("strategy", written, project).name == "lstm_rsi"


def test_an_unknown_name_gets_the_nearest_one(project: Path) -> None:
    with pytest.raises(UnknownName) as error:
        find("strategy", "lstmrsi2", project)
    assert str(error.value) == (
        "No strategy named 'lstmrsi2'. Did you mean 'lstm_rsi'? `freqlstm strategies` lists what there is."
    )
    assert error.value.exit_code == 2


def test_two_files_of_one_name_are_refused(project: Path) -> None:
    strategy(project, "my_dip")
    strategy(project, "MyDip")
    with pytest.raises(PluginError) as error:
        discover("strategy", project)
    assert str(error.value) == (
        "strategies/MyDip.py and strategies/my_dip.py are the same name, 'my_dip': capitals, '-' and '_' don't count. "
        "Rename one of them."
    )


def test_an_installed_copy_of_the_shipped_plugins_is_no_collision(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = project / "site-packages" / "freqlstm_strategies"
    copy.mkdir(parents=True)
    (copy / "lstm_rsi.py").write_text(STRATEGY)
    folders = [*plugins._folders("strategy", project), (copy, "shipped")]
    monkeypatch.setattr(plugins, "_folders", lambda kind, root: folders)
    assert find("strategy", "lstm_rsi", project).path == plugins.shipped("strategy", "lstm_rsi").path


def test_a_path_is_a_name_too(project: Path, tmp_path: Path) -> None:
    path = tmp_path / "elsewhere.py"
    path.write_text(STRATEGY)
    assert find("strategy", str(path), project).load().__name__ == "Idle"
    assert find("strategy", "elsewhere.py", project).path == path
    with pytest.raises(UsageError) as error:
        find("strategy", "nowhere.py", project)
    assert str(error.value) == (
        "There is no file 'nowhere.py'. Give the path of a strategy file, or a name that `freqlstm strategies` lists."
    )


def test_the_path_of_a_shipped_file_is_a_shipped_plugin(project: Path) -> None:
    path = plugins.shipped("strategy", "lstm_rsi").path
    assert find("strategy", str(path), project).origin == "shipped"


def test_a_plain_backtrader_strategy_loads(project: Path) -> None:
    import backtrader as bt

    strategy(project, "idle")
    plugin = find("strategy", "idle", project)
    loaded = plugin.load()
    assert issubclass(loaded, bt.Strategy)
    assert plugin.load() is loaded
    assert sys.modules[loaded.__module__].__file__ == str(plugin.path)


def test_a_class_whose_name_is_not_the_files_is_taken(project: Path) -> None:
    strategy(project, "something_else")
    assert find("strategy", "something_else", project).load().__name__ == "Idle"


def test_a_signal_loads_and_tells_its_parameters(project: Path) -> None:
    (project / "signals" / "mute.py").write_text(SIGNAL)
    plugin = find("signal", "mute", project)
    assert plugin.load().__name__ == "Mute"
    assert plugins.Parameter("horizon", 5, "bars") in plugin.parameters()


def test_a_strategys_own_parameters_come_first_with_their_comments(project: Path) -> None:
    strategy(project, "idle")
    assert find("strategy", "idle", project).parameters() == [plugins.Parameter("days", 3, "how long")]
    names = [parameter.name for parameter in plugins.shipped("strategy", "lstm_rsi").parameters()]
    assert names.index("threshold") < names.index("stop_loss")


def test_every_parameter_of_a_shipped_plugin_has_a_comment(project: Path) -> None:
    bare = [
        f"{plugin.name}.{parameter.name}"
        for kind in plugins.FOLDERS
        for plugin in discover(kind, project)
        for parameter in plugin.parameters()
        if not parameter.comment
    ]
    assert not bare


def test_a_dataclass_in_a_plugin_finds_its_module(project: Path) -> None:
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\nimport backtrader as bt\n"
        "@dataclass\nclass _State:\n    bars: int = 0\nclass Stateful(bt.Strategy):\n    state = _State()\n"
    )
    strategy(project, "stateful", text)
    assert find("strategy", "stateful", project).load().__name__ == "Stateful"


def test_classes_that_a_plugin_imports_or_hides_are_not_its_own(project: Path) -> None:
    text = "from backtrader import Strategy\nclass _Base(Strategy):\n    pass\nclass Only(_Base):\n    pass\nAlias = Only\n"
    strategy(project, "only", text)
    assert find("strategy", "only", project).load().__name__ == "Only"


def test_an_edited_file_is_loaded_anew(project: Path) -> None:
    path = strategy(project, "idle")
    first = find("strategy", "idle", project)
    assert first.parameters()[0].default == 3
    path.write_text(STRATEGY.replace("days=3", "days=4"))  # as long as before, and within the same second
    second = find("strategy", "idle", project)
    assert second.digest != first.digest
    assert second.parameters()[0].default == 4


def test_loading_leaves_no_bytecode_behind(project: Path) -> None:
    strategy(project, "idle")
    find("strategy", "idle", project).load()
    assert [path.name for path in (project / "strategies").iterdir()] == ["idle.py"]


def test_a_plugin_can_be_sent_to_another_process(project: Path) -> None:
    strategy(project, "idle")
    plugin = find("strategy", "idle", project)
    assert pickle.loads(pickle.dumps(plugin)) == plugin


def test_a_file_that_changes_during_a_run_is_refused(project: Path) -> None:
    path = strategy(project, "idle")
    plugin = find("strategy", "idle", project)
    path.write_text(STRATEGY + "\n")
    with pytest.raises(PluginError) as error:
        plugin.load()
    assert str(error.value) == (
        "strategies/idle.py was changed while it was being used. Let it be until the run is over, and run again."
    )


def refusal(project: Path, text: str) -> str:
    strategy(project, "broken", text)
    with pytest.raises(PluginError) as error:
        find("strategy", "broken", project).load()
    assert not [name for name in sys.modules if name.startswith("freqlstm_strategy_broken")] or "class" in str(
        error.value
    )
    return str(error.value)


def test_a_syntax_error_is_one_line_with_its_place(project: Path) -> None:
    assert refusal(project, "import backtrader\n\nclass Broken(:\n") == (
        "strategies/broken.py is broken: line 3: SyntaxError: invalid syntax. Correct the file."
    )
    assert find("strategy", "broken", project).summary == "(broken: line 3: SyntaxError: invalid syntax)"


def test_an_import_error_is_one_line_with_its_place(project: Path) -> None:
    assert refusal(project, '"""Hm."""\n\nimport nonsuch_library\n') == (
        "strategies/broken.py is broken: line 3: ModuleNotFoundError: No module named 'nonsuch_library'. Correct the file."
    )


def test_an_error_deeper_down_names_the_line_of_the_plugin(project: Path) -> None:
    assert refusal(project, 'import json\nx = 1\ny = json.loads("{")\n').startswith(
        "strategies/broken.py is broken: line 3: JSONDecodeError: Expecting property name"
    )


def test_two_public_classes_are_refused(project: Path) -> None:
    assert refusal(project, STRATEGY + "\n\nclass Other(bt.Strategy):\n    pass\n") == (
        "strategies/broken.py has 2 public strategy classes: Idle, Other. Keep one; give the others their own files, or "
        "names that begin with '_'."
    )


def test_a_file_without_a_class_is_refused(project: Path) -> None:
    assert refusal(project, "x = 1\n") == (
        "strategies/broken.py has no public class that subclasses freqlstm.Strategy (or bt.Strategy): it holds no public "
        "class. Add one, or move the file out of strategies/."
    )


def test_a_class_of_another_kind_is_refused(project: Path) -> None:
    assert refusal(project, "class Thing:\n    pass\n") == (
        "strategies/broken.py has no public class that subclasses freqlstm.Strategy (or bt.Strategy): it holds only Thing. "
        "Add one, or move the file out of strategies/."
    )


def test_bytes_that_are_no_text_are_listed_as_broken(project: Path) -> None:
    (project / "strategies" / "binary.py").write_bytes(b"\x00\xff\xfe")
    assert find("strategy", "binary", project).summary.startswith("(broken: ")
