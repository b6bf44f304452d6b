"""Decoding, against raw planes, plain decoding loops and formulas written by hand."""

import logging
import pickle
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from clips import MakeClip, read_back, write_song
from torch.testing import assert_close

from pipeline.errors import InputError
from pipeline.io.endpoint import Source
from pipeline.io.frame_index import FrameIndex
from pipeline.io.probe import VideoProbe
from pipeline.io.survey import survey_strictly
from pipeline.io.video_source import VideoSource

WEIGHTS = {1: (0.2126, 0.0722), 6: (0.299, 0.114)}
B_FRAMES = {"bf": "2", "g": "6", "x264-params": "b-adapt=0:scenecut=0"}


def rgb_by_hand(planes: list[np.ndarray], matrix: int, full: bool, bits: int = 8) -> torch.Tensor:
    """``(3, H, W)``, in double precision, from 4:4:4 planes."""
    y, cb, cr = (plane.astype(np.float64) for plane in planes)
    one = 2 ** (bits - 8)
    if full:
        y, cb, cr = (x / (2**bits - 1) for x in (y, cb - 128 * one, cr - 128 * one))
    else:
        y, cb, cr = (
            (y - 16 * one) / (219 * one),
            (cb - 128 * one) / (224 * one),
            (cr - 128 * one) / (224 * one),
        )
    kr, kb = WEIGHTS[matrix]
    r, b = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    g = (y - kr * r - kb * b) / (1 - kr - kb)
    return torch.from_numpy(np.stack((r, g, b)).clip(0, 1)).float()


def index_of(clip: Path) -> FrameIndex:
    return survey_strictly(clip, clip.name, VideoProbe(clip, clip.name)).index


def noise_planes(number: int, height: int, width: int) -> list[np.ndarray]:
    generator = np.random.default_rng(number)
    return [generator.integers(0, 256, (height, width)) for _ in range(3)]


@pytest.mark.parametrize("matrix", [1, 6])
@pytest.mark.parametrize("color_range", [1, 2])
def test_colours_follow_the_matrix_and_the_range_of_the_stream(
    make_clip: MakeClip, matrix: int, color_range: int
):
    clip = make_clip(
        "clip.mkv",
        codec="ffv1",
        pix_fmt="yuv444p",
        color=(color_range, matrix),
        planes=noise_planes,
        pts=range(2),
    )

    frames = list(VideoSource(clip).frames())

    for number, frame in enumerate(frames):
        expected = rgb_by_hand(noise_planes(number, 32, 48), matrix, full=color_range == 2)
        assert_close(frame.image, expected, atol=2e-6, rtol=0)
    color = VideoSource(clip).info().color
    assert (color.range, color.matrix) == (color_range, matrix)


@pytest.mark.parametrize(("height", "matrix"), [(718, 6), (720, 1)])
def test_untagged_video_is_limited_and_its_matrix_follows_the_height(
    make_clip: MakeClip, height: int, matrix: int
):
    clip = make_clip(
        "clip.mkv", codec="ffv1", pix_fmt="yuv444p", size=(height, 16), pts=[0], planes=noise_planes
    )

    (frame,) = VideoSource(clip).frames()

    expected = rgb_by_hand(noise_planes(0, height, 16), matrix, full=False)
    assert_close(frame.image, expected, atol=2e-6, rtol=0)


def test_ten_bits_are_not_cut_to_eight(make_clip: MakeClip):
    def planes(_number: int, height: int, width: int):
        luma = 400 + np.arange(height * width).reshape(height, width) % 200
        return [luma, np.full_like(luma, 513), np.full_like(luma, 510)]

    clip = make_clip("clip.mkv", codec="ffv1", pix_fmt="yuv444p10le", planes=planes, pts=[0])

    (frame,) = VideoSource(clip).frames()

    expected = rgb_by_hand(planes(0, 32, 48), 6, full=False, bits=10)
    assert_close(frame.image, expected, atol=2e-6, rtol=0)
    assert len(frame.image[0].unique()) == 200


def test_rgb_and_grey_video_keep_their_levels(make_clip: MakeClip):
    rgb = make_clip("rgb.avi", codec="utvideo", pix_fmt="gbrp", planes=noise_planes, pts=[0])
    grey = make_clip("grey.mkv", codec="ffv1", pix_fmt="gray", planes=noise_planes, pts=[0])
    green, blue, red = (torch.from_numpy(plane / 255) for plane in noise_planes(0, 32, 48))

    (rgb_frame,) = VideoSource(rgb).frames()
    (grey_frame,) = VideoSource(grey).frames()

    assert_close(rgb_frame.image, torch.stack((red, green, blue)).float(), atol=1e-6, rtol=0)
    assert_close(grey_frame.image, green.float().expand(3, -1, -1), atol=2e-6, rtol=0)


