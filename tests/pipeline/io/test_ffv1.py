"""Slices of FFV1 with a wrong checksum: decoders only log them, and show the picture before."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from clips import write_clip

from pipeline.errors import InputError
from pipeline.io import ffv1
from pipeline.io.video_source import VideoSource

SIZE = (64, 96)
NUM_SLICES = 4
NUM_FRAMES = 6
FOOTER_BYTES = 8


def noise(number: int, height: int, width: int) -> list[np.ndarray]:
    generator = np.random.default_rng(number)
    return [generator.integers(16, 236, (height, width)) for _ in range(4)]


def clip_at(path: Path, *, num_frames: int = NUM_FRAMES, **options: str) -> Path:
    chosen = {"level": "3", "slicecrc": "1", "slices": str(NUM_SLICES)} | options
    pix_fmt = chosen.pop("pix_fmt", "yuv420p")
    return write_clip(
        path,
        codec="ffv1",
        pix_fmt=pix_fmt,
        size=SIZE,
        pts=range(num_frames),
        planes=noise,
        options=chosen,
    )


def packets_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def slices_of(packet: bytes) -> list[range]:
    """Where the slices lie, by the sizes in their footers."""
    found, end = [], len(packet)
    while end:
        size = int.from_bytes(packet[end - FOOTER_BYTES : end - FOOTER_BYTES + 3], "big")
        found.append(range(end - FOOTER_BYTES - size, end))
        end = found[-1].start
    return found[::-1]


def remainder(data: Sequence[int]) -> int:
    """CRC-32 bit by bit, highest bit first, from zero."""
    state = 0
    for byte in data:
        state ^= byte << 24
        for _ in range(8):
            state = (state << 1 ^ (0x04C11DB7 if state >> 31 else 0)) & 0xFFFFFFFF
    return state


def flipped(path: Path, packet: bytes, position: int, bit: int = 3) -> Path:
    """Turn over one bit of a packet in the file."""
    data = bytearray(path.read_bytes())
    data[data.index(packet) + position] ^= 1 << bit
    path.write_bytes(data)
    return path


def checked(path: Path) -> bool:
    with av.open(str(path)) as container:
        return ffv1.has_checksums(container.streams.video[0])


FORMATS = ["yuv420p", "gray", "yuva420p", "yuv444p10le", "bgr0"]


@pytest.mark.parametrize("pix_fmt", FORMATS)
@pytest.mark.parametrize("coder", ["rice", "range_def", "range_tab"])
@pytest.mark.parametrize("context", ["0", "1"])
def test_the_header_tells_whether_slices_have_checksums(
    tmp_path: Path, pix_fmt: str, coder: str, context: str
):
    if coder == "rice" and pix_fmt == "yuv444p10le":
        coder = "range_def"  # the encoder has no other for deep pictures
    for slicecrc in ("0", "1"):
        path = clip_at(
            tmp_path / f"{slicecrc}.mkv",
            num_frames=1,
            pix_fmt=pix_fmt,
            coder=coder,
            context=context,
            slicecrc=slicecrc,
        )

        assert checked(path) == (slicecrc == "1")


def test_versions_without_slices_and_other_codecs_have_none(tmp_path: Path):
    assert not checked(write_clip(tmp_path / "old.mkv", codec="ffv1", options={"level": "1"}))
    assert not checked(write_clip(tmp_path / "clip.mp4"))


def test_a_header_of_which_a_bit_is_wrong_says_nothing_and_does_not_hang(tmp_path: Path):
    with av.open(str(clip_at(tmp_path / "clip.mkv"))) as container:
        context = container.streams.video[0].codec_context
        record = bytes(context.extradata or b"")
        for position in range(len(record)):
            spoilt = bytearray(record)
            spoilt[position] ^= 16
            context.extradata = bytes(spoilt)
            assert not ffv1.has_checksums(container.streams.video[0])


def test_checksums_are_those_of_a_loop_over_bits(tmp_path: Path):
    packet = packets_of(clip_at(tmp_path / "clip.mkv", num_frames=1))[0]

    slices = slices_of(packet)

    assert len(slices) == NUM_SLICES
    assert [remainder(packet[part.start : part.stop]) for part in slices] == [0] * NUM_SLICES
    assert ffv1.damage(packet) is None


@pytest.mark.parametrize("place", ["first byte", "middle", "status", "checksum"])
@pytest.mark.parametrize("number", range(NUM_SLICES))
def test_one_wrong_bit_in_any_slice_is_found_and_placed(tmp_path: Path, number: int, place: str):
    packet = packets_of(clip_at(tmp_path / "clip.mkv", num_frames=1))[0]
    part = slices_of(packet)[number]
    position = {
        "first byte": part.start,
        "middle": (part.start + part.stop) // 2,
        "status": part.stop - 5,
        "checksum": part.stop - 1,
    }[place]
    spoilt = bytearray(packet)
    spoilt[position] ^= 1

    assert ffv1.damage(bytes(spoilt)) == (
        f"a slice has a wrong checksum (bytes {part.start} to {part.stop})"
    )


def test_a_wrong_size_and_a_packet_that_is_cut_are_found(tmp_path: Path):
    packet = packets_of(clip_at(tmp_path / "clip.mkv", num_frames=1))[0]
    for number in range(NUM_SLICES):
        spoilt = bytearray(packet)
        spoilt[slices_of(packet)[number].stop - FOOTER_BYTES] ^= 128
        assert ffv1.damage(bytes(spoilt)) == "a slice has a wrong size"
    for kept in (1, 7, 8, len(packet) // 2, len(packet) - 1):
        assert ffv1.damage(packet[:kept]) is not None


@pytest.mark.parametrize("suffix", [".mkv", ".avi", ".mp4"])
def test_a_damaged_slice_ends_a_run_with_frame_and_time(tmp_path: Path, suffix: str):
    path = clip_at(tmp_path / f"clip{suffix}")
    packet = packets_of(path)[3]
    source = VideoSource(flipped(path, packet, len(packet) // 2))

    seen = []
    with pytest.raises(
        InputError,
        match=r"cannot be decoded at frame 3, after 0\.080 s: a slice has a wrong checksum",
    ):
        seen.extend(source.frames())

    assert [frame.index for frame in seen] == [0, 1, 2]


def test_a_single_damaged_frame_is_noticed(tmp_path: Path):
    path = clip_at(tmp_path / "clip.mkv", num_frames=1, slices="1")
    packet = packets_of(path)[0]

    with pytest.raises(InputError, match=r"at frame 0, .*: a slice has a wrong checksum"):
        VideoSource(flipped(path, packet, 100)).info()


@pytest.mark.parametrize("number", range(NUM_SLICES))
def test_a_damaged_slice_may_be_kept_and_is_named(tmp_path: Path, number: int):
    path = clip_at(tmp_path / "clip.mkv", g="1")
    whole = [frame.image for frame in VideoSource(path).frames()]
    packet = packets_of(path)[3]
    part = slices_of(packet)[number]
    source = VideoSource(flipped(path, packet, part.start + 40), keep_damaged=True)

    kept = [frame.image for frame in source.frames()]

    assert source.count() == NUM_FRAMES
    assert source.notes() == (f"{path} is damaged: 1 of the frames kept were damaged: 3 (0.120 s)",)
    assert [torch.equal(*images) for images in zip(kept, whole, strict=True)] == [
        frame != 3 for frame in range(NUM_FRAMES)
    ]


def test_damage_goes_on_to_the_next_key_frame_and_is_named_as_far(tmp_path: Path):
    path = clip_at(tmp_path / "clip.mkv", g="4")
    whole = [frame.image for frame in VideoSource(path).frames()]
    packet = packets_of(path)[1]
    source = VideoSource(flipped(path, packet, 400), keep_damaged=True)

    kept = [frame.image for frame in source.frames()]

    assert "3 of the frames kept were damaged: 1-3 (0.040-0.120 s)" in source.notes()[0]
    assert [torch.equal(*images) for images in zip(kept, whole, strict=True)] == [
        frame not in {1, 2, 3} for frame in range(NUM_FRAMES)
    ]


def test_a_file_without_checksums_is_read_as_ever(tmp_path: Path):
    path = clip_at(tmp_path / "clip.mkv", slicecrc="0")
    source = VideoSource(path)

    assert source.count() == len(list(source.frames())) == NUM_FRAMES
