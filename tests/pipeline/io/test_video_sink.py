"""Encoding, read back by a plain decoder."""

import logging
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from clips import MakeClip, read_back, sound_packets
from sinks import SinkAt, plain_frame, plain_info

from operators.frame import Frame
from pipeline.errors import UsageError
from pipeline.io.endpoint import ColorTags, StreamInfo
from pipeline.io.video_sink import VideoSink
from pipeline.io.video_source import VideoSource

FAST = {"preset": "ultrafast"}


def copy(source: VideoSource, sink: VideoSink) -> None:
    """What a pipeline without operators does."""
    sink.open(source.info())
    for frame in source.frames():
        sink.write(frame)
    sink.close()


@pytest.mark.parametrize("name", ["out.mp4", "out.mov"])
@pytest.mark.parametrize(
    "pts",
    [[0], [7], [0, 1], [0, 3, 4, 9, 20, 21, 22, 40], [1000, 1001, 1010, 1100]],
    ids=["one", "one-late", "two", "variable", "late-start"],
)
@pytest.mark.parametrize("time_base", [Fraction(1, 90000), Fraction(1001, 30000), Fraction(1, 24)])
def test_times_are_kept_exactly(sink_at: SinkAt, name: str, pts: list[int], time_base: Fraction):
    info = StreamInfo(24, 16, time_base, Fraction(24), None)
    sink = sink_at(name, info, options={"bf": "2"})
    for number, stamp in enumerate(pts):
        sink.write(Frame(number, torch.rand(3, 16, 24), stamp, time_base))
    sink.close()

    assert read_back(sink.path)[0] == [stamp * time_base for stamp in pts]


@pytest.mark.parametrize("name", ["out.mkv", "out.webm"])
def test_matroska_rounds_times_to_the_nearest_millisecond(sink_at: SinkAt, name: str):
    pts = [0, 1001, 2002, 3003, 9009]
    sink = sink_at(name, StreamInfo(24, 16, Fraction(1, 30000), Fraction(30), None))
    for number, stamp in enumerate(pts):
        sink.write(Frame(number, torch.rand(3, 16, 24), stamp, Fraction(1, 30000)))
    sink.close()

    nearest = [Fraction(round(Fraction(stamp, 30)), 1000) for stamp in pts]
    assert read_back(sink.path)[0] == nearest


def test_frames_that_are_reordered_by_the_encoder_keep_their_times(
    make_clip: MakeClip, tmp_path: Path
):
    clip = make_clip(pts=[0, 2, 3, 7, 8, 9, 15, 16, 17, 30], time_base=Fraction(1, 600))
    sink = VideoSink(tmp_path / "out.mp4", options={"bf": "3", "x264-params": "b-adapt=0"})

    copy(VideoSource(clip), sink)

    assert read_back(sink.path)[0] == read_back(clip)[0]
    with av.open(str(sink.path)) as container:
        assert any(picture.pict_type == 3 for picture in container.decode(video=0))


def test_the_last_frame_is_shown_as_long_as_the_one_before_it(sink_at: SinkAt):
    sink = sink_at()
    for number, stamp in enumerate((0, 1, 5)):
        sink.write(Frame(number, torch.rand(3, 16, 24), stamp, Fraction(1, 25)))
    sink.close()

    with av.open(str(sink.path)) as container:
        stream = container.streams.video[0]
        assert stream.duration * stream.time_base == Fraction(9, 25)


@pytest.mark.parametrize("color", [(1, 1), (2, 1), (1, 6), (2, 6)])
def test_a_copy_changes_no_level_where_no_codec_does(
    make_clip: MakeClip, tmp_path: Path, color: tuple[int, int]
):
    clip = make_clip("clip.mkv", codec="ffv1", pix_fmt="yuv444p", color=color)
    sink = VideoSink(tmp_path / "out.mkv", codec="ffv1", pix_fmt="yuv444p")

    copy(VideoSource(clip), sink)

    planes = []
    for path in (clip, sink.path):
        with av.open(str(path)) as container:
            planes.append([picture.to_ndarray() for picture in container.decode(video=0)])
    assert np.array_equal(*planes)
    assert VideoSource(sink.path).info().color == VideoSource(clip).info().color


def test_subsampled_chroma_comes_back_without_a_shift_of_colour(
    make_clip: MakeClip, tmp_path: Path
):
    clip = make_clip("clip.mkv", codec="ffv1", pix_fmt="yuv420p", color=(2, 1))
    path = clip
    for generation in range(4):
        sink = VideoSink(tmp_path / f"{generation}.mkv", codec="ffv1", pix_fmt="yuv420p")
        copy(VideoSource(path), sink)
        path = sink.path

    with av.open(str(clip)) as before, av.open(str(path)) as after:
        first, last = next(before.decode(video=0)), next(after.decode(video=0))
    change = last.to_ndarray().astype(float) - first.to_ndarray()
    assert np.array_equal(last.to_ndarray()[:32], first.to_ndarray()[:32])
    assert abs(change[32:].mean()) < 0.25


@pytest.mark.parametrize("tags", [ColorTags(1, 1, 1, 1), ColorTags(2, 6, 6, 6), ColorTags()])
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_colour_tags_are_written(sink_at: SinkAt, tags: ColorTags, name: str):
    sink = sink_at(name, plain_info(color=tags))
    sink.write(plain_frame(0))
    sink.close()

    assert VideoSource(sink.path).info().color == tags


