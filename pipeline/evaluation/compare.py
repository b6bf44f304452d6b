"""The same video by different means, side by side, as a strip, and as a slice through time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import cv2
import numpy as np
import torch
from torch import Tensor

from operators.frame import Frame, with_changes
from operators.functional.color import to_float, to_levels
from pipeline.errors import InputError
from pipeline.io.endpoint import Sink, Source, StreamInfo

LABEL_HEIGHT_PX = 24
GAP_PX = 4


@dataclass(frozen=True, slots=True)
class Column:
    """One version of the video.

    Attributes:
        label: Shown above it.
        source: Where its frames come from.
    """

    label: str
    source: Source


def side_by_side(columns: Sequence[Column], sink: Sink) -> None:
    """Write a video that shows all versions next to each other.

    Args:
        columns: The versions, left to right; of equal size and length.
        sink: Where the video goes. Times and sound are those of the first column.

    Raises:
        InputError: If the versions differ in size or in length.
    """
    sink.open(_joined(columns[0].source.info(), len(columns)))
    try:
        for row in _rows(columns):
            labelled = [
                _label(frame.image, column.label)
                for frame, column in zip(row, columns, strict=True)
            ]
            sink.write(with_changes(row[0], image=_join(labelled, dim=2)))
        sink.close()
    except BaseException:
        sink.abort()
        raise


def strip(columns: Sequence[Column], times: Sequence[int]) -> Tensor:
    """A picture with one row for each version and one column for each chosen frame.

    The last column is a slice through time: the middle line of pixels of every frame, below one
    another. What is steady shows as clean vertical streaks, flicker as horizontal noise.

    Args:
        columns: The versions, from top to bottom; of equal size and length.
        times: Numbers of the frames to show, ascending.

    Returns:
        ``(3, H', W')`` in ``[0, 1]``.

    Raises:
        InputError: If the versions differ in size or in length, or end before the last time.
    """
    shown: list[list[Tensor]] = [[] for _ in columns]
    lines: list[list[Tensor]] = [[] for _ in columns]
    for number, row in enumerate(_rows(columns)):
        for version, frame in enumerate(row):
            lines[version].append(frame.image[:, frame.image.shape[1] // 2])
            if number in times:
                shown[version].append(frame.image)
    if any(len(images) != len(times) for images in shown):
        msg = f"frames of a strip must be below {len(lines[0])}, got {list(times)}"
        raise InputError(msg)
    rows = []
    for column, images, history in zip(columns, shown, lines, strict=True):
        height, width = images[0].shape[-2:]
        through_time = _stretch(torch.stack(history, dim=1), height, width)
        rows.append(_label(_join([*images, through_time], dim=2), column.label))
    return _join(rows, dim=1)


def _rows(columns: Sequence[Column]) -> Iterator[tuple[Frame, ...]]:
    streams = [column.source.frames() for column in columns]
    number = 0
    while True:
        row = [next(stream, None) for stream in streams]
        frames = [frame for frame in row if frame is not None]
        if not frames:
            return
        sizes = {tuple(frame.image.shape) for frame in frames}
        if len(frames) != len(row) or len(sizes) != 1:
            names = ", ".join(column.source.name for column in columns)
            msg = (
                f"versions of a video must be of equal size and length, got {names} "
                f"(frame {number})"
            )
            raise InputError(msg)
        number += 1
        yield tuple(frames)


def _joined(info: StreamInfo, num_columns: int) -> StreamInfo:
    """What is known of several pictures side by side, labelled; pixels keep their shape."""
    width = num_columns * info.width + (num_columns - 1) * GAP_PX
    height = info.height + LABEL_HEIGHT_PX
    aspect = info.display_aspect
    if aspect is not None:
        aspect *= Fraction(width, info.width) / Fraction(height, info.height)
    return replace(info, width=width, height=height, display_aspect=aspect)


def _label(image: Tensor, text: str) -> Tensor:
    """Put a line of text above a picture."""
    dark, bright = to_levels(torch.tensor([0.1, 1.0])).tolist()
    bar = np.full((LABEL_HEIGHT_PX, image.shape[-1], 3), dark, np.uint8)
    position = (6, LABEL_HEIGHT_PX - 7)
    cv2.putText(bar, text, position, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (bright,) * 3, 1, cv2.LINE_AA)
    return torch.cat((to_float(torch.from_numpy(bar)).permute(2, 0, 1), image), dim=1)


def _join(images: Sequence[Tensor], *, dim: int) -> Tensor:
    gap_shape = list(images[0].shape)
    gap_shape[dim] = GAP_PX
    gap = torch.ones(gap_shape)
    parts = [part for image in images for part in (image, gap)]
    return torch.cat(parts[:-1], dim=dim)


def _stretch(image: Tensor, height: int, width: int) -> Tensor:
    """Repeat pixels up to a size: a slice must not be smoothed, flicker would vanish."""
    size = (height, width)
    return torch.nn.functional.interpolate(image[None], size=size, mode="nearest")[0]
