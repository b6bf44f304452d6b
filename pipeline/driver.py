"""The driver of a job: gives lanes to videos, watches coordinators, adds up progress."""

import logging
import os
import time
from collections import Counter, defaultdict, deque
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from pipeline.cluster import Nodes
from pipeline.crew import Crew, Hiring, dismiss
from pipeline.errors import ClusterError
from pipeline.gauges import Gauges
from pipeline.io.endpoint import SegmentedSink
from pipeline.log import facts
from pipeline.pools import NODES_EVERY_S, Pools
from pipeline.progress import Progress
from pipeline.report import RunReport, StageReport
from pipeline.seats import Chair, LeftLane, Video, add_up, new_chair, replay_new
from pipeline.sizing import limits_of
from pipeline.stage import Pipeline
from pipeline.tally import StageState, Tally
from pipeline.video_job import RaySettings, Snapshot, Staffing, StageCount, VideoJob

logger = logging.getLogger(__name__)

POLL_S = 0.2
# From then on a look around was late, as when a source is slow to open.
SLOW_S = 5.0
COORDINATOR_RESTARTS = 3
# A segment on a node that is drained may use this part of the time that is left to be finished.
DRAIN_SHARE = 0.5


class Driver:
    """Runs the videos of a job on one crew.

    Args:
        crew: The actors to begin with.
        hiring: How more are started.
        settings: How the engine runs.
        progress: Told a few times a second.
        num_videos: How many videos will be added.
    """

    def __init__(
        self,
        crew: Crew,
        hiring: Hiring,
        settings: RaySettings,
        progress: Progress,
        num_videos: int,
    ) -> None:
        self._hiring = hiring
        self._settings = settings
        self._progress = progress
        self._pools = Pools(crew, hiring, settings)
        self._lanes = list(crew.lanes)
        self._free = list(crew.lanes)
        self._left: list[LeftLane] = []
        self._waiting: deque[Video] = deque()
        self._active: list[Video] = []
        self._outcomes: dict[int, RunReport | Exception] = {}
        self._tally = Tally()
        self._gauges = Gauges(ray.get_runtime_context().get_job_id())
        self._past = Snapshot()
        self._looked_at = self._told_at = time.monotonic()
        self._worker_s: defaultdict[str, float] = defaultdict(float)
        self._staffed_s = 0.0
        self._nodes, self._nodes_at = Nodes.now(), 0.0
        self._abreast = min(num_videos, len(self._lanes))
        self._chairs = [new_chair() for _ in range(self._abreast)]
        self._store_bytes = self._nodes.smallest_store()

    def add(self, pipeline: Pipeline, sink: SegmentedSink, key: str | None) -> None:
        """Add a video to the job."""
        # Without a key, segments still outlive their coordinator, though not the job.
        own = key or f"once-{os.getpid()}-{time.time_ns()}"
        job = VideoJob(pipeline.source.name, pipeline, sink, own, keeps=key is not None)
        self._waiting.append(Video(len(self._waiting), job))

    def run(self) -> list[RunReport | Exception]:
        """Run all videos; what each became, in order."""
        num_videos = len(self._waiting)
        lanes_each = len(self._lanes) // self._abreast
        self._progress.start(None)
        while self._waiting or self._active:
            while self._waiting and len(self._free) >= lanes_each and self._chairs:
                video = self._waiting.popleft()
                video.lanes = [self._free.pop(0) for _ in range(lanes_each)]
                self._start(video)
            self._watch()
        self._tell(time.monotonic(), self._total())
        return [self._outcomes[index] for index in range(num_videos)]

    def end(self) -> None:
        """End all processes, whatever they are at."""
        for chair in (*self._chairs, *(video.chair for video in self._active)):
            if chair is not None:
                ray.kill(chair.actor)
        self._pools.dismiss()
        for lane in (*self._lanes, *(left.lane for left in self._left)):
            dismiss(lane.workers())

    def _start(self, video: Video) -> None:
        video.began_at = video.began_at or time.perf_counter()
        video.moved_at = time.monotonic()
        pipeline = video.job.pipeline
        try:
            info = pipeline.source.info()
            if not video.restarts:
                # To open it shows that the place can be written, before any work is done.
                pipeline.sink.open(info)
                pipeline.sink.abort()
            limits = limits_of(
                pipeline,
                info,
                self._settings,
                workers=max(self._pools.sizes.values(), default=1),
                lanes=len(self._lanes),
                abreast=self._abreast,
                store_bytes=self._store_bytes,
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this video and no other
            self._finish(video, error)
            return
        video.chair = video.chair or self._chairs.pop()
        crew = Crew(self._shares(video, Counter()).pools, video.lanes)
        video.running = video.chair.actor.run.remote(video.job, crew, limits)
        self._active.append(video)

    def _shares(self, video: Video, loads: Counter[str]) -> Staffing:
        """The pools, each turned so that videos which run at once begin at different replicas."""
        staffing = self._pools.staffing
        turned = {}
        for name, pool in staffing.pools.items():
            start = (video.index % self._abreast) * len(pool) // self._abreast
            turned[name] = pool[start:] + pool[:start]
        return Staffing(turned, staffing.lost, dict(loads - Counter(video.snapshot.loads)))

    def _watch(self) -> None:
        if not self._active:
            return
        running = {video.running: video for video in self._active}
        for ref in ray.wait(list(running), timeout=POLL_S)[0]:
            self._end(running[ref], ref)
        now = time.monotonic()
        if now - self._looked_at < POLL_S:
            return
        if now - self._looked_at > SLOW_S:
            # Whoever was not asked cannot have answered.
            for video in self._active:
                video.moved_at = now
        self._looked_at = now
        for video in self._active:
            self._look(video, now)
        total = self._total()
        self._tell(now, total)
        self._keep_staff(now, total)

    def _end(self, video: Video, ref: Any) -> None:
        self._active.remove(video)
        try:
            video.snapshot = ray.get(ref)
        except RayTaskError as error:
            # Not its death but a defect, which another would have too.
            self._finish(video, error.cause)
        except RayError as error:
            self._restart(video, f"died: {type(error).__name__}")
        else:
            self._finish(video, self._outcome(video))

    def _restart(self, video: Video, what: str) -> None:
        """A coordinator is gone: another takes over from the journal."""
        reason = f"the coordinator of {video.job.name} {what}"
        video.restarts += 1
        if video.chair is not None:
            # Silent is not dead: two of them must not work on one video.
            ray.kill(video.chair.actor)
        video.chair = new_chair()
        if video.restarts > COORDINATOR_RESTARTS:
            self._finish(video, ClusterError(reason))
            return
        logger.warning("%s; another takes over", reason, extra=facts(video=video.job.name))
        self._start(video)

    def _finish(self, video: Video, outcome: RunReport | Exception) -> None:
        self._outcomes[video.index] = outcome
        self._free += video.lanes
        if video.chair is not None:
            self._listen(video.chair)
            # What was asked during this video must not be answered during the next.
            video.chair.asked = None
            self._chairs.append(video.chair)
            video.chair = None
        for count in video.snapshot.stages.values():
            # Nothing of a video that is over waits anywhere, also if it failed.
            count.queued, count.in_flight_bytes, count.queue_age_s = 0, 0, 0.0
        add_up(self._past, video.snapshot)

    def _listen(self, chair: Chair) -> None:
        """Log what a coordinator logged at the end of its video."""
        try:
            _, recent = ray.get(chair.actor.look.remote(), timeout=POLL_S)
        except RayError:
            return
        replay_new(chair, recent)

    def _look(self, video: Video, now: float) -> None:
        chair = video.chair
        if chair is None:
            return
        chair.asked = chair.asked or chair.actor.look.remote()
        if ray.wait([chair.asked], timeout=0)[0]:
            try:
                snapshot, recent = ray.get(chair.asked)
            except RayError:
                # Its death shows in the call that it runs.
                chair.asked = None
                return
            chair.asked = None
            replay_new(chair, recent)
            if snapshot is not None:
                video.moved_at = now if snapshot.beat != video.snapshot.beat else video.moved_at
                video.snapshot = snapshot
        if now - video.moved_at > 2 * self._settings.stall_s:
            # The call that it runs fails by this, and another takes over.
            logger.warning("the coordinator of %s does not move and is ended", video.job.name)
            video.moved_at = now
            ray.kill(chair.actor)

    def _total(self) -> Snapshot:
        """All videos together, those that are over included."""
        total = Snapshot()
        for snapshot in (self._past, *(video.snapshot for video in self._active)):
            add_up(total, snapshot)
        return total

    def _tell(self, now: float, total: Snapshot) -> None:
        for stage in total.stages:
            self._worker_s[stage] += self._size(stage) * (now - self._told_at)
        self._staffed_s += now - self._told_at
        self._told_at = now
        is_known = not self._waiting and all(v.snapshot.num_frames for v in self._active)
        state = self._tally.update(
            now,
            total.frames_done,
            # Of one video the length is soon known; of many only as they come.
            total.num_frames if is_known else None,
            total.frames_resumed,
            [self._state(name, count) for name, count in total.stages.items()],
        )
        self._progress.show(state)
        self._gauges.show(state, total.retries)

    def _mean_size(self, stage: str) -> float:
        """Workers of a stage, on average since the job began."""
        seconds = self._worker_s[stage]
        return seconds / self._staffed_s if seconds else self._size(stage)

    def _size(self, stage: str) -> int:
        return self._pools.sizes.get(stage, len(self._lanes))

    def _state(self, name: str, count: StageCount) -> StageState:
        return StageState(
            name,
            count.frames,
            count.busy_s,
            self._size(name),
            count.queued,
            count.in_flight_bytes,
            count.queue_age_s,
        )

    def _keep_staff(self, now: float, total: Snapshot) -> None:
        is_due = now - self._nodes_at >= NODES_EVERY_S
        if is_due:
            self._nodes_at = now
            with suppress(RayError, ConnectionError):
                # While the head starts again, what was known last is best.
                self._nodes = Nodes.now()
            self._leave_lanes(now)
        loads: Counter[str] = Counter()
        for video in self._active:
            loads.update(video.snapshot.loads)
        has_changed = self._pools.look(total.stages, loads, self._nodes)
        # Of several videos each must know what the others ask of the workers; and who was not
        # listening, because it had just begun, is told again.
        if has_changed or is_due or len(self._active) > 1:
            for video in self._active:
                if video.chair is not None:
                    video.chair.actor.staff.remote(self._shares(video, loads))

    def _leave_lanes(self, now: float) -> None:
        """Give lanes on nodes that are drained a successor elsewhere."""
        self._end_left(now)
        draining = self._nodes.draining
        for lane in [lane for lane in self._lanes if lane.node in draining]:
            nodes = self._nodes.for_lanes(needs_gpu=self._hiring.needs_gpu)
            if not nodes:
                return
            to = self._hiring.lane(nodes[len(self._left) % len(nodes)])
            logger.warning(
                "a lane leaves a node that is being drained", extra=facts(node=lane.node)
            )
            left_s = draining[lane.node]
            leave_at = None if left_s is None else now + DRAIN_SHARE * left_s
            self._replace(LeftLane(lane, to, leave_at))

    def _replace(self, left: LeftLane) -> None:
        for lanes in (self._lanes, self._free, *(video.lanes for video in self._active)):
            if left.lane in lanes:
                lanes[lanes.index(left.lane)] = left.to
        self._left.append(left)

    def _end_left(self, now: float) -> None:
        """Tell videos to leave lanes, until they have; then end these."""
        for left in list(self._left):
            name = left.lane.decoder.name
            users = [
                video
                for video in self._active
                if left.to in video.lanes
                and (not video.snapshot.lanes or name in video.snapshot.lanes)
            ]
            for video in users:
                if video.chair is not None:
                    leave_in_s = None if left.leave_at is None else left.leave_at - now
                    video.chair.actor.move.remote(name, left.to, leave_in_s)
            if not users:
                self._left.remove(left)
                dismiss(left.lane.workers())

    def _outcome(self, video: Video) -> RunReport | Exception:
        snapshot = video.snapshot
        if snapshot.error is not None:
            return snapshot.error
        report = RunReport(
            frames_in=snapshot.num_frames,
            frames_out=snapshot.frames_done,
            frames_resumed=snapshot.frames_resumed,
            retries=snapshot.retries,
            wall_s=time.perf_counter() - video.began_at,
            stages=[
                StageReport(
                    name,
                    count.frames,
                    count.busy_s,
                    self._mean_size(name) / self._abreast,
                )
                for name, count in snapshot.stages.items()
            ],
        )
        report.notes = list(snapshot.notes)
        report.tell_cuts(snapshot.cuts)
        return report
