"""Frames into a video file, each shown exactly when its original was."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import av
from av.container import OutputContainer

from operators.frame import Frame
from pipeline.errors import InputError, UsageError
from pipeline.io.containers import container_of, require_holds, segment_format
from pipeline.io.encoders import (
    card_refusal,
    encoder_options,
    refusal,
    require_accepted,
    require_readable,
    shows_picture,
)
from pipeline.io.endpoint import Sink, StreamInfo
from pipeline.io.join import join_segments, open_segment
from pipeline.io.part_file import PartFile, disk_space
from pipeline.io.pixel_formats import depth_of, pixel_formats
from pipeline.io.video_writer import Encoding, VideoWriter, describe_file

log = logging.getLogger(__name__)


class _EncodedFile:
    """A file that frames are encoded into, one after the other.

    Args:
        path: The file.
        encoding: How.
        overwrite: True to replace an existing file when the new one is complete.
    """

    def __init__(self, path: Path, encoding: Encoding, *, overwrite: bool) -> None:
        self.path = path
        self.name = str(path)
        self._encoding = encoding
        self._part = PartFile(path, overwrite=overwrite)
        self._info: StreamInfo | None = None
        self._writer: VideoWriter | None = None

    def open(self, info: StreamInfo) -> None:
        """Check the place and the encoder; the file itself begins with the first frame.

        Raises:
            UsageError: If the place cannot be written or the encoder is unknown.
        """
        self._part.require_writable()
        if self.path.is_dir():
            msg = f"output must be a file, got the folder {self.path}"
            raise UsageError(msg)
        pixel_formats(self._encoding.codec)
        if info.origin is not None and _is_same_file(info.origin, self.path):
            msg = f"output must be another file than the input, got {self.path} for both"
            raise UsageError(msg)
        self._info = info

    def write(self, frame: Frame) -> None:
        """Take the next frame.

        Args:
            frame: ``image`` is ``(3, H, W)`` RGB or ``(1, H, W)`` grey in ``[0, 1]``.

        Raises:
            ValueError: If its size is not that of the first, or its time not after the last.
            UsageError: If the encoder or the container cannot take it.
            ResourceError: If the disk is full.
        """
        if self._info is None:
            msg = f"{self.name} must be opened before frame {frame.index} is written"
            raise ValueError(msg)
        channels = frame.image.shape[0]
        if channels not in {1, 3}:
            msg = (
                f"{self.name} must get frames of 1 or 3 channels, got {channels} at frame "
                f"{frame.index}; map them to colours before writing"
            )
            raise UsageError(msg)
        with self._failures():
            writer = self._writer or self._begin(self._info, frame)
            writer.write(frame)

    def close(self) -> None:
        """Finish: the file is whole, on disk and under its final name when this returns.

        Raises:
            InputError: If no frame was written.
            UsageError: If the final name was taken meanwhile.
            ResourceError: If the disk is full.
        """
        if self._writer is None:
            if self._info is None:
                return
            msg = f"{self.name} must get at least one frame, got none"
            raise InputError(msg)
        with self._failures():
            self._writer.finish()
            self._writer = None
            self._publish()
        self._info = None

    def abort(self) -> None:
        """Remove what was written. May be called at any time, more than once."""
        if self._writer is not None:
            self._writer.give_up()
            self._writer = None
        self._part.remove()
        self._info = None

    def _refused(self, why: str) -> UsageError:
        return UsageError(f"{self.name} cannot be written by {refusal(self._encoding.codec, why)}")

    def _publish(self) -> None:
        """Give the finished file its name."""
        self._part.publish()

    def _begin(self, info: StreamInfo, first: Frame) -> VideoWriter:
        """Open the file for a stream that begins with ``first``."""
        raise NotImplementedError

    def _start(self, container: OutputContainer, info: StreamInfo, first: Frame) -> VideoWriter:
        self._writer = VideoWriter(self.name, container, info, self._encoding.kind, first)
        self._writer.add_video(self._encoding)
        return self._writer

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """On any error, say it in one line where it is the user's and leave nothing behind."""
        try:
            with disk_space(self.name):
                yield
        except av.FFmpegError as error:
            self.abort()
            raise self._refused(str(error.strerror)) from error
        except BaseException:
            self.abort()
            raise


