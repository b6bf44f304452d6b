"""Frames into a video file, each shown exactly when its original was."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import av
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.stream import VideoStream

from operators.frame import Frame
from pipeline.errors import InputError, UsageError
from pipeline.io.clock import nearest_tick
from pipeline.io.containers import Container, choose_pixel_format, container_of, pixel_formats
from pipeline.io.endpoint import StreamInfo
from pipeline.io.part_file import PartFile, disk_space
from pipeline.io.pixels import ImageWriter, output_color
from pipeline.io.stream_copy import StreamCopy
from pipeline.io.video_source import VideoSource

DEFAULT_CRF = 18
_CRF_CODECS = frozenset({"libsvtav1", "libvpx", "libvpx-vp9", "libx264", "libx265"})
# Options that choose the quality themselves, so that no constant rate factor is wanted.
_RATE_CONTROLS = frozenset({"b", "crf", "qp"})
# Encoders of constant quality by quantiser, which otherwise aim at a rate of 1 Mbit/s.
_QUANTISER_CODECS = frozenset({"mjpeg", "mpeg4"})
_FINE_QUANTISER = {"flags": "+qscale", "global_quality": str(3 * 118)}
# What the muxer says of itself and must not be said of another file.
_MUXER_TAGS = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder"})


class VideoSink:
    """Encodes frames into a file; sound of the input is copied beside them.

    The time base is that of the frames, so that every presentation timestamp is kept exactly,
    at a variable frame rate too. Matroska and WebM count in milliseconds: there times are rounded
    to the nearest one. AVI has no timestamps: only a constant frame rate can be written. Where
    the input was cut, its first frame is shown at zero.

    Args:
        path: The file; its extension chooses the container.
        codec: Name of the encoder in FFmpeg; None for the one that suits the container.
        crf: Constant rate factor of the encoder, smaller is better; None for 18.
        preset: Preset of the encoder; None for its default.
        pix_fmt: Pixel format; None for ``yuv420p`` and, where a side is odd, ``yuv444p``.
        options: Further options of the encoder, passed as they are.
        overwrite: True to replace an existing file when the new one is complete.
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
        self.path = Path(path)
        self.name = str(path)
        self._kind = container_of(self.path)
        self._codec = codec or self._kind.codec
        self._pix_fmt = pix_fmt
        self._options = self._encoder_options(crf, preset, options or {})
        self._part = PartFile(self.path, overwrite=overwrite)
        self._info: StreamInfo | None = None
        self._writing: _Writing | None = None

    def open(self, info: StreamInfo) -> None:
        """Check the place and the encoder; the file itself begins with the first frame.

        Raises:
            UsageError: If the place cannot be written or the encoder is unknown.
        """
        self._part.require_writable()
        if self.path.is_dir():
            msg = f"output must be a file, got the folder {self.path}"
            raise UsageError(msg)
        pixel_formats(self._codec)
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
            writing = self._writing or self._begin(self._info, frame)
            writing.write(frame)

    def close(self) -> None:
        """Finish: the file is whole, on disk and under its final name when this returns.

        Raises:
            InputError: If no frame was written.
            UsageError: If the final name was taken meanwhile.
            ResourceError: If the disk is full.
        """
        if self._writing is None:
            if self._info is None:
                return
            msg = f"{self.name} must get at least one frame, got none"
            raise InputError(msg)
        with self._failures():
            self._writing.finish()
            self._writing = None
            self._part.publish()
        self._info = None

    def abort(self) -> None:
        """Remove what was written. May be called at any time, more than once."""
        if self._writing is not None:
            self._writing.give_up()
            self._writing = None
        self._part.remove()
        self._info = None

    def _begin(self, info: StreamInfo, first: Frame) -> "_Writing":
        height, width = first.image.shape[-2:]
        pix_fmt = choose_pixel_format(self._codec, self._pix_fmt, height, width)
        container = av.open(
            str(self._part.part),
            "w",
            format=self._kind.format,
            container_options=self._kind.options(info.time_base),
        )
        self._writing = _Writing(self.name, container, info, self._kind, first)
        self._writing.add_video(self._codec, self._options, pix_fmt)
        self._writing.add_copies()
        return self._writing

    def _encoder_options(
        self, crf: int | None, preset: str | None, options: Mapping[str, str]
    ) -> dict[str, str]:
        chosen: dict[str, str] = {}
        if self._codec in _CRF_CODECS:
            # A rate of zero lets the constant rate factor decide alone.
            if crf is not None or not _RATE_CONTROLS & options.keys():
                chosen = {"b": "0", "crf": str(DEFAULT_CRF if crf is None else crf)}
        elif crf is not None:
            msg = f"crf must be left out for {self._codec}, which has none, got {crf}"
            raise UsageError(msg)
        elif self._codec in _QUANTISER_CODECS:
            chosen = dict(_FINE_QUANTISER)
        if preset is not None:
            chosen["preset"] = preset
        return chosen | dict(options)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """On any error, say it in one line where it is the user's and leave nothing behind."""
        try:
            with disk_space(self.name):
                yield
        except av.FFmpegError as error:
            self.abort()
            msg = f"{self.name} cannot be written by {self._codec}: {error.strerror}"
            raise UsageError(msg) from error
        except BaseException:
            self.abort()
            raise


