"""Where tuning searches, and what is no place to search."""

from __future__ import annotations

from pathlib import Path

import pytest

from freqlstm.errors import PluginError, UnknownName, UsageError
from freqlstm.plugins import find
from freqlstm.search import Choices, Range, as_text, space_of
from freqlstm.signal import Signal

ROOT = Path(__file__).resolve().parents[1]


class Fade(Signal):
    lookback: int = 5
    rate: float = 0.5
    mode: str = "mean"
    features = ("rsi_14",)

    limits = {"lookback": (1, 100), "rate": (0.0, 1.0)}
    search = {"lookback": (2, 20), "rate": (0.01, 1.0, "log"), "width": (1, 2)}


class Slow(Fade):
    search = {"lookback": [5, 50]}


def test_a_space_is_that_of_the_class_and_of_what_it_is_made_from() -> None:
    class Wide(Fade):
        width: float = 1.5

    assert space_of(Wide) == {
        "lookback": Range(2, 20, whole=True),
        "rate": Range(0.01, 1.0, log=True),
        "width": Range(1.0, 2.0),
    }
    assert space_of(Slow)["lookback"] == Choices((5, 50))
    assert "width" not in space_of(Slow), "a base may name what only others made from it have"


def test_a_class_that_searches_what_it_has_not_is_refused() -> None:
    with pytest.raises(
        PluginError, match=r"^Fade searches 'width', which is no parameter of it\. Correct its search\.$"
    ):
        space_of(Fade)


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("lookback=2:20", Range(2, 20, whole=True)),
        ("rate=0.01:1:log", Range(0.01, 1.0, log=True)),
        ("lookback=5,50,5", Choices((5, 50))),
        ("mode=mean,median", Choices(("mean", "median"))),
        (" rate = 0.5 ", Choices((0.5,))),
    ],
)
def test_a_space_can_be_typed(text: str, domain: object) -> None:
    ((_, found),) = space_of(Slow, [text]).items()
    assert found == domain


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lookback", r"^--space received 'lookback'\. It must be a parameter and where to search, as in units=8:64, "),
        ("lookback=", r"^--space received 'lookback='\. "),
        ("lookback=2:20:linear", r"^--space received 'lookback=2:20:linear'\. After the two ends only 'log' may stand, "),
        ("lookback=20:2", r"^The search of 'lookback' is 20:2, which is empty or has no logarithm\. Its first end must lie below its second\.$"),
        ("lookback=2:2", r"^The search of 'lookback' is 2:2, which is empty"),
        ("rate=0:1:log", r"^The search of 'rate' is 0:1:log, which is empty .* below its second, and above 0\.$"),
        ("lookback=0:5", r"^The search of 'lookback' is 0:5\. Parameter 'lookback' of Slow is 0\. It must be between 1 and 100\.$"),
        ("lookback=2.5:5", r"^The search of 'lookback' is 2\.5:5\. Parameter 'lookback' of Slow is 2\.5\. It must be a whole number\.$"),
        ("lookback=,", r"^The search of 'lookback' is empty\. Give at least one value, as in units=8:64, "),
        ("rate=0.1,2", r"^Parameter 'rate' of Slow is 2\. It must be between 0\.0 and 1\.0\.$|^Parameter 'rate' of Slow is 2\.0\. "),
        ("mode=1:2", r"^The search of 'mode' is \(1, 2\)\. It is no number, so it must be a list of choices, as in mode=a,b\.$"),
        ("horizon=1:5", r"^'horizon' cannot be searched: another one is another question, not a better answer\. Set it with --set horizon=VALUE\.$"),
    ],
)  # fmt: skip
def test_what_is_no_place_to_search_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        space_of(Slow, [text])


def test_an_unknown_parameter_is_named_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"^No parameter named 'lokback'\. Did you mean 'lookback'\?"):
        space_of(Slow, ["lokback=1:2"])


def test_a_signal_without_a_space_asks_for_one() -> None:
    class Still(Signal):
        """It names nothing."""

    with pytest.raises(UsageError, match=r"^Still names nothing to search\. Name parameters with --space, as in "):
        space_of(Still)


@pytest.mark.parametrize("name", ["lstm", "lstm_volatility", "attention_lstm", "boosted_lstm", "ridge", "lightgbm"])
def test_the_default_configuration_of_a_shipped_signal_lies_in_its_space(name: str) -> None:
    kind = find("signal", name, ROOT).load()
    space = space_of(kind)
    assert name in ("ridge", "lightgbm") or {"units", "lookback", "learning_rate"} <= set(space)
    assert all(kind().parameters[each] in domain for each, domain in space.items())


def test_a_space_is_written_as_it_is_typed() -> None:
    texts = ["lookback=2:20", "mode=mean,median", "rate=0.01:1.0:log"]
    assert [f"{name}={text}" for name, text in as_text(space_of(Slow, texts)).items()] == texts
