"""Files damaged on purpose, by number so that each can be made again."""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any
from zlib import crc32

import av
import cv2
import numpy as np
from av.stream import Discard, Disposition

# Where headers and tables are, at either end of a file.
END_BYTES = 3000
MOST_FAILURES = 500
SIZE = (64, 36)
THUMBNAIL = (16, 12)

Damage = Callable[[bytearray, np.random.Generator], str]


@dataclass
class Reading:
    """What a plain reader makes of a file: PyAV alone, one thread, errors passed over.

    Attributes:
        errors: Everything that went wrong, in FFmpeg's words.
        times: When each picture is shown, in seconds; None where nobody says.
        pictures: Each picture, a thumbnail in RGB.
        sound: Of each track of sound its packets, as checksums.
        unheard: Of each track the number of packets before zero, which only prepare a decoder.
        is_turned: Whether players turn or mirror the pictures.
        codec: FFmpeg's name of the codec of the pictures.
    """

    errors: list[str] = field(default_factory=list)
    times: list[Fraction | None] = field(default_factory=list)
    pictures: list[np.ndarray] = field(default_factory=list)
    sound: dict[int, list[int]] = field(default_factory=dict)
    unheard: dict[int, int] = field(default_factory=dict)
    is_turned: bool = False
    codec: str = ""


def mutated(data: bytes, number: int) -> tuple[bytes, str]:
    """A damaged copy of a file.

    Args:
        data: The file.
        number: Of the mutation: its kind, its places and its values follow from it alone.

    Returns:
        The copy, and what was done to it in words.
    """
    generator = np.random.default_rng(number)
    copy = bytearray(data)
    what = KINDS[number % len(KINDS)](copy, generator)
    return bytes(copy), f"mutation {number}, {what}"


def read(path: Path, *, as_stored: bool = False) -> Reading:
    """Read a file as far as it can be read.

    Args:
        path: The file.
        as_stored: True for packets as they lie in the file: of sound that was damaged before it
            was copied, FFmpeg's parsers would take half a packet and the next for one.
    """
    reading = Reading()
    options = {"fflags": "noparse"} if as_stored else {}
    try:
        container = av.open(str(path), metadata_errors="replace", container_options=options)
    except (av.FFmpegError, OSError) as error:
        reading.errors.append(f"opening: {error}")
        return reading
    with container:
        _read(container, reading)
    return reading


def _read(container: av.container.InputContainer, reading: Reading) -> None:
    best = container.streams.best("video")
    moving = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not moving or moving[0].codec_context is None:
        reading.errors.append("no video")
        return
    video = next((s for s in moving if s is best), moving[0])
    video.thread_type = "NONE"
    video.codec_context.thread_count = 1
    reading.codec = video.codec_context.codec.canonical_name
    reading.sound = {s.index: [] for s in container.streams.audio if s.discard != Discard.all}
    reading.unheard = dict.fromkeys(reading.sound, 0)
    failures = 0
    while failures < MOST_FAILURES:
        try:
            for packet in container.demux():
                if packet.size:
                    failures = 0
                    _take(packet, video, reading)
        except av.FFmpegError as error:
            failures += 1
            reading.errors.append(f"reading: {error}")
        else:
            break
    _decode(None, video, reading)


def _take(packet: "av.Packet[Any]", video: av.VideoStream, reading: Reading) -> None:
    if packet.is_corrupt:
        reading.errors.append("a packet is marked as corrupt")
    if packet.stream.index == video.index:
        _decode(packet, video, reading)
    elif packet.stream.index in reading.sound:
        # Not of all: what stands in front of AAC in a transport stream does not in other files.
        reading.sound[packet.stream.index].append(crc32(bytes(packet)[-8:]))
        reading.unheard[packet.stream.index] += packet.pts is not None and packet.pts < 0


def _decode(packet: "av.Packet[Any] | None", video: av.VideoStream, reading: Reading) -> None:
    try:
        pictures = video.decode(packet)
    except av.FFmpegError as error:
        reading.errors.append(f"decoding: {error}")
        return
    for picture in pictures:
        if picture.is_corrupt:
            reading.errors.append("a picture is marked as corrupt")
        reading.is_turned = reading.is_turned or bool(picture.side_data.get("DISPLAYMATRIX"))
        # As small as it is to be in the output, before garbage is clipped to what RGB can say.
        small = picture.reformat(*SIZE, interpolation="BICUBIC")
        colors = small.to_ndarray(format="rgb24")
        is_known = picture.pts is not None and video.time_base is not None
        reading.times.append(picture.pts * video.time_base if is_known else None)
        reading.pictures.append(cv2.resize(colors, THUMBNAIL, interpolation=cv2.INTER_AREA))


def _flip(copy: bytearray, generator: np.random.Generator) -> str:
    """Bits anywhere: mostly inside of pictures."""
    places = generator.integers(0, len(copy), generator.integers(1, 30)).tolist()
    for place in places:
        copy[place] ^= 1 << int(generator.integers(8))
    return f"{len(places)} bits flipped, the first at {min(places)}"


def _flip_at_an_end(copy: bytearray, generator: np.random.Generator) -> str:
    """A few bits where headers and tables are."""
    offsets = generator.integers(0, min(END_BYTES, len(copy)), generator.integers(1, 4))
    is_head = generator.random() < 0.5
    places = [int(offset) if is_head else len(copy) - 1 - int(offset) for offset in offsets]
    for place in places:
        copy[place] ^= 1 << int(generator.integers(8))
    return f"bits flipped at {places}"


def _cut(copy: bytearray, generator: np.random.Generator) -> str:
    """The end is missing."""
    length = int(generator.integers(0, len(copy)))
    del copy[length:]
    return f"cut off after {length} bytes"


def _swap(copy: bytearray, generator: np.random.Generator) -> str:
    """Two stretches changed places."""
    size = int(2 ** generator.uniform(4, 14)) % (len(copy) // 3)
    first = int(generator.integers(0, len(copy) - 2 * size))
    second = int(generator.integers(first + size, len(copy) - size))
    one, other = copy[first : first + size], copy[second : second + size]
    copy[first : first + size], copy[second : second + size] = other, one
    return f"{size} bytes at {first} and at {second} swapped"


def _zero(copy: bytearray, generator: np.random.Generator) -> str:
    """A stretch that was never written."""
    size = int(2 ** generator.uniform(3, 14)) % (len(copy) // 2)
    first = int(generator.integers(0, len(copy) - size))
    copy[first : first + size] = bytes(size)
    return f"{size} bytes at {first} zeroed"


KINDS: tuple[Damage, ...] = (_flip, _flip_at_an_end, _cut, _swap, _zero)
