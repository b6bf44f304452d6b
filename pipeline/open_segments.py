"""The segments of a video that are being computed: begun, followed, committed, begun again."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from functools import partial
from threading import Lock
from typing import Any

import ray
from ray.exceptions import ObjectStoreFullError, OutOfDiskError

from operators.timeline import Segment
from pipeline.chunk import steady_length
from pipeline.crew import Lane
from pipeline.errors import ClusterError, ResourceError, SegmentError
from pipeline.faults import FAILURES, fault_of, first_failure, frames_of, stalled, tell
from pipeline.io.endpoint import StreamInfo
from pipeline.io.segments import SegmentStore
from pipeline.lanes import VideoLanes
from pipeline.looks import Looks
from pipeline.orders import RESTART_POLL_S, Orders
from pipeline.parking import Parking
from pipeline.patience import begun
from pipeline.traffic import Traffic
from pipeline.video_job import Flight, Leg, Limits, OpenSegment, Ref, Sighting, Snapshot, VideoJob

# What Ray cannot wait for is looked at so often.
POLL_S = 0.05
WAIT_S = 0.2
# What other videos leave is to be used soon; alone there is nothing to look out for.
ALONE_WAIT_S = 0.5
# A process that fails, with nothing done in between, may be what is at fault: each second time it
# is replaced.
MOST_STRIKES = 2


class OpenSegments:
    """Computes the segments of a video that are missing, several at a time.

    Args:
        job: The video.
        limits: What it may use.
        traffic: Sends chunks.
        lanes: Where segments are computed.
        snapshot: How far the video is; brought up to date.
        beat: Called several times a second.
        origin: Names the run of the video, of which no two are alike.
    """

    def __init__(
        self,
        job: VideoJob,
        limits: Limits,
        traffic: Traffic,
        lanes: VideoLanes,
        snapshot: Snapshot,
        beat: Callable[[], None],
        origin: str,
    ) -> None:
        self._job = job
        self._limits = limits
        self._traffic = traffic
        self._lanes = lanes
        self._snapshot = snapshot
        self._beat = beat
        self._origin = origin
        self._staffed_at = 0.0
        self.runs: list[OpenSegment] = []
        self.parking = Parking(lanes)
        self.committed: set[int] = set()
        self._committing = Lock()

    def compute(
        self,
        missing: Iterator[Segment],
        store: SegmentStore,
        info: StreamInfo,
        looks: Looks,
        source: Ref,
    ) -> None:
        """Compute and commit segments; those that are given up are named in the snapshot.

        Args:
            missing: The segments, in order.
            store: Where they are kept, opened.
            info: Of the source.
            looks: Look through the source again if what was found is lost.
            source: The source after it was looked through.

        Raises:
            HyperConError: If no segment can be computed any more.
        """
        self._store = store
        self._orders = Orders(self._job, self._limits, looks, source, store, info)
        self._staffed_at = time.monotonic()
        try:
            self._compute(missing)
        finally:
            # Nobody else may clear the store away or open it while it is written to.
            wait([run.commit for run in self.runs if run.commit is not None])

    def _compute(self, missing: Iterator[Segment]) -> None:
        following = next(missing, None)
        while following is not None or self.runs or self.parking:
            while (parked := self.parking.take(takes_any=not self.runs)) is not None:
                self._open(parked)
            while following is not None and (lane := self._new_lane()) is not None:
                self._open(OpenSegment(following, lane, self._origin))
                following = next(missing, None)
            self._follow_orders()
            self._require_workers()
            for run in list(self.runs):
                self._order(run)
            after = 0 if following is None else self._snapshot.num_frames - following.first
            after += self.parking.frames
            self._traffic.feed(self.runs, self._limits.overlap, self._chunk_frames(), after)
            self._await()
            self._beat()

    def _new_lane(self) -> Lane | None:
        """A free lane for the next segment, but not one that is distrusted while others compute.

        None as long as so many wait for other lanes as there are: they must not become more and
        more.
        """
        if self.parking and len(self.parking) >= len(self._all_lanes()):
            return None
        return self._lanes.take(takes_any=not self.runs)

    def _all_lanes(self) -> list[Lane]:
        return [*self._lanes.free(), *(run.lane for run in self.runs)]

    def _open(self, run: OpenSegment) -> None:
        run.left_behind = self._lanes.left_behind(run.lane)
        self.runs.append(run)
        self._begin(run)

    def _require_place(self, run: OpenSegment, error: Exception) -> None:
        """Require that the output can be written on some node: on that of this lane it cannot."""
        is_last = run.failed + 1 >= self._limits.attempts
        if self.parking.is_refused_everywhere(run.lane.node, self._all_lanes()) or is_last:
            self._snapshot.is_of_lanes = True
            raise error

    def _chunk_frames(self) -> int:
        """Frames of a chunk, as far as it is known by now: no frame depends on it."""
        counts = self._snapshot.stages.values()
        is_known = all(count.frames for count in counts)
        slowest_s = max(count.busy_s / count.frames for count in counts) if is_known else None
        return steady_length(self._limits.chunk_frames, slowest_s)

    def _follow_orders(self) -> None:
        """Give up what waits for lost workers, and leave lanes whose time is up."""
        for run in list(self.runs):
            lost = self._traffic.lost_worker(run)
            if lost is not None:
                self._retry(run, f"the node of {lost!r} was lost", is_loss=True)
            elif run.commit is None and self._lanes.is_due(run.lane, time.monotonic()):
                self._retry(run, "its node is being drained", is_loss=True)

    def _require_workers(self) -> None:
        """Wait for a stage that has lost all its processes, though not for ever."""
        stage, now = self._traffic.deserted, time.monotonic()
        if stage is None:
            self._staffed_at = now
        elif now - self._staffed_at > self._limits.replace_s:
            msg = (
                f"{self._job.name}: stage {stage!r} must find room for a process on the cluster, "
                f"got none for {self._limits.replace_s:g} s"
            )
            raise ClusterError(msg)

    def _begin(self, run: OpenSegment, after_s: float = 0.0) -> None:
        """Begin a segment, or begin it again: its owners forget, its chunks come anew.

        Calls of an earlier attempt are not cancelled. Of an actor that keeps order Ray would never
        send one that is, and the actor waits half a minute for it before it takes the next.
        """
        run.left_behind += [flight.legs[0] for flight in run.flights]
        self._traffic.recall(run)
        run.has_begun, run.beginning = False, []
        run.begin_at = run.waits_since = time.monotonic() + after_s

    def _order(self, run: OpenSegment) -> None:
        """Have the lane begin the attempt, if it has not."""
        refusal = self._orders.follow(run, self.runs)
        if refusal is not None:
            if refusal.of_output is not None:
                self._require_place(run, refusal.of_output)
            self._retry(
                run, refusal.reason, is_loss=refusal.is_loss, is_of_lane=not refusal.is_loss
            )
        elif run.waited_s(time.monotonic()) > self._limits.replace_s:
            self._begin_elsewhere(run)

    def _begin_elsewhere(self, run: OpenSegment) -> None:
        """Leave a lane that does not answer for one that is free, as long as others compute."""
        if not any(one.has_begun for one in self.runs):
            msg = (
                f"{self._job.name}: the processes of segment {run.segment.index} must answer, got "
                f"nothing for {self._limits.replace_s:g} s"
            )
            raise ClusterError(msg)
        lane = self._lanes.take(run.avoided) or self._lanes.take()
        if lane is not None:
            self._lanes.distrust(run.lane)
            self._release(run)
            run.lane = lane
            self._open(run)
            self._retry(run, "its processes did not answer", is_loss=True)

    def _await(self) -> None:
        """Wait until something is over, then take note of all that is."""
        heads: dict[Ref, tuple[OpenSegment, Flight]] = {
            flight.legs[0].done: (run, flight) for run in self.runs for flight in run.flights
        }
        asked = [ref for run in self.runs if not run.has_begun for ref in run.beginning]
        unanswered = ray.wait(asked, num_returns=len(asked), timeout=0)[1] if asked else []
        if heads or unanswered:
            ray.wait([*heads, *unanswered], num_returns=1, timeout=self._wait_s())
        else:
            time.sleep(POLL_S)
        ready = ray.wait(list(heads), num_returns=len(heads), timeout=0)[0] if heads else []
        for ref in ready:
            run, flight = heads[ref]
            if run in self.runs and flight in run.flights:
                self._advance(run, flight)
        for run in list(self.runs):
            if run.flights and self._still_s(run) > self._limits.chunk_s:
                self._replace_stuck(run)
            if run.commit is not None and run.commit.done():
                self._count_in(run, run.commit)
            elif run.commit is not None and time.monotonic() - run.moved_at > self._limits.stall_s:
                run.moved_at = time.monotonic()
                tell(self._job.name, "still committing", run)

    def _still_s(self, run: OpenSegment) -> float:
        """For how long a segment has stood still, and who has its oldest chunk has done nothing.

        A chunk may wait long behind those of other segments and videos.
        """
        seen_at = self._traffic.seen_at(run.flights[0].legs[0].worker.name, self._snapshot.seen)
        return min(time.monotonic() - run.moved_at, time.time() - seen_at)

    def _wait_s(self) -> float:
        """How long to wait at most until something is over."""
        if any(run.commit is not None for run in self.runs):
            return POLL_S
        return WAIT_S if self._traffic.others.abreast > 1 else ALONE_WAIT_S

    def _advance(self, run: OpenSegment, flight: Flight) -> None:
        """Take note of a leg that is over."""
        leg = flight.legs[0]
        try:
            report: Any = ray.get(leg.done)
        except FAILURES as error:
            self._abandon(run, *first_failure(run, flight, error))
            return
        self._traffic.land(flight)
        self._traffic.suspects.clear(leg.worker.name)
        flight.waits_since = run.moved_at = time.monotonic()
        flight.num_bytes = report.num_bytes
        self._snapshot.seen[leg.worker.name] = Sighting(
            time.time(), report.held_bytes, report.process, report.node
        )
        count = self._snapshot.stages[leg.stage]
        count.busy_s += report.busy_s
        count.frames += report.num_frames
        if not flight.legs:
            run.flights.remove(flight)
            if not run.flights and not run.frames_left:
                run.commit = begun(partial(self._commit, run.segment, run.attempt))

    def _commit(self, segment: Segment, attempt: int) -> None:
        """Make a segment count, in a thread: disks of a network may take their time."""
        part = self._store.part_path(segment.index, attempt)
        with self._committing:
            self._store.commit(segment.index, segment.first, segment.stop, part, attempt)

    def _count_in(self, run: OpenSegment, commit: Future[None]) -> None:
        run.commit, segment = None, run.segment
        try:
            commit.result()
        except (SegmentError, OSError) as error:
            reason = f"the written segment was lost: {error}"
            self._retry(run, reason, is_loss=True, is_of_lane=True)
            return
        self.parking.is_written(run.lane.node)
        self.committed.add(segment.index)
        self._lanes.trust(run.lane)
        self._snapshot.frames_done += segment.num_frames
        self._release(run)

    def _release(self, run: OpenSegment) -> None:
        self.runs.remove(run)
        self._lanes.give_back(run.lane, run.left_behind)

    def _abandon(self, run: OpenSegment, flight: Flight, leg: Leg, error: Exception) -> None:
        """An attempt failed: begin the segment again, or give it up."""
        fault = fault_of(leg, flight.chunk, error, self._limits.chunk_s)
        if fault.is_of_output:
            self._require_place(run, fault.cause)
        reason = fault.reason
        if isinstance(fault.cause, ObjectStoreFullError | OutOfDiskError):
            reason += f"; from now on {self._traffic.halve()} chunks at once"
        is_sick = False
        if fault.is_own:
            is_sick = self._traffic.suspects.blame(leg.worker.name) % MOST_STRIKES == 0
        computes = leg.stage not in {"decode", "encode"}
        if is_sick or (isinstance(fault.cause, ResourceError) and computes):
            # The fault may be the process's: of memory that is fragmented, or of a device that
            # fails every call from now on, and so would be the least busy of all.
            ray.kill(leg.worker.actor, no_restart=False)
        self._retry(
            run,
            reason,
            is_loss=not fault.is_own,
            is_of_lane=fault.is_own and leg.worker in run.lane.workers(),
            frames=frames_of(flight.chunk),
            stage=leg.stage,
        )

    def _retry(
        self,
        run: OpenSegment,
        reason: str,
        *,
        is_loss: bool,
        is_of_lane: bool = False,
        stage: str | None = None,
        frames: str | None = None,
    ) -> None:
        segment = run.segment
        tell(self._job.name, reason, run, stage=stage, frames=frames)
        run.lost += is_loss
        run.failed += not is_loss
        # What was lost may take a moment to be there again.
        self._begin(run, after_s=RESTART_POLL_S if is_loss else 0.0)
        run.attempt += 1
        failed, run.lane = run.lane, self._lanes.successor(run.lane)
        if run.failed >= self._limits.attempts or run.lost > self._limits.losses:
            where = f"segment {segment.index} (frames {segment.first} to {segment.stop - 1})"
            often = f"was lost {run.lost}" if is_loss else f"failed {run.failed}"
            self._snapshot.failures.append(f"{where} {often} times: {reason}")
            self._snapshot.is_of_lanes |= is_of_lane
            self._lanes.distrust(run.lane)
            self._release(run)
        else:
            self._snapshot.retries += 1
            if is_of_lane and run.lane is failed and self.parking.may_wait(run, self._all_lanes()):
                self._lanes.blame(failed)
                self._release(run)
                self.parking.add(run)

    def _replace_stuck(self, run: OpenSegment) -> None:
        """Kill the process at which the oldest chunk stands still; Ray starts another.

        A pool repeats the call there, for this may be the fault of the process. If it stands still
        again, the attempt has failed, and what hangs is ended so that it takes no other call.
        """
        flight = run.flights[0]
        leg = flight.legs[0]
        reason = stalled(leg, flight.chunk, self._limits.chunk_s)
        ray.kill(leg.worker.actor, no_restart=False)
        self._traffic.suspects.blame(leg.worker.name)
        if leg.is_stalled:
            is_of_lane = leg.worker in run.lane.workers()
            self._retry(run, reason, is_loss=False, is_of_lane=is_of_lane, stage=leg.stage)
            return
        leg.is_stalled = True
        tell(self._job.name, reason, run, stage=leg.stage)
        run.moved_at = time.monotonic()
