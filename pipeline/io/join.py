"""Segments of a video into one file: packets are copied, no frame is encoded again."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from heapq import heappop, heappush
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from pipeline.errors import InputError, SegmentError
from pipeline.io.clock import to_fraction
from pipeline.io.containers import Container, segment_format
from pipeline.io.endpoint import StreamInfo
from pipeline.io.video_writer import (
    OutputTime,
    abandon,
    copies_of,
    describe_file,
    describe_pictures,
)

# The one tag that both containers of segments keep under the name that it was given.
_START_TAG = "comment"

# Codecs of which the tag alone tells how levels lie in a packet.
_TOLD_BY_TAG = frozenset({"rawvideo", "utvideo"})

Item = TypeVar("Item")


def open_segment(path: Path, codec: str, first_s: Fraction) -> OutputContainer:
    """Open the file of a segment to write.

    Frames count from zero there, because NUT has no times before it; the file notes when its
    first frame is shown.

    Args:
        path: The file.
        codec: Name of the encoder.
        first_s: When the first frame is shown, in seconds.
    """
    container = av.open(
        str(path),
        "w",
        format=segment_format(codec),
        # Packets that are to be decoded before zero must not move all others.
        container_options={"avoid_negative_ts": "disabled"},
    )
    container.metadata[_START_TAG] = str(first_s)
    return container


def join_segments(
    name: str, path: Path, info: StreamInfo, kind: Container, segments: Sequence[Path]
) -> None:
    """Write the packets of segments, and the sound of the input, into one file.

    Args:
        name: What messages call the output.
        path: The file to write.
        info: The stream that the segments were opened with.
        kind: The kind of the output.
        segments: The files, in the order of the video.

    Raises:
        InputError: If there is no segment.
        SegmentError: Naming the segment, if one cannot be read, was made with other settings, or
            does not come after the one before it.
        UsageError: If two segments leave a gap where there can be none.
        av.FFmpegError: If the file cannot be written.
    """
    if not segments:
        msg = f"{name} must have at least one segment, got none"
        raise InputError(msg)
    depth = max(_reorder_depth(segment) for segment in segments)
    with ExitStack() as stack:
        output = stack.enter_context(_written(path, info, kind))
        with _read(segments[0]) as first:
            time = OutputTime(name, info, kind, first.start_s)
            track = _track_like(first, output, info, kind, time)
        copy = copies_of(info, output, kind, time)
        if copy is not None:
            stack.callback(copy.close)
        packets = retimed(_packets(segments, time), depth, time.nominal_step, time.end)
        for pts, dts, duration, packet in packets:
            packet.stream, packet.time_base = track, time.time_base
            packet.pts, packet.dts, packet.duration = pts, dts, duration
            output.mux(packet)
            if copy is not None:
                copy.write_until(dts * time.time_base)
        if copy is not None:
            copy.write_until(None)


def retimed(
    packets: Iterable[tuple[int, Item]], depth: int, step: int, end: int | None = None
) -> Iterator[tuple[int, int, int, Item]]:
    """Give packets decoding timestamps that ascend strictly, and durations without gaps.

    Every encoder counts decoding from the start of its own segment, so that at a variable frame
    rate the decoding timestamps of one segment can run into the next. Here they are made anew:
    the packet at place ``n`` is decoded when the frame shown at place ``n - depth`` is shown.
    That is strictly ascending and never after the packet's own frame is shown. The first
    ``depth`` packets are decoded as long before their places as the first frame is shown before
    the one at place ``depth``. A frame lasts until the next one; the last until ``end``, or as
    long as the one before it. This is what x264 does for a video in one piece.

    Args:
        packets: Presentation timestamps, and anything that goes with them, in decoding order.
            The first is the earliest.
        depth: The most places by which any frame is shown earlier than it is decoded; less than
            the number of packets.
        step: The duration of an only frame, in ticks.
        end: When the last frame is no longer shown; None where nobody says.

    Yields:
        Presentation timestamp, decoding timestamp, duration, and what went with it. A few
        packets, as many as the encoder reorders, are held back at any time.
    """
    packets = iter(packets)
    # The frame at place ``depth`` is among these, and so are all that are shown before it.
    opening = list(islice(packets, 2 * depth + 1))
    places = sorted(pts for pts, _ in opening)[: depth + 1]
    early = iter([pts - (places[depth] - places[0]) for pts in places[:depth]])
    display = _Display(step)
    held: deque[tuple[int, int, Item]] = deque()
    for pts, item in chain(opening, packets):
        display.add(pts)
        dts = next(early, None)
        held.append((pts, display.show() if dts is None else dts, item))
        while held and held[0][0] in display.durations:
            yield display.with_duration(*held.popleft())
    display.show_all(end)
    while held:
        yield display.with_duration(*held.popleft())


class _Display:
    """Frames put into the order in which they are shown, to learn how long each is.

    Args:
        step: The duration of an only frame, in ticks.

    Attributes:
        durations: Of the frames whose successor is known, by presentation timestamp.
    """

    def __init__(self, step: int) -> None:
        self.durations: dict[int, int] = {}
        self._step = step
        self._to_be_shown: list[int] = []
        self._shown: int | None = None

    def add(self, pts: int) -> None:
        """Take a frame, in any order that decoding allows."""
        heappush(self._to_be_shown, pts)

    def show(self) -> int:
        """Show the next frame, which ends the one before it."""
        pts = heappop(self._to_be_shown)
        if self._shown is not None:
            self._step = self.durations[self._shown] = pts - self._shown
        self._shown = pts
        return pts

    def show_all(self, end: int | None) -> None:
        """Show what is left; the last frame until ``end``, or as long as the one before it."""
        while self._to_be_shown:
            self.show()
        if self._shown is not None:
            is_told = end is not None and end > self._shown
            self.durations[self._shown] = (end or 0) - self._shown if is_told else self._step

    def with_duration(self, pts: int, dts: int, item: Item) -> tuple[int, int, int, Item]:
        """A packet of known times, once the frame after its own was shown."""
        return pts, dts, self.durations.pop(pts), item


class _Segment:
    """The packets of a segment.

    Args:
        path: The file.
        container: The same, opened.
    """

    def __init__(self, path: Path, container: InputContainer) -> None:
        self.path = path
        self._container = container
        self.stream: VideoStream = container.streams.video[0]
        self.start_s = Fraction(container.metadata[_START_TAG])
        self._time_base = to_fraction(self.stream.time_base) or Fraction(1)

    @property
    def settings(self) -> dict[str, object]:
        """What must be the same in all segments, because the output states it once."""
        decoder = self.stream.codec_context
        return {
            "codec": decoder.name,
            "size": (decoder.width, decoder.height),
            "pixel format": decoder.pix_fmt,
            "codec parameters": decoder.extradata,
        }

    def packets(self) -> Iterator[tuple[Fraction, "Packet[Any]"]]:
        """Packets in decoding order, and when in the whole video their frames are shown."""
        for packet in self._container.demux(self.stream):
            if packet.size and packet.pts is not None:
                yield self.start_s + packet.pts * self._time_base, packet


@contextmanager
def _read(path: Path) -> Iterator[_Segment]:
    """Open a segment; whatever is wrong with it names it."""
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            yield _Segment(path, container)
    except (av.FFmpegError, FileNotFoundError, IndexError, KeyError, ValueError) as error:
        msg = f"{path} must be a readable segment, got {error}"
        raise SegmentError(msg) from error


@contextmanager
def _written(path: Path, info: StreamInfo, kind: Container) -> Iterator[OutputContainer]:
    """Open the output, and finish it unless something went wrong."""
    output = av.open(
        str(path), "w", format=kind.format, container_options=kind.options(info.time_base)
    )
    try:
        describe_file(output, info)
        yield output
    except BaseException:
        abandon(output)
        raise
    output.close()


def _track_like(
    segment: _Segment,
    output: OutputContainer,
    info: StreamInfo,
    kind: Container,
    time: OutputTime,
) -> VideoStream:
    """Add the track of frames: parameters from a segment, the rest as when encoding."""
    # Opaque: by its codec alone, so that an encoder of it need not be there.
    track = output.add_stream_from_template(segment.stream, opaque=True)
    parameters = track.codec_context
    track.time_base = time.time_base
    describe_pictures(parameters, info, kind)
    is_told_in_avi = kind.format == "avi" and parameters.codec.name in _TOLD_BY_TAG
    if segment.path.suffix == ".mov" or is_told_in_avi:
        # The tag tells the variants of ProRes and DNxHD from each other.
        parameters.codec_tag = segment.stream.codec_context.codec_tag
    return track


def _reorder_depth(path: Path) -> int:
    """The most places by which a frame of a segment is shown earlier than it is decoded."""
    with _read(path) as segment:
        moments = [moment for moment, _ in segment.packets()]
    if not moments:
        msg = f"{path} must hold at least one frame, got none"
        raise SegmentError(msg)
    places = {moment: place for place, moment in enumerate(sorted(moments))}
    return max(place - places[moment] for place, moment in enumerate(moments))


def _packets(segments: Sequence[Path], time: OutputTime) -> Iterator[tuple[int, "Packet[Any]"]]:
    """The packets of all segments, in order, and when their frames are shown in the output."""
    settings: dict[str, object] = {}
    newest: int | None = None
    for path in segments:
        with _read(path) as segment:
            settings = settings or segment.settings
            _require_same(path, settings, segment.settings)
            is_first = True
            last = newest
            for moment_s, packet in segment.packets():
                pts = time.tick(moment_s)
                if is_first and last is not None:
                    _require_after(path, pts, last, time)
                is_first = False
                newest = pts if newest is None else max(newest, pts)
                yield pts, packet


def _require_same(path: Path, wanted: dict[str, object], given: dict[str, object]) -> None:
    different = [name for name in wanted if wanted[name] != given[name]]
    if different:
        msg = (
            f"{path} must be encoded like the segments before it, got another "
            f"{' and '.join(different)}"
        )
        raise SegmentError(msg)


def _require_after(path: Path, pts: int, newest: int, time: OutputTime) -> None:
    time.require_step(pts - newest, f"segment {path.name}")
    if pts <= newest:
        msg = (
            f"{path} must begin after the segment before it ends, at tick {newest}, got tick {pts}"
        )
        raise SegmentError(msg)
