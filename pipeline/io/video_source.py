"""Frames of a video file, in presentation order, at their exact times."""

import logging
from collections.abc import Iterator
from fractions import Fraction
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from operators.frame import Frame
from pipeline.errors import InputError
from pipeline.io.clock import PtsRepair, nearest_tick, to_fraction
from pipeline.io.endpoint import StreamInfo
from pipeline.io.frame_index import FrameIndex, build_index
from pipeline.io.pixels import ImageReader, color_tags

log = logging.getLogger(__name__)

# A container may round what it claims; more than this is missing content.
MISSING_SHARE = Fraction(1, 50)
MISSING_LEAST_S = Fraction(1, 2)


class VideoSource:
    """Decodes the best video stream of a file (cover art is not video).

    Pictures are converted to RGB with the matrix and the range of the stream; unspecified means
    BT.709 from 720 lines and BT.601 below, limited range. A display rotation is applied, so that
    frames are upright. Timestamps are those of the file; where one is missing or does not ascend
    see :class:`pipeline.io.clock.PtsRepair`.

    Args:
        path: The file.
        start: Number of the first frame to yield.
        frames: How many frames to yield at most; None for all.
        size: Height and width to scale to, bicubic; None for the size of the stream.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        start: int = 0,
        frames: int | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        require_range(start, frames, size)
        self.path = Path(path)
        self.name = str(path)
        self._start = start
        self._limit = frames
        self._size = size

    def info(self) -> StreamInfo:
        """Look at the container and at the first picture, which alone knows rotation and colour.

        Raises:
            InputError: If there is nothing there that can be read as video.
        """
        return self._info

    def display_aspect_ratio(self) -> Fraction | None:
        """Width over height of the whole upright picture as it is meant to be seen.

        None where the file does not state the shape of its pixels.
        """
        return self._probe.display_aspect

    def count(self) -> int:
        """Exactly how many frames ``frames()`` yields: packets are counted, not what is claimed.

        Only where packets do not tell how many frames they hold is the file decoded.

        Raises:
            InputError: If the file cannot be read to its end, ends clearly before the end that
                it claims, or has no frame of number ``start``.
        """
        index, reach = self._survey
        found = len(index.pts)
        end = found if self._limit is None else self._start + self._limit
        if found <= end:
            reach.require_complete(self.name, found, self._probe)
        if found <= self._start:
            msg = f"{self.name} must have more than {self._start} frames, got {found}"
            raise InputError(msg)
        return min(found, end) - self._start

    def frames(self, first: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Decode frames ``first`` up to but not including ``stop``.

        Fewer frames are yielded where the video has fewer. Timestamps are those of the whole
        file: the first frame of a later ``start`` keeps its own.

        Args:
            first: Number of the first frame, from zero at the ``start`` of this source.
            stop: Number after the last frame, or None for all.

        Yields:
            Frames in presentation order, each ``image`` ``(3, H, W)`` float32 RGB in ``[0, 1]``.

        Raises:
            InputError: Naming the file, the frame and the time, where decoding fails; naming
                both counts, where the file ends clearly before the end that it claims.
        """
        info = self.info()
        bounds = [bound for bound in (stop, self._limit) if bound is not None]
        end = min(bounds, default=None)
        if end is not None and end <= first:
            return
        reader = ImageReader(info.color, self._size, self._quarter_turns)
        number = first
        for pts, picture in self._decode(self._start + first):
            if end is not None and number >= end:
                return
            self._require_size(picture, self._start + number, pts * info.time_base)
            yield Frame(number, reader(picture), pts, info.time_base)
            number += 1
        if number == first == 0:
            msg = f"{self.name} must have more than {self._start} frames to start at that number"
            raise InputError(msg)

    @cached_property
    def _probe(self) -> "_Probe":
        with self._open() as container:
            return _Probe(self.name, container)

    @property
    def _index(self) -> FrameIndex:
        return self._survey[0]

    @cached_property
    def _survey(self) -> tuple[FrameIndex, "_Reach"]:
        """All packets looked at once: where the frames are, and how far the file goes."""
        with self._open() as container:
            reach = _Reach(container)
        try:
            return build_index(self.path, self._probe.stream_index, reach.extend), reach
        except av.FFmpegError as error:
            msg = f"{self.name} must be readable to its end, got {_reason(error)}"
            raise InputError(msg) from error

    @property
    def _quarter_turns(self) -> int:
        return self._probe.quarter_turns

    @cached_property
    def _info(self) -> StreamInfo:
        probe = self._probe
        width, height = probe.width, probe.height
        if self._quarter_turns % 2:
            width, height = height, width
        if self._size is not None:
            height, width = self._size
        return StreamInfo(
            width=width,
            height=height,
            time_base=probe.time_base,
            rate=probe.rate,
            num_frames=self._num_frames(probe.num_frames),
            origin=self.path,
            start=self._start,
            span_s=self._span_s(),
            color=probe.color,
            tags=probe.tags,
        )

    def _num_frames(self, claimed: int | None) -> int | None:
        if claimed is None:
            return None
        left = max(0, claimed - self._start)
        return left if self._limit is None else min(left, self._limit)

    def _span_s(self) -> tuple[Fraction, Fraction | None] | None:
        if self._start == 0 and self._limit is None:
            return None
        pts = self._index.pts
        if self._start >= len(pts):
            msg = f"{self.name} must have more than {self._start} frames, got {len(pts)}"
            raise InputError(msg)
        end = len(pts) if self._limit is None else self._start + self._limit
        time_base = self._probe.time_base
        return pts[self._start] * time_base, pts[end] * time_base if end < len(pts) else None

    def _open(self) -> InputContainer:
        try:
            return av.open(self.name, metadata_errors="replace")
        except (av.FFmpegError, OSError) as error:
            msg = f"{self.name} must be a readable video, got {_reason(error)}"
            raise InputError(msg) from error

    def _decode(self, first: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """Timestamp and picture of frame ``first`` of the file and of all after it."""
        has_begun = False
        if first > 0 and self._index.is_exact and first < len(self._index.pts):
            for item in self._decode_after_seek(first):
                has_begun = True
                yield item
        if has_begun:
            return
        with self._open() as container:
            yield from islice(self._decode_all(container, 0), first, None)

    def _decode_after_seek(self, first: int) -> Iterator[tuple[int, av.VideoFrame]]:
        """The same from the key frame before; nothing if the container cannot seek there."""
        wanted = self._index.pts[first]
        key_frame = self._index.key_frame_before(first)
        with self._open() as container:
            stream = container.streams[self._probe.stream_index]
            container.seek(self._index.pts[key_frame], stream=stream)
            has_begun = False
            for pts, picture in self._decode_all(container, key_frame):
                if pts > wanted and not has_begun:
                    return
                if pts >= wanted:
                    has_begun = True
                    yield pts, picture

    def _decode_all(
        self, container: InputContainer, number: int
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        """Timestamp and picture of all frames from where the container stands.

        Args:
            container: Opened and perhaps moved.
            number: What to call the first frame in messages.
        """
        probe = self._probe
        stream = container.streams.video[probe.video_index]
        stream.thread_type = "AUTO"
        repair = PtsRepair(nearest_tick(1 / probe.rate, probe.time_base))
        reach = _Reach(container)
        pts: int | None = None
        try:
            for packet in container.demux():
                reach.extend(packet)
                # A flushing packet has no stream_index of its own, only its stream.
                if packet.stream.index != probe.stream_index:
                    continue
                for picture in stream.decode(packet):
                    pts = repair(picture.pts)
                    yield pts, picture
                    number += 1
        except av.FFmpegError as error:
            moment = 0.0 if pts is None else float(pts * probe.time_base)
            msg = (
                f"{self.name} cannot be decoded at frame {number}, after {moment:.3f} s: "
                f"{_reason(error)}"
            )
            raise InputError(msg) from error
        reach.require_complete(self.name, number, probe)

    def _require_size(self, picture: av.VideoFrame, number: int, moment_s: Fraction) -> None:
        probe = self._probe
        if self._size is None and (picture.width, picture.height) != (probe.width, probe.height):
            msg = (
                f"{self.name} must keep its size of {probe.width}x{probe.height}, got "
                f"{picture.width}x{picture.height} at frame {number} ({float(moment_s):.3f} s); "
                f"choose a size to scale all frames to"
            )
            raise InputError(msg)


class _Probe:
    """What one look at a file and its first picture tells."""

    def __init__(self, name: str, container: InputContainer) -> None:
        stream = best_video_stream(container)
        if stream is None or stream.codec_context is None:
            msg = f"{name} must have a video stream that can be decoded, got none"
            raise InputError(msg)
        picture = _first_picture(name, container, stream)
        self.stream_index = stream.index
        self.video_index = container.streams.video.index(stream)
        self.width, self.height = picture.width, picture.height
        self.quarter_turns = round(picture.rotation / 90) % 4
        pixel_aspect = to_fraction(stream.sample_aspect_ratio)
        aspect = pixel_aspect * picture.width / picture.height if pixel_aspect else None
        self.display_aspect = 1 / aspect if aspect and self.quarter_turns % 2 else aspect
        self.color = color_tags(picture)
        self.time_base = to_fraction(stream.time_base) or Fraction(1, 1000)
        self.rate = (
            to_fraction(stream.average_rate) or to_fraction(stream.guessed_rate) or Fraction(25)
        )
        self.num_frames = stream.frames or None
        self.tags = dict(container.metadata)


class _Reach:
    """How far the packets of a file went, against the end that its container claims.

    Packets of every stream count, because sound may last longer than the pictures.
    """

    def __init__(self, container: InputContainer) -> None:
        self._reached_s: Fraction | None = None
        self._claimed_s: Fraction | None = None
        self._length_s = Fraction(0)
        if container.duration is not None:
            self._length_s = Fraction(container.duration, av.time_base)
            self._claimed_s = self._length_s + Fraction(container.start_time or 0, av.time_base)

    def extend(self, packet: "av.Packet[Any]") -> None:
        ticks = packet.pts if packet.pts is not None else packet.dts
        if ticks is None:
            return
        time_base = to_fraction(packet.time_base) or Fraction(0)
        end = (ticks + (packet.duration or 0)) * time_base
        self._reached_s = end if self._reached_s is None else max(self._reached_s, end)

    def require_complete(self, name: str, number: int, probe: _Probe) -> None:
        if self._claimed_s is None or self._reached_s is None:
            return
        tolerated = max(MISSING_LEAST_S, MISSING_SHARE * self._length_s)
        if self._claimed_s - self._reached_s <= tolerated:
            return
        claimed = probe.num_frames or round(self._length_s * probe.rate)
        msg = (
            f"{name} must hold the {claimed} frames ({float(self._length_s):.3f} s) that it "
            f"claims, got {number} frames up to {float(self._reached_s):.3f} s"
        )
        raise InputError(msg)


def require_range(start: int, frames: int | None, size: tuple[int, int] | None) -> None:
    """Require a sensible part of a video and a sensible size.

    Raises:
        ValueError: If ``start`` is negative, or ``frames`` or a side of ``size`` below 1.
    """
    if start < 0:
        msg = f"start must be at least 0, got {start}"
        raise ValueError(msg)
    if frames is not None and frames < 1:
        msg = f"frames must be at least 1, got {frames}"
        raise ValueError(msg)
    if size is not None and min(size) < 1:
        msg = f"size must be a height and a width of at least 1, got {size}"
        raise ValueError(msg)


def best_video_stream(container: InputContainer) -> VideoStream | None:
    """The stream that a source decodes: FFmpeg's choice among those that are not cover art."""
    moving = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]
    best = container.streams.best("video")
    return next((stream for stream in moving if stream is best), moving[0] if moving else None)


def _first_picture(name: str, container: InputContainer, stream: VideoStream) -> av.VideoFrame:
    try:
        picture = next(container.decode(stream), None)
    except (av.FFmpegError, ValueError) as error:
        msg = f"{name} cannot be decoded at frame 0, after 0.000 s: {_reason(error)}"
        raise InputError(msg) from error
    if picture is None:
        msg = f"{name} must have at least one frame, got none"
        raise InputError(msg)
    return picture


def _reason(error: Exception) -> str:
    """The words of FFmpeg or of the system, without numbers and without the file."""
    return str(getattr(error, "strerror", None) or error)
