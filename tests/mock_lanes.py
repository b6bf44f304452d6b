"""Lanes for tests that never start a process."""

import time

import pytest

from pipeline.crew import Lane, Worker


def lane(name: str, node: str = "a") -> Lane:
    """A lane whose actors are names, and which no stage remembers in."""
    return Lane(Worker(name, "decode", name), {}, Worker(f"e{name}", "encode", f"e{name}"), node)


class Clock:
    """Time that passes when a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


def names(some: list[Lane]) -> list[str]:
    """Of lanes."""
    return [one.decoder.name for one in some]
