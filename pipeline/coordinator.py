"""The owner of one video: refs, credits, order, deadlines and retries. It never sees a frame."""

import logging
import time
from collections import Counter, deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayError, RayTaskError

from operators.errors import ModelError
from operators.timeline import Segment, segments, shots
from pipeline.actors import Done, StaleCallError
from pipeline.chunk import Chunk, chunks
from pipeline.crew import Actor, Crew, Lane
from pipeline.errors import ClusterError, HyperConError, InputError, SegmentError
from pipeline.segmenting import opened, store_of
from pipeline.video_job import Flight, Leg, Limits, OpenSegment, Ref, Snapshot, VideoJob


class QuarantineError(HyperConError):
    """Segments were given up; the others are kept for a run with the same key."""

    exit_code = 3


logger = logging.getLogger(__name__)

RESTART_POLL_S = 0.5


class Coordinator:
    """Runs one video to its end, segment by segment, several at a time.

    Args:
        job: The video.
        crew: Who works; the lanes are this video's own, the pools are shared.
        limits: What it may use.
    """

    def __init__(self, job: VideoJob, crew: Crew, limits: Limits) -> None:
        self._job = job
        self._crew = crew
        self._limits = limits
        self._load: Counter[Actor] = Counter()
        self._snapshot = Snapshot()
        self._pending: deque[Segment] = deque()
        self._open: list[OpenSegment] = []
        self._free = list(crew.lanes)
        self._info = job.source.info()
        self._store = store_of(job.sink, job.key, limits.segment_frames)
        self._parts: dict[int, Path] = {}

    @ray.method(concurrency_group="control")
    def snapshot(self) -> Snapshot:
        """How far it is; answered while ``run`` goes on."""
        now = self._snapshot
        # Copies: the other thread goes on counting while this is packed.
        return replace(
            now,
            busy_s=dict(now.busy_s),
            frames_by_stage=Counter(now.frames_by_stage),
            failures=list(now.failures),
        )

    @ray.method
    def run(self) -> Snapshot:
        """Compute all segments that are missing, and join them.

        Returns:
            What was done; if ``error`` is set, there is no output.
        """
        try:
            with opened(self._store, keep=self._job.key is not None):
                self._run()
        except (HyperConError, ModelError) as error:
            self._snapshot.error = error
        return self._snapshot

    def _run(self) -> None:
        self._plan()
        while self._pending or self._open:
            while self._pending and self._free:
                self._start(self._pending.popleft(), self._free.pop(0))
            for run in list(self._open):
                self._feed(run)
            self._await()
        if self._snapshot.failures:
            msg = f"{self._job.name}: {'; '.join(self._snapshot.failures)}"
            raise QuarantineError(msg)
        self._join()

    def _plan(self) -> None:
        count = self._job.source.count()
        done = self._store.entries()
        self._snapshot.num_frames = count
        length, halo = self._limits.segment_frames, self._limits.halo
        for segment in segments(shots(count), length, halo):
            if segment.index in done:
                self._parts[segment.index] = done[segment.index].path
                self._snapshot.frames_done += segment.num_frames
            else:
                self._pending.append(segment)
        self._snapshot.frames_resumed = self._snapshot.frames_done
        if count == 0:
            msg = f"{self._job.name}: input must have at least one frame, got none"
            raise InputError(msg)

    def _join(self) -> None:
        parts = [self._parts[index] for index in sorted(self._parts)]
        self._job.sink.join(self._info, parts)
        self._store.remove()

    def _start(self, segment: Segment, lane: Lane) -> None:
        steps = tuple(chunks(segment, self._limits.chunk_frames))
        run = OpenSegment(segment, lane, steps)
        self._open.append(run)
        self._begin(run)

    def _begin(self, run: OpenSegment) -> None:
        """Begin a segment, or begin it again: its owners forget, its chunks come anew."""
        run.flights.clear()
        run.next_chunk = 0
        deadline = time.monotonic() + self._limits.stall_s
        while True:
            try:
                ray.get(self._call_to_order(run), timeout=self._limits.stall_s)
                break
            except (GetTimeoutError, RayActorError) as error:
                # Restarting takes seconds, noticing a dead node some sixteen.
                if time.monotonic() > deadline:
                    msg = f"the processes of a segment do not answer: {error}"
                    raise ClusterError(msg) from error
                time.sleep(RESTART_POLL_S)
        run.moved_at = time.monotonic()

    def _call_to_order(self, run: OpenSegment) -> list[Ref]:
        part = self._store.part_path(run.segment.index, run.attempt)
        lane = run.lane
        return [
            lane.decoder.open.remote(self._job.source),
            *(owner.begin.remote(run.token) for owner in lane.owners.values()),
            lane.encoder.begin.remote(run.token, self._job.sink, self._info, part),
        ]

    def _feed(self, run: OpenSegment) -> None:
        """Send chunks while there is credit; all open segments share it evenly."""
        share = max(1, self._limits.credits // len(self._open))
        while run.next_chunk < len(run.chunks) and len(run.flights) < share:
            self._send(run, run.chunks[run.next_chunk])
            run.next_chunk += 1

    def _send(self, run: OpenSegment, chunk: Chunk) -> None:
        """Submit the whole chain of a chunk: each stage waits for the one before it."""
        lane = run.lane
        items, done = lane.decoder.read.remote(run.segment, chunk, self._limits.overlap)
        legs = deque([Leg("decode", lane.decoder, done)])
        for stage in self._job.stages:
            if stage.operator.is_stateful:
                actor = lane.owners[stage.name]
                items, done = actor.follow.remote(run.token, chunk, items)
            else:
                actor = min(self._crew.pools[stage.name], key=lambda one: self._load[one])
                items, done = actor.share.remote(chunk, items)
            legs.append(Leg(stage.name, actor, done))
        done = lane.encoder.write.remote(run.token, chunk, items)
        legs.append(Leg("encode", lane.encoder, done))
        self._load.update(leg.actor for leg in legs)
        run.flights.append(Flight(chunk, legs))

    def _await(self) -> None:
        """Wait until something is over, then take note of all that is."""
        heads = [flight.legs[0].done for run in self._open for flight in run.flights]
        if heads:
            ray.wait(heads, num_returns=1, timeout=1.0)
        for run in list(self._open):
            self._advance(run)
            if run in self._open and time.monotonic() - run.moved_at > self._limits.stall_s:
                self._replace_stuck(run)

    def _advance(self, run: OpenSegment) -> None:
        for flight in list(run.flights):
            while flight.legs and ray.wait([flight.legs[0].done], timeout=0)[0]:
                leg = flight.legs.popleft()
                self._load[leg.actor] -= 1
                try:
                    report = _report(leg)
                except (RayError, HyperConError, ModelError, StaleCallError) as error:
                    self._abandon(run, flight, leg, error)
                    return
                run.moved_at = time.monotonic()
                busy = self._snapshot.busy_s
                busy[leg.stage] = busy.get(leg.stage, 0.0) + report.busy_s
                self._snapshot.frames_by_stage[leg.stage] += report.num_frames
            if not flight.legs:
                run.flights.remove(flight)
                if flight.chunk.is_last:
                    self._commit(run)
                    return

    def _commit(self, run: OpenSegment) -> None:
        segment = run.segment
        part = self._store.part_path(segment.index, run.attempt)
        try:
            entry = self._store.commit(
                segment.index, segment.first, segment.stop, part, run.attempt
            )
        except SegmentError as error:
            self._retry(run, f"the written segment was lost: {error}", is_loss=True)
            return
        self._parts[segment.index] = entry.path
        self._snapshot.frames_done += segment.num_frames
        self._release(run)

    def _release(self, run: OpenSegment) -> None:
        self._open.remove(run)
        self._free.append(run.lane)

    def _abandon(self, run: OpenSegment, flight: Flight, leg: Leg, error: Exception) -> None:
        """An attempt failed: begin the segment again, or give it up."""
        for other in run.flights:
            self._load.subtract(waiting.actor for waiting in other.legs)
        cause = error.cause if isinstance(error, RayTaskError) else error
        chunk = flight.chunk
        is_own = leg.is_stalled or isinstance(cause, HyperConError | ModelError)
        if leg.is_stalled:
            reason = self._stalled(leg, chunk)
        elif is_own:
            reason = str(cause)
        else:
            reason = f"{type(cause).__name__} in stage {leg.stage!r}"
        logger.warning(
            "%s: segment %d, frames %d to %d, attempt %d: %s",
            self._job.name,
            run.segment.index,
            chunk.first,
            chunk.stop - 1,
            run.attempt,
            reason,
        )
        self._retry(run, reason, is_loss=not is_own)

    def _retry(self, run: OpenSegment, reason: str, *, is_loss: bool) -> None:
        run.lost += is_loss
        run.failed += not is_loss
        if run.failed >= self._limits.attempts or run.lost > self._limits.losses:
            first, last = run.segment.first, run.segment.stop - 1
            where = f"segment {run.segment.index} (frames {first} to {last})"
            tries = run.attempt + 1
            self._snapshot.failures.append(f"{where} failed {tries} times: {reason}")
            self._release(run)
            return
        run.attempt += 1
        self._snapshot.retries += 1
        self._begin(run)

    def _replace_stuck(self, run: OpenSegment) -> None:
        """Kill the process at which the oldest chunk stands still; Ray starts another.

        A pool repeats the call there, for this may be the fault of the process; in the end the
        call fails, and with it the attempt.
        """
        if not run.flights:
            return
        flight = run.flights[0]
        leg = flight.legs[0]
        leg.is_stalled = True
        logger.warning("%s: %s", self._job.name, self._stalled(leg, flight.chunk))
        ray.kill(leg.actor, no_restart=False)
        run.moved_at = time.monotonic()

    def _stalled(self, leg: Leg, chunk: Chunk) -> str:
        return (
            f"stage {leg.stage!r} made no progress for {self._limits.stall_s:g} s "
            f"at frames {chunk.first} to {chunk.stop - 1}"
        )


def _report(leg: Leg) -> Done:
    done: Any = ray.get(leg.done)
    report: Done = done
    return report


# Ray's own types do not know the option.
RemoteCoordinator: Any = ray.remote(concurrency_groups={"control": 1})(Coordinator)  # type: ignore[call-overload]
