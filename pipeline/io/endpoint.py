"""The two ends of a pipeline: what a source tells and gives, what a sink promises."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from operators.frame import Frame


@dataclass(frozen=True, slots=True)
class ColorTags:
    """How the numbers of a video mean colours, as FFmpeg enumerates it; 2 is 'unspecified'.

    Attributes:
        range: 1 limited (16 to 235), 2 full (0 to 255), 0 unspecified.
        matrix: ``AVColorSpace``: 1 BT.709, 5 and 6 BT.601, 9 BT.2020.
        primaries: ``AVColorPrimaries``.
        transfer: ``AVColorTransferCharacteristic``.
    """

    range: int = 0
    matrix: int = 2
    primaries: int = 2
    transfer: int = 2


@dataclass(frozen=True, slots=True)
class LightLevels:
    """The screen that a video of high dynamic range was made on, and how bright it gets.

    Attributes:
        chromaticities: CIE x and y of red, green, blue and white; empty if unknown.
        luminances: Of the darkest and the brightest white of the screen, in cd/m²; empty if
            unknown.
        max_content: MaxCLL, the brightest sample, in cd/m²; 0 if unknown.
        max_average: MaxFALL, the brightest frame on average, in cd/m²; 0 if unknown.
    """

    chromaticities: tuple[Fraction, ...] = ()
    luminances: tuple[Fraction, ...] = ()
    max_content: int = 0
    max_average: int = 0


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What is known of a stream before its first frame.

    Attributes:
        width: Of the frames that the source yields, in pixels.
        height: Of the frames that the source yields, in pixels.
        time_base: Seconds per tick of the frames' timestamps.
        rate: Average frames per second; informative, never used to compute a time.
        num_frames: Frames that are expected, or None where the container does not say.
        origin: File that sound and metadata can be copied from, or None.
        start: First frame of ``origin`` that the source yields.
        span_s: Start and end, in seconds of ``origin``, of what the source yields; None for all.
        end_s: When the last frame is no longer shown, in seconds of ``origin``; None where nobody
            says, and it is shown as long as the one before it.
        color: Colour tags of the stream.
        tags: Metadata of the container.
        depth: Bits of a level of the source, from 8 to 16.
        pix_fmt: FFmpeg's name of the source's pixel format; None for images, which have none
            that a video should keep.
        light: Of a video of high dynamic range, where it is stated.
        display_aspect: Width over height of the whole picture as it is meant to be seen; None where
            pixels are square or nobody says what they are.
        keep_damaged: True to copy what can be read of ``origin`` where not all of it can be;
            otherwise that ends the run.
    """

    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    num_frames: int | None
    origin: Path | None = None
    start: int = 0
    span_s: tuple[Fraction, Fraction | None] | None = None
    end_s: Fraction | None = None
    color: ColorTags = field(default_factory=ColorTags)
    tags: dict[str, str] = field(default_factory=dict)
    depth: int = 8
    pix_fmt: str | None = None
    light: LightLevels | None = None
    display_aspect: Fraction | None = None
    keep_damaged: bool = False


def require_range(start: int, frames: int | None, size: tuple[int, int] | None) -> None:
    """Require a sensible part of a video and a sensible size.

    Raises:
        ValueError: If ``start`` is negative, or ``frames`` or a side of ``size`` below 1.
    """
    if start < 0:
        msg = f"start must be at least 0, got {start}"
        raise ValueError(msg)
    if frames is not None and frames < 1:
        msg = f"frames must be at least 1, got {frames}"
        raise ValueError(msg)
    if size is not None and min(size) < 1:
        msg = f"size must be a height and a width of at least 1, got {size}"
        raise ValueError(msg)


@runtime_checkable
class Source(Protocol):
    """Where frames come from. Cheap to build and picklable; opens files only when asked.

    Attributes:
        name: What messages call it.
    """

    name: str

    def info(self) -> StreamInfo:
        """Look at the stream without decoding it.

        Raises:
            InputError: If there is nothing there that can be read as video.
        """
        ...

    def count(self) -> int:
        """Exactly how many frames ``frames()`` yields, without decoding where packets tell.

        Raises:
            InputError: If the source cannot be read to its end, or ends too early.
        """
        ...

    def notes(self) -> tuple[str, ...]:
        """What was repaired or is missing in the source, a line each that names it.

        Complete after ``count``.
        """
        ...

    def frames(self, first: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Decode frames ``first`` up to but not including ``stop``, in presentation order.

        Frame numbers start from zero at the first frame that this source is to yield, and
        timestamps ascend strictly.

        Raises:
            InputError: Naming file, frame and time, where decoding fails or ends too early.
        """
        ...


@runtime_checkable
class ThumbnailSource(Protocol):
    """What a source also has that can show its frames small, for less than ``frames`` costs."""

    def thumbnails(self, height: int, width: int) -> Iterator[NDArray[np.uint8]]:
        """Every frame of the source, in order, ``(height, width, 3)`` RGB.

        Raises:
            InputError: As ``frames`` does.
        """
        ...


@runtime_checkable
class Sink(Protocol):
    """Where frames go. Nothing under the final name exists before ``close`` returns.

    Attributes:
        name: What messages call it.
    """

    name: str

    def open(self, info: StreamInfo) -> None:
        """Get ready for frames of a stream; the picture size comes with the first frame.

        Raises:
            UsageError: If the place cannot be written.
        """
        ...

    def write(self, frame: Frame) -> None:
        """Take the next frame."""
        ...

    def close(self) -> None:
        """Finish: everything is on disk and under its final name when this returns."""
        ...

    def abort(self) -> None:
        """Give up: remove what was written. May be called at any time, more than once."""
        ...


@runtime_checkable
class SegmentedSink(Sink, Protocol):
    """A sink whose output can also be made of segments that were written on their own.

    Cheap to build and picklable until it is opened. Segments are written anywhere, in any order
    and at the same time; joining them in order gives what writing all frames to one sink gives.

    Attributes:
        segment_suffix: What the name of a segment ends in; empty if a segment is a folder.
    """

    segment_suffix: str

    def segment(self, path: Path) -> Sink:
        """A sink for the frames of one segment, with the encoder and settings of this one.

        Timestamps stay those of the whole video; sound is left to :meth:`join`. It is opened
        with the ``StreamInfo`` of the whole video, and replaces what is at ``path``.

        Args:
            path: The segment; ends in ``segment_suffix``.
        """
        ...

    def join(self, info: StreamInfo, parts: Iterable[Path]) -> None:
        """Make the output of its segments: no frame is encoded again, none is held in memory.

        This takes the place of ``open``, ``write`` and ``close``; the segments stay where they
        are. Everything is on disk and under its final name when it returns, and nothing is left
        behind if it fails.

        Args:
            info: The stream that the segments were opened with.
            parts: The segments, in the order of the video.

        Raises:
            InputError: If there is no segment.
            SegmentError: Naming the segment, if one cannot be read, was made with other
                settings, or does not come after the one before it.
            UsageError: If the place cannot be written.
            ResourceError: If the disk is full.
        """
        ...
