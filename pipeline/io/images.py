"""Folders of images as video: numbered pictures at a constant frame rate."""

import logging
import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from operators.frame import Frame
from operators.functional.color import to_float, to_levels
from pipeline.errors import InputError, SegmentError, UsageError
from pipeline.io.endpoint import ColorTags, Sink, StreamInfo
from pipeline.io.part_file import PartFile, disk_space, link_or_copy
from pipeline.io.pixels import FULL_RANGE, RGB_MATRIX
from pipeline.io.video_source import require_range

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
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
    """The samples of an image file as they are stored.

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
        return StreamInfo(
            width=width,
            height=height,
            time_base=1 / self._rate,
            rate=self._rate,
            num_frames=len(self._files),
            start=self._start,
            color=ColorTags(range=FULL_RANGE, matrix=RGB_MATRIX),
        )

    def count(self) -> int:
        """How many images ``frames()`` yields.

        Raises:
            InputError: If there is none.
        """
        return len(self._files)

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

    @cached_property
    def _files(self) -> list[Path]:
        files = image_files(self.path)
        end = None if self._limit is None else self._start + self._limit
        chosen = files[self._start : end]
        if not chosen:
            msg = f"{self.name} must hold more than {self._start} images, got {len(files)}"
            raise InputError(msg)
        return chosen

    @cached_property
    def _first_size(self) -> tuple[int, int]:
        height, width = read_levels(self._files[0]).shape[:2]
        return height, width


class ImageFolderSink:
    """Writes frames as ``00000.png``, ``00001.png`` and so on, 8 bits, RGB or grey.

    Args:
        path: The folder; it appears when it is complete.
        overwrite: True to replace an existing folder, if it holds nothing but such images.
    """

    # A segment is a folder too.
    segment_suffix = ""

    def __init__(self, path: Path | str, *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self.name = str(path)
        self._part = PartFile(self.path, overwrite=overwrite)
        self._num_frames: int | None = None

    def open(self, info: StreamInfo) -> None:  # noqa: ARG002 (the promise of every sink)
        """Make the temporary folder beside the final one.

        Raises:
            UsageError: If the place cannot be written.
            ResourceError: If the disk is full.
        """
        self._part.require_writable()
        self._require_replaceable()
        self._part.remove()
        with disk_space(self.name):
            self._part.part.mkdir()
        self._num_frames = 0

    def write(self, frame: Frame) -> None:
        """Write the next image.

        Raises:
            UsageError: If it has neither 1 nor 3 channels.
            ResourceError: If the disk is full.
        """
        if self._num_frames is None:
            msg = f"{self.name} must be opened before frame {frame.index} is written"
            raise ValueError(msg)
        if frame.image.shape[0] not in {1, 3}:
            msg = (
                f"{self.name} must get frames of 1 or 3 channels, got {frame.image.shape[0]} at "
                f"frame {frame.index}; map them to colours before writing"
            )
            raise UsageError(msg)
        levels = to_levels(frame.image).permute(1, 2, 0).cpu().numpy()[:, :, ::-1]
        _, data = cv2.imencode(".png", levels)
        with disk_space(self.name):
            self._next_image().write_bytes(data.tobytes())
        self._num_frames += 1

    def close(self) -> None:
        """Finish: every image is on disk and the folder has its final name.

        Raises:
            InputError: If no frame was written.
            ResourceError: If the disk is full.
        """
        if self._num_frames is None:
            return
        if self._num_frames == 0:
            self.abort()
            msg = f"{self.name} must get at least one frame, got none"
            raise InputError(msg)
        with disk_space(self.name):
            self._part.publish()
        self._num_frames = None

    def abort(self) -> None:
        """Remove what was written. May be called at any time, more than once."""
        self._part.remove()
        self._num_frames = None

    def segment(self, path: Path) -> Sink:
        """A sink for the images of one segment: a folder whose numbers begin at zero.

        Args:
            path: The folder.
        """
        sink = ImageFolderSink(path, overwrite=True)
        # The user knows the output, not its hidden segments.
        sink.name = self.name
        return sink

    def join(self, info: StreamInfo, parts: Iterable[Path]) -> None:
        """Make the folder of its segments, numbering on; files are linked where disks allow it.

        Args:
            info: The stream that the segments were opened with.
            parts: The folders, in the order of the video; they stay where they are.

        Raises:
            InputError: If there is no segment.
            SegmentError: Naming the segment, if it holds something else than the images that a
                sink has written.
            UsageError: If the place cannot be written.
            ResourceError: If the disk is full.
        """
        self.open(info)
        try:
            for part in parts:
                self._append(part)
        except BaseException:
            self.abort()
            raise
        self.close()

    def _append(self, segment: Path) -> None:
        """Link the images of a segment behind those that are there."""
        names = {entry.name for entry in segment.iterdir()} if segment.is_dir() else set()
        if not names or names != {_image_name(number) for number in range(len(names))}:
            msg = (
                f"{segment} must be a segment, a folder of .png files numbered from zero, got "
                f"{len(names)} files"
            )
            raise SegmentError(msg)
        for number in range(len(names)):
            with disk_space(self.name):
                link_or_copy(segment / _image_name(number), self._next_image())
            self._num_frames = (self._num_frames or 0) + 1

    def _next_image(self) -> Path:
        return self._part.part / _image_name(self._num_frames or 0)

    def _require_replaceable(self) -> None:
        """Refuse to replace, that is to delete, anything that no sink has written."""
        if not self.path.exists():
            return
        entries = list(self.path.iterdir()) if self.path.is_dir() else [self.path]
        strange = [entry.name for entry in entries if not re.fullmatch(r"\d{5,}\.png", entry.name)]
        if strange:
            msg = (
                f"folder {self.path} must hold nothing but numbered .png files to be overwritten, "
                f"got {min(strange)}"
            )
            raise UsageError(msg)


def _image_name(number: int) -> str:
    return f"{number:05d}.png"


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
    if planes.dtype == np.uint8:
        image = to_float(torch.from_numpy(planes))
    else:
        image = torch.from_numpy(planes.astype(np.float32)) / float((1 << 16) - 1)
    return image.expand(3, -1, -1).contiguous()
