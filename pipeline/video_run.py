"""The way of one video: refs, credits, order, deadlines and retries. No frame is seen here."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar
from uuid import uuid4

import ray
from ray.exceptions import (
    ObjectStoreFullError,
    OutOfDiskError,
    RayError,
    RayTaskError,
)

from operators.errors import ModelError
from operators.timeline import Segment, segments
from pipeline.actors import StaleCallError, Survey
from pipeline.chunk import chunks, steady_length
from pipeline.crew import Crew, Lane
from pipeline.errors import (
    ClusterError,
    HyperConError,
    InputError,
    QuarantineError,
    ResourceError,
    SegmentError,
)
from pipeline.faults import fault_of, frames_of, stalled, tell
from pipeline.segmenting import frames_of_segment, opened, patiently, shots_of, store_of
from pipeline.traffic import Traffic, count_waiting
from pipeline.video_job import (
    Flight,
    Leg,
    Limits,
    Move,
    OpenSegment,
    Ref,
    Snapshot,
    Staffing,
    StageCount,
    VideoJob,
)

T = TypeVar("T")

RESTART_POLL_S = 0.5
COUNT_EVERY_S = 0.2
# Of more segments that were given up, the message names these.
MOST_FAILURES = 5


class VideoRun:
    """One video, from the first look at it to its joined output.

    Args:
        job: The video.
        crew: Who works; the lanes are this video's own, the pools are shared.
        limits: What it may use.
    """

    def __init__(self, job: VideoJob, crew: Crew, limits: Limits) -> None:
        self._job = job
        self._limits = limits
        self._traffic = Traffic(job.stages, Staffing(crew.pools), limits)
        self._moves: dict[str, Move] = {}
        self._snapshot = Snapshot()
        self._told = Snapshot()
        self._counted_at = 0.0
        self._staffed_at = time.monotonic()
        names = ["decode", *(stage.name for stage in job.stages), "encode"]
        self._snapshot.stages = {name: StageCount() for name in names}
        self._open: list[OpenSegment] = []
        self._free = list(crew.lanes)
        self._info = job.pipeline.source.info()
        self._origin = uuid4().hex

    def snapshot(self) -> Snapshot:
        """A copy that nobody changes any more."""
        return self._told

    def staff(self, staffing: Staffing) -> None:
        """Use these pools from now on; what waits for lost workers is begun again."""
        self._traffic.staffing = staffing

    def move(self, lane: str, to: Lane, leave_in_s: float | None) -> None:
        """Leave the lane of this decoder for another."""
        leave_at = None if leave_in_s is None else time.monotonic() + leave_in_s
        self._moves[lane] = Move(to, leave_at)

    def run(self) -> Snapshot:
        """Compute all segments that are missing, and join them."""
        try:
            self._run(self._survey())
        except (HyperConError, ModelError) as error:
            self._snapshot.error = error
        self._publish(time.monotonic())
        return self.snapshot()

    def _survey(self) -> Survey:
        """Let a decoder look through the source."""
        decoder = self._free[0].decoder.actor
        # A source that was looked through may be large: it goes to decoders and is not seen here.
        self._source, answer = decoder.survey.remote(self._job.pipeline.source)
        survey: Survey = self._answer(answer)
        if survey.num_frames == 0:
            msg = f"{self._job.name}: input must have at least one frame, got none"
            raise InputError(msg)
        self._snapshot.num_frames, self._snapshot.notes = survey.num_frames, survey.notes
        for note in survey.notes:
            tell(self._job.name, note)
        return survey

    def _find_cuts(self) -> list[int]:
        decoder = self._free[0].decoder.actor
        cuts: list[int] = self._answer(decoder.find_cuts.remote(self._job.pipeline))
        return cuts

    def _answer(self, ref: Ref) -> Any:
        """What a decoder finds in the whole of the input, however long it looks."""
        begin = time.monotonic()
        while not ray.wait([ref], timeout=RESTART_POLL_S)[0]:
            self._count(time.monotonic())
            if time.monotonic() - begin > self._limits.stall_s:
                begin = time.monotonic()
                tell(self._job.name, "still looking through the input")
        try:
            return ray.get(ref)
        except RayTaskError as error:
            raise error.cause from None
        except RayError as error:
            msg = f"{self._job.name}: the input cannot be looked through: {type(error).__name__}"
            raise ClusterError(msg) from error

    def _run(self, survey: Survey) -> None:
        limits = self._limits
        length = frames_of_segment(survey.num_frames, limits.halo, limits.segment_frames)
        self._store = store_of(self._job.sink, self._job.key, length)
        with opened(self._store, keep=self._job.keeps):
            shots = shots_of(self._store, survey.num_frames, self._find_cuts)
            self._snapshot.cuts = [shot.start for shot in shots[1:]]
            done = self._patiently(self._store.entries)
            self._committed = set(done)
            self._snapshot.frames_resumed = sum(entry.stop - entry.first for entry in done.values())
            self._snapshot.frames_done = self._snapshot.frames_resumed
            grid = segments(shots, length, limits.halo or 0)
            self._compute(segment for segment in grid if segment.index not in done)
            if self._snapshot.failures:
                told = self._snapshot.failures[:MOST_FAILURES]
                more = len(self._snapshot.failures) - len(told)
                rest = [f"and {more} more"] if more else []
                msg = f"{self._job.name}: {'; '.join([*told, *rest])}"
                raise QuarantineError(msg)
            entries = self._patiently(self._store.entries)
            damaged = sorted(self._committed - entries.keys())
            if damaged:
                where = f"{self._job.name}: segment {damaged[0]}"
                msg = f"{where} must be as it was written, got other bytes"
                raise SegmentError(msg)
            parts = [entries[index].path for index in sorted(entries)]
            self._patiently(lambda: self._job.sink.join(self._info, parts))
            self._patiently(self._store.remove)

    def _patiently(self, work: Callable[[], T]) -> T:
        return patiently(work, RESTART_POLL_S, lambda: self._count(time.monotonic()))

    def _compute(self, missing: Iterator[Segment]) -> None:
        following = next(missing, None)
        while following is not None or self._open:
            while following is not None and self._free:
                steps = tuple(chunks(following, self._chunk_frames()))
                run = OpenSegment(following, self._free.pop(0), steps, self._origin)
                self._open.append(run)
                self._begin(run)
                following = next(missing, None)
            self._follow_orders()
            self._require_workers()
            for run in list(self._open):
                self._order(run)
                self._traffic.feed(run, len(self._open), self._limits.overlap)
            self._await()
            self._count(time.monotonic())

    def _chunk_frames(self) -> int:
        counts = self._snapshot.stages.values()
        taken = [count.busy_s / count.frames for count in counts if count.frames]
        return steady_length(self._limits.chunk_frames, max(taken, default=None))

    def _follow_orders(self) -> None:
        """Give up what waits for lost workers, and leave lanes whose time is up."""
        for run in list(self._open):
            lost = self._traffic.lost_worker(run)
            move = self._moves.get(run.lane.decoder.name)
            if lost is not None:
                self._retry(run, f"the node of {lost!r} was lost", is_loss=True)
            elif move is not None and move.is_due(time.monotonic()):
                del self._moves[run.lane.decoder.name]
                run.lane = move.to
                self._retry(run, "its node is being drained", is_loss=True)
        self._free = [self._successor(lane) for lane in self._free]

    def _require_workers(self) -> None:
        """Wait for a stage that has lost all its processes, though not for ever."""
        stage, now = self._traffic.deserted, time.monotonic()
        if stage is None:
            self._staffed_at = now
        elif now - self._staffed_at > self._limits.stall_s:
            msg = (
                f"{self._job.name}: stage {stage!r} must find room for a process on the cluster, "
                f"got none for {self._limits.stall_s:g} s"
            )
            raise ClusterError(msg)

    def _successor(self, lane: Lane) -> Lane:
        move = self._moves.pop(lane.decoder.name, None)
        return lane if move is None else move.to

    def _begin(self, run: OpenSegment) -> None:
        """Begin a segment, or begin it again: its owners forget, its chunks come anew."""
        for leg in (leg for flight in run.flights for leg in flight.legs):
            # What waits for it at its worker would keep all that is sent there later waiting too.
            ray.cancel(leg.done)
        self._traffic.recall(run)
        run.has_begun, run.beginning = False, []
        run.begin_at = time.monotonic()
        run.begin_until = run.begin_at + self._limits.stall_s

    def _order(self, run: OpenSegment) -> None:
        """Tell the lane to begin the attempt, until it answers."""
        now = time.monotonic()
        if run.has_begun or now < run.begin_at:
            return
        if not run.beginning:
            run.beginning = self._call_to_order(run)
        waiting = ray.wait(run.beginning, num_returns=len(run.beginning), timeout=0)[1]
        try:
            if not waiting:
                ray.get(run.beginning)
                run.has_begun, run.moved_at = True, now
        except RayTaskError as error:
            self._retry(run, str(error.cause), is_loss=isinstance(error.cause, RayError))
        except RayError:
            # Restarting takes seconds, noticing a dead node some sixteen.
            run.beginning = []
            run.begin_at = now + RESTART_POLL_S
        if not run.has_begun and now > run.begin_until:
            msg = (
                f"{self._job.name}: the processes of segment {run.segment.index} must answer, got "
                f"nothing for {self._limits.stall_s:g} s"
            )
            raise ClusterError(msg)

    def _call_to_order(self, run: OpenSegment) -> list[Ref]:
        part = self._store.part_path(run.segment.index, run.attempt)
        lane = run.lane
        return [
            lane.decoder.actor.open.remote(run.token, self._source),
            *(owner.actor.begin.remote(run.token) for owner in lane.owners.values()),
            lane.encoder.actor.begin.remote(run.token, self._job.sink, self._info, part),
        ]

    def _await(self) -> None:
        """Wait until something is over, then take note of all that is."""
        heads: dict[Ref, tuple[OpenSegment, Flight]] = {
            flight.legs[0].done: (run, flight) for run in self._open for flight in run.flights
        }
        asked = [ref for run in self._open if not run.has_begun for ref in run.beginning]
        unanswered = ray.wait(asked, num_returns=len(asked), timeout=0)[1] if asked else []
        if heads or unanswered:
            ray.wait([*heads, *unanswered], num_returns=1, timeout=COUNT_EVERY_S)
        else:
            time.sleep(RESTART_POLL_S / 10)
        ready = ray.wait(list(heads), num_returns=len(heads), timeout=0)[0] if heads else []
        for ref in ready:
            run, flight = heads[ref]
            if run in self._open and flight in run.flights:
                self._advance(run, flight)
        for run in list(self._open):
            if run.flights and time.monotonic() - run.moved_at > self._limits.stall_s:
                self._replace_stuck(run)

    def _advance(self, run: OpenSegment, flight: Flight) -> None:
        """Take note of a leg that is over."""
        leg = self._traffic.land(flight)
        try:
            report: Any = ray.get(leg.done)
        except (RayError, HyperConError, ModelError, StaleCallError) as error:
            self._abandon(run, flight, leg, error)
            return
        flight.waits_since = run.moved_at = time.monotonic()
        flight.num_bytes = report.num_bytes
        count = self._snapshot.stages[leg.stage]
        count.busy_s += report.busy_s
        count.frames += report.num_frames
        if not flight.legs:
            run.flights.remove(flight)
            if flight.chunk.is_last:
                self._commit(run)

    def _commit(self, run: OpenSegment) -> None:
        segment = run.segment
        part = self._store.part_path(segment.index, run.attempt)
        try:
            self._store.commit(segment.index, segment.first, segment.stop, part, run.attempt)
        except SegmentError as error:
            self._retry(run, f"the written segment was lost: {error}", is_loss=True)
            return
        self._committed.add(segment.index)
        self._snapshot.frames_done += segment.num_frames
        self._release(run)

    def _release(self, run: OpenSegment) -> None:
        self._open.remove(run)
        self._free.append(self._successor(run.lane))

    def _abandon(self, run: OpenSegment, flight: Flight, leg: Leg, error: Exception) -> None:
        """An attempt failed: begin the segment again, or give it up."""
        fault = fault_of(leg, flight.chunk, error, self._limits.stall_s)
        if fault.ends_all:
            raise fault.cause
        reason = fault.reason
        if isinstance(fault.cause, ObjectStoreFullError | OutOfDiskError):
            reason += f"; from now on {self._traffic.halve()} chunks at once"
        is_sick = isinstance(fault.cause, ResourceError) or (fault.is_own and run.failed > 0)
        if is_sick and leg.stage not in {"decode", "encode"}:
            # The fault may be the process's: of memory that is fragmented, or of a device that
            # fails every call from now on, and so would be the least busy of all.
            ray.kill(leg.worker.actor, no_restart=False)
        self._retry(
            run, reason, is_loss=not fault.is_own, frames=frames_of(flight.chunk), stage=leg.stage
        )

    def _retry(
        self,
        run: OpenSegment,
        reason: str,
        *,
        is_loss: bool,
        stage: str | None = None,
        frames: str | None = None,
    ) -> None:
        segment = run.segment
        tell(self._job.name, reason, run, stage=stage, frames=frames)
        run.lost += is_loss
        run.failed += not is_loss
        self._begin(run)
        run.attempt += 1
        if run.failed >= self._limits.attempts or run.lost > self._limits.losses:
            where = f"segment {segment.index} (frames {segment.first} to {segment.stop - 1})"
            self._snapshot.failures.append(f"{where} failed {run.attempt} times: {reason}")
            self._release(run)
        else:
            self._snapshot.retries += 1

    def _replace_stuck(self, run: OpenSegment) -> None:
        """Kill the process at which the oldest chunk stands still; Ray starts another.

        A pool repeats the call there, for this may be the fault of the process; in the end the
        call fails, and with it the attempt.
        """
        flight = run.flights[0]
        leg = flight.legs[0]
        reason = stalled(leg, flight.chunk, self._limits.stall_s)
        if leg.is_stalled:
            self._retry(run, reason, is_loss=False, stage=leg.stage)
            return
        leg.is_stalled = True
        tell(self._job.name, reason, run, stage=leg.stage)
        ray.kill(leg.worker.actor, no_restart=False)
        run.moved_at = time.monotonic()

    def _count(self, now: float) -> None:
        """Bring the snapshot up to date, now and then."""
        if now - self._counted_at >= COUNT_EVERY_S:
            self._counted_at = now
            self._publish(now)

    def _publish(self, now: float) -> None:
        count_waiting(self._snapshot.stages, self._open, now)
        self._snapshot.loads = self._traffic.loads
        lanes = (*self._free, *(run.lane for run in self._open))
        self._snapshot.lanes = frozenset(lane.decoder.name for lane in lanes)
        self._snapshot.beat += 1
        stages = {name: replace(count) for name, count in self._snapshot.stages.items()}
        self._told = replace(self._snapshot, stages=stages)
