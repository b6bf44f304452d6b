"""Which frame is shown when, so that a seek can be exact."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

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

    pts: tuple[int, ...]
    key_frames: tuple[int, ...]
    is_exact: bool

    def key_frame_before(self, number: int) -> int:
        """The last frame, ``number`` itself or before it, at which decoding can begin."""
        position = bisect_right(self.key_frames, number)
        return self.key_frames[position - 1] if position else 0


def index_of_packets(codec: str, packets: Sequence[tuple[int | None, bool]]) -> FrameIndex | None:
    """The index that packets tell without decoding.

    Args:
        codec: FFmpeg's name of the codec.
        packets: Timestamp, and whether it is a key frame, of each shown one, in decoding order.

    Returns:
        None where packets do not tell which frames there are.
    """
    stamps = sorted(pts for pts, _ in packets if pts is not None)
    is_told = len(stamps) == len(packets) == len(set(stamps))
    # Decoders drop what precedes the first key frame, in the file or on the screen.
    begins_whole = bool(packets) and packets[0] == (stamps[0] if stamps else None, True)
    if not is_told or not begins_whole or codec not in ONE_FRAME_PACKETS:
        return None
    keys = {pts for pts, is_key in packets if is_key}
    key_frames = tuple(number for number, pts in enumerate(stamps) if pts in keys)
    return FrameIndex(tuple(stamps), key_frames, is_exact=True)
