"""Segments that wait for a lane on another node, and where the output cannot be written."""

from collections.abc import Collection

from pipeline.crew import Lane
from pipeline.lanes import VideoLanes
from pipeline.video_job import OpenSegment


class Parking:
    """Keeps segments that failed by what their lane holds: a node may lack a disk of the others.

    Args:
        lanes: Of the video.
    """

    def __init__(self, lanes: VideoLanes) -> None:
        self._lanes = lanes
        self._waiting: list[OpenSegment] = []
        self._refusing: set[str] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def frames(self) -> int:
        """Of the segments that wait, halos included."""
        return sum(run.frames_left for run in self._waiting)

    def may_wait(self, run: OpenSegment, lanes: Collection[Lane]) -> bool:
        """Whether there is a lane on a node that a segment which failed has not tried.

        Args:
            run: The segment; if there is, it avoids the node of its lane from now on.
            lanes: All of the video.
        """
        tried = run.avoided | {run.lane.node}
        is_elsewhere = any(lane.node not in tried for lane in lanes)
        if is_elsewhere:
            run.avoided = tried
        return is_elsewhere

    def add(self, run: OpenSegment) -> None:
        """Let a segment wait, which has no lane any more."""
        self._waiting.append(run)

    def take(self, *, takes_any: bool) -> OpenSegment | None:
        """A segment for which there is a lane now, and which has it; None if there is none.

        Args:
            takes_any: Take any lane where there is no other.
        """
        for run in self._waiting:
            lane = self._lanes.take(run.avoided, takes_any=takes_any)
            if lane is not None:
                self._waiting.remove(run)
                run.lane = lane
                return run
        return None

    def is_refused_everywhere(self, node: str, lanes: Collection[Lane]) -> bool:
        """Whether the output can be written nowhere, now that it cannot be written on this node.

        Args:
            node: Where an encoder was refused.
            lanes: All of the video.
        """
        self._refusing.add(node)
        return all(lane.node in self._refusing for lane in lanes)

    def is_written(self, node: str) -> None:
        """A segment was written there."""
        self._refusing.discard(node)
