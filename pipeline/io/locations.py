"""From what a user names to a source or a sink: a video file or a folder of images."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

from pipeline.errors import InputError, UsageError
from pipeline.io.endpoint import SegmentedSink, Source
from pipeline.io.images import DEFAULT_RATE, ImageFolderSink, ImageFolderSource
from pipeline.io.video_sink import VideoSink
from pipeline.io.video_source import VideoSource


def open_source(
    path: Path | str,
    *,
    start: int = 0,
    frames: int | None = None,
    size: tuple[int, int] | None = None,
    rate: Fraction = DEFAULT_RATE,
) -> Source:
    """The source that a path means: a folder is images, a file is a video.

    Args:
        path: What exists.
        start: Number of the first frame to yield.
        frames: How many frames to yield at most; None for all.
        size: Height and width to scale to; None to keep the size.
        rate: Frames per second of a folder of images; a video has its own times.

    Raises:
        InputError: If nothing is there.
        ValueError: If a number is out of range.
    """
    place = Path(path)
    if not place.exists():
        msg = f"input must exist, got {path}"
        raise InputError(msg)
    if place.is_dir():
        return ImageFolderSource(place, rate=rate, start=start, frames=frames, size=size)
    return VideoSource(place, start=start, frames=frames, size=size)


def open_sink(
    path: Path | str,
    *,
    overwrite: bool = False,
    codec: str | None = None,
    crf: int | None = None,
    preset: str | None = None,
    pix_fmt: str | None = None,
    options: Mapping[str, str] | None = None,
) -> SegmentedSink:
    """The sink that a path means: with an extension it is a video file, without one a folder.

    Args:
        path: Where the output is to be.
        overwrite: True to replace what is there.
        codec: Name of the encoder in FFmpeg; None for the one that suits the container.
        crf: Constant rate factor; None for 18.
        preset: Preset of the encoder.
        pix_fmt: Pixel format; None for one that every player shows.
        options: Further options of the encoder.

    Raises:
        UsageError: If the extension is unknown, or an encoder is chosen for a folder.
    """
    place = Path(path)
    if place.suffix and not place.is_dir():
        return VideoSink(
            place,
            codec=codec,
            crf=crf,
            preset=preset,
            pix_fmt=pix_fmt,
            options=options,
            overwrite=overwrite,
        )
    if any(choice is not None for choice in (codec, crf, preset, pix_fmt)) or options:
        msg = f"output must be a video file for an encoder to be chosen, got the folder {path}"
        raise UsageError(msg)
    return ImageFolderSink(place, overwrite=overwrite)


def require_distinct(source: Path | str, sink: Path | str) -> None:
    """Refuse an output that would replace its input.

    Raises:
        UsageError: If both are the same place, by whatever names.
    """
    first, second = Path(source).resolve(), Path(sink).resolve()
    if first == second:
        msg = f"output must be another place than the input, got {sink} for both"
        raise UsageError(msg)
