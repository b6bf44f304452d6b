"""The summary of a run: a JSON file, written whatever became of it."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.errors import HyperConError, UsageError
from pipeline.failure import explain
from pipeline.io.part_file import disk_space
from pipeline.progress import Progress
from pipeline.tally import JobState

logger = logging.getLogger(__name__)


class LastState:
    """Progress that is passed on, and of which the last is kept.

    Args:
        progress: Who shows it.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._state: JobState | None = None

    def start(self, total: int | None) -> None:
        """Begin to count."""
        self._progress.start(total)

    def show(self, state: JobState) -> None:
        """Remember it, and show it."""
        self._state = state
        self._progress.show(state)

    def finish(self) -> None:
        """Give the terminal back."""
        self._progress.finish()

    def facts(self) -> dict[str, Any]:
        """How far the run came; empty if it did not begin."""
        state = self._state
        if state is None:
            return {}
        stages = [asdict(stage) for stage in state.stages]
        facts = {"num_frames": state.num_frames, "frames_done": state.frames_done}
        return facts | {"wall_s": state.elapsed_s, "stages": stages}


@contextmanager
def summary(path: Path | None, progress: LastState) -> Iterator[dict[str, Any]]:
    """Give a dictionary, and write it with the outcome to a file, also if the run fails.

    Args:
        path: The file; None to write nothing.
        progress: Tells how far a run came that failed.

    Raises:
        UsageError: If the file cannot be written; where its folder is missing, before anything
            is run.
        ResourceError: If the disk of the file is full.
    """
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        msg = f"--summary must name a file in an existing folder, got {path}"
        raise UsageError(msg)
    facts: dict[str, Any] = {"status": "done", "exit_code": 0}
    try:
        yield facts
    except BaseException as error:
        failure = explain(error)
        facts |= {"status": "failed", "exit_code": failure.exit_code, "error": failure.message}
        try:
            _write(path, facts | progress.facts())
        except HyperConError as second:
            # The first error is the one that ends the command.
            logger.warning(str(second))
        raise
    _write(path, facts)


def _write(path: Path | None, facts: dict[str, Any]) -> None:
    if path is None:
        return
    try:
        with disk_space(f"summary {path}"):
            path.write_text(json.dumps(facts, indent=2, default=str) + "\n", encoding="utf-8")
    except OSError as error:
        msg = f"--summary must name a file that can be written, got {path}: {error.strerror}"
        raise UsageError(msg) from error
