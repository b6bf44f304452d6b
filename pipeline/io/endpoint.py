"""The two ends of a pipeline: what a source tells and gives, what a sink promises."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Protocol, runtime_checkable

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
        color: Colour tags of the stream.
        tags: Metadata of the container.
    """

    width: int
    height: int
    time_base: Fraction
    rate: Fraction
    num_frames: int | None
    origin: Path | None = None
    start: int = 0
    span_s: tuple[Fraction, Fraction | None] | None = None
    color: ColorTags = field(default_factory=ColorTags)
    tags: dict[str, str] = field(default_factory=dict)


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

    def frames(self, first: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Decode frames ``first`` up to but not including ``stop``, in presentation order.

        Frame numbers start from zero at the first frame that this source is to yield, and
        timestamps ascend strictly.

        Raises:
            InputError: Naming file, frame and time, where decoding fails or ends too early.
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
