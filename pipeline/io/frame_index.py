"""Which frame is shown when, found without decoding, so that a seek can be exact."""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.packet import Packet

from pipeline.io.clock import PtsRepair, nearest_tick, to_fraction

# Codecs where every packet that is not discarded is one shown frame. VP8 is not among them: its
# alternate reference frames are packets that are never shown.
ONE_FRAME_PACKETS = frozenset(
    {"av1", "dnxhd", "ffv1", "h264", "hevc", "mjpeg", "mpeg4", "png", "prores", "vp9"}
)


@dataclass(frozen=True, slots=True)
class FrameIndex:
    """The presentation timestamps of a video stream.

    Attributes:
        pts: Timestamp of each frame, ascending strictly.
        key_frames: Numbers of the frames at which decoding can begin, ascending.
        is_exact: True if the timestamps are those of the decoder, so that a frame found by its
            timestamp after a seek is the frame of that number.
    """

    pts: tuple[int, ...]
    key_frames: tuple[int, ...]
    is_exact: bool

    def key_frame_before(self, number: int) -> int:
        """The last frame, ``number`` itself or before it, at which decoding can begin."""
        position = bisect_right(self.key_frames, number)
        return self.key_frames[position - 1] if position else 0


def build_index(
    path: Path, stream_index: int, watch: Callable[["Packet[Any]"], None] | None = None
) -> FrameIndex:
    """Read the packets of a stream, or decode it where packets do not tell.

    Args:
        path: The file.
        stream_index: Number of the stream among all of the file.
        watch: Called with every packet of the file.

    Raises:
        av.FFmpegError: If the file cannot be read to its end.
    """
    with av.open(str(path), metadata_errors="replace") as container:
        stream = container.streams[stream_index]
        codec = stream.codec_context.codec.canonical_name
        shown = []
        for packet in container.demux():
            if watch is not None:
                watch(packet)
            if packet.stream.index == stream_index and packet.size and not packet.is_discard:
                shown.append((packet.pts, packet.is_keyframe))
    stamps = sorted(pts for pts, _ in shown if pts is not None)
    is_told = len(stamps) == len(shown) == len(set(stamps))
    # Decoders drop what precedes the first key frame, in the file or on the screen.
    begins_whole = bool(shown) and shown[0] == (stamps[0] if stamps else None, True)
    if is_told and begins_whole and codec in ONE_FRAME_PACKETS:
        keys = {pts for pts, is_key in shown if is_key}
        key_frames = tuple(number for number, pts in enumerate(stamps) if pts in keys)
        return FrameIndex(tuple(stamps), key_frames, is_exact=True)
    return FrameIndex(_decoded_pts(path, stream_index), (), is_exact=False)


def _decoded_pts(path: Path, stream_index: int) -> tuple[int, ...]:
    with av.open(str(path), metadata_errors="replace") as container:
        stream = next(video for video in container.streams.video if video.index == stream_index)
        stream.thread_type = "AUTO"
        time_base = to_fraction(stream.time_base) or Fraction(1, 1000)
        rate = to_fraction(stream.average_rate) or to_fraction(stream.guessed_rate) or Fraction(25)
        repair = PtsRepair(nearest_tick(1 / rate, time_base))
        return tuple(repair(picture.pts) for picture in container.decode(stream))
