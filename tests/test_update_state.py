"""The file of what a signal has learned since its fit."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from freqlstm.errors import ModelError
from freqlstm.update_state import State

RANDOM = np.random.default_rng(0)


@pytest.fixture
def state() -> State:
    return State(
        28_401_120, 17, RANDOM.normal(size=(2, 9)).astype(np.float32), RANDOM.normal(size=(2, 2, 9)).astype(np.float32),
        np.array([0.1, np.inf]), np.arange(5), RANDOM.normal(size=(2, 5)), RANDOM.normal(size=(2, 5)),
    )  # fmt: skip


def test_every_bit_comes_back(state: State, tmp_path: Path) -> None:
    state.write(tmp_path / "s.npz", "fit")
    again = State.read(tmp_path / "s.npz", "fit", State.fresh(0, state.weights, 2))
    for field in fields(State):
        one, two = getattr(state, field.name), getattr(again, field.name)
        np.testing.assert_array_equal(one, two)
        assert np.asarray(one).dtype == np.asarray(two).dtype


def test_a_state_that_has_just_begun_can_be_kept_too(tmp_path: Path) -> None:
    begun = State.fresh(5, np.zeros((3, 4), np.float32), 0)
    begun.write(tmp_path / "s.npz", "fit")
    assert State.read(tmp_path / "s.npz", "fit", begun).moments.shape == (3, 0, 4)


@pytest.mark.parametrize("name", ["weights", "moments", "said"])
def test_a_file_with_one_wrong_bit_is_refused(name: str, state: State, tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    state.write(path, "fit")
    content = bytearray(path.read_bytes())
    content[content.index(getattr(state, name).tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        State.read(path, "fit", state)
    assert str(caught.value).startswith(f"{path} is damaged: ")
    assert str(caught.value).endswith(". Delete the file, and the signal goes on from its fit.")


def test_a_file_cut_short_and_one_that_holds_a_pickle_are_refused(state: State, tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    state.write(path, "fit")
    for content in (path.read_bytes()[:700], b"bad\n", b""):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"is damaged: it was cut short, or is something else\. Delete the file"):
            State.read(path, "fit", state)
    np.savez(path, head=np.array([object()], dtype=object))
    with pytest.raises(ModelError, match="is damaged"):
        State.read(path, "fit", state)


def test_what_another_fit_has_learned_is_refused(state: State, tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    state.write(path, "fit")
    for model, like in (("another", state), ("fit", replace(state, weights=state.weights[:1]))):
        with pytest.raises(ModelError) as caught:
            State.read(path, model, like)
        assert str(caught.value) == (
            f"{path} holds what another fit has learned since, or another version of the signal. "
            f"Delete the file, and the signal goes on from its fit."
        )
