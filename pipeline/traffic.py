"""Chunks on their way: who takes which, how many at once, and what they hold meanwhile."""

import time
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping

from pipeline.chunk import DEPTH, Chunk, last_length, next_chunk
from pipeline.crew import Worker
from pipeline.stage import Stage
from pipeline.suspects import Suspects
from pipeline.video_job import (
    Flight,
    Leg,
    Limits,
    OpenSegment,
    Others,
    Sighting,
    Staffing,
    StageCount,
)

# So many short chunks may be on their way in place of a usual one.
SHORT = 4


class Traffic:
    """Sends the chunks of a video along its stages.

    Args:
        stages: What is done to them, in order.
        staffing: Who works in the pools; may be replaced at any time.
        others: What other videos ask of them; likewise.
        limits: What the video may use.
    """

    def __init__(
        self, stages: tuple[Stage, ...], staffing: Staffing, others: Others, limits: Limits
    ) -> None:
        self.staffing = staffing
        self.others = others
        self._stages = stages
        self._limits = limits
        self._max_credits = limits.max_credits
        self._load: Counter[str] = Counter()
        self.suspects = Suspects()

    @property
    def credits(self) -> int:
        """Chunks of usual length that may be on their way: two a worker, shared with other videos.

        What the others do not use of their share, as one does not that has just begun or is about
        to end, may be used meanwhile.
        """
        others = self.others
        workers = sum(len(pool) for pool in self.staffing.pools.values())
        share = DEPTH * -(-workers // others.abreast)
        return min(max(2, share, DEPTH * workers - others.chunks), self._max_credits)

    @property
    def loads(self) -> dict[str, int]:
        """Frames that each worker still has to do, by its name."""
        return dict(self._load)

    def seen_at(self, name: str, seen: Mapping[str, Sighting]) -> float:
        """When somebody was last given a chunk back by a worker; 0 if nobody was.

        Args:
            name: Of the worker.
            seen: By this video.
        """
        own = seen[name].at if name in seen else 0.0
        return max(own, self.others.seen_at.get(name, 0.0))

    def halve(self) -> int:
        """Have half as many on their way from now on, for want of room; how many that is."""
        self._max_credits = max(1, self.credits // 2)
        return self._max_credits

    @property
    def deserted(self) -> str | None:
        """A stage for which nobody is there to work; chunks wait until somebody is."""
        return next((name for name, pool in self.staffing.pools.items() if not pool), None)

    @property
    def workers(self) -> int:
        """Replicas of the largest pool, as far as they are this video's share."""
        largest = max((len(pool) for pool in self.staffing.pools.values()), default=1)
        return -(-largest // self.others.abreast)

    def feed(self, runs: Collection[OpenSegment], overlap: int, usual: int, after: int) -> None:
        """Send chunks while there is credit: each time of the segment that has fewest on the way.

        What a segment does not use that is begun or nearly done, the others use. Credit is counted
        in frames: short chunks that wait for a long one before them hold little of it.

        Args:
            runs: The open segments.
            overlap: Frames that a chunk carries beyond its own.
            usual: Frames of a chunk; where little is left, chunks become shorter and shorter.
            after: Frames of segments that are not open yet.
        """
        # Another thread may replace it at any time: one answer for all that is sent now.
        pools = self.staffing.pools
        if not all(pools.values()):
            return
        allowed = self.credits
        flights = [flight for run in runs for flight in run.flights]
        frames_left = allowed * usual - sum(flight.chunk.num_frames for flight in flights)
        for _ in range(SHORT * allowed - len(flights)):
            sending = [run for run in runs if run.has_begun and run.frames_left]
            if not sending or frames_left <= 0:
                return
            run = min(sending, key=lambda one: len(one.flights))
            if not run.flights:
                # What was not sent cannot have stood still.
                run.moved_at = time.monotonic()
            unsent = after + sum(one.frames_left for one in runs)
            length = last_length(usual, unsent, self.workers)
            run.sent = next_chunk(run.segment, run.sent, length)
            self._send(run, run.sent, pools, overlap)
            frames_left -= run.sent.num_frames

    def _send(
        self, run: OpenSegment, chunk: Chunk, pools: Mapping[str, list[Worker]], overlap: int
    ) -> None:
        """Submit the whole chain of a chunk: each stage waits for the one before it."""
        lane = run.lane
        items, done = lane.decoder.actor.read.remote(run.token, run.segment, chunk, overlap)
        legs = deque([Leg("decode", lane.decoder, done)])
        for stage in self._stages:
            if stage.operator.is_stateful:
                worker = lane.owners[stage.name]
                items, done = worker.actor.follow.remote(run.token, chunk, items)
            else:
                worker = self._least_busy(pools[stage.name], lane.node, chunk.num_frames)
                items, done = worker.actor.share.remote(chunk, items)
            legs.append(Leg(stage.name, worker, done))
        done = lane.encoder.actor.write.remote(run.token, chunk, items)
        legs.append(Leg("encode", lane.encoder, done))
        for leg in legs:
            self._load[leg.worker.name] += chunk.num_frames
        run.flights.append(Flight(chunk, legs, time.monotonic()))

    def _least_busy(self, pool: list[Worker], node: str, num_frames: int) -> Worker:
        """A worker on the node of the lane, unless all of them have two such chunks to do.

        Who failed lately is chosen only where all did.
        """
        others = self.others.loads

        def load(one: Worker) -> int:
            distance = 0 if one.node == node else DEPTH * num_frames
            return self._load[one.name] + others.get(one.name, 0) + distance

        trusted = [one for one in pool if one.name not in self.suspects]
        return min(trusted or pool, key=load)

    def land(self, flight: Flight) -> Leg:
        """Take note that the first leg of a chunk is over."""
        leg = flight.legs.popleft()
        self._unload(leg, flight.chunk)
        return leg

    def recall(self, run: OpenSegment) -> None:
        """Forget all chunks of an attempt."""
        for flight in run.flights:
            for leg in flight.legs:
                self._unload(leg, flight.chunk)
        run.flights.clear()
        run.sent = None

    def _unload(self, leg: Leg, chunk: Chunk) -> None:
        name = leg.worker.name
        self._load[name] -= chunk.num_frames
        if not self._load[name]:
            # Names of those that are replaced do not pile up.
            del self._load[name]

    def lost_worker(self, run: OpenSegment) -> str | None:
        """A worker that chunks of a segment wait for in vain."""
        lost = self.staffing.lost
        waits = (leg.worker.name for flight in run.flights for leg in flight.legs)
        return next((name for name in waits if name in lost), None)


def count_waiting(
    counts: Mapping[str, StageCount], runs: Iterable[OpenSegment], now: float
) -> None:
    """Bring up to date what waits for each stage.

    Args:
        counts: By name of the stage; changed in place.
        runs: The open segments.
        now: By the monotonic clock.
    """
    for count in counts.values():
        count.wait_for_nothing()
    for flight in (flight for run in runs for flight in run.flights):
        count = counts[flight.legs[0].stage]
        count.queued += 1
        count.in_flight_bytes += flight.num_bytes
        count.queue_age_s = max(count.queue_age_s, now - flight.waits_since)
