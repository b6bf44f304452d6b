"""Clips for the tests of reading and writing."""

from pathlib import Path
from typing import Any

import pytest
from clips import MakeClip, write_clip


@pytest.fixture
def make_clip(tmp_path: Path) -> MakeClip:
    """A function that writes a clip of the given name into the test's own folder."""

    def make(name: str = "clip.mp4", **choices: Any) -> Path:
        return write_clip(tmp_path / name, **choices)

    return make
