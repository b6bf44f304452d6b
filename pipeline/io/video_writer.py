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
from pipeline.io.color_tags import output_color
from pipeline.io.containers import Container, require_holds
from pipeline.io.encoders import (
    options_for_machine,
    options_for_size,
    quieten,
    require_all_taken,
    threads_of,
)
from pipeline.io.endpoint import ColorTags, StreamInfo
from pipeline.io.hdr import light_parameters
from pipeline.io.metadata import own_words
from pipeline.io.pixel_formats import choose_pixel_format, format_losses
from pipeline.io.pixels import ImageWriter
from pipeline.io.stream_copy import StreamCopy

# What the muxer says of itself and must not be said of another file.
_MUXER_TAGS = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder"})
# Stands for the size of pictures that have not come yet; a model may change it.
_EVEN_SIDES = (64, 64)


@dataclass(frozen=True, slots=True)
class Encoding:
    """How frames become packets, and which kind of file these are meant for.

    Attributes:
        kind: The kind of the output.
        codec: Name of the encoder in FFmpeg.
        options: Options of the encoder.
        pix_fmt: Pixel format; None for the one that keeps most of the input.
    """

    kind: Container
    codec: str
    options: Mapping[str, str]
    pix_fmt: str | None

    def pixel_format(self, info: StreamInfo, size: tuple[int, int] = _EVEN_SIDES) -> str:
        """The pixel format for a stream whose pictures have this height and width.

        Raises:
            UsageError: If the encoder has none, or not the one that was asked for.
        """
        return choose_pixel_format(self.codec, self.pix_fmt, size, info.pix_fmt, info.depth)

    def losses(self, info: StreamInfo) -> list[str]:
        """What of a stream nobody asked to lose and the encoder cannot hold, in words."""
        losses = []
        if self.pix_fmt is None:
            losses += format_losses(info.pix_fmt, info.depth, self.pixel_format(info))
        if info.light is not None and light_parameters(self.codec, info.light) is None:
            losses.append(f"what it says of the screen it was made on, for {self.codec}")
        return losses

    def all_options(self, info: StreamInfo) -> dict[str, str]:
        """The options, with what the stream alone can say: the screen it was made on."""
        options = dict(self.options)
        said = light_parameters(self.codec, info.light) if info.light else None
        if said is not None:
            name, parameters = said
            # The last one counts, and that is to be the user's.
            options[name] = ":".join(part for part in (parameters, options.get(name)) if part)
        return options


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
        end: The tick at which the last frame is no longer shown; None where nobody says.
    """

    def __init__(self, name: str, info: StreamInfo, kind: Container, first_s: Fraction) -> None:
        self._name = name
        self._is_constant = not kind.has_timestamps
        self.time_base = 1 / info.rate if self._is_constant else info.time_base
        self.nominal_step = max(1, nearest_tick(1 / info.rate, self.time_base))
        self.span_s = info.span_s
        # Readers of MP4 take what is before zero for a preparation, and do not show it.
        if info.span_s is not None or self._is_constant or first_s < 0:
            self.span_s = (first_s, info.span_s[1] if info.span_s else None)
        self.end: int | None = None
        if info.end_s is not None and not self._is_constant:
            self.end = self.tick(info.end_s)

    def tick(self, moment_s: Fraction) -> int:
        """The tick at which a moment of the input is shown."""
        return nearest_tick(moment_s - (self.span_s[0] if self.span_s else 0), self.time_base)

    def require_step(self, step: int, what: str) -> None:
        """Require that ``step`` ticks may lie between two frames.

        Args:
            step: The ticks.
            what: What messages call what comes after them.

        Raises:
            UsageError: If the output has a constant rate and the step is not one tick.
        """
        if step != 1 and self._is_constant:
            found = "a gap" if step > 1 else "less than a frame's time"
            msg = (
                f"{self._name} must have a constant frame rate, got {found} before {what}; "
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
        # Of frames that the encoder still has, by timestamp: some encoders forget them.
        self._steps: dict[int, int] = {}
        self._copy: StreamCopy | None = None

    def add_video(self, encoding: Encoding) -> None:
        """Add the track of frames, and open its encoder.

        Raises:
            UsageError: If the file cannot hold it, or the encoder knows not all options.
        """
        require_holds(self._kind, encoding.codec)
        _, height, width = self._shape
        info = self._info
        options = options_for_size(encoding.codec, height, width) | encoding.all_options(info)
        options |= options_for_machine(encoding.codec, options)
        pix_fmt = encoding.pixel_format(info, (height, width))
        quieten(encoding.codec)
        stream = self._container.add_stream(encoding.codec, rate=info.rate, options=options)
        # The name decides the type, and it was found to be an encoder of video.
        self._stream = stream = cast("VideoStream", stream)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        encoder = stream.codec_context
        stream.time_base = encoder.time_base = self._time.time_base
        encoder.thread_count = threads_of(encoding.codec, encoding.options)
        color = describe_pictures(encoder, info, self._kind)
        if not self._kind.has_timestamps:
            # Pictures must then arrive in the order in which they are shown.
            encoder.max_b_frames = 0
        if not self._kind.has_global_header:
            encoder.flags &= ~Flags.global_header
        # Without it encoders drop the durations of frames, and with them that of the last one.
        encoder.flags |= Flags.frame_duration
        encoder.open()
        require_all_taken(encoding.codec, encoder.options)
        self._to_picture = ImageWriter(pix_fmt, color)

    def add_copies(self) -> None:
        """Add what lies beside the pictures of the input."""
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
            self._time.require_step(step, f"frame {frame.index}")
            if step < 1:
                msg = (
                    f"{self._name} must get frames in the order in which they are shown, got frame "
                    f"{frame.index} at pts {frame.pts} not after the one before it"
                )
                raise ValueError(msg)
            self._step = step
            self._encode_held()
        self._held = (frame, pts)

    def finish(self) -> None:
        """Write all that is held back, and close the file."""
        end = self._time.end
        if self._held is not None and end is not None and end > self._held[1]:
            self._step = end - self._held[1]
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
        self._steps[pts] = self._step
        self._encode(picture)
        if self._copy is not None:
            self._copy.write_until(pts * self._time.time_base)

    def _encode(self, picture: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(picture):
            if packet.pts is not None:
                packet.duration = self._steps.pop(packet.pts, packet.duration or 0)
            if packet.pts is not None and packet.dts is not None:
                # With fewer frames than it reorders, x265 leaves times of decoding unset.
                packet.dts = min(packet.dts, packet.pts)
            self._container.mux(packet)


def describe_file(container: OutputContainer, info: StreamInfo) -> None:
    """Carry the metadata of the input, without what its muxer said of it."""
    container.metadata.update(own_words(info.tags))


def describe_pictures(encoder: VideoCodecContext, info: StreamInfo, kind: Container) -> ColorTags:
    """State rate, colours and shape of pixels of pictures whose size and format are known.

    Returns:
        The colour tags that were stated, which pictures are to be converted with.
    """
    codec = encoder.codec.canonical_name
    color = output_color(info.color, str(encoder.pix_fmt), encoder.height, codec, kind.format)
    encoder.framerate = info.rate
    encoder.color_range, encoder.colorspace = color.range, color.matrix
    encoder.color_primaries, encoder.color_trc = color.primaries, color.transfer
    if info.display_aspect is not None:
        pixel_aspect = info.display_aspect * encoder.height / encoder.width
        encoder.sample_aspect_ratio = pixel_aspect.limit_denominator(10_000)
    return color


def copies_of(
    info: StreamInfo, container: OutputContainer, kind: Container, time: OutputTime
) -> StreamCopy | None:
    """What lies beside the pictures of the input, added to an output; None if there is no input."""
    if info.origin is None:
        return None
    return StreamCopy(
        info.origin,
        container,
        time.span_s,
        can_be_negative=kind.can_be_negative,
        keep_damaged=info.keep_damaged,
    )


def abandon(container: OutputContainer) -> None:
    """Close a file that is to be removed, whatever state it is in."""
    try:
        container.close()
    except (av.FFmpegError, OSError, ValueError):
        return
