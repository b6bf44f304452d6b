"""The two ways to decode a stream: up to the first damage, or around it."""

from collections.abc import Callable, Iterator
from typing import Any

import av
from av.codec.context import ThreadType
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from pipeline.io import ffv1

Watch = Callable[["Packet[Any]"], None]

# A demuxer that fails this often without giving a packet in between has nothing left to give.
MOST_FAILURES_IN_A_ROW = 1000

# Decoders that do not mark a picture of which they could not read all, unless they are to fail.
_SILENT_CODECS = frozenset({"mjpeg"})


class DamagedPictureError(Exception):
    """A decoder gave a picture of which it knows that parts are missing or made up."""


def reason(error: Exception) -> str:
    """The words of FFmpeg or of the system, without numbers and without the file."""
    return str(getattr(error, "strerror", None) or error)


def ignore(_packet: "Packet[Any]") -> None:
    """Watch nothing."""


def packets(container: InputContainer, watch: Watch = ignore) -> Iterator["Packet[Any]"]:
    """The packets of a file that hold something.

    Empty ones are left out: to a decoder they would mean the end of the stream.

    Raises:
        av.FFmpegError: If the file cannot be read on.
    """
    for packet in container.demux():
        if packet.size:
            watch(packet)
            yield packet


def kept_packets(
    container: InputContainer, watch: Watch = ignore, failures: list[str] | None = None
) -> Iterator["Packet[Any]"]:
    """The same, read on after an error.

    Args:
        container: The opened file.
        watch: Called with every packet.
        failures: Takes the words of every error.
    """
    failed_in_a_row = 0
    while failed_in_a_row < MOST_FAILURES_IN_A_ROW:
        try:
            for packet in packets(container, watch):
                failed_in_a_row = 0
                yield packet
        except av.FFmpegError as error:
            failed_in_a_row += 1
            if failures is not None:
                failures.append(reason(error))
        else:
            return


def pictures(
    container: InputContainer,
    stream: VideoStream,
    watch: Watch = ignore,
    *,
    with_one_thread: bool = False,
) -> Iterator[tuple[int | None, av.VideoFrame]]:
    """Timestamps and pictures from where the container stands, until something is wrong.

    Args:
        container: The opened file.
        stream: One of its streams.
        watch: Called with every packet of the file.
        with_one_thread: True to be certain that no damage is missed: of the last pictures several
            threads may give one before they know that it is damaged.

    Yields:
        Timestamp, None where the file has none for it, and picture, in the order of presentation.

    Raises:
        av.FFmpegError: If the file cannot be read on or a packet cannot be decoded.
        DamagedPictureError: If a picture is incomplete.
    """
    if with_one_thread:
        _use_one_thread(stream)
    else:
        stream.thread_type = "AUTO"
    if stream.codec_context.name in _SILENT_CODECS:
        stream.codec_context.options = {"err_detect": "explode"}
    has_checksums = ffv1.has_checksums(stream)
    for packet in packets(container, watch):
        # The packet's own stream is a new object for each way to ask for it.
        if packet.stream.index == stream.index:
            damage = ffv1.damage(bytes(packet)) if has_checksums else None
            if packet.is_corrupt:
                damage = "a packet was read with errors"
            if damage is not None:
                # Several threads hold whole pictures back, which come before it.
                for picture in stream.decode(None):
                    yield picture.pts, _whole(picture)
                raise DamagedPictureError(damage)
            for picture in stream.decode(packet):
                yield picture.pts, _whole(picture)
    for picture in stream.decode(None):
        yield picture.pts, _whole(picture)


def kept_pictures(
    container: InputContainer,
    stream: VideoStream,
    watch: Watch = ignore,
    failures: list[str] | None = None,
) -> Iterator[tuple[int | None, av.VideoFrame]]:
    """The same around all damage: whatever the decoder gives, however it looks.

    One thread decodes, because what several make of damaged data depends on who is first: every
    reader must see the same.

    Args:
        container: The opened file.
        stream: One of its streams.
        watch: Called with every packet of the file.
        failures: Takes the words of every error.

    Yields:
        Timestamp, None where the file has none for it, and picture, in the order of presentation.
    """
    _use_one_thread(stream)
    for packet in kept_packets(container, watch, failures):
        if packet.stream.index == stream.index:
            for picture in _decoded(stream, packet, failures):
                yield picture.pts, picture
    for picture in _decoded(stream, None, failures):
        yield picture.pts, picture


def _use_one_thread(stream: VideoStream) -> None:
    stream.thread_type = ThreadType.NONE
    stream.codec_context.thread_count = 1


def _whole(picture: av.VideoFrame) -> av.VideoFrame:
    if picture.is_corrupt:
        msg = "the picture is damaged"
        raise DamagedPictureError(msg)
    return picture


def _decoded(
    stream: VideoStream, packet: "Packet[Any] | None", failures: list[str] | None
) -> list[av.VideoFrame]:
    try:
        return stream.decode(packet)
    except av.FFmpegError as error:
        if failures is not None:
            failures.append(reason(error))
        return []
