"""The smallest and the largest pictures, and the shortest films, read back by a plain reader."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from clips import MakeClip
from roundtrip import facts

from pipeline.io.video_sink import VideoSink
from pipeline.io.video_source import VideoSource
from pipeline.local_runner import LocalRunner
from pipeline.stage import Pipeline


def copy(clip: Path, out: Path, **choices: str) -> None:
    LocalRunner("cpu").run(Pipeline(VideoSource(clip), [], VideoSink(out, **choices)))


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.mov", "out.avi"])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 1), (2, 2)])
@pytest.mark.parametrize("num_frames", [1, 2])
def test_the_smallest_pictures_and_the_shortest_films(
    make_clip: MakeClip, tmp_path: Path, name: str, size: tuple[int, int], num_frames: int
):
    clip = make_clip("in.mkv", pix_fmt="yuv444p", size=size, pts=range(num_frames))

    copy(clip, tmp_path / name)

    before, after = facts(clip), facts(tmp_path / name)
    # AVI has no timestamps: where the first frame lies is the reader's choice.
    begin = after.times[0] if name.endswith("avi") else 0
    assert [moment - begin for moment in after.times] == before.times
    assert before.times == [Fraction(n, 25) for n in range(num_frames)]
    assert after.aspect == before.aspect
    assert np.abs(after.thumbnail - before.thumbnail).mean() < 4


@pytest.mark.slow
def test_pictures_of_8k(make_clip: MakeClip, tmp_path: Path):
    options = {"preset": "ultrafast"}
    clip = make_clip("in.mp4", size=(4320, 7680), pts=range(2), options=options)

    copy(clip, tmp_path / "out.mp4", preset="ultrafast")

    before, after = facts(clip), facts(tmp_path / "out.mp4")
    assert after.times == before.times
    assert after.aspect == Fraction(7680, 4320)
    assert np.abs(after.thumbnail - before.thumbnail).mean() < 2
