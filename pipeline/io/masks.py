"""Masks in the forms that people have them, joined to the frames of a video."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from operators.frame import Frame, with_changes
from pipeline.errors import InputError
from pipeline.io.endpoint import Source, StreamInfo
from pipeline.io.images import IMAGE_SUFFIXES, image_files, read_levels
from pipeline.io.thumbnails import Thumbnail, thumbnails_of
from pipeline.io.video_source import VideoSource

# JPEG makes masks noisy: anything above the middle counts as white.
DEFAULT_THRESHOLD = 0.5


class MaskedSource:
    """Frames of a source, each with the mask of what is missing in it.

    White marks what is missing; in a palette image, any index other than zero. One still image
    applies to every frame. Masks are brought to the size of the frames by nearest neighbour, cut
    at the threshold, inverted if asked, then dilated.

    Args:
        source: Gives the frames.
        masks: A still image, a folder of images, or a video.
        invert: True where the masks mark what is known.
        threshold: What is brighter than this share of white counts as white.
        dilate: Radius, in pixels of the frame, of the disc by which holes grow.
        start: Number of the mask that belongs to the first frame of ``source``, for masks of a
            whole video of which ``source`` yields a part.

    Raises:
        ValueError: If ``dilate`` or ``start`` is negative, or ``threshold`` not from 0 to 1.
    """

    has_masks = True

    def __init__(
        self,
        source: Source,
        masks: Path | str,
        *,
        invert: bool = False,
        threshold: float = DEFAULT_THRESHOLD,
        dilate: int = 0,
        start: int = 0,
    ) -> None:
        for name, value in (("dilate", dilate), ("start", start)):
            if value < 0:
                msg = f"{name} must be at least 0, got {value}"
                raise ValueError(msg)
        if not 0.0 <= threshold <= 1.0:
            msg = f"threshold must be from 0 to 1, got {threshold}"
            raise ValueError(msg)
        self.name = source.name
        self._source = source
        self._masks = Path(masks)
        self._invert = invert
        self._threshold = threshold
        self._dilate = dilate
        self._start = start

    def info(self) -> StreamInfo:
        """What is known of the frames.

        Raises:
            InputError: If the source cannot be read, or there are no masks.
        """
        if not self._masks.exists():
            msg = f"masks must exist, got {self._masks}"
            raise InputError(msg)
        return self._source.info()

    def count(self) -> int:
        """Exactly how many frames there are, each with its mask.

        Raises:
            InputError: If the frames or the masks cannot be read, or there are fewer masks than
                frames; the message names both counts.
        """
        num_frames = self._source.count()
        num_masks = self._num_masks()
        num_wanted = num_frames + self._missing_before(num_frames - 1)
        if num_masks is not None and num_masks < num_wanted:
            raise InputError(self._too_few(num_wanted, num_masks))
        return num_frames

    def notes(self) -> tuple[str, ...]:
        """What was repaired or is missing in the frames; complete after ``count``."""
        return self._source.notes()

    def frames(self, first: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Frames ``first`` up to but not including ``stop``, each with a ``(1, H, W)`` bool mask.

        Raises:
            InputError: If a frame or a mask cannot be read, or there are fewer masks than frames;
                the message names both counts.
        """
        info = self.info()
        number = self._start + first
        masks = self._whites(number)
        for frame in self._source.frames(first, stop):
            # Masks belong to the frames that the file should have.
            wanted = self._start + frame.index + self._missing_before(frame.index)
            white = next(islice(masks, wanted - number, None), None)
            number = wanted + 1
            if white is None:
                num_frames = max(info.num_frames or 0, frame.index + 1)
                raise InputError(self._too_few(num_frames, frame.index))
            height, width = frame.image.shape[-2:]
            yield with_changes(frame, mask=self._missing(white, height, width))

    def thumbnails(self, height: int, width: int) -> Iterator[Thumbnail]:
        """Every frame of the source, small; masks are not looked at.

        Raises:
            InputError: If a frame cannot be read.
        """
        return thumbnails_of(self._source, height, width)

    def _missing_before(self, index: int) -> int:
        if isinstance(self._source, VideoSource):
            return self._source.missing_before(index)
        return 0

    def _too_few(self, num_frames: int, num_masks: int) -> str:
        return (
            f"{self._masks} must hold a mask for each of {num_frames} frames, got {num_masks} masks"
        )

    def _num_masks(self) -> int | None:
        """Masks from the first that is read on; None if one still image serves all frames."""
        self.info()
        if self._masks.is_dir():
            found = len(image_files(self._masks))
        elif self._masks.suffix.lower() in IMAGE_SUFFIXES:
            return None
        else:
            found = VideoSource(self._masks).count()
        return max(0, found - self._start)

    def _missing(self, white: NDArray[np.bool_], height: int, width: int) -> Tensor:
        levels: NDArray[Any] = white.astype(np.uint8)
        if levels.shape != (height, width):
            levels = cv2.resize(levels, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        if self._invert:
            levels = 1 - levels
        if self._dilate:
            levels = cv2.dilate(levels, _disc(self._dilate))
        return torch.from_numpy(levels)[None] > 0

    def _whites(self, first: int) -> Iterator[NDArray[np.bool_]]:
        """Masks ``first`` and after it, ``(H, W)``, true where white."""
        if self._masks.is_dir():
            for path in image_files(self._masks)[first:]:
                yield white_of_image(path, self._threshold)
        elif self._masks.suffix.lower() in IMAGE_SUFFIXES:
            still = white_of_image(self._masks, self._threshold)
            while True:
                yield still
        else:
            for frame in VideoSource(self._masks).frames(first):
                yield (frame.image.mean(dim=0) > self._threshold).numpy()


def white_of_image(path: Path, threshold: float = DEFAULT_THRESHOLD) -> NDArray[np.bool_]:
    """Where an image is white, or for a palette image where its index is not zero.

    Args:
        path: A PNG or JPEG file.
        threshold: What is brighter than this share of white counts as white.

    Returns:
        ``(H, W)`` bool. Alpha does not count.

    Raises:
        InputError: If the file cannot be read.
    """
    indices = _palette_indices(path) if path.suffix.lower() == ".png" else None
    if indices is not None:
        return indices.astype(np.bool_)
    levels = read_levels(path)[:, :, :3]
    white: NDArray[np.bool_] = levels.mean(axis=2) > threshold * np.iinfo(levels.dtype).max
    return white


def _palette_indices(path: Path) -> NDArray[np.uint8] | None:
    """The indices of a palette PNG, ``(H, W)``; None for any other file."""
    # Only FFmpeg gives the indices; OpenCV looks the colours up.
    try:
        with av.open(str(path)) as container:
            picture = next(container.decode(video=0))
    except (av.FFmpegError, StopIteration, IndexError):
        return None
    if not picture.format.has_palette:
        return None
    plane = picture.planes[0]
    rows: NDArray[np.uint8] = np.frombuffer(memoryview(plane), dtype=np.uint8)
    return rows.reshape(plane.height, -1)[:, : plane.width].copy()


def _disc(radius: int) -> NDArray[np.uint8]:
    """``(2 radius + 1)`` square, 1 within ``radius`` of its centre."""
    steps = np.arange(-radius, radius + 1)
    inside = steps[:, None] ** 2 + steps[None, :] ** 2 <= radius * radius
    return inside.astype(np.uint8)
