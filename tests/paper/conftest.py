"""Fixtures of paper trading."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from paper_world import BTC, ETH, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A sandbox exchange of BTC/USDT."""
    world = World(tmp_path)
    yield world
    world.close()


@pytest.fixture
def two(tmp_path: Path) -> Iterator[World]:
    """A sandbox exchange of BTC/USDT and ETH/USDT."""
    world = World(tmp_path, (BTC, ETH))
    yield world
    world.close()
