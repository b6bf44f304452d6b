"""The driver of a job: gives lanes to videos, watches coordinators, adds up progress."""

import logging
import os
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from operators.errors import ModelError
from pipeline.cluster import Nodes, here
from pipeline.coordinator import RemoteCoordinator
from pipeline.crew import Crew, Hiring, Lane
from pipeline.errors import ClusterError, HyperConError
from pipeline.events import EventReader, RecentEvents, replay
from pipeline.gauges import Gauges
from pipeline.io.endpoint import SegmentedSink
from pipeline.log import facts
from pipeline.pools import NODES_EVERY_S, Pools
from pipeline.progress import Progress
from pipeline.report import RunReport, StageReport
from pipeline.sizing import limits_of
from pipeline.stage import Pipeline
from pipeline.tally import StageState, Tally
from pipeline.video_job import RaySettings, Snapshot, Staffing, StageCount, VideoJob

logger = logging.getLogger(__name__)

POLL_S = 0.2
COORDINATOR_RESTARTS = 3
# A segment on a node that is drained may use this part of the time that is left to be finished.
DRAIN_SHARE = 0.5


@dataclass(slots=True)
class _Chair:
    """A coordinator, which runs one video after the other.

    Attributes:
        actor: Its handle.
        asked: A question for its snapshot that is not answered yet.
        events: What it has logged so far.
    """

    actor: Any
    asked: Any = None
    events: EventReader = field(default_factory=EventReader)


