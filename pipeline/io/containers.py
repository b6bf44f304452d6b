"""What the containers that we write can hold, by file name extension."""

import io
import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from pipeline.errors import UsageError


@dataclass(frozen=True, slots=True)
class Container:
    """One kind of file.

    Attributes:
        format: FFmpeg's name of the muxer.
        codec: Encoder where none is chosen.
        can_be_negative: True if sound may begin before zero without moving the pictures.
        has_timestamps: False if frames are shown at a constant rate, one after the other.
        has_global_header: True if what a decoder must know first stands at the head of the file,
            not in the first packet.
    """

    format: str
    codec: str = "libx264"
    can_be_negative: bool = False
    has_timestamps: bool = True
    has_global_header: bool = True

    def options(self, time_base: Fraction) -> dict[str, str]:
        """Options of the muxer for video that counts in ``time_base``."""
        if self.format not in {"mov", "mp4"}:
            # Nothing is moved: what begins too early is known, and left out.
            return {"avoid_negative_ts": "disabled"}
        # The start of a stream is stated in ticks of the movie, by default milliseconds.
        ticks_hz = math.lcm(1000, time_base.denominator)
        options = {"movflags": "+faststart"}
        if ticks_hz < _LARGEST_TIMESCALE:
            options["movie_timescale"] = str(ticks_hz)
        return options


_LARGEST_TIMESCALE = 1 << 31

CONTAINERS = {
    ".avi": Container("avi", has_timestamps=False, has_global_header=False),
    ".mkv": Container("matroska"),
    ".mov": Container("mov", can_be_negative=True),
    ".mp4": Container("mp4", can_be_negative=True),
    ".webm": Container("webm", codec="libvpx-vp9"),
}


def container_of(path: Path) -> Container:
    """The kind of file that a name asks for.

    Raises:
        UsageError: If the extension is none of those that can be written.
    """
    container = CONTAINERS.get(path.suffix.lower())
    if container is None:
        msg = f"output must end in one of {' '.join(CONTAINERS)}, got {path}"
        raise UsageError(msg)
    return container


def require_holds(kind: Container, codec: str) -> None:
    """Require that a kind of file can hold what an encoder makes.

    Raises:
        UsageError: If it cannot.
    """
    if not _holds(kind.format, codec):
        suffix = next(name for name, container in CONTAINERS.items() if container == kind)
        msg = f"codec must be one that a {suffix} file can hold, got {codec!r}"
        raise UsageError(msg)


# Containers for segments, best first. NUT keeps packets, time bases and timestamps exactly as
# encoders make them; what it has no tag for (ProRes, DNxHD) is without B-frames and without
# parameters outside its packets, so that QuickTime keeps it as exactly.
_SEGMENT_FORMATS = ("nut", "mov")


def segment_format(codec: str) -> str:
    """The muxer for segments made by an encoder, which is also their extension without the dot."""
    return next((name for name in _SEGMENT_FORMATS if _holds(name, codec)), _SEGMENT_FORMATS[0])


def _holds(format_name: str, codec: str) -> bool:
    # A container that is closed before its first packet writes nothing.
    with av.open(io.BytesIO(), "w", format=format_name) as container:
        return codec in container.supported_codecs