@pytest.mark.parametrize(
    "pts",
    [[0], [7], [0, 1], [0, 3, 4, 9, 20, 21, 22, 40], [1000, 1001, 1010, 1100]],
    ids=["one", "one-late", "two", "variable", "late-start"],
)
def test_every_frame_arrives_at_its_exact_time(make_clip: MakeClip, pts: list[int]):
    clip = make_clip(
        pts=pts,
        time_base=Fraction(1, 12800),
        options=B_FRAMES,
        # Otherwise MP4 rounds the start of the stream to a millisecond.
        container_options={"movie_timescale": "12800"},
    )

    frames = list(VideoSource(clip).frames())

    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(p, 12800) for p in pts]
    assert [frame.index for frame in frames] == list(range(len(pts)))


def test_no_frame_is_lost_to_reordering(make_clip: MakeClip):
    clip = make_clip(pts=range(23), options=B_FRAMES)
    with av.open(str(clip)) as container:
        kinds = {picture.pict_type for picture in container.decode(video=0)}
    assert av.video.frame.PictureType.B in kinds

    frames = list(VideoSource(clip).frames())

    assert len(frames) == 23 == len(read_back(clip)[0])
    assert all(later.pts > earlier.pts for earlier, later in pairwise(frames))


@pytest.mark.parametrize("codec", ["libx264", "libvpx"])
def test_any_range_of_frames_equals_a_slice_of_the_whole(make_clip: MakeClip, codec: str):
    """With seeking where packets are frames, without it for VP8 and its hidden frames."""
    options = (
        B_FRAMES if codec == "libx264" else {"g": "6", "auto-alt-ref": "1", "lag-in-frames": "5"}
    )
    clip = make_clip("clip.mkv", codec=codec, pts=range(20), options=options)
    whole = list(VideoSource(clip).frames())
    assert index_of(clip).is_exact == (codec == "libx264")

    for first in range(20):
        part = list(VideoSource(clip).frames(first, first + 3))

        expected = whole[first : first + 3]
        assert [frame.index for frame in part] == [frame.index for frame in expected]
        assert [frame.pts for frame in part] == [frame.pts for frame in expected]
        assert all(torch.equal(a.image, b.image) for a, b in zip(part, expected, strict=True))


def test_frames_that_lead_a_key_frame_on_the_screen_do_not_make_a_seek_vain(
    make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch
):
    options = {"g": "8", "bf": "2", "x264-params": "open-gop=1:b-adapt=0:scenecut=0"}
    clip = make_clip("clip.mkv", pts=range(30), options=options)
    whole = list(VideoSource(clip).frames())
    source = VideoSource(clip)
    assert len(index_of(clip).key_frames) > 2

    def refuse(_container: object) -> None:
        pytest.fail("the file was decoded from its start")

    monkeypatch.setattr(source, "_decode_all", refuse)
    for first in range(1, 30):
        (frame,) = source.frames(first, first + 1)
        assert torch.equal(frame.image, whole[first].image)


def test_the_index_lists_the_frames_of_the_decoder(make_clip: MakeClip):
    clip = make_clip(pts=[0, 2, 3, 7, 8, 9, 15, 16], options=B_FRAMES)

    index = index_of(clip)

    frames = list(VideoSource(clip).frames())
    assert list(index.pts) == [frame.pts for frame in frames]
    assert [index.key_frame_before(number) for number in range(8)] == [0] * 6 + [6, 6]


def test_a_part_is_numbered_from_zero_and_says_what_it_spans(make_clip: MakeClip):
    clip = make_clip(pts=range(0, 40, 4), time_base=Fraction(1, 100), options={"g": "3"})
    whole = list(VideoSource(clip).frames())

    part = VideoSource(clip, start=4, frames=3)
    frames = list(part.frames())

    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [frame.pts for frame in frames] == [frame.pts for frame in whole[4:7]]
    assert part.info().span_s == (Fraction(16, 100), Fraction(28, 100))
    assert (part.info().num_frames, part.info().start) == (3, 4)
    assert [frame.index for frame in part.frames(1)] == [1, 2]
    assert VideoSource(clip, start=4).info().span_s == (Fraction(16, 100), None)
    assert VideoSource(clip).info().span_s is None


def test_a_start_beyond_the_end_is_refused(make_clip: MakeClip):
    source = VideoSource(make_clip(pts=range(5)), start=5)

    with pytest.raises(InputError, match="must have more than 5 frames, got 5"):
        source.info()


@pytest.mark.parametrize("options", [{"start": -1}, {"frames": 0}, {"size": (0, 4)}])
def test_numbers_out_of_range_are_refused(options: dict[str, Any]):
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        VideoSource("clip.mp4", **options)


def test_frames_are_scaled_to_the_size_that_is_asked_for(make_clip: MakeClip):
    def flat(_number: int, height: int, width: int):
        return [np.full((height, width), level) for level in (100, 120, 140)]

    clip = make_clip(codec="ffv1", name="clip.mkv", pix_fmt="yuv444p", planes=flat, pts=[0])
    source = VideoSource(clip, size=(20, 30))

    (frame,) = source.frames()

    expected = rgb_by_hand([np.full((20, 30), level) for level in (100, 120, 140)], 6, full=False)
    assert_close(frame.image, expected, atol=1e-5, rtol=0)
    assert (source.info().height, source.info().width) == (20, 30)


