"""The lanes of a job: given to videos, lent to those that run last, and moved off nodes."""

import logging
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

import ray
from ray.exceptions import RayError

from pipeline.cluster import Nodes
from pipeline.crew import Hiring, Lane, dismiss
from pipeline.log import facts
from pipeline.pools import NODES_EVERY_S
from pipeline.seats import Chair, Video
from pipeline.suspects import Suspects
from pipeline.video_job import Ref

logger = logging.getLogger(__name__)

# A segment on a node that is drained may use this part of the time that is left to be finished.
DRAIN_SHARE = 0.5
# Nodes may fail a video as a whole so often and once more; then the fault is taken to be its own.
MOST_MOVES = 2
# So long a coordinator may not have told yet that it has a lane.
UNTOLD_S = 4 * NODES_EVERY_S


@dataclass(frozen=True, slots=True)
class _Loan:
    """A lane that a coordinator is told of, until it has answered."""

    lane: Lane
    video: Video
    chair: Chair
    answer: Ref


@dataclass(frozen=True, slots=True)
class _LeftLane:
    """A lane that is left for another, since one time and at the latest at another.

    Those videos had it, by index.
    """

    lane: Lane
    to: Lane
    left_at: float
    leave_at: float | None
    held_by: frozenset[int]


class JobLanes:
    """The lanes of a job: given to videos, lent to those that run last, and moved off nodes.

    Args:
        lanes: All of them.
        hiring: How more are started.
        each: How many a video is given to begin with.
    """

    def __init__(self, lanes: Sequence[Lane], hiring: Hiring, each: int) -> None:
        self._hiring = hiring
        self._each = each
        self._all = list(lanes)
        self._free = list(lanes)
        self._left: list[_LeftLane] = []
        self._loans: list[_Loan] = []
        self._suspects = Suspects()

    def __len__(self) -> int:
        return len(self._all)

    def give(self, video: Video, *, takes_any: bool) -> bool:
        """Give a video its lanes, if there are any for it now; whether there were.

        Args:
            video: The video.
            takes_any: Also those on nodes that it avoids, or that failed a video lately, where
                there are no others.
        """
        # Where all have failed one, it was hardly the nodes.
        is_telling = any(lane.node not in self._suspects for lane in self._all)

        def is_last_choice(lane: Lane) -> tuple[bool, bool]:
            return lane.node in video.avoided, is_telling and lane.node in self._suspects

        free = sorted(self._free, key=is_last_choice)
        if not takes_any:
            free = [lane for lane in free if not any(is_last_choice(lane))]
        lanes = free[: self._each]
        if len(lanes) < self._each:
            return False
        video.lanes = lanes
        self._free = [lane for lane in self._free if lane not in lanes]
        return True

    def take_back(self, video: Video) -> None:
        """A video is over, or is to be begun again elsewhere."""
        self._free += video.lanes
        video.lanes = []
        self._loans = [loan for loan in self._loans if loan.video is not video]

    def avoid(self, video: Video) -> bool:
        """Have a video avoid the nodes of its lanes, which failed it; whether it may try others.

        For a while these are given to no other video either, or they would fail one after another.
        """
        # One that was lent it at the last moment it did not use.
        used = [lane for lane in video.lanes if lane.decoder.name in video.snapshot.lanes]
        failed = {lane.node for lane in used or video.lanes}
        tried = video.avoided | failed
        are_elsewhere = sum(lane.node not in tried for lane in self._all) >= self._each
        if video.moves == MOST_MOVES or not are_elsewhere:
            return False
        video.moves += 1
        video.avoided = tried
        for node in failed:
            self._suspects.blame(node)
        return True

    def judge(self, video: Video, *, is_done: bool) -> None:
        """Trust the nodes that a video speaks for, before its lanes are taken back.

        Args:
            video: A video that is over.
            is_done: Whether its output is complete, which speaks for the nodes of its lanes. If it
                failed on the last ones, too, the fault is its own, and not of those it avoided.
        """
        speaks_for = {lane.node for lane in video.lanes} if is_done else video.avoided
        if is_done or video.snapshot.is_of_lanes:
            for node in speaks_for:
                self._suspects.clear(node)

    def lend(self, videos: Sequence[Video]) -> None:
        """Share what no video waits for among those that run, evenly."""
        self._lend_again()
        for lane in [lane for lane in self._free if lane.node not in self._suspects]:
            takers = [video for video in videos if lane.node not in video.avoided]
            if takers:
                poorest = min(takers, key=lambda video: len(video.lanes))
                self._free.remove(lane)
                poorest.lanes.append(lane)
                self._tell(lane, poorest)

    def _tell(self, lane: Lane, video: Video) -> None:
        if video.chair is not None:
            answer = video.chair.actor.lend.remote(lane)
            self._loans.append(_Loan(lane, video, video.chair, answer))

    def _lend_again(self) -> None:
        """Tell those once more who have just begun and did not listen yet."""
        for loan in list(self._loans):
            if not ray.wait([loan.answer], timeout=0)[0]:
                continue
            self._loans.remove(loan)
            with suppress(RayError):
                # Who takes over from one that died is given all lanes of its video.
                is_still = loan.video.chair is loan.chair and loan.lane in loan.video.lanes
                if not ray.get(loan.answer) and is_still:
                    self._tell(loan.lane, loan.video)

    def leave_nodes(self, nodes: Nodes, videos: Collection[Video]) -> None:
        """Give lanes on nodes that are drained a successor elsewhere.

        Args:
            nodes: The nodes as they are now.
            videos: Those that run.
        """
        now = time.monotonic()
        self._end_left(now, videos)
        for lane in [lane for lane in self._all if lane.node in nodes.draining]:
            staying = nodes.for_lanes(needs_gpu=self._hiring.needs_gpu)
            if not staying:
                return
            to = self._hiring.lane(staying[len(self._left) % len(staying)])
            logger.warning(
                "a lane leaves a node that is being drained", extra=facts(node=lane.node)
            )
            left_s = nodes.draining[lane.node]
            leave_at = None if left_s is None else now + DRAIN_SHARE * left_s
            held_by = frozenset(video.index for video in videos if lane in video.lanes)
            for lanes in (self._all, self._free, *(video.lanes for video in videos)):
                if lane in lanes:
                    lanes[lanes.index(lane)] = to
            self._left.append(_LeftLane(lane, to, now, leave_at, held_by))

    def dismiss(self) -> None:
        """End all processes."""
        for lane in (*self._all, *(left.lane for left in self._left)):
            dismiss(lane.workers())

    def _end_left(self, now: float, videos: Collection[Video]) -> None:
        """Tell videos to leave lanes, until they have; then end these."""
        for left in list(self._left):
            name = left.lane.decoder.name
            leave_in_s = None if left.leave_at is None else left.leave_at - now
            for video in videos:
                if video.chair is not None:
                    video.chair.actor.move.remote(name, left.to, leave_in_s)
            # Who had it and has not told what it uses may have been given it.
            is_in_use = any(
                name in video.snapshot.lanes
                or (video.index in left.held_by and not video.snapshot.lanes)
                for video in videos
            )
            if now - left.left_at > UNTOLD_S and not is_in_use:
                self._left.remove(left)
                dismiss(left.lane.workers())