def test_rgb_input_becomes_tagged_video_of_limited_range(sink_at: SinkAt):
    sink = sink_at(info=plain_info(color=ColorTags(range=2, matrix=0)), crf=0)
    sink.write(plain_frame(0, level=1.0))
    sink.close()

    assert VideoSource(sink.path).info().color == ColorTags(range=1, matrix=6)
    (frame,) = VideoSource(sink.path).frames()
    assert frame.image.min() > 0.99


@pytest.mark.parametrize(("shape", "pix_fmt"), [((3, 15, 23), "yuv444p"), ((3, 16, 24), "yuv420p")])
def test_odd_sizes_are_encoded_as_they_are(
    sink_at: SinkAt, shape: tuple[int, int, int], pix_fmt: str
):
    sink = sink_at()
    sink.write(plain_frame(0, shape))
    sink.close()

    with av.open(str(sink.path)) as container:
        stream = container.streams.video[0]
        assert (stream.height, stream.width, stream.pix_fmt) == (*shape[1:], pix_fmt)


def test_one_channel_is_written_as_grey(sink_at: SinkAt):
    sink = sink_at(options={"qp": "0"})
    image = torch.linspace(0, 1, 16 * 24).view(1, 16, 24)
    sink.write(Frame(0, image, 0, Fraction(1, 25)))
    sink.close()

    (frame,) = VideoSource(sink.path).frames()
    assert (frame.image - image).abs().max() < 0.01


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.mov"])
def test_sound_is_copied_byte_for_byte(make_clip: MakeClip, tmp_path: Path, name: str):
    clip = make_clip(audio=("aac", 20), pts=range(10))
    sink = VideoSink(tmp_path / name, **FAST)

    copy(VideoSource(clip), sink)

    (before,), (after,) = sound_packets(clip), sound_packets(sink.path)
    if name != "out.mkv":
        assert after == before
    else:
        # What precedes zero only prepares the decoder, and Matroska would shift the pictures.
        heard = [packet for packet in before if packet[0] >= 0]
        assert len(before) - len(heard) <= 1
        assert [data for _, data in after] == [data for _, data in heard]
        pairs = zip(after, heard, strict=True)
        assert all(abs(a - b) <= Fraction(1, 2000) for (a, _), (b, _) in pairs)


@pytest.mark.parametrize(
    ("name", "rounding"), [("out.mp4", Fraction(1, 48000)), ("out.mkv", Fraction(1, 1000))]
)
def test_sound_of_a_part_is_cut_and_stays_in_step(
    make_clip: MakeClip, tmp_path: Path, name: str, rounding: Fraction
):
    clip = make_clip(audio=("aac", 60), pts=range(30))
    sink = VideoSink(tmp_path / name, **FAST)

    copy(VideoSource(clip, start=10, frames=10), sink)

    start, end = Fraction(10, 25), Fraction(20, 25)
    assert read_back(sink.path)[0] == [Fraction(number, 25) for number in range(10)]
    (before,), (after,) = sound_packets(clip), sound_packets(sink.path)
    kept = [(moment - start, data) for moment, data in before if start <= moment < end]
    assert len(kept) > 10
    assert [data for _, data in after] == [data for _, data in kept]
    assert all(abs(a - b) <= rounding for (a, _), (b, _) in zip(after, kept, strict=True))


def test_what_is_not_carried_is_named_in_one_warning(
    make_clip: MakeClip, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    clip = make_clip(audio=("aac", 20))
    sink = VideoSink(tmp_path / "out.webm")

    with caplog.at_level(logging.WARNING):
        copy(VideoSource(clip), sink)

    (record,) = caplog.records
    assert "not carried into webm: audio track 1 (aac)" in record.getMessage()


def test_the_shape_of_pixels_is_kept(make_clip: MakeClip, tmp_path: Path):
    clip = make_clip(pixel_aspect=Fraction(4, 3), rotation=90)
    sink = VideoSink(tmp_path / "out.mp4", **FAST)

    copy(VideoSource(clip), sink)

    with av.open(str(sink.path)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (32, 48)
        assert stream.sample_aspect_ratio == Fraction(3, 4)


def test_avi_takes_a_constant_frame_rate_only(sink_at: SinkAt):
    sink = sink_at("out.avi")
    for number in range(6):
        sink.write(plain_frame(number))
    sink.close()
    with av.open(str(sink.path)) as container:
        kinds = [picture.pict_type for picture in container.decode(video=0)]
    assert len(kinds) == 6
    assert av.video.frame.PictureType.B not in kinds

    uneven = sink_at("uneven.avi")
    uneven.write(plain_frame(0))
    with pytest.raises(
        UsageError, match="must have a constant frame rate, got a gap before frame 2"
    ):
        uneven.write(plain_frame(2))

    crowded = sink_at("crowded.avi")
    crowded.write(plain_frame(0))
    with pytest.raises(
        UsageError, match="constant frame rate, got less than a frame's time before frame 1"
    ):
        crowded.write(replace(plain_frame(1), pts=1, time_base=Fraction(1, 90)))
