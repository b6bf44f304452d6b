"""What one look at a video file and at its first picture tells."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from pipeline.errors import InputError
from pipeline.io.clock import nearest_tick, to_fraction
from pipeline.io.color_tags import color_tags
from pipeline.io.decoding import DamagedPictureError, kept_pictures, pictures, reason
from pipeline.io.hdr import light_levels
from pipeline.io.orientation import Orientation
from pipeline.io.pixel_formats import depth_of


class VideoProbe:
    """What one look at a file and its first picture tells.

    Args:
        path: The file.
        name: What messages call it.
        keep_damaged: True to look for the first picture that can be decoded.

    Attributes:
        stream_index: Number of the stream among all of the file.
        codec: FFmpeg's name of the decoder.
        width: Of a stored picture, in pixels.
        height: Of a stored picture, in pixels.
        orientation: What sets a stored picture upright.
        display_aspect: Width over height of the upright picture as it is meant to be seen; None
            where the file does not state the shape of its pixels.
        color: Colour tags.
        depth: Bits of a level, from 8 to 16.
        pix_fmt: FFmpeg's name of the pixel format.
        light: Of a video of high dynamic range, where it is stated.
        time_base: Seconds per tick.
        rate: Average frames per second.
        nominal_step: Ticks from one frame to the next at that rate.
        num_frames: Frames that the container claims, or None.
        end: When MP4 claims that the last picture ends, in ticks; None for others.
        end_s: When the last picture ends, in seconds; None where packets do not tell.
        is_mp4: True if this is MP4 or QuickTime, which count their frames in a table.
        lacks_duration: True if this is MP4 that does not say how long its pictures last.
        tags: Metadata of the container.

    Raises:
        InputError: If there is nothing that can be read as video.
    """

    def __init__(self, path: Path, name: str, *, keep_damaged: bool = False) -> None:
        with open_input(path, name) as container:
            stream = best_video_stream(container)
            if stream is None or stream.codec_context is None:
                msg = f"{name} must have a video stream that can be decoded, got none"
                raise InputError(msg)
            self.stream_index = stream.index
            self.codec = stream.codec_context.name
            picture = _first_picture(name, container, stream, keep_damaged=keep_damaged)
            self.width, self.height = picture.width, picture.height
            self.orientation = Orientation.of(picture)
            pixel_aspect = to_fraction(stream.sample_aspect_ratio)
            aspect = pixel_aspect * picture.width / picture.height if pixel_aspect else None
            is_sideways = self.orientation.is_sideways
            self.display_aspect = 1 / aspect if aspect and is_sideways else aspect
            self.color = color_tags(picture)
            self.depth = depth_of(picture.format)
            self.pix_fmt = picture.format.name
            self.light = light_levels(picture)
            self.time_base = to_fraction(stream.time_base) or Fraction(1, 1000)
            self.rate = (
                to_fraction(stream.average_rate) or to_fraction(stream.guessed_rate) or Fraction(25)
            )
            self.nominal_step = max(1, nearest_tick(1 / self.rate, self.time_base))
            self.num_frames = stream.frames or None
            self.end = None
            # Headers of other kinds are written before the frames are counted.
            self.is_mp4 = container.format.name.startswith("mov")
            if self.is_mp4 and stream.duration is not None:
                self.end = (stream.start_time or 0) + stream.duration
            self.lacks_duration = self.is_mp4 and stream.duration is None
            self.tags = dict(container.metadata)
            self.end_s = None if keep_damaged else _end_s(container, stream)

    @property
    def upright_size(self) -> tuple[int, int]:
        """Height and width of a picture that is set upright."""
        size = self.height, self.width
        return size[::-1] if self.orientation.is_sideways else size

    def has_size_of(self, picture: av.VideoFrame) -> bool:
        """Whether a stored picture is as large as the first."""
        return (picture.width, picture.height) == (self.width, self.height)

    def stream_of(self, container: InputContainer) -> VideoStream:
        """The stream in another opening of the same file."""
        return next(video for video in container.streams.video if video.index == self.stream_index)

    def claimed_frames(self, length_s: Fraction) -> int:
        """Frames that the container claims, or that fit into the duration that it claims."""
        return self.num_frames or round(length_s * self.rate)


def open_input(path: Path, name: str, accelerator: HWAccel | None = None) -> InputContainer:
    """Open a file to read.

    Args:
        path: The file.
        name: What messages call it.
        accelerator: The device that decodes what it can; None for software.

    Raises:
        InputError: If it is not there or is nothing that FFmpeg knows.
    """
    try:
        return av.open(str(path), metadata_errors="replace", hwaccel=accelerator)
    except (av.FFmpegError, OSError) as error:
        msg = f"{name} must be a readable video, got {reason(error)}"
        raise InputError(msg) from error


def best_video_stream(container: InputContainer) -> VideoStream | None:
    """The stream that a source decodes: FFmpeg's choice among those that are not cover art."""
    moving = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]
    best = container.streams.best("video")
    return next((stream for stream in moving if stream is best), moving[0] if moving else None)


def _end_s(container: InputContainer, stream: VideoStream) -> Fraction | None:
    """When the last picture ends: by its packet, if that says how long it is shown.

    In MP4 and GIF packets do, where they are decoded in the order in which they are shown. What
    comes after the last key frame is looked at.
    """
    is_mp4 = container.format.name.startswith("mov")
    if not is_mp4 and container.format.name != "gif":
        return None
    try:
        if is_mp4 and stream.duration is not None:
            container.seek((stream.start_time or 0) + stream.duration, stream=stream)
        last: Packet[Any] | None = None
        for packet in container.demux(stream):
            if packet.size and packet.pts != packet.dts:
                return None
            last = packet if packet.size else last
    except av.FFmpegError:
        # Whoever reads all of the file says what is wrong with it.
        return None
    if last is None or last.pts is None or not last.duration or last.is_discard:
        return None
    return (last.pts + last.duration) * (to_fraction(last.time_base) or Fraction(0))


def _first_picture(
    name: str, container: InputContainer, stream: VideoStream, *, keep_damaged: bool
) -> av.VideoFrame:
    decode = kept_pictures if keep_damaged else pictures
    try:
        _, picture = next(decode(container, stream), (None, None))
    except (av.FFmpegError, DamagedPictureError, ValueError) as error:
        msg = f"{name} cannot be decoded at frame 0, after 0.000 s: {reason(error)}"
        raise InputError(msg) from error
    if picture is None:
        msg = f"{name} must have at least one frame that can be decoded, got none"
        raise InputError(msg)
    return picture
