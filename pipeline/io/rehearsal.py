"""What a kind of file makes of a track, found by writing a tiny one."""

import io
from fractions import Fraction
from typing import Any

import av
from av.packet import Packet
from av.stream import Stream

from pipeline.io.clock import to_fraction

# Matroska counts in milliseconds.
_TOLERANCE_S = Fraction(1, 1000)


def holds_track(format_name: str, stream: Stream) -> bool:
    """Whether a kind of file takes a copy of a track: QuickTime lists Opus, and then refuses it.

    Args:
        format_name: FFmpeg's name of the muxer.
        stream: The track, of a file that is open.
    """
    try:
        with av.open(io.BytesIO(), "w", format=format_name) as container:
            container.add_stream_from_template(stream)
            container.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


def keeps_before_zero(format_name: str, packet: "Packet[Any]") -> bool:
    """Whether a packet that begins before zero is read back from there, and moves nothing else.

    Matroska can say so of a track that states how much of its beginning is not to be heard.

    Args:
        format_name: FFmpeg's name of the muxer.
        packet: The packet, with timestamps, of a file that is open.
    """
    file = io.BytesIO()
    options = {"avoid_negative_ts": "disabled"}
    first: Packet[Any] = Packet(bytes(packet))
    first.pts, first.dts, first.duration = packet.pts, packet.dts, packet.duration
    first.time_base, first.is_keyframe = packet.time_base, True
    try:
        with av.open(file, "w", format=format_name, container_options=options) as container:
            first.stream = container.add_stream_from_template(packet.stream)
            container.mux(first)
        file.seek(0)
        with av.open(file, "r") as read:
            found, wanted = _begin_s(next(read.demux())), _begin_s(packet)
    except (av.FFmpegError, ValueError):
        return False
    return found is not None and wanted is not None and abs(found - wanted) <= _TOLERANCE_S


def _begin_s(packet: "Packet[Any]") -> Fraction | None:
    time_base = to_fraction(packet.time_base)
    return None if packet.pts is None or time_base is None else packet.pts * time_base
