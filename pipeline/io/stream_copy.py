"""What lies beside the pictures, carried from input to output without encoding it again."""

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.packet import Packet
from av.stream import AttachmentStream, Discard, Disposition, Stream

from pipeline.errors import InputError
from pipeline.io.clock import nearest_tick, to_fraction
from pipeline.io.decoding import kept_packets, packets, reason
from pipeline.io.metadata import (
    UNTITLED_CHAPTERS_LOST,
    WITH_ATTACHMENTS,
    WITH_CHAPTERS,
    WITH_COVER_ART,
    TrackWords,
    lost_track_words,
    lost_words,
    shifted_chapters,
    titled_chapters,
)
from pipeline.io.probe import best_video_stream
from pipeline.io.rehearsal import holds_track, keeps_before_zero

log = logging.getLogger(__name__)

COPIED_TYPES = ("audio", "subtitle")
_COVER_TYPES = {"mjpeg": ("jpg", "image/jpeg"), "png": ("png", "image/png")}


class StreamCopy:
    """Copies what an output can hold of a file beside its pictures; one warning names the rest.

    That is sound, subtitles, chapters, attachments, cover art, and what is said of the tracks,
    that of the pictures included.

    Args:
        origin: The file that has all this.
        output: The container to add it to, before its first packet; it has the track of pictures.
        span_s: Start and end, in seconds of ``origin``, of what is kept; the start becomes zero.
            None keeps everything at its own time. Sound belongs to the span if it begins inside,
            a subtitle or a chapter is cut at its ends.
        can_be_negative: False if the output would move everything, pictures too, to make room
            for a packet before zero. Such packets only prepare a decoder; they are then left out,
            unless their track says how much of it is not to be heard, and the output can too.
        keep_damaged: True to copy what can be read, where not everything can be.

    Raises:
        av.FFmpegError: If ``origin`` cannot be opened.
    """

    def __init__(
        self,
        origin: Path,
        output: OutputContainer,
        span_s: tuple[Fraction, Fraction | None] | None,
        *,
        can_be_negative: bool,
        keep_damaged: bool = False,
    ) -> None:
        self._origin = origin
        self._output = output
        self._span_s = span_s
        self._can_be_negative = can_be_negative
        self._keep_damaged = keep_damaged
        self._source = av.open(str(origin), metadata_errors="replace")
        self._copies: dict[int, Stream] = {}
        self._newest: dict[int, int] = {}
        self._held: tuple[Fraction, Packet[Any]] | None = None
        self._num_refused = 0
        left_behind = [*self._add_tracks(), *self._add_chapters()]
        left_behind += lost_words(output.format.name, self._source.metadata)
        self._packets = self._read()
        if left_behind:
            log.warning(
                "%s: not carried into %s: %s", origin, output.format.name, ", ".join(left_behind)
            )

    def write_until(self, moment_s: Fraction | None) -> None:
        """Write the packets that begin before a moment of the output; None for all that are left.

        Called as the pictures advance, so that sound and pictures lie side by side in the file.

        Raises:
            InputError: If a packet makes no sense to the output, unless damage is kept.
        """
        while True:
            self._held = self._held or next(self._packets, None)
            if self._held is None or (moment_s is not None and self._held[0] >= moment_s):
                return
            self._write(*self._held)
            self._held = None

    def close(self) -> None:
        """Close the file that everything comes from, and say what of it was left out."""
        self._source.close()
        if self._num_refused:
            log.warning(
                "%s is damaged: %d packets beside its pictures were left out",
                self._origin,
                self._num_refused,
            )

    def _write(self, begins: Fraction, packet: "Packet[Any]") -> None:
        kind = packet.stream.type
        try:
            self._output.mux(packet)
        except av.FFmpegError as error:
            if isinstance(error, OSError):
                # The disk, not the packet.
                raise
            if not self._keep_damaged:
                msg = (
                    f"{self._origin} must have {kind} that can be copied, got a packet at "
                    f"{float(begins):.3f} s of which the output says: {reason(error)}"
                )
                raise InputError(msg) from error
            self._num_refused += 1

    def _add_tracks(self) -> list[str]:
        """Add what the output can hold; what is left behind."""
        left_behind = []
        pictures = best_video_stream(self._source)
        for stream in self._source.streams:
            if stream is pictures:
                left_behind += self._describe(stream, self._output.streams.video[0])
            elif stream.discard == Discard.all or self._makes_timecode(stream):
                # The container's own track of chapters, or one that the muxer makes of a tag.
                continue
            elif not self._add(stream):
                left_behind.append(_title(stream))
            elif stream.index in self._copies and stream.type in COPIED_TYPES:
                left_behind += self._describe(stream, self._copies[stream.index])
        return left_behind

    def _add(self, stream: Stream) -> bool:
        """Add a copy of a track, or of what takes the place of one; false if it has no place."""
        if isinstance(stream, AttachmentStream):
            return self._attach(stream.name or "attachment", stream.mimetype or "", stream.data)
        codec = stream.codec_context.name if stream.codec_context is not None else None
        if stream.disposition & Disposition.attached_pic and codec in _COVER_TYPES:
            return self._add_cover(stream, codec)
        if stream.type not in COPIED_TYPES or codec not in self._output.supported_codecs:
            return False
        if isinstance(stream, AudioStream) and not stream.sample_rate:
            # Nothing was found that could be heard, and no output can say so.
            return False
        if not holds_track(self._output.format.name, stream):
            return False
        self._copies[stream.index] = self._output.add_stream_from_template(stream)
        return True

    def _attach(self, name: str, media_type: str, data: bytes) -> bool:
        if self._output.format.name not in WITH_ATTACHMENTS:
            return False
        self._output.add_attachment(name, media_type or "application/octet-stream", data)
        return True

    def _add_cover(self, stream: Stream, codec: str) -> bool:
        suffix, media_type = _COVER_TYPES[codec]
        if self._output.format.name in WITH_COVER_ART:
            copy = self._output.add_stream_from_template(stream, opaque=True)
            copy.disposition = Disposition.attached_pic
            self._copies[stream.index] = copy
            return True
        if self._output.format.name not in WITH_ATTACHMENTS:
            return False
        data = self._first_packet(stream.index)
        return data is not None and self._attach(f"cover.{suffix}", media_type, data)

    def _first_packet(self, index: int) -> bytes | None:
        with av.open(str(self._origin), metadata_errors="replace") as container:
            found = (bytes(p) for p in kept_packets(container) if p.stream.index == index)
            return next(found, None)

    def _describe(self, stream: Stream, copy: Stream) -> list[str]:
        """Say of a copy what is said of its original; what cannot be said."""
        words = TrackWords.of(stream)
        lost = []
        if self._span_s is not None and words.tags.pop("timecode", None) is not None:
            # It names the first picture, which is now another one.
            lost.append("timecode")
        copy.metadata.update(words.tags)
        copy.disposition = words.disposition
        lost += lost_track_words(self._output.format.name, words)
        return [f"{word} of {stream.type} track {stream.index}" for word in lost]

    def _makes_timecode(self, stream: Stream) -> bool:
        is_timecode = stream.type == "data" and "timecode" in stream.metadata
        return is_timecode and self._output.format.name == "mov" and self._span_s is None

    def _add_chapters(self) -> list[str]:
        chapters = self._source.chapters()
        if not chapters:
            return []
        if self._output.format.name not in WITH_CHAPTERS:
            return [f"{len(chapters)} chapters"]
        chosen = shifted_chapters(chapters, self._span_s)
        if self._output.format.name in UNTITLED_CHAPTERS_LOST:
            chosen = titled_chapters(chosen)
        self._output.set_chapters(chosen)
        return []

    def _demux(self) -> Iterator["Packet[Any]"]:
        if self._keep_damaged:
            # The source of the frames says what could not be read.
            yield from kept_packets(self._source)
            return
        try:
            yield from packets(self._source)
        except av.FFmpegError as error:
            msg = f"{self._source.name} must be readable to its end, got {reason(error)}"
            raise InputError(msg) from error

    def _read(self) -> Iterator[tuple[Fraction, "Packet[Any]"]]:
        """Packets inside the span, addressed to the output, and when they begin there."""
        if not self._copies:
            return
        for packet in self._demux():
            copy = self._copies.get(packet.stream.index)
            if copy is None:
                continue
            if packet.stream.type == "video":
                packet.pts = packet.dts = 0
                begins: Fraction | None = Fraction(0)
            else:
                begins = self._moved(packet)
            if begins is not None:
                self._keep_order(packet)
                packet.stream = copy
                yield begins, packet

    def _moved(self, packet: "Packet[Any]") -> Fraction | None:
        """Move a packet to its time in the output, in seconds; None if it is outside."""
        ticks = packet.pts if packet.pts is not None else packet.dts
        if ticks is None:
            return None
        time_base = to_fraction(packet.time_base) or Fraction(1)
        begins = ticks * time_base
        if self._span_s is None:
            is_kept = begins >= 0 or self._can_be_negative
            return begins if is_kept or self._is_kept_before_zero(packet) else None
        start, end = self._span_s
        if packet.stream.type == "subtitle" and packet.duration:
            begins = self._cut(packet, begins, time_base)
        if begins < start or (end is not None and begins >= end):
            return None
        shift = nearest_tick(start, time_base)
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts = None if packet.dts is None else packet.dts - shift
        return begins - start

    def _is_kept_before_zero(self, packet: "Packet[Any]") -> bool:
        is_sound = packet.stream.type == "audio"
        return is_sound and keeps_before_zero(self._output.format.name, packet)

    def _keep_order(self, packet: "Packet[Any]") -> None:
        """Let packets of a track follow each other: muxers refuse what others have rounded.

        Packets of sound move by a tick, at least, where they do not ascend; subtitles may begin
        together.
        """
        index, dts = packet.stream.index, packet.dts if packet.dts is not None else packet.pts
        if dts is None:
            return
        step = 0 if packet.stream.type == "subtitle" else 1
        least = self._newest.get(index, dts - step) + step
        if dts < least:
            packet.pts = least if packet.pts is None else max(packet.pts, least)
            packet.dts = dts = least
        self._newest[index] = dts

    def _cut(self, packet: "Packet[Any]", begins: Fraction, time_base: Fraction) -> Fraction:
        """Cut a subtitle at the ends of the span; when it begins then."""
        start, end = self._span_s or (begins, None)
        ends = begins + (packet.duration or 0) * time_base
        if ends <= start:
            return begins
        begins, ends = max(begins, start), ends if end is None else min(ends, end)
        first, last = nearest_tick(begins, time_base), nearest_tick(ends, time_base)
        packet.pts = packet.dts = first
        packet.duration = max(0, last - first)
        return begins


def _title(stream: Stream) -> str:
    if isinstance(stream, AttachmentStream):
        return f"attachment {stream.name}"
    if stream.disposition & Disposition.attached_pic:
        return "cover art"
    codec = stream.codec_context.name if stream.codec_context is not None else "unknown codec"
    return f"{stream.type} track {stream.index} ({codec})"
