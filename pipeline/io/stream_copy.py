"""Sound carried from the input to the output, packet by packet, without encoding it again."""

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import OutputContainer
from av.packet import Packet
from av.stream import Stream

from pipeline.errors import InputError
from pipeline.io.clock import nearest_tick, to_fraction
from pipeline.io.video_source import best_video_stream

log = logging.getLogger(__name__)

COPIED_TYPES = ("audio",)


class StreamCopy:
    """Copies the tracks of a file that an output can hold; one warning names all others.

    Args:
        origin: The file that has the tracks.
        output: The container to add them to, before its first packet.
        span_s: Start and end, in seconds of ``origin``, of what is kept; the start becomes zero.
            None keeps everything at its own time. A packet belongs to the span if it begins
            inside.
        can_be_negative: False if the output would move everything, pictures too, to make room
            for a packet before zero. Such packets only prepare a decoder; they are then left out.

    Raises:
        av.FFmpegError: If ``origin`` cannot be read.
    """

    def __init__(
        self,
        origin: Path,
        output: OutputContainer,
        span_s: tuple[Fraction, Fraction | None] | None,
        *,
        can_be_negative: bool,
    ) -> None:
        self._output = output
        self._span_s = span_s
        self._can_be_negative = can_be_negative
        self._source = av.open(str(origin), metadata_errors="replace")
        self._copies: dict[int, Stream] = {}
        self._held: tuple[Fraction, Packet[Any]] | None = None
        left_behind = []
        pictures = best_video_stream(self._source)
        for stream in self._source.streams:
            if stream is pictures:
                continue
            if self._can_carry(stream):
                self._copies[stream.index] = _copy_of(stream, output)
            else:
                left_behind.append(_title(stream))
        self._packets = self._read()
        if left_behind:
            log.warning(
                "%s: not carried into %s: %s", origin, output.format.name, ", ".join(left_behind)
            )

    def write_until(self, moment_s: Fraction | None) -> None:
        """Write the packets that begin before a moment of the output; None for all that are left.

        Called as the pictures advance, so that sound and pictures lie side by side in the file.
        """
        while True:
            self._held = self._held or next(self._packets, None)
            if self._held is None or (moment_s is not None and self._held[0] >= moment_s):
                return
            self._output.mux(self._held[1])
            self._held = None

    def close(self) -> None:
        """Close the file that the tracks come from."""
        self._source.close()

    def _can_carry(self, stream: Stream) -> bool:
        return (
            stream.type in COPIED_TYPES
            and stream.codec_context is not None
            and stream.codec_context.name in self._output.supported_codecs
        )

    def _demux(self, streams: list[Stream]) -> Iterator["Packet[Any]"]:
        try:
            yield from self._source.demux(streams)
        except av.FFmpegError as error:
            msg = f"{self._source.name} must be readable to its end, got {error.strerror}"
            raise InputError(msg) from error

    def _read(self) -> Iterator[tuple[Fraction, "Packet[Any]"]]:
        """Packets inside the span, addressed to the output, and when they begin there."""
        streams = [self._source.streams[index] for index in self._copies]
        if not streams:
            return
        start, end = self._span_s or (None, None)
        for packet in self._demux(streams):
            ticks = packet.pts if packet.pts is not None else packet.dts
            if ticks is None or not packet.size:
                continue
            time_base = to_fraction(packet.time_base) or Fraction(1)
            begins = ticks * time_base
            if start is None:
                if begins < 0 and not self._can_be_negative:
                    continue
            else:
                if begins < start or (end is not None and begins >= end):
                    continue
                shift = nearest_tick(start, time_base)
                begins -= start
                packet.pts = None if packet.pts is None else packet.pts - shift
                packet.dts = None if packet.dts is None else packet.dts - shift
            packet.stream = self._copies[packet.stream.index]
            yield begins, packet


def _copy_of(stream: Stream, output: OutputContainer) -> Stream:
    copy = output.add_stream_from_template(stream)
    copy.metadata.update(stream.metadata)
    copy.disposition = stream.disposition
    return copy


def _title(stream: Stream) -> str:
    codec = stream.codec_context.name if stream.codec_context is not None else "unknown codec"
    return f"{stream.type} track {stream.index} ({codec})"
