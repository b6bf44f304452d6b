"""Frames of one segment after the other, each decoded once although segments overlap."""

from collections import deque
from collections.abc import Iterator

from operators.frame import Frame, with_changes
from operators.timeline import Segment
from pipeline.errors import InputError
from pipeline.io.endpoint import Source


class SegmentReader:
    """Reads the segments of a source, at the least cost in ascending order.

    It holds as many frames as two segments have in common, so memory does not depend on the
    length of a segment or of the video.

    Args:
        source: Gives the frames.
        halo: Frames that a segment reads on each side of its own.
    """

    def __init__(self, source: Source, halo: int) -> None:
        self._source = source
        self._held: deque[Frame] = deque(maxlen=2 * halo)
        self._frames: Iterator[Frame] = iter(())
        self._position = -1

    def read(self, segment: Segment) -> Iterator[Frame]:
        """The frames of a segment and its halo, the latter marked.

        Raises:
            InputError: If the source ends before the segment does.
        """
        first = segment.halo_first
        held = [frame for frame in self._held if first <= frame.index < segment.halo_stop]
        if not held or held[0].index != first or held[-1].index + 1 != self._position:
            held = []
            if self._position != first:
                self._held.clear()
                self._frames = self._source.frames(first)
                self._position = first
        for frame in held:
            yield _marked(frame, segment)
        while self._position < segment.halo_stop:
            following = next(self._frames, None)
            if following is None:
                msg = (
                    f"{self._source.name} must have frame {self._position}, which its container "
                    f"promises, got its end"
                )
                raise InputError(msg)
            self._position += 1
            self._held.append(following)
            yield _marked(following, segment)


def _marked(frame: Frame, segment: Segment) -> Frame:
    return with_changes(frame, is_halo=not segment.first <= frame.index < segment.stop)