class _Writing:
    """A file that is being written.

    Args:
        name: What messages call it.
        container: The opened file.
        info: The stream that is written.
        kind: The kind of the file.
        first: The first frame; all others have its shape.
    """

    def __init__(
        self,
        name: str,
        container: OutputContainer,
        info: StreamInfo,
        kind: Container,
        first: Frame,
    ) -> None:
        self._name = name
        self._container = container
        self._info = info
        self._kind = kind
        self._shape = first.image.shape
        self._time_base = info.time_base if kind.has_timestamps else 1 / info.rate
        # How long the newest frame is shown if no other follows.
        self._step = max(1, nearest_tick(1 / info.rate, self._time_base))
        self._span_s = info.span_s
        if info.span_s is not None or not kind.has_timestamps:
            self._span_s = (first.pts * first.time_base, info.span_s[1] if info.span_s else None)
        self._held: tuple[Frame, int] | None = None
        self._copy: StreamCopy | None = None

    def add_video(self, codec: str, options: Mapping[str, str], pix_fmt: str) -> None:
        info = self._info
        tags = {key: value for key, value in info.tags.items() if key not in _MUXER_TAGS}
        self._container.metadata.update(tags)
        if codec not in self._container.supported_codecs:
            msg = f"codec must be one that a {Path(self._name).suffix} file can hold, got {codec!r}"
            raise UsageError(msg)
        stream = self._container.add_stream(codec, rate=info.rate, options=dict(options))
        # The name decides the type, and it was found to be an encoder of video.
        self._stream = stream = cast("VideoStream", stream)
        _, height, width = self._shape
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        encoder = stream.codec_context
        stream.time_base = encoder.time_base = self._time_base
        color = output_color(info.color, pix_fmt, height)
        encoder.color_range, encoder.colorspace = color.range, color.matrix
        encoder.color_primaries, encoder.color_trc = color.primaries, color.transfer
        aspect = VideoSource(info.origin).display_aspect_ratio() if info.origin else None
        if aspect is not None:
            encoder.sample_aspect_ratio = (aspect * height / width).limit_denominator(10_000)
        if not self._kind.has_timestamps:
            # Pictures must then arrive in the order in which they are shown.
            encoder.max_b_frames = 0
        # Without it encoders drop the durations of frames, and with them that of the last one.
        encoder.flags |= Flags.frame_duration
        encoder.open()
        if encoder.options:
            msg = f"options must be options of {codec}, got {', '.join(sorted(encoder.options))}"
            raise UsageError(msg)
        self._to_picture = ImageWriter(pix_fmt, color)

    def add_copies(self) -> None:
        if self._info.origin is not None:
            self._copy = StreamCopy(
                self._info.origin,
                self._container,
                self._span_s,
                can_be_negative=self._kind.can_be_negative,
            )

    def write(self, frame: Frame) -> None:
        if frame.image.shape != self._shape:
            msg = (
                f"{self._name} must get frames of one shape, got {tuple(frame.image.shape)} at "
                f"frame {frame.index} after {tuple(self._shape)}"
            )
            raise ValueError(msg)
        moment_s = frame.pts * frame.time_base - (self._span_s[0] if self._span_s else 0)
        pts = nearest_tick(moment_s, self._time_base)
        if self._held is not None:
            step = pts - self._held[1]
            self._require_step(step, frame)
            self._step = step
            self._encode_held()
        self._held = (frame, pts)

    def finish(self) -> None:
        self._encode_held()
        self._container.mux(self._stream.encode(None))
        if self._copy is not None:
            self._copy.write_until(None)
            self._copy.close()
        self._container.close()

    def give_up(self) -> None:
        """Close what is open, whatever state it is in: the file is to be removed."""
        if self._copy is not None:
            self._copy.close()
        try:
            self._container.close()
        except (av.FFmpegError, OSError, ValueError):
            return

    def _require_step(self, step: int, frame: Frame) -> None:
        if step < 1:
            msg = (
                f"{self._name} must get frames in the order in which they are shown, got frame "
                f"{frame.index} at pts {frame.pts} not after the one before it"
            )
            raise ValueError(msg)
        if step > 1 and not self._kind.has_timestamps:
            msg = (
                f"{self._name} must have a constant frame rate, got a gap before frame "
                f"{frame.index}; write .mp4, .mov, .mkv or .webm instead"
            )
            raise UsageError(msg)

    def _encode_held(self) -> None:
        """Encode the frame before the newest: only now is it known how long it is shown."""
        if self._held is None:
            return
        frame, pts = self._held
        picture = self._to_picture(frame.image)
        picture.pts, picture.time_base, picture.duration = pts, self._time_base, self._step
        self._container.mux(self._stream.encode(picture))
        if self._copy is not None:
            self._copy.write_until(pts * self._time_base)


def _is_same_file(first: Path, second: Path) -> bool:
    return first.exists() and second.exists() and first.samefile(second)
