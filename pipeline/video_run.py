"""The way of one video: from the first look at it to its joined output. No frame is seen here."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from operators.errors import ModelError
from operators.timeline import segments
from pipeline.actors import Survey
from pipeline.crew import Crew, Lane
from pipeline.errors import HyperConError, InputError, QuarantineError, SegmentError, UsageError
from pipeline.faults import tell
from pipeline.io.segments import SegmentStore
from pipeline.lanes import VideoLanes
from pipeline.looks import Looks
from pipeline.open_segments import OpenSegments
from pipeline.patience import patiently
from pipeline.segmenting import frames_of_segment, opened, shots_of, store_of
from pipeline.traffic import Traffic, count_waiting
from pipeline.video_job import Limits, Others, Ref, Snapshot, Staffing, StageCount, VideoJob

T = TypeVar("T")

POLL_S = 0.5
COUNT_EVERY_S = 0.2
# Of more segments that were given up, the message names these.
MOST_FAILURES = 5
# A coordinator that has just died may hold its lock so long.
LOCK_S = 60.0


class VideoRun:
    """One video, from the first look at it to its joined output.

    Args:
        job: The video.
        crew: Who works; the lanes are this video's own, the pools are shared.
        others: What other videos ask of the pools.
        limits: What it may use.
    """

    def __init__(self, job: VideoJob, crew: Crew, others: Others, limits: Limits) -> None:
        self._job = job
        self._limits = limits
        self._traffic = Traffic(job.stages, Staffing(crew.pools), others, limits)
        self._lanes = VideoLanes(crew.lanes)
        names = ["decode", *(stage.name for stage in job.stages), "encode"]
        self._snapshot = Snapshot(stages={name: StageCount() for name in names})
        self._told = Snapshot()
        self._counted_at = 0.0
        self._looks = Looks(job, self._lanes.free, self._count, limits.stall_s)
        self._segments = OpenSegments(
            job, limits, self._traffic, self._lanes, self._snapshot, self._count, uuid4().hex
        )
        self._info = job.pipeline.source.info()

    def snapshot(self) -> Snapshot:
        """A copy that nobody changes any more."""
        return self._told

    def staff(self, staffing: Staffing | None, others: Others) -> None:
        """Use these pools from now on, unless they are as they were; think of the others."""
        if staffing is not None:
            self._traffic.staffing = staffing
        self._traffic.others = others

    def lend(self, lane: Lane) -> None:
        """Use one more lane."""
        self._lanes.lend(lane)

    def move(self, lane: str, to: Lane, leave_in_s: float | None) -> None:
        """Leave the lane of this decoder for another."""
        self._lanes.move(lane, to, leave_in_s)

    def run(self) -> Snapshot:
        """Compute all segments that are missing, and join them."""
        try:
            source, survey = self._looks.survey()
            self._snapshot.num_frames, self._snapshot.notes = survey.num_frames, survey.notes
            self._run(source, survey)
        except (HyperConError, ModelError) as error:
            self._snapshot.error = error
            # What is joined is read here, and by no lane.
            is_read = isinstance(error, InputError) and self._snapshot.lacks_frames
            self._snapshot.is_of_lanes |= is_read
        self._publish(time.monotonic())
        return self.snapshot()

    def _run(self, source: Ref, survey: Survey) -> None:
        limits, snapshot = self._limits, self._snapshot
        length = frames_of_segment(survey.num_frames, limits.halo, limits.segment_frames)
        store = store_of(self._job.sink, self._job.key, length, self._job.run)
        if self._job.takes_over:
            self._take_lock(store)
        with opened(store, keep=self._job.key is not None):
            shots = shots_of(store, survey.num_frames, self._looks.find_cuts)
            snapshot.cuts = [shot.start for shot in shots[1:]]
            if self._job.takes_over and store.is_joined(Path(self._job.sink.name)):
                # The one before died when nothing was left to do but to clear away.
                snapshot.frames_done = survey.num_frames
                self._patiently(store.remove, "clearing away")
                return
            done = self._patiently(store.entries, "reading finished segments")
            self._segments.committed = set(done)
            snapshot.frames_done = sum(entry.num_frames for entry in done.values())
            # What another coordinator of this job has made was not taken over.
            older = (entry for entry in done.values() if entry.run != store.run)
            snapshot.frames_resumed = sum(entry.num_frames for entry in older)
            grid = segments(shots, length, limits.halo or 0, limits.ahead)
            missing = (segment for segment in grid if segment.index not in done)
            self._segments.compute(missing, store, self._info, self._looks, source)
            self._require_all()
            self._join(store)

    def _take_lock(self, store: SegmentStore) -> None:
        until = time.monotonic() + LOCK_S
        while True:
            try:
                store.open()
            except UsageError:
                if time.monotonic() > until:
                    raise
                self._count()
                time.sleep(POLL_S)
            else:
                return

    def _require_all(self) -> None:
        failures = self._snapshot.failures
        if failures:
            more = len(failures) - MOST_FAILURES
            rest = [f"and {more} more"] if more > 0 else []
            msg = f"{self._job.name}: {'; '.join([*failures[:MOST_FAILURES], *rest])}"
            raise QuarantineError(msg)

    def _join(self, store: SegmentStore) -> None:
        entries = self._patiently(store.entries, "reading finished segments")
        damaged = sorted(self._segments.committed - entries.keys())
        if damaged:
            where = f"{self._job.name}: segment {damaged[0]}"
            msg = f"{where} must be as it was written, got other bytes"
            raise SegmentError(msg)
        parts = [entries[index].path for index in sorted(entries)]
        store.begin_join(Path(self._job.sink.name))
        self._patiently(lambda: self._job.sink.join(self._info, parts), "joining segments")
        self._patiently(store.remove, "clearing away")

    def _patiently(self, work: Callable[[], T], what: str) -> T:
        """Do what takes a disk as long as it takes, and say now and then that it lasts."""
        told_at = time.monotonic()

        def beat() -> None:
            nonlocal told_at
            self._count()
            if time.monotonic() - told_at > self._limits.stall_s:
                told_at = time.monotonic()
                tell(self._job.name, f"still {what}")

        return patiently(work, POLL_S, beat)

    def _count(self) -> None:
        """Bring the snapshot up to date, now and then."""
        now = time.monotonic()
        if now - self._counted_at >= COUNT_EVERY_S:
            self._counted_at = now
            self._publish(now)

    def _publish(self, now: float) -> None:
        runs = self._segments.runs
        count_waiting(self._snapshot.stages, runs, now)
        self._snapshot.loads = self._traffic.loads
        lanes = (*self._lanes.free(), *(run.lane for run in runs))
        self._snapshot.lanes = frozenset(lane.decoder.name for lane in lanes)
        self._snapshot.waits_s = max((run.waited_s(now) for run in runs), default=0.0)
        self._snapshot.open_segments = len(runs) + len(self._segments.parking)
        self._snapshot.beat += 1
        stages = {name: replace(count) for name, count in self._snapshot.stages.items()}
        # Of those that left or were replaced, nobody asks any more.
        there = self._traffic.staffing.names
        seen = {name: one for name, one in self._snapshot.seen.items() if name in there}
        self._snapshot.seen = seen
        self._told = replace(self._snapshot, stages=stages, seen=dict(seen))
