"""What is written can be read: no file of a rare codec that only looks finished."""

from pathlib import Path

import numpy as np
import pytest
from clips import MakeClip
from roundtrip import facts
from sinks import SinkAt, plain_frame, plain_info

from pipeline.errors import UsageError
from pipeline.io import join, video_sink
from pipeline.io.video_sink import VideoSink
from pipeline.io.video_source import VideoSource
from pipeline.local_runner import LocalRunner
from pipeline.stage import Pipeline


def copy(clip: Path, out: Path, codec: str) -> None:
    LocalRunner("cpu", segment_frames=3).run(
        Pipeline(VideoSource(clip), [], VideoSink(out, codec=codec))
    )


@pytest.mark.parametrize(
    "name",
    [
        "rawvideo.avi",
        "utvideo.avi",
        "magicyuv.avi",
        "huffyuv.avi",
        "png.mov",
        "qtrle.mov",
        "v210.mov",
        "libvpx.webm",
    ],
)
def test_rare_codecs_are_read_back_from_their_segments(
    make_clip: MakeClip, tmp_path: Path, name: str
):
    clip = make_clip("in.mkv", codec="ffv1", size=(64, 96), pts=range(8))

    copy(clip, tmp_path / name, Path(name).stem)

    before, after = facts(clip), facts(tmp_path / name)
    assert len(after.times) == 8
    assert np.abs(after.thumbnail - before.thumbnail).mean() < 2


def test_pictures_that_a_file_has_no_name_for_are_refused_before_the_first_frame(tmp_path: Path):
    sink = VideoSink(tmp_path / "out.mov", codec="rawvideo", pix_fmt="yuv420p")

    with pytest.raises(UsageError, match="can be read from mov, got rawvideo with yuv420p"):
        sink.open(plain_info())

    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_read_back_gets_no_name(
    make_clip: MakeClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    clip = make_clip("in.mkv", codec="ffv1", size=(64, 96))
    # As if nobody knew that the tag matters.
    monkeypatch.setattr(join, "_TOLD_BY_TAG", frozenset())

    with pytest.raises(UsageError, match="be read back, got nothing from utvideo in avi"):
        copy(clip, tmp_path / "out.avi", "utvideo")

    assert not (tmp_path / "out.avi").exists()


def test_that_holds_for_a_file_in_one_piece_too(sink_at: SinkAt, monkeypatch: pytest.MonkeyPatch):
    sink = sink_at("out.mp4")
    sink.write(plain_frame(0))
    monkeypatch.setattr(video_sink, "shows_picture", lambda _: False)

    with pytest.raises(UsageError, match="be read back, got nothing from libx264 in mp4"):
        sink.close()

    assert list(sink.path.parent.iterdir()) == []
