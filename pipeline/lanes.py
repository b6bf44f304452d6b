"""The lanes of one video: which are free, and which are to be left for others."""

import time
from collections import Counter, deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from pipeline.crew import Lane
from pipeline.suspects import Suspects
from pipeline.video_job import Leg


@dataclass(frozen=True, slots=True)
class _Move:
    """A lane is to be left for another, at the latest at a time; None is when it is free."""

    to: Lane
    leave_at: float | None


class VideoLanes:
    """The lanes of one video: free ones, and what becomes of them.

    ``lend`` and ``move`` may be called from another thread than the rest.

    Args:
        lanes: Those that it is given to begin with, at least one.
    """

    def __init__(self, lanes: Iterable[Lane]) -> None:
        self._free = list(lanes)
        self._lent: deque[Lane] = deque()
        self._moves: dict[str, _Move] = {}
        self._suspects = Suspects()
        self._failed: Counter[str] = Counter()
        self._left_behind: dict[str, list[Leg]] = {}

    def lend(self, lane: Lane) -> None:
        """Use one more from now on."""
        self._lent.append(lane)

    def move(self, name: str, to: Lane, leave_in_s: float | None) -> None:
        """Leave the lane of this decoder for another."""
        leave_at = None if leave_in_s is None else time.monotonic() + leave_in_s
        self._moves[name] = _Move(to, leave_at)

    def free(self) -> list[Lane]:
        """Those that no segment has."""
        while self._lent:
            self._free.append(self._lent.popleft())
        self._free = [self.successor(lane) for lane in self._free]
        return list(self._free)

    def take(self, avoided: Collection[str] = (), *, takes_any: bool = False) -> Lane | None:
        """A free one; None if there is none.

        Args:
            avoided: Nodes on which it may not be.
            takes_any: Also one that is there or is distrusted, if there is no other.
        """
        free = self.free()
        elsewhere = [lane for lane in free if lane.node not in avoided]
        trusted = [lane for lane in elsewhere if lane.decoder.name not in self._suspects]
        lane = next(iter(trusted or elsewhere or free if takes_any else trusted), None)
        if lane is not None:
            self._free.remove(lane)
        return lane

    def distrust(self, lane: Lane) -> None:
        """A segment could not be computed on it."""
        self._suspects.blame(lane.decoder.name)

    def blame(self, lane: Lane) -> None:
        """A segment failed on it; if the next one does, too, the fault is not a segment's."""
        self._failed[lane.decoder.name] += 1
        if self._failed[lane.decoder.name] > 1:
            self.distrust(lane)

    def trust(self, lane: Lane) -> None:
        """A segment was computed on it."""
        self._suspects.clear(lane.decoder.name)
        del self._failed[lane.decoder.name]

    def give_back(self, lane: Lane, left_behind: Iterable[Leg] = ()) -> None:
        """A segment has no more need of it.

        Args:
            lane: The lane.
            left_behind: What its processes may still wait for.
        """
        self._free.append(lane)
        self._left_behind[lane.decoder.name] = list(left_behind)

    def left_behind(self, lane: Lane) -> list[Leg]:
        """What its processes may still wait for, of segments that had it before."""
        return self._left_behind.pop(lane.decoder.name, [])

    def is_due(self, lane: Lane, now: float) -> bool:
        """Whether a segment on it must begin again elsewhere."""
        move = self._moves.get(lane.decoder.name)
        return move is not None and move.leave_at is not None and now > move.leave_at

    def successor(self, lane: Lane) -> Lane:
        """What a lane is to be left for, or the lane itself."""
        while (move := self._moves.pop(lane.decoder.name, None)) is not None:
            lane = move.to
        return lane
