"""Folders of images as video: numbered pictures at a constant frame rate."""

import logging
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from operators.frame import Frame
from operators.functional.color import to_float
from pipeline.errors import InputError
from pipeline.io.color_tags import FULL_RANGE, RGB_MATRIX
from pipeline.io.endpoint import ColorTags, StreamInfo, require_range
from pipeline.io.exr import EXR_SUFFIX, read_exr
from pipeline.io.kept import Kept

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp", EXR_SUFFIX})
DEFAULT_RATE = Fraction(24)

# ``(H, W, C)`` of uint8 or uint16.
Levels = NDArray[Any]


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts ``frame9`` before ``frame10``: runs of digits count as numbers."""
    parts = re.split(r"(\d+)", name)
    return [(1, int(part), part) if part.isdecimal() else (0, 0, part) for part in parts]


def image_files(folder: Path) -> list[Path]:
    """The images of a folder, without its subfolders and hidden files, in natural order.

    Raises:
        InputError: If there is none, or the folder cannot be read.
    """
    try:
        names = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    except OSError as error:
        msg = f"{folder} must be a readable folder of images, got {error.strerror}"
        raise InputError(msg) from error
    files = [path for path in names if path.is_file() and not path.name.startswith(".")]
    if not files:
        msg = (
            f"{folder} must hold at least one image ({' '.join(sorted(IMAGE_SUFFIXES))}), got none"
        )
        raise InputError(msg)
    return sorted(files, key=lambda path: natural_key(path.name))


def read_levels(path: Path) -> Levels:
    """The samples of an image file as they are stored; of OpenEXR, as a display would be sent them.

    Returns:
        ``(H, W, C)``, 8 or 16 bits; grey, RGB or RGB with alpha.

    Raises:
        InputError: If the file cannot be decoded.
    """
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        msg = f"{path} must be a readable image, got {error.strerror}"
        raise InputError(msg) from error
    if path.suffix.lower() == EXR_SUFFIX:
        displayed = read_exr(path, data.tobytes())
        if displayed is None:
            msg = f"{path} must be an OpenEXR image, got something that cannot be decoded"
            raise InputError(msg)
        return displayed
    levels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if levels is None or levels.dtype not in (np.uint8, np.uint16):
        msg = f"{path} must be an image of 8 or 16 bits, got something that cannot be decoded"
        raise InputError(msg)
    if levels.ndim == 2:
        return levels[:, :, None]
    order = [2, 1, 0, 3][: levels.shape[2]]
    return np.ascontiguousarray(levels[:, :, order])


class ImageFolderSource:
    """Reads the images of a folder in the natural order of their names.

    Images of 16 bits keep their precision, grey becomes RGB, alpha is dropped with one warning.
    The first image tells how deep all are taken to be.

    Args:
        path: The folder.
        rate: Frames per second.
        start: Number of the first image to yield.
        frames: How many images to yield at most; None for all.
        size: Height and width to scale to, bicubic; None for the size of the images.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        rate: Fraction = DEFAULT_RATE,
        start: int = 0,
        frames: int | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        require_range(start, frames, size)
        if rate <= 0:
            msg = f"rate must be positive, got {rate}"
            raise ValueError(msg)
        self.path = Path(path)
        self.name = str(path)
        self._rate = Fraction(rate)
        self._start = start
        self._limit = frames
        self._size = size

    def info(self) -> StreamInfo:
        """Count the images and look at the first.

        Raises:
            InputError: If there is no image, or the first cannot be read.
        """
        height, width = self._size or self._first_size
        _, depth = self._first
        return StreamInfo(
            width=width,
            height=height,
            time_base=1 / self._rate,
            rate=self._rate,
            num_frames=len(self._files),
            start=self._start,
            color=ColorTags(range=FULL_RANGE, matrix=RGB_MATRIX),
            depth=depth,
        )

    def count(self) -> int:
        """How many images ``frames()`` yields.

        Raises:
            InputError: If there is none.
        """
        return len(self._files)

    def notes(self) -> tuple[str, ...]:
        """Nothing: an image that cannot be read ends a run."""
        return ()

    def frames(self, first: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Read images ``first`` up to but not including ``stop``; the first is shown at zero.

        Raises:
            InputError: Naming the file, where one cannot be read or has another size than the
                first.
        """
        has_alpha = False
        for number, path in enumerate(self._files[first:stop], start=first):
            levels = read_levels(path)
            if levels.shape[:2] != self._first_size and self._size is None:
                height, width = self._first_size
                msg = (
                    f"{path} must have the size {width}x{height} of the images before it, got "
                    f"{levels.shape[1]}x{levels.shape[0]}"
                )
                raise InputError(msg)
            if levels.shape[2] == 4 and not has_alpha:
                has_alpha = True
                log.warning("%s: alpha is dropped, here and in all images after it", path)
            image = _image(_scaled(levels, self._size))
            yield Frame(number, image, pts=number, time_base=1 / self._rate)

    @Kept
    def _files(self) -> list[Path]:
        files = image_files(self.path)
        end = None if self._limit is None else self._start + self._limit
        chosen = files[self._start : end]
        if not chosen:
            msg = f"{self.name} must hold more than {self._start} images, got {len(files)}"
            raise InputError(msg)
        return chosen

    @Kept
    def _first(self) -> tuple[tuple[int, int], int]:
        """Height and width of the first image, and bits of its levels."""
        levels = read_levels(self._files[0])
        height, width = levels.shape[:2]
        return (height, width), 8 * levels.itemsize

    @property
    def _first_size(self) -> tuple[int, int]:
        return self._first[0]


def _scaled(levels: Levels, size: tuple[int, int] | None) -> Levels:
    if size is None or levels.shape[:2] == size:
        return levels
    height, width = size
    shrinks = height * width < levels.shape[0] * levels.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    scaled = cv2.resize(levels, (width, height), interpolation=method)
    return scaled if scaled.ndim == 3 else scaled[:, :, None]


def _image(levels: Levels) -> Tensor:
    """``(H, W, C)`` levels to a ``(3, H, W)`` image; the alpha channel is left out."""
    planes = np.ascontiguousarray(levels[:, :, :3].transpose(2, 0, 1))
    return to_float(torch.from_numpy(planes)).expand(3, -1, -1).contiguous()
