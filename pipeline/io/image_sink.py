"""A folder of numbered images that is being written."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import cv2
import torch
from torch import Tensor

from operators.frame import Frame
from operators.functional.color import to_levels
from pipeline.errors import InputError, SegmentError, UsageError
from pipeline.io.endpoint import Sink, StreamInfo
from pipeline.io.exr import EXR_SUFFIX, exr_of
from pipeline.io.part_file import PartFile, disk_space, link_or_copy

# Kinds of image by the name that a user chooses, with their extension and the names of what
# a pixel can be; the first is for sources of 8 bits, the last for deeper ones.
IMAGE_KINDS = {
    "png": (".png", ("rgb24", "rgb48")),
    "jpeg": (".jpg", ("rgb24",)),
    "exr": (EXR_SUFFIX, ("gbrpf16",)),
}
_DEPTHS = {"rgb24": 8, "rgb48": 16, "gbrpf16": 16}
_DEFAULT_QUALITY = 95
_NUMBERED = re.compile(rf"\d{{5,}}({'|'.join(suffix for suffix, _ in IMAGE_KINDS.values())})")


class ImageFolderSink:
    """Writes frames as ``00000.png``, ``00001.png`` and so on, RGB or grey.

    Args:
        path: The folder; it appears when it is complete.
        codec: ``png``, ``jpeg`` or ``exr``; None for ``png``.
        pix_fmt: ``rgb24`` or ``rgb48`` for PNG of 8 or 16 bits; None for as many as the input has.
        options: ``quality`` of JPEG, from 1 to 100, 95 by default.
        overwrite: True to replace an existing folder, if it holds nothing but such images.

    Raises:
        UsageError: If a choice is none of these.
    """

    # A segment is a folder too.
    segment_suffix = ""

    def __init__(
        self,
        path: Path | str,
        *,
        codec: str | None = None,
        pix_fmt: str | None = None,
        options: Mapping[str, str] | None = None,
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        self.name = str(path)
        self._codec = codec or "png"
        self._pix_fmt = pix_fmt
        self._options = dict(options or {})
        _require_kind(self._codec, pix_fmt)
        self._suffix = IMAGE_KINDS[self._codec][0]
        self._quality = _quality_of(self._codec, self._options)
        self._part = PartFile(self.path, overwrite=overwrite)
        self._num_frames: int | None = None
        self._depth = 8

    def depth(self, info: StreamInfo) -> int:
        """Bits of a level of the output.

        Args:
            info: The stream that is to be written.
        """
        choices = IMAGE_KINDS[self._codec][1]
        return _DEPTHS[self._pix_fmt or choices[-1 if info.depth > 8 else 0]]

    def open(self, info: StreamInfo) -> None:
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
        self._depth = self.depth(info)

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
        data = self._encoded(frame.image)
        with disk_space(self.name):
            self._next_image().write_bytes(data)
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
        sink = ImageFolderSink(
            path,
            codec=self._codec,
            pix_fmt=self._pix_fmt,
            options=self._options,
            overwrite=True,
        )
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
        # Whoever joins holds the lock on the segments of this output.
        self._part.remove_leftovers()
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
        if not names or names != {self._image_name(number) for number in range(len(names))}:
            msg = (
                f"{segment} must be a segment, a folder of {self._suffix} files numbered from "
                f"zero, got {len(names)} files"
            )
            raise SegmentError(msg)
        for number in range(len(names)):
            with disk_space(self.name):
                link_or_copy(segment / self._image_name(number), self._next_image())
            self._num_frames = (self._num_frames or 0) + 1

    def _encoded(self, image: Tensor) -> bytes:
        if self._codec == "exr":
            return exr_of(image)
        kind = torch.uint8 if self._depth == 8 else torch.uint16
        levels = to_levels(image, kind).permute(1, 2, 0).cpu().numpy()[:, :, ::-1]
        choices = [] if self._quality is None else [cv2.IMWRITE_JPEG_QUALITY, self._quality]
        if self._codec == "jpeg":
            choices += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
        _, data = cv2.imencode(self._suffix, levels, choices)
        return data.tobytes()

    def _image_name(self, number: int) -> str:
        return f"{number:05d}{self._suffix}"

    def _next_image(self) -> Path:
        return self._part.part / self._image_name(self._num_frames or 0)

    def _require_replaceable(self) -> None:
        """Refuse to replace, that is to delete, anything that no sink has written."""
        if not self.path.exists():
            return
        entries = list(self.path.iterdir()) if self.path.is_dir() else [self.path]
        strange = [entry.name for entry in entries if not _NUMBERED.fullmatch(entry.name)]
        if strange:
            msg = (
                f"folder {self.path} must hold nothing but numbered images to be overwritten, got "
                f"{min(strange)}"
            )
            raise UsageError(msg)


def _require_kind(codec: str, pix_fmt: str | None) -> None:
    if codec not in IMAGE_KINDS:
        msg = f"codec must be one of {', '.join(IMAGE_KINDS)} for a folder of images, got {codec!r}"
        raise UsageError(msg)
    _, choices = IMAGE_KINDS[codec]
    if pix_fmt is not None and pix_fmt not in choices:
        msg = f"pix_fmt must be one of {', '.join(choices)} for {codec} images, got {pix_fmt!r}"
        raise UsageError(msg)


def _quality_of(codec: str, options: Mapping[str, str]) -> int | None:
    known = {"quality"} if codec == "jpeg" else set()
    unknown = sorted(options.keys() - known)
    if unknown:
        msg = f"options must be options of {codec} images, got {', '.join(unknown)}"
        raise UsageError(msg)
    if codec != "jpeg":
        return None
    value = options.get("quality", str(_DEFAULT_QUALITY))
    if not value.isdecimal() or not 1 <= int(value) <= 100:
        msg = f"quality must be a whole number from 1 to 100, got {value!r}"
        raise UsageError(msg)
    return int(value)
