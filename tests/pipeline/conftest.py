"""What tests of the whole command share."""

import logging
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from clips import write_clip
from command import COMMON, FakeRun, Refused, contents, error_of

from pipeline import cli
from pipeline.config import Config
from pipeline.io.endpoint import StreamInfo


@pytest.fixture
def process_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give back what a command changes of its process."""
    monkeypatch.delenv("HYPERCON_DEBUG", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def fake_run(monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    """Nothing is built or run."""
    fake = FakeRun()
    monkeypatch.setattr(cli, "execute", fake)
    return fake


@pytest.fixture
def seen_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the input is called, it is known."""

    def look(config: Config, input_path: Path) -> tuple[StreamInfo, bool]:
        del config, input_path
        return StreamInfo(64, 48, Fraction(1, 24), Fraction(24), 12), True

    monkeypatch.setattr(cli, "look", look)


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run the command; it must say one line and leave everything as it was."""

    def check(exit_code: int, source: Path, sink: Path, *words: str) -> str:
        before = contents(tmp_path)

        assert cli.main(["run", str(source), str(sink), *COMMON, *words]) == exit_code

        message = error_of(capsys)
        assert contents(tmp_path) == before
        return message

    return check


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Eight small frames."""
    return write_clip(tmp_path / "in.mp4")
