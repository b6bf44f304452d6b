"""Which frame is shown when, so that a seek can be exact."""

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.io.clock import Stamps

# Codecs where every packet that is not discarded is one shown frame. VP8 is not among them: its
# alternate reference frames are packets that are never shown. Nor is MPEG-4 part 2: of a packet
# that says "the same once more" decoders show nothing.
ONE_FRAME_PACKETS = frozenset(
    {"av1", "dnxhd", "ffv1", "h264", "hevc", "mjpeg", "png", "prores", "vp9"}
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

    pts: "array[int]"
    key_frames: Sequence[int]
    is_exact: bool

    def key_frame_before(self, number: int) -> int:
        """The last frame, ``number`` itself or before it, at which decoding can begin."""
        position = bisect_right(self.key_frames, number)
        return self.key_frames[position - 1] if position else 0


@dataclass(frozen=True, slots=True)
class ShownPackets:
    """The packets of a stream that are not discarded, in decoding order, nine bytes each.

    Attributes:
        stamps: Their presentation timestamps.
        are_keys: For each, 1 if decoding can begin there, else 0.
    """

    stamps: Stamps = field(default_factory=Stamps)
    are_keys: bytearray = field(default_factory=bytearray)

    def append(self, pts: int | None, *, is_key: bool) -> None:
        """Add the next one."""
        self.stamps.append(pts)
        self.are_keys.append(is_key)


def index_of_packets(codec: str, packets: ShownPackets) -> FrameIndex | None:
    """The index that packets tell without decoding.

    Args:
        codec: FFmpeg's name of the codec.
        packets: All that are shown.

    Returns:
        None where packets do not tell which frames there are.
    """
    if not packets.are_keys or codec not in ONE_FRAME_PACKETS:
        return None
    stamps = packets.stamps.sorted()
    # Decoders drop what precedes the first key frame, in the file or on the screen.
    begins_whole = packets.are_keys[0] and packets.stamps[0] == stamps[0]
    if not begins_whole or not stamps.are_ascending:
        return None
    return FrameIndex(stamps.ticks, _key_frames(stamps.ticks, packets), is_exact=True)


def _key_frames(stamps: "array[int]", packets: ShownPackets) -> Sequence[int]:
    """Numbers of the frames whose packets are keys; ``stamps`` are sorted."""
    if all(packets.are_keys):
        return range(len(stamps))
    keys = np.asarray(packets.stamps.ticks)[np.frombuffer(packets.are_keys, bool)]
    return array("q", np.searchsorted(stamps, np.sort(keys)).astype(np.int64).tobytes())
