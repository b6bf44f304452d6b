"""The command under test: how it is started, what it prints, what it leaves on the disk."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.config import Config
from pipeline.progress import Progress
from pipeline.report import RunReport
from pipeline.tally import JobState

ROOT = Path(__file__).parents[1]
PREFIX = "hypercon: error: "
COMMON = ("--engine", "local", "--device", "cpu", "--no-progress")

# A folder, and a video whose encoder writes each frame at once, so that there is a file by then.
OUTPUTS = ("out", "out.mkv")
NO_DELAY = {"out": (), "out.mkv": ("--codec", "ffv1")}

# Runs the command with these words and this exit code, and returns its one line.
Refused = Callable[..., str]


class FakeRun:
    """Stands for building and running a pipeline, and remembers what it was given."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.states: list[JobState] = []
        self.calls: list[tuple[Config, Path, Path]] = []
        self.progress: Progress | None = None

    def __call__(self, config: Config, source: Path, sink: Path, progress: Progress) -> RunReport:
        self.calls.append((config, source, sink))
        self.progress = progress
        for state in self.states:
            progress.show(state)
        if self.error is not None:
            raise self.error
        return RunReport(frames_in=3, frames_out=3, wall_s=1.5)

    @property
    def config(self) -> Config:
        return self.calls[-1][0]


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on standard error; nothing may stand on standard output."""
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith(PREFIX)
    return line.removeprefix(PREFIX)


def interpreter(code: str) -> "subprocess.Popen[str]":
    """A fresh interpreter that runs some code."""
    return _started("-c", code)


def in_a_process(*words: str, **options: Any) -> "subprocess.Popen[str]":
    """The command as a shell starts it."""
    return _started("-m", "pipeline.cli", *words, *COMMON, **options)


def _started(*words: str, **options: Any) -> "subprocess.Popen[str]":
    return subprocess.Popen(  # noqa: S603 - this very interpreter, and words of the tests
        [sys.executable, *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={key: value for key, value in os.environ.items() if key != "HYPERCON_DEBUG"},
        **options,
    )


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every name under a folder, hidden ones too, and what its file holds."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
        # Python keeps what it compiled of a user's model beside it.
        if "__pycache__" not in path.parts
    }


def write_image(path: Path, height: int = 24, width: int = 32) -> None:
    """A grey image."""
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), 128, np.uint8))