@dataclass(slots=True)
class _Video:
    """A video of the job.

    Attributes:
        index: Its place in the job.
        job: What is to be done.
        chair: Who coordinates it, while it runs.
        running: The call that ends with it.
        lanes: What it was given.
        began_at: When it was started.
        restarts: How often its coordinator died.
        snapshot: How far it is known to be.
        moved_at: When it was last seen to be alive.
    """

    index: int
    job: VideoJob
    chair: _Chair | None = None
    running: Any = None
    lanes: list[Lane] = field(default_factory=list)
    began_at: float = 0.0
    restarts: int = 0
    snapshot: Snapshot = field(default_factory=Snapshot)
    moved_at: float = 0.0


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
        self._left: list[Lane] = []
        self._waiting: deque[_Video] = deque()
        self._active: list[_Video] = []
        self._outcomes: dict[int, RunReport | Exception] = {}
        self._tally = Tally()
        self._gauges = Gauges(ray.get_runtime_context().get_job_id())
        self._past = Snapshot()
        self._looked_at = 0.0
        self._nodes, self._nodes_at = Nodes.now(), 0.0
        self._abreast = min(num_videos, len(self._lanes))
        self._chairs = [_new_chair() for _ in range(self._abreast)]
        self._store_bytes = self._nodes.smallest_store()

    def add(self, pipeline: Pipeline, sink: SegmentedSink, key: str | None) -> None:
        """Add a video to the job."""
        # Without a key, segments still outlive their coordinator, though not the job.
        own = key or f"once-{os.getpid()}-{time.time_ns()}"
        job = VideoJob(pipeline.source.name, pipeline, sink, own, keeps=key is not None)
        self._waiting.append(_Video(len(self._waiting), job))

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
        return [self._outcomes[index] for index in range(num_videos)]

    def end(self) -> None:
        """End all processes, whatever they are at."""
        for chair in (*self._chairs, *(video.chair for video in self._active)):
            if chair is not None:
                ray.kill(chair.actor)
        self._pools.dismiss()
        for lane in (*self._lanes, *self._left):
            for worker in lane.workers():
                ray.kill(worker.actor)

    def _start(self, video: _Video) -> None:
        video.began_at = video.began_at or time.perf_counter()
        video.moved_at = time.monotonic()
        pipeline = video.job.pipeline
        try:
            info = pipeline.source.info()
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
        except (HyperConError, ModelError, ValueError) as error:
            self._finish(video, error)
            return
        video.chair = video.chair or self._chairs.pop()
        crew = Crew(self._shares(video, Counter()).pools, video.lanes)
        video.running = video.chair.actor.run.remote(video.job, crew, limits)
        self._active.append(video)

    def _shares(self, video: _Video, loads: Counter[str]) -> Staffing:
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
        self._looked_at = now
        for video in self._active:
            self._look(video, now)
        self._tell(now)
        self._keep_staff(now)

    def _end(self, video: _Video, ref: Any) -> None:
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

    def _restart(self, video: _Video, what: str) -> None:
        """A coordinator is gone: another takes over from the journal."""
        reason = f"the coordinator of {video.job.name} {what}"
        video.restarts += 1
        video.chair = _new_chair()
        if video.restarts > COORDINATOR_RESTARTS:
            self._finish(video, ClusterError(reason))
            return
        logger.warning("%s; another takes over", reason, extra=facts(video=video.job.name))
        self._start(video)

    def _finish(self, video: _Video, outcome: RunReport | Exception) -> None:
        self._outcomes[video.index] = outcome
        self._free += video.lanes
        if video.chair is not None:
            self._listen(video.chair)
            self._chairs.append(video.chair)
            video.chair = None
        _add(self._past, video.snapshot)

    def _listen(self, chair: _Chair) -> None:
        """Log what a coordinator logged at the end of its video."""
        try:
            _, recent = ray.get(chair.actor.look.remote(), timeout=POLL_S)
        except RayError:
            return
        _replay(chair, recent)

    def _look(self, video: _Video, now: float) -> None:
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
            _replay(chair, recent)
            if snapshot is not None:
                video.moved_at = now if snapshot.beat != video.snapshot.beat else video.moved_at
                video.snapshot = snapshot
        if now - video.moved_at > 2 * self._settings.stall_s:
            # The call that it runs fails by this, and another takes over.
            logger.warning("the coordinator of %s does not move and is ended", video.job.name)
            video.moved_at = now
            ray.kill(chair.actor)

    def _now(self) -> Snapshot:
        """All videos together, those that are over included."""
        total = Snapshot()
        for snapshot in (self._past, *(video.snapshot for video in self._active)):
            _add(total, snapshot)
        return total

    def _tell(self, now: float) -> None:
        total = self._now()
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

    def _state(self, name: str, count: StageCount) -> StageState:
        return StageState(
            name,
            count.frames,
            count.busy_s,
            self._pools.sizes.get(name, len(self._lanes)),
            count.queued,
            count.in_flight_bytes,
            count.queue_age_s,
        )

    def _keep_staff(self, now: float) -> None:
        if now - self._nodes_at >= NODES_EVERY_S:
            self._nodes, self._nodes_at = Nodes.now(), now
            self._leave_lanes()
        total = self._now()
        loads: Counter[str] = Counter()
        for video in self._active:
            loads.update(video.snapshot.loads)
        has_changed = self._pools.look(total.stages, loads, self._nodes)
        # Of several videos each must know what the others ask of the workers.
        if has_changed or len(self._active) > 1:
            for video in self._active:
                if video.chair is not None:
                    video.chair.actor.staff.remote(self._shares(video, loads))

    def _leave_lanes(self) -> None:
        """Give lanes on nodes that are drained a successor elsewhere."""
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
            self._replace(lane, to, None if left_s is None else DRAIN_SHARE * left_s)

    def _replace(self, lane: Lane, to: Lane, leave_in_s: float | None) -> None:
        self._lanes[self._lanes.index(lane)] = to
        self._left.append(lane)
        if lane in self._free:
            self._free[self._free.index(lane)] = to
        for video in self._active:
            if lane in video.lanes and video.chair is not None:
                video.lanes[video.lanes.index(lane)] = to
                video.chair.actor.move.remote(lane.decoder.name, to, leave_in_s)

    def _outcome(self, video: _Video) -> RunReport | Exception:
        snapshot = video.snapshot
        if snapshot.error is not None:
            return snapshot.error
        sizes = self._pools.sizes
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
                    sizes.get(name, len(self._lanes)) / self._abreast,
                )
                for name, count in snapshot.stages.items()
            ],
        )
        report.notes = list(snapshot.notes)
        report.tell_cuts(snapshot.cuts)
        return report


def _new_chair() -> _Chair:
    """A coordinator on this node: where the driver is lost, the job is."""
    near = NodeAffinitySchedulingStrategy(here(), soft=True)
    return _Chair(RemoteCoordinator.options(num_cpus=0, scheduling_strategy=near).remote())


def _replay(chair: _Chair, recent: RecentEvents) -> None:
    events, lost = chair.events.read(recent)
    if lost:
        logger.warning("%d earlier messages of a coordinator were not kept", lost)
    for event in events:
        replay(event)


def _add(total: Snapshot, one: Snapshot) -> None:
    total.num_frames += one.num_frames
    total.frames_done += one.frames_done
    total.frames_resumed += one.frames_resumed
    total.retries += one.retries
    for name, count in one.stages.items():
        sum_ = total.stages.setdefault(name, StageCount())
        sum_.frames += count.frames
        sum_.busy_s += count.busy_s
        sum_.queued += count.queued
        sum_.in_flight_bytes += count.in_flight_bytes
        sum_.queue_age_s = max(sum_.queue_age_s, count.queue_age_s)
