"""Clips for the tests of reading and writing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clips import MakeClip, write_clip
from sinks import SinkAt, plain_info

from pipeline.io.endpoint import StreamInfo
from pipeline.io.segments import SegmentStore, segment_folder
from pipeline.io.video_sink import VideoSink


@pytest.fixture
def make_clip(tmp_path: Path) -> MakeClip:
    """A function that writes a clip of the given name into the test's own folder."""

    def make(name: str = "clip.mp4", **choices: Any) -> Path:
        return write_clip(tmp_path / name, **choices)

    return make


@pytest.fixture
def sink_at(tmp_path: Path) -> Iterator[SinkAt]:
    """A function that makes an opened sink in an empty folder."""
    folder = tmp_path / "out"
    folder.mkdir()
    sinks = []

    def make(name: str = "out.mp4", info: StreamInfo | None = None, **choices: Any) -> VideoSink:
        sinks.append(VideoSink(folder / name, **choices))
        sinks[-1].open(info or plain_info())
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.abort()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the segments of an output are kept."""
    return segment_folder(tmp_path / "out.mp4")


@pytest.fixture
def store(folder: Path) -> Iterator[SegmentStore]:
    """An open store in it."""
    with SegmentStore(folder, "key", ".nut") as opened:
        yield opened
