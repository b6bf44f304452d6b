"""A video file that is being written: its times, what it says of itself, its frames."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from operators.frame import Frame
from pipeline.errors import UsageError
from pipeline.io.clock import nearest_tick
from pipeline.io.containers import Container, choose_pixel_format, require_holds
from pipeline.io.endpoint import StreamInfo
from pipeline.io.pixels import ImageWriter, output_color
from pipeline.io.stream_copy import StreamCopy
from pipeline.io.video_source import VideoSource

# What the muxer says of itself and must not be said of another file.
_MUXER_TAGS = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder"})


@dataclass(frozen=True, slots=True)
class Encoding:
    """How frames become packets, and which kind of file these are meant for.

    Attributes:
        kind: The kind of the output.
        codec: Name of the encoder in FFmpeg.
        options: Options of the encoder.
        pix_fmt: Pixel format; None for the one that suits the size.
    """

    kind: Container
    codec: str
    options: Mapping[str, str]
    pix_fmt: str | None


class OutputTime:
    """Where an output shows the moments of its input.

    Args:
        name: What messages call the output.
        info: The stream that is written.
        kind: The kind of the output.
        first_s: When the first frame is shown, in seconds of the input.

    Attributes:
        time_base: Seconds per tick of the output.
        nominal_step: Ticks from one frame to the next at the average frame rate.
        span_s: The part of the input that the output shows from zero on; None if times are kept.
    """

    def __init__(self, name: str, info: StreamInfo, kind: Container, first_s: Fraction) -> None:
        self._name = name
        self._is_constant = not kind.has_timestamps
        self.time_base = 1 / info.rate if self._is_constant else info.time_base
        self.nominal_step = max(1, nearest_tick(1 / info.rate, self.time_base))
        self.span_s = info.span_s
        if info.span_s is not None or self._is_constant:
            self.span_s = (first_s, info.span_s[1] if info.span_s else None)

    def tick(self, moment_s: Fraction) -> int:
        """The tick at which a moment of the input is shown."""
        return nearest_tick(moment_s - (self.span_s[0] if self.span_s else 0), self.time_base)

    def require_step(self, step: int, what: str) -> None:
        """Require that ``step`` ticks may lie between two frames.

        Args:
            step: The ticks, at least 1.
            what: What messages call what comes after them.

        Raises:
            UsageError: If the output has a constant rate and the step is not one tick.
        """
        if step > 1 and self._is_constant:
            msg = (
                f"{self._name} must have a constant frame rate, got a gap before {what}; "
                f"write .mp4, .mov, .mkv or .webm instead"
            )
            raise UsageError(msg)


class VideoWriter:
    """A file that is being written.

    Args:
        name: What messages call it.
        container: The opened file.
        info: The stream that is written.
        kind: The kind of the output; that of the whole where this is a segment of it.
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
        self._time = OutputTime(name, info, kind, first.pts * first.time_base)
        # How long the newest frame is shown if no other follows.
        self._step = self._time.nominal_step
        self._held: tuple[Frame, int] | None = None
        self._copy: StreamCopy | None = None

    def add_video(self, encoding: Encoding) -> None:
        """Add the track of frames, and open its encoder.

        Raises:
            UsageError: If the file cannot hold it, or the encoder knows not all options.
        """
        require_holds(self._kind, encoding.codec)
        _, height, width = self._shape
        pix_fmt = choose_pixel_format(encoding.codec, encoding.pix_fmt, height, width)
        info = self._info
        stream = self._container.add_stream(
            encoding.codec, rate=info.rate, options=dict(encoding.options)
        )
        # The name decides the type, and it was found to be an encoder of video.
        self._stream = stream = cast("VideoStream", stream)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        encoder = stream.codec_context
        stream.time_base = encoder.time_base = self._time.time_base
        describe_pictures(encoder, info)
        if not self._kind.has_timestamps:
            # Pictures must then arrive in the order in which they are shown.
            encoder.max_b_frames = 0
        if not self._kind.has_global_header:
            encoder.flags &= ~Flags.global_header
        # Without it encoders drop the durations of frames, and with them that of the last one.
        encoder.flags |= Flags.frame_duration
        encoder.open()
        if encoder.options:
            msg = (
                f"options must be options of {encoding.codec}, got "
                f"{', '.join(sorted(encoder.options))}"
            )
            raise UsageError(msg)
        self._to_picture = ImageWriter(pix_fmt, output_color(info.color, pix_fmt, height))

    def add_copies(self) -> None:
        """Add the tracks of sound of the input."""
        self._copy = copies_of(self._info, self._container, self._kind, self._time)

    def write(self, frame: Frame) -> None:
        """Take the next frame.

        Raises:
            ValueError: If its size is not that of the first, or its time not after the last.
            UsageError: If its time leaves a gap where there can be none.
        """
        if frame.image.shape != self._shape:
            msg = (
                f"{self._name} must get frames of one shape, got {tuple(frame.image.shape)} at "
                f"frame {frame.index} after {tuple(self._shape)}"
            )
            raise ValueError(msg)
        pts = self._time.tick(frame.pts * frame.time_base)
        if self._held is not None:
            step = pts - self._held[1]
            if step < 1:
                msg = (
                    f"{self._name} must get frames in the order in which they are shown, got frame "
                    f"{frame.index} at pts {frame.pts} not after the one before it"
                )
                raise ValueError(msg)
            self._time.require_step(step, f"frame {frame.index}")
            self._step = step
            self._encode_held()
        self._held = (frame, pts)

    def finish(self) -> None:
        """Write all that is held back, and close the file."""
        self._encode_held()
        self._encode(None)
        if self._copy is not None:
            self._copy.write_until(None)
            self._copy.close()
        self._container.close()

    def give_up(self) -> None:
        """Close what is open, whatever state it is in: the file is to be removed."""
        if self._copy is not None:
            self._copy.close()
        abandon(self._container)

    def _encode_held(self) -> None:
        """Encode the frame before the newest: only now is it known how long it is shown."""
        if self._held is None:
            return
        frame, pts = self._held
        picture = self._to_picture(frame.image)
        picture.pts, picture.time_base, picture.duration = pts, self._time.time_base, self._step
        self._encode(picture)
        if self._copy is not None:
            self._copy.write_until(pts * self._time.time_base)

    def _encode(self, picture: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(picture):
            if packet.pts is not None and packet.dts is not None:
                # With fewer frames than it reorders, x265 leaves times of decoding unset.
                packet.dts = min(packet.dts, packet.pts)
            self._container.mux(packet)


def describe_file(container: OutputContainer, info: StreamInfo) -> None:
    """Carry the metadata of the input, without what its muxer said of it."""
    tags = {key: value for key, value in info.tags.items() if key not in _MUXER_TAGS}
    container.metadata.update(tags)


def describe_pictures(encoder: VideoCodecContext, info: StreamInfo) -> None:
    """State rate, colours and shape of pixels of pictures whose size and format are known."""
    color = output_color(info.color, str(encoder.pix_fmt), encoder.height)
    encoder.framerate = info.rate
    encoder.color_range, encoder.colorspace = color.range, color.matrix
    encoder.color_primaries, encoder.color_trc = color.primaries, color.transfer
    aspect = VideoSource(info.origin).display_aspect_ratio() if info.origin else None
    if aspect is not None:
        pixel_aspect = aspect * encoder.height / encoder.width
        encoder.sample_aspect_ratio = pixel_aspect.limit_denominator(10_000)


def copies_of(
    info: StreamInfo, container: OutputContainer, kind: Container, time: OutputTime
) -> StreamCopy | None:
    """The sound of the input, added to an output; None where there is no input to copy from."""
    if info.origin is None:
        return None
    return StreamCopy(info.origin, container, time.span_s, can_be_negative=kind.can_be_negative)


def abandon(container: OutputContainer) -> None:
    """Close a file that is to be removed, whatever state it is in."""
    try:
        container.close()
    except (av.FFmpegError, OSError, ValueError):
        return
