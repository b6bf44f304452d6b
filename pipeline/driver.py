"""The driver of a job: gives lanes to videos, watches coordinators, adds up progress."""

import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from operators.errors import ModelError
from operators.frame import FramePair
from pipeline.chunk import chunk_length
from pipeline.coordinator import RemoteCoordinator
from pipeline.crew import LIGHT_CPUS, Crew, Lane
from pipeline.errors import ClusterError, HyperConError
from pipeline.io.endpoint import SegmentedSink, StreamInfo
from pipeline.progress import Progress
from pipeline.report import RunReport, StageReport
from pipeline.segmenting import frames_of_segment
from pipeline.stage import Pipeline, halo_of, overlap_of
from pipeline.video_job import Limits, RaySettings, Snapshot, VideoJob

logger = logging.getLogger(__name__)

POLL_S = 0.5
# Two chunks for each worker, one in hand and one waiting: more gains nothing.
DEPTH = 2
COORDINATOR_RESTARTS = 3


@dataclass(slots=True)
class _Video:
    """A video of the job.

    Attributes:
        index: Its place in the job.
        pipeline: What is to be done.
        job: The same, for the coordinator.
        coordinator: The actor that does it, once it runs.
        running: The call that ends with it.
        lanes: What it was given.
        began_at: When it was started.
        restarts: How often its coordinator died.
        snapshot: How far it is known to be.
    """

    index: int
    pipeline: Pipeline
    job: VideoJob
    coordinator: Any = None
    running: Any = None
    lanes: list[Lane] = field(default_factory=list)
    began_at: float = 0.0
    restarts: int = 0
    snapshot: Snapshot = field(default_factory=Snapshot)


