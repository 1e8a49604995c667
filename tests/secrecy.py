"""A pytest plugin: nothing secret may be in what a test says or logs, nor in any file that a run of tests leaves.

Secret are all keys that were handed out in this process (:mod:`freqlstm.paper.keys` knows them), those of every sandbox,
and signatures. With several workers each looks at its own.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

OF_SANDBOX = ("sandbox" * 9 + "k", "password" * 8)  # not imported from where they are: that takes seconds
SIGNATURE = re.compile(rb"signature['\"]?\s*[=:]\s*['\"]?[0-9a-f]{64}")
# Where a person keeps keys and webhooks, and where a sandbox, which is the other side, keeps the key of its account.
KEEPERS = ("keys.toml", "hooks", "sandbox.db", "state.db", "exchange.sqlite")


def secrets() -> list[bytes]:
    """What must not be seen, as bytes."""
    keys = sys.modules.get("freqlstm.paper.keys")
    return sorted(word.encode() for word in {*OF_SANDBOX, *(keys._secrets if keys is not None else ())})


def leak(content: bytes) -> str:
    """The beginning of the secret that ``content`` shows; nothing if it shows none."""
    found = next((word for word in secrets() if word in content), None)
    return found[:6].decode() if found else "signature" if SIGNATURE.search(content) else ""


def leaks_of(folder: Path) -> Iterator[str]:
    """Every file that shows a secret, and the beginning of that."""
    for path in sorted(folder.rglob("*")):
        kept = path.name.startswith(KEEPERS) or "site-packages" in path.parts  # the product itself, installed
        if path.is_file() and not path.is_symlink() and not kept and (shown := leak(path.read_bytes())):
            yield f"{path} ({shown}…)"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Iterator[None]:
    report: Any = yield
    for name, text in report.sections:
        if name.endswith(report.when) and (shown := leak(text.encode())):
            report.outcome, report.longrepr = "failed", f"{name} shows a secret ({shown}…)"
    return report  # type: ignore[return-value]


@pytest.fixture(scope="session", autouse=True)
def nothing_secret_is_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Looks at every file when all tests of the run have ended."""
    yield
    found = list(leaks_of(tmp_path_factory.getbasetemp()))
    assert not found, "These files show a secret: " + "; ".join(found)