class VideoSink(_EncodedFile):
    """Encodes frames into a file; sound of the input is copied beside them.

    The time base is that of the frames, so that every presentation timestamp is kept exactly,
    at a variable frame rate too. Matroska and WebM count in milliseconds: there times are rounded
    to the nearest one. AVI has no timestamps: only a constant frame rate can be written. Where
    the input was cut, its first frame is shown at zero.

    Args:
        path: The file; its extension chooses the container.
        codec: Name of the encoder in FFmpeg; None for the one that suits the container.
        crf: Constant quality on the encoder's own scale, smaller is better; None for one that is
            hard to tell from the input.
        preset: Speed of the encoder on its own scale; None for its default.
        pix_fmt: Pixel format; None for that of the input or, if the encoder or an odd side does
            not allow it, the one that loses least of it.
        options: Further options of the encoder, passed as they are.
        overwrite: True to replace an existing file when the new one is complete.

    Raises:
        UsageError: If the extension means no container, or the encoder does not take its options.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        codec: str | None = None,
        crf: int | None = None,
        preset: str | None = None,
        pix_fmt: str | None = None,
        options: Mapping[str, str] | None = None,
        overwrite: bool = False,
    ) -> None:
        kind = container_of(Path(path))
        codec = codec or kind.codec
        chosen = encoder_options(codec, crf, preset, options or {})
        require_accepted(codec, pix_fmt, chosen)
        require_holds(kind, codec)
        super().__init__(Path(path), Encoding(kind, codec, chosen, pix_fmt), overwrite=overwrite)
        self.segment_suffix = f".{segment_format(codec)}"
        self._has_said_losses = False

    def open(self, info: StreamInfo) -> None:
        """Check the place and the encoder, and say once what of the input is not kept.

        Raises:
            UsageError: If the place cannot be written, the encoder is unknown, or what it makes
                cannot be read back.
        """
        super().open(info)
        if not self._has_said_losses:
            encoding = self._encoding
            pix_fmt = encoding.pixel_format(info)
            require_readable(encoding.codec, pix_fmt, encoding.options, encoding.kind.format)
            losses = self._encoding.losses(info)
            if losses:
                log.warning("%s cannot hold all of the input: %s", self.name, ", ".join(losses))
            self._has_said_losses = True

    def depth(self, info: StreamInfo) -> int:
        """Bits of a level of the output.

        Args:
            info: The stream that is to be written.
        """
        return depth_of(av.VideoFormat(self._encoding.pixel_format(info)))

    def require_card(self) -> None:
        """Require that the graphics card is here that the encoder needs, if it needs one.

        Raises:
            UsageError: If it is not.
        """
        why = card_refusal(self._encoding.codec)
        if why is not None:
            raise self._refused(why)

    def segment(self, path: Path) -> Sink:
        """A sink for the frames of one segment, with the encoder and settings of this one.

        The file holds frames only, as packets with exact times: NUT, or QuickTime for the few
        encoders that NUT has no tag for.

        Args:
            path: The segment; ends in ``segment_suffix``.
        """
        sink = _SegmentFile(path, self._encoding, overwrite=True)
        # The user knows the output, not its hidden segments.
        sink.name = self.name
        return sink

    def join(self, info: StreamInfo, parts: Iterable[Path]) -> None:
        """Make the file of its segments, without encoding a frame again.

        Each frame is shown exactly when it would be, had all been written to this sink. For the
        times of decoding see :func:`pipeline.io.join.retimed`.

        Args:
            info: The stream that the segments were opened with.
            parts: The segments, in the order of the video; they stay where they are.

        Raises:
            InputError: If there is no segment.
            SegmentError: Naming the segment, if one cannot be read, was made with other settings,
                or does not come after the one before it.
            UsageError: If the place or the container cannot take it.
            ResourceError: If the disk is full.
        """
        self.open(info)
        # Whoever joins holds the lock on the segments of this output.
        self._part.remove_leftovers()
        with self._failures():
            join_segments(self.name, self._part.part, info, self._encoding.kind, list(parts))
            self._publish()
        self._info = None

    def _publish(self) -> None:
        if not shows_picture(str(self._part.part)):
            encoding = self._encoding
            msg = (
                f"{self.name} must be a video that can be read back, got nothing from "
                f"{encoding.codec} in {encoding.kind.format}"
            )
            raise UsageError(msg)
        super()._publish()

    def _begin(self, info: StreamInfo, first: Frame) -> VideoWriter:
        kind = self._encoding.kind
        container = av.open(
            str(self._part.part),
            "w",
            format=kind.format,
            container_options=kind.options(info.time_base),
        )
        describe_file(container, info)
        writer = self._start(container, info, first)
        writer.add_copies()
        return writer


class _SegmentFile(_EncodedFile):
    """A segment of a video: frames alone, the first at zero, and a note of its true time."""

    def _begin(self, info: StreamInfo, first: Frame) -> VideoWriter:
        first_s = first.pts * first.time_base
        container = open_segment(self._part.part, self._encoding.codec, first_s)
        return self._start(container, replace(info, span_s=(first_s, None), end_s=None), first)


def _is_same_file(first: Path, second: Path) -> bool:
    return first.exists() and second.exists() and first.samefile(second)
