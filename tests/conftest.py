"""The walls of the fast suite, and what every test may use."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest
import torch
from hypothesis import settings
from roundtrip import show_tables

# The same examples every time: a test that fails must fail again.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


def _refuse(what: str) -> Callable[..., NoReturn]:
    def refuse(*_args: object, **_kwargs: object) -> NoReturn:
        msg = f"{what} in a test without the 'ray' marker; drive a fake clock or the local runner"
        raise RuntimeError(msg)

    return refuse


@pytest.fixture(autouse=True)
def fast_suite_stays_fast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbid Ray and sleeping unless the test is marked for it."""
    markers = {marker.name for marker in request.node.iter_markers()}
    if not markers & {"ray", "slow"}:
        monkeypatch.setattr(time, "sleep", _refuse("time.sleep"))
        if "ray" in sys.modules:
            monkeypatch.setattr(sys.modules["ray"], "init", _refuse("ray.init"))


@pytest.fixture
def cpu() -> torch.device:
    """The reference device."""
    return torch.device("cpu")


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """What a test configures of logging ends with it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the tables of copied clips at the end of the report."""
    show_tables(terminalreporter)