def elsewhere(source: VideoSource) -> VideoSource:
    """The source as another process receives it."""
    received = pickle.loads(pickle.dumps(source))  # noqa: S301 (bytes of our own)
    assert isinstance(received, VideoSource)
    return received


def test_a_source_can_be_sent_to_another_process_before_and_after_use(make_clip: MakeClip):
    source = VideoSource(make_clip(pts=range(6)), start=2)
    fresh = elsewhere(source)
    expected = [frame.pts for frame in source.frames()]

    used = elsewhere(source)

    assert isinstance(source, Source)
    assert [frame.pts for frame in fresh.frames()] == expected
    assert [frame.pts for frame in used.frames()] == expected


def test_what_is_not_a_video_is_refused_in_one_line(tmp_path: Path, make_clip: MakeClip):
    text = tmp_path / "text.mp4"
    text.write_text("not a video")
    empty = tmp_path / "empty.mp4"
    empty.touch()
    whole = make_clip(pts=range(30))
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[:2000])

    for path in (text, empty, cut, tmp_path / "missing.mp4"):
        with pytest.raises(InputError, match=f"{path.name} must be a readable video") as caught:
            VideoSource(path).info()
        assert "\n" not in str(caught.value)


def test_sound_alone_and_cover_art_are_not_video(tmp_path: Path):
    path = tmp_path / "song.m4a"
    write_song(path)

    with pytest.raises(InputError, match=r"song.m4a must have a video stream"):
        VideoSource(path).info()


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv"])
def test_a_file_cut_short_is_reported_with_both_counts(
    make_clip: MakeClip, name: str, tmp_path: Path
):
    options = {"movflags": "+faststart"} if name.endswith("mp4") else {}
    whole = make_clip(name, pts=range(100), planes=noise_planes, container_options=options)
    cut = tmp_path / f"cut-{name}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])

    with pytest.raises(InputError, match=r"100 frames|frame \d+, after \d") as caught:
        list(VideoSource(cut).frames())

    assert cut.name in str(caught.value)
    first = next(VideoSource(cut).frames(0, 5))
    assert first.index == 0


def test_a_decoder_error_names_the_file_the_frame_and_the_time(make_clip: MakeClip, tmp_path: Path):
    clip = make_clip("clip.mov", codec="png", pix_fmt="gray", pts=range(10), planes=noise_planes)
    data = bytearray(clip.read_bytes())
    with av.open(str(clip)) as container:
        spoilt = [packet for packet in container.demux(video=0) if packet.size][6]
        position = data.index(bytes(spoilt))
        data[position : position + spoilt.size] = bytes(spoilt.size)
    damaged = tmp_path / "damaged.mov"
    damaged.write_bytes(data)
    seen = []

    with pytest.raises(
        InputError, match=r"damaged.mov cannot be decoded at frame 6, after 0.200 s"
    ):
        seen.extend(frame.index for frame in VideoSource(damaged).frames())

    assert seen == [0, 1, 2, 3, 4, 5]


def annex_b(path: Path, size: tuple[int, int], count: int) -> bytes:
    """A bare H.264 stream, which has no timestamps."""
    height, width = size
    with av.open(str(path), "w", format="h264") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(count):
            picture = av.VideoFrame(width, height, "yuv420p")
            picture.pts, picture.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path.read_bytes()


def test_a_change_of_size_is_refused_unless_a_size_is_chosen(tmp_path: Path):
    mixed = tmp_path / "mixed.h264"
    mixed.write_bytes(
        annex_b(tmp_path / "a.h264", (32, 48), 4) + annex_b(tmp_path / "b.h264", (64, 48), 3)
    )

    with pytest.raises(InputError, match=r"keep its size of 48x32, got 48x64 at frame 4 \("):
        list(VideoSource(mixed).frames())

    frames = list(VideoSource(mixed, size=(32, 48)).frames())
    assert {frame.image.shape for frame in frames} == {(3, 32, 48)}
    assert len(frames) == 7


def test_frames_without_timestamps_follow_the_frame_rate(tmp_path: Path):
    bare = tmp_path / "bare.h264"
    bare.write_bytes(annex_b(tmp_path / "a.h264", (32, 48), 5))

    frames = list(VideoSource(bare).frames())

    assert len(frames) == 5
    steps = {(later.pts - earlier.pts) * later.time_base for earlier, later in pairwise(frames)}
    assert steps == {Fraction(1, 25)}


def test_a_whole_file_raises_no_alarm_about_its_length(
    make_clip: MakeClip, caplog: pytest.LogCaptureFixture
):
    clip = make_clip("clip.mkv", pts=[0, 1, 2, 50, 51], audio=("aac", 80))

    with caplog.at_level(logging.WARNING):
        assert len(list(VideoSource(clip).frames())) == 5

    assert not caplog.records
