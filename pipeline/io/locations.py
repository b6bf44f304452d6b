"""From what a user names to a source or a sink: a video file or a folder of images."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

from pipeline.errors import InputError, UsageError
from pipeline.io.endpoint import Source
from pipeline.io.hardware import OFF
from pipeline.io.image_sink import ImageFolderSink
from pipeline.io.images import DEFAULT_RATE, ImageFolderSource
from pipeline.io.video_sink import VideoSink
from pipeline.io.video_source import VideoSource


def open_source(  # noqa: PLR0913 - the options of every kind of input, by name
    path: Path | str,
    *,
    start: int = 0,
    frames: int | None = None,
    size: tuple[int, int] | None = None,
    rate: Fraction = DEFAULT_RATE,
    keep_hdr: bool = False,
    keep_damaged: bool = False,
    hwaccel: str = OFF,
) -> Source:
    """The source that a path means: a folder is images, a file is a video.

    Args:
        path: What exists.
        start: Number of the first frame to yield.
        frames: How many frames to yield at most; None for all.
        size: Height and width to scale to; None to keep the size.
        rate: Frames per second of a folder of images; a video has its own times.
        keep_hdr: True to yield the numbers of a high dynamic range as they are.
        keep_damaged: True to yield what can be read of a damaged video; an image that cannot be
            read ends a run either way.
        hwaccel: Which device decodes a video, as :class:`VideoSource` reads it.

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
    return VideoSource(
        place,
        start=start,
        frames=frames,
        size=size,
        keep_hdr=keep_hdr,
        keep_damaged=keep_damaged,
        hwaccel=hwaccel,
    )


def open_sink(
    path: Path | str,
    *,
    overwrite: bool = False,
    codec: str | None = None,
    crf: int | None = None,
    preset: str | None = None,
    pix_fmt: str | None = None,
    options: Mapping[str, str] | None = None,
) -> VideoSink | ImageFolderSink:
    """The sink that a path means: with an extension it is a video file, without one a folder.

    Args:
        path: Where the output is to be.
        overwrite: True to replace what is there.
        codec: Name of the encoder in FFmpeg, or ``png``, ``jpeg`` or ``exr`` for a folder; None
            for the one that suits the container, or ``png``.
        crf: Constant quality on the encoder's own scale; None for a high one.
        preset: Speed of the encoder on its own scale.
        pix_fmt: Pixel format; None for that of the input, as far as the encoder has it.
        options: Further options of the encoder.

    Raises:
        UsageError: If the extension is unknown, or the encoder does not take what is chosen.
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
    for name, choice in (("crf", crf), ("preset", preset)):
        if choice is not None:
            msg = f"{name} must be left out for a folder of images, which has none, got {choice}"
            raise UsageError(msg)
    return ImageFolderSink(
        place, codec=codec, pix_fmt=pix_fmt, options=options, overwrite=overwrite
    )


def require_distinct(source: Path | str, sink: Path | str) -> None:
    """Refuse an output that would replace its input.

    Raises:
        UsageError: If both are the same place, by whatever names.
    """
    first, second = Path(source).resolve(), Path(sink).resolve()
    if first == second:
        msg = f"output must be another place than the input, got {sink} for both"
        raise UsageError(msg)