class Driver:
    """Runs the videos of a job on one crew.

    Args:
        crew: The actors.
        settings: How the engine runs.
        progress: Told as segments are committed.
    """

    def __init__(self, crew: Crew, settings: RaySettings, progress: Progress) -> None:
        self._crew = crew
        self._settings = settings
        self._progress = progress
        self._waiting: deque[_Video] = deque()
        self._active: list[_Video] = []
        self._free = list(crew.lanes)
        self._outcomes: dict[int, RunReport | Exception] = {}
        self._told = 0
        self._has_begun = False

    def add(self, pipeline: Pipeline, sink: SegmentedSink, key: str | None) -> None:
        """Add a video to the job."""
        name = pipeline.source.name
        job = VideoJob(name, pipeline.source, pipeline.stages, sink, key)
        self._waiting.append(_Video(len(self._waiting), pipeline, job))

    def run(self) -> list[RunReport | Exception]:
        """Run all videos; what each became, in order."""
        num_videos = len(self._waiting)
        abreast = min(num_videos, len(self._crew.lanes))
        lanes_each = len(self._crew.lanes) // abreast
        try:
            while self._waiting or self._active:
                while self._waiting and len(self._free) >= lanes_each:
                    video = self._waiting.popleft()
                    video.lanes = [self._free.pop() for _ in range(lanes_each)]
                    self._start(video, abreast)
                self._watch(abreast)
        finally:
            for video in self._active:
                ray.kill(video.coordinator)
        return [self._outcomes[index] for index in range(num_videos)]

    def _start(self, video: _Video, abreast: int) -> None:
        video.began_at = video.began_at or time.perf_counter()
        try:
            limits = self._limits(video.pipeline, abreast)
        except (HyperConError, ModelError, ValueError) as error:
            self._finish(video, error)
            return
        crew = Crew(self._shares(video.index, abreast), video.lanes)
        coordinator = RemoteCoordinator.options(num_cpus=LIGHT_CPUS).remote(video.job, crew, limits)
        video.coordinator, video.running = coordinator, coordinator.run.remote()
        self._active.append(video)

    def _shares(self, index: int, abreast: int) -> dict[str, list[Any]]:
        """The pools, each turned so that videos which run at once begin at different replicas."""
        turned = {}
        for name, pool in self._crew.pools.items():
            start = (index % abreast) * len(pool) // abreast
            turned[name] = pool[start:] + pool[:start]
        return turned

    def _limits(self, pipeline: Pipeline, abreast: int) -> Limits:
        settings = self._settings
        info = pipeline.source.info()
        # To open it shows that the place can be written, before any work is done.
        pipeline.sink.open(info)
        pipeline.sink.abort()
        halo = halo_of(pipeline.stages)
        count = pipeline.source.count() if halo is None else 0
        workers = sum(len(pool) for pool in self._crew.pools.values())
        return Limits(
            segment_frames=frames_of_segment(count, halo, settings.segment_frames),
            chunk_frames=settings.chunk_frames or _chunk_frames(pipeline, info),
            credits=max(2, DEPTH * -(-workers // abreast)),
            halo=halo or 0,
            overlap=overlap_of(pipeline.stages),
            attempts=settings.attempts,
            stall_s=settings.stall_s,
        )

    def _watch(self, abreast: int) -> None:
        if not self._active:
            return
        running = {video.running: video for video in self._active}
        ready, _ = ray.wait(list(running), timeout=POLL_S)
        for ref in ready:
            video = running[ref]
            self._active.remove(video)
            try:
                video.snapshot = ray.get(ref)
            except RayTaskError as error:
                # Not its death but a defect, which another would have too.
                self._finish(video, error.cause)
            except RayError as error:
                self._restart(video, error, abreast)
            else:
                self._finish(video, _outcome(video))
        for video in self._active:
            self._look(video)
        self._tell()

    def _restart(self, video: _Video, error: RayError, abreast: int) -> None:
        """A coordinator died: another takes over from the journal."""
        video.restarts += 1
        reason = f"the coordinator of {video.job.name} died: {type(error).__name__}"
        if video.restarts > COORDINATOR_RESTARTS:
            self._finish(video, ClusterError(reason))
            return
        logger.warning("%s; another takes over", reason)
        self._start(video, abreast)

    def _finish(self, video: _Video, outcome: RunReport | Exception) -> None:
        self._outcomes[video.index] = outcome
        self._free += video.lanes
        if video.coordinator is not None:
            ray.kill(video.coordinator)

    def _look(self, video: _Video) -> None:
        try:
            video.snapshot = ray.get(video.coordinator.snapshot.remote(), timeout=POLL_S)
        except RayError:
            # Its death shows in the call that it runs; slowness is no news.
            return

    def _tell(self) -> None:
        if not self._has_begun:
            # Of one video the length is soon known; of many only as they come.
            total = sum(video.snapshot.num_frames for video in self._active)
            is_whole_job = not self._waiting and all(v.snapshot.num_frames for v in self._active)
            if self._active and not is_whole_job and not self._waiting:
                return
            self._progress.start(total if is_whole_job else None)
            self._has_begun = True
        done = sum(
            outcome.frames_out
            for outcome in self._outcomes.values()
            if isinstance(outcome, RunReport)
        )
        busy: dict[str, float] = {}
        for video in self._active:
            done += video.snapshot.frames_done
            for stage, seconds in video.snapshot.busy_s.items():
                busy[stage] = busy.get(stage, 0.0) + seconds
        if done > self._told:
            self._progress.advance(done - self._told, busy)
            self._told = done


def _outcome(video: _Video) -> RunReport | Exception:
    snapshot = video.snapshot
    if snapshot.error is not None:
        return snapshot.error
    names = ["decode", *(stage.name for stage in video.pipeline.stages), "encode"]
    return RunReport(
        frames_in=snapshot.num_frames,
        frames_out=snapshot.frames_done,
        frames_resumed=snapshot.frames_resumed,
        retries=snapshot.retries,
        wall_s=time.perf_counter() - video.began_at,
        stages=[
            StageReport(name, snapshot.frames_by_stage[name], snapshot.busy_s.get(name, 0.0))
            for name in names
        ],
    )


def _chunk_frames(pipeline: Pipeline, info: StreamInfo) -> int:
    """Frames of a chunk, by the bytes of an interval at its largest."""
    pixels = info.width * info.height
    images = max(
        (getattr(stage.operator, "images_per_frame", 1) for stage in pipeline.stages), default=1
    )
    has_flow = any(stage.operator.takes is FramePair for stage in pipeline.stages)
    picture = 3 * pixels * pipeline.wire.picture_bytes()
    flow = 4 * pixels * pipeline.wire.flow_bytes() if has_flow else 0
    return chunk_length(images * picture + flow)
