"""The driver of a job: gives lanes to videos, watches coordinators, adds up progress."""

import logging
import secrets
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import replace
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from pipeline.cluster import Nodes, free_gpus
from pipeline.crew import Crew, Hiring, hire, why_not
from pipeline.errors import ClusterError
from pipeline.gauges import Gauges
from pipeline.io.endpoint import SegmentedSink
from pipeline.job_lanes import JobLanes
from pipeline.log import facts
from pipeline.patience import watched
from pipeline.pools import NODES_EVERY_S, Pools
from pipeline.progress import Progress
from pipeline.ray_settings import RaySettings
from pipeline.report import RunReport
from pipeline.seats import Chair, Chairs, Telling, Video, add_up, latest, replay_new
from pipeline.sizing import limits_of
from pipeline.stage import Pipeline
from pipeline.tally import StageState, Tally, expected_frames
from pipeline.video_job import Others, Sighting, Snapshot, Staffing, StageCount, VideoJob

logger = logging.getLogger(__name__)

POLL_S = 0.2
# One video alone does not have to know of others; to ask costs both sides a millisecond or two.
ALONE_POLL_S = 0.5
# From then on a look around was late, as when a source is slow to open.
SLOW_S = 5.0
# A process that was lost with its node has found another by then, unless there is no GPU for it.
ROOM_AFTER_S = 30.0
COORDINATOR_RESTARTS = 3


class Driver:
    """Runs the videos of a job on one crew.

    Args:
        hiring: How processes are started.
        num_lanes: Segments that can be open at once.
        settings: How the engine runs.
        progress: Told once a second or more often.
        num_videos: How many videos will be added.

    Raises:
        ClusterError: If the cluster cannot give what is asked for.
        ModelError: If a model cannot be loaded.
    """

    def __init__(
        self,
        hiring: Hiring,
        num_lanes: int,
        settings: RaySettings,
        progress: Progress,
        num_videos: int,
    ) -> None:
        self._settings = settings
        self._progress = progress
        self._hiring = hiring
        self._run = secrets.token_hex(8)
        self._abreast = min(num_videos, num_lanes)
        self._gauges = Gauges(ray.get_runtime_context().get_job_id())
        self._nodes, self._nodes_at = Nodes.now(), 0.0
        self._store_bytes = self._nodes.smallest_store()
        # They load their modules while the crew loads its models.
        self._chairs = Chairs(hiring.loads, self._abreast)
        try:
            crew = hire(hiring, num_lanes, settings.start_s)
        except BaseException:
            self._chairs.dismiss()
            raise
        with suppress(RayError, ConnectionError):
            # Machines may have been started for the crew.
            self._nodes = Nodes.now()
        self._setup_s = round(crew.setup_s)
        self._pools = Pools(crew, hiring, settings)
        self._lanes = JobLanes(crew.lanes, hiring, each=len(crew.lanes) // self._abreast)
        self._staffing = 1
        self._waiting: deque[Video] = deque()
        self._active: list[Video] = []
        self._outcomes: dict[int, RunReport | Exception] = {}
        self._num_counted = 0
        self._tally = Tally()
        self._past = Snapshot()
        self._seen: dict[str, Sighting] = {}
        self._looked_at = self._told_at = time.monotonic()

    def add(self, pipeline: Pipeline, sink: SegmentedSink, key: str | None) -> None:
        """Add a video to the job."""
        job = VideoJob(pipeline.source.name, pipeline, sink, key, self._run)
        self._waiting.append(Video(len(self._waiting), job))

    def run(self) -> list[RunReport | Exception]:
        """Run all videos; what each became, in order."""
        num_videos = len(self._waiting)
        self._progress.start(None)
        while self._waiting or self._active:
            while (video := self._next_video()) is not None:
                self._start(video)
            if not self._waiting:
                self._lanes.lend(self._active)
            self._watch()
        self._tell(time.monotonic(), self._total())
        return [self._outcomes[index] for index in range(num_videos)]

    def _next_video(self) -> Video | None:
        """A video that can be started, which has its lanes now; None if there is none."""
        if not self._chairs:
            return None
        for video in list(self._waiting):
            # Where nothing runs, no other lane will be free.
            if self._lanes.give(video, takes_any=not self._active):
                self._waiting.remove(video)
                return video
            if not video.moves:  # Nor is there anything for those behind it.
                break
        return None

    def end(self) -> None:
        """End all processes, whatever they are at."""
        for video in self._active:
            if video.chair is not None:
                self._chairs.end(video.chair)
        self._chairs.dismiss()
        self._pools.dismiss()
        self._lanes.dismiss()

    def _start(self, video: Video) -> None:
        video.began_at = video.began_at or time.perf_counter()
        video.moved_at = time.monotonic()
        pipeline = video.job.pipeline
        try:
            info = watched(pipeline.source.info, self._settings.stall_s, video.job.name)
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
            limits = replace(limits, setup_s=self._setup_s)
            video.chair = video.chair or self._chairs.take()
            crew = Crew(self._turned(video).pools, video.lanes)
            others = Others(min(self._abreast, len(self._active) + len(self._waiting) + 1))
            video.running = video.chair.actor.run.remote(video.job, crew, others, limits)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this video and no other
            self._finish(video, error)
            return
        self._active.append(video)

    def _turned(self, video: Video) -> Staffing:
        """The pools, each turned so that videos which run at once begin at different replicas."""
        staffing = self._pools.staffing
        turned = {}
        for name, pool in staffing.pools.items():
            start = video.seat * len(pool) // self._abreast
            turned[name] = pool[start:] + pool[:start]
        return Staffing(turned, staffing.lost)

    def _watch(self) -> None:
        if not self._active:
            return
        poll_s = POLL_S if len(self._active) > 1 else ALONE_POLL_S
        running = {video.running: video for video in self._active}
        for ref in ray.wait(list(running), timeout=poll_s)[0]:
            self._end(running[ref], ref)
        now = time.monotonic()
        if now - self._looked_at < poll_s:
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
            if getattr(error, "actor_init_failed", False):
                # So would every other.
                msg = f"the coordinator of {video.job.name} must start: {why_not(error)}"
                self._finish(video, ClusterError(msg))
                return
            self._restart(video, f"died: {type(error).__name__}")
        else:
            if not self._begins_elsewhere(video):
                self._finish(video, video.outcome())

    def _begins_elsewhere(self, video: Video) -> bool:
        """Let a video that the nodes of its lanes failed wait for others, if there are any."""
        if not video.snapshot.is_of_nodes or not self._lanes.avoid(video):
            return False
        error, about = video.snapshot.error, facts(video=video.job.name)
        logger.warning("%s; it is begun again on another node", error, extra=about)
        self._leave(video)
        video.succeed()
        # First, for what becomes of it tells whose fault it was.
        self._waiting.appendleft(video)
        return True

    def _restart(self, video: Video, what: str) -> None:
        """A coordinator is gone: another takes over from the journal."""
        reason = f"the coordinator of {video.job.name} {what}"
        video.succeed()
        video.restarts += 1
        if video.chair is not None:
            # Two of them must not work on one video.
            self._chairs.end(video.chair)
            video.chair = None
        if video.restarts > COORDINATOR_RESTARTS:
            self._finish(video, ClusterError(reason))
            return
        video.job = replace(video.job, takes_over=True)
        logger.warning("%s; another takes over", reason, extra=facts(video=video.job.name))
        self._start(video)

    def _finish(self, video: Video, outcome: RunReport | Exception) -> None:
        self._outcomes[video.index] = outcome
        self._lanes.judge(video, is_done=isinstance(outcome, RunReport))
        self._leave(video)
        total = video.total()
        self._num_counted += total.num_frames > 0
        for count in total.stages.values():
            # Nothing of a video that is over waits anywhere, also if it failed.
            count.wait_for_nothing()
        add_up(self._past, total)

    def _leave(self, video: Video) -> None:
        """Give back what a video had: it is over, or it waits again."""
        self._lanes.take_back(video)
        if video.chair is not None:
            self._chairs.give_back(video.chair)
            video.chair = None
        # What it saw last is news to the others.
        self._seen = latest((self._seen, video.snapshot.seen))

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
            # The next time there is an answer already.
            chair.asked = chair.actor.look.remote()
            replay_new(chair, recent)
            if snapshot is not None:
                video.moved_at = now if snapshot.beat != video.snapshot.beat else video.moved_at
                video.snapshot = snapshot
        if now - video.moved_at > 2 * (self._settings.stall_s + self._setup_s):
            # The call that it runs fails by this, and another takes over.
            logger.warning("the coordinator of %s does not move and is ended", video.job.name)
            video.moved_at = now
            ray.kill(chair.actor)

    def _total(self) -> Snapshot:
        """All videos together, those that are over included."""
        total = Snapshot()
        for snapshot in (self._past, *(video.total() for video in self._begun())):
            add_up(total, snapshot)
        return total

    def _begun(self) -> list[Video]:
        """The videos that run, and those that had to leave their lanes and wait for others."""
        return [*self._active, *(video for video in self._waiting if video.moves)]

    def _tell(self, now: float, total: Snapshot) -> None:
        passed_s, self._told_at = now - self._told_at, now
        for video in self._active:
            video.staffed_s += passed_s
            for stage in video.snapshot.stages:
                video.worker_s[stage] += passed_s * self._size(stage) / len(self._active)
        num_videos = len(self._outcomes) + len(self._active) + len(self._waiting)
        # Those that failed before their frames were counted had none.
        num_known = self._num_counted + sum(v.total().num_frames > 0 for v in self._begun())
        num_unknown = num_videos - len(self._outcomes) + self._num_counted - num_known
        state = self._tally.update(
            now,
            total.frames_done,
            expected_frames(total.num_frames, num_known, num_known + num_unknown),
            total.frames_resumed,
            [self._state(name, count) for name, count in total.stages.items()],
        )
        state = replace(
            state,
            is_estimate=num_known > 0 and num_unknown > 0,
            videos_done=len(self._outcomes),
            num_videos=num_videos,
        )
        self._progress.show(state)
        self._gauges.show(state, total.retries)

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
        if now - self._nodes_at >= NODES_EVERY_S:
            self._nodes_at = now
            with suppress(RayError, ConnectionError):
                # While the head starts again, what was known last is best.
                self._nodes = Nodes.now()
            self._lanes.leave_nodes(self._nodes, self._active)
        loads: Counter[str] = Counter()
        for video in self._active:
            loads.update(video.snapshot.loads)
        names = self._pools.staffing.names
        seen = latest((self._seen, *(video.snapshot.seen for video in self._active)))
        self._seen = {name: one for name, one in seen.items() if name in names}
        self._make_room()
        self._staffing += self._pools.look(total.stages, loads, self._nodes, self._seen)
        chunks = sum(video.snapshot.chunks for video in self._active)
        # Who was always alone knows it from itself.
        is_shared = self._abreast > 1
        seen_at = {name: one.at for name, one in self._seen.items()} if is_shared else {}
        for video in self._active:
            others = Others(
                len(self._active),
                dict(loads - Counter(video.snapshot.loads)),
                chunks - video.snapshot.chunks,
                seen_at,
            )
            if video.chair is not None:
                self._tell_staff(video, video.chair, others)

    def _make_room(self) -> None:
        """Let a replica go where owners have long waited for a GPU and there is none."""
        waits_s = max((video.snapshot.waits_s for video in self._active), default=0.0)
        with suppress(RayError, ConnectionError):
            if waits_s > ROOM_AFTER_S and free_gpus() < self._hiring.gpus_for_owner:
                self._staffing += self._pools.make_room()

    def _tell_staff(self, video: Video, chair: Chair, others: Others) -> None:
        """Tell a coordinator who works, if that is new, and what other videos ask of them."""
        news = Telling(self._staffing, others)
        if chair.telling is not None:
            if not ray.wait([chair.telling.answer], timeout=0)[0]:
                return
            with suppress(RayError):
                # Who has just begun may not have listened yet.
                chair.told = chair.telling if ray.get(chair.telling.answer) else None
            chair.telling = None
        if chair.told is not None and chair.told.says(news):
            return
        is_known = chair.told is not None and chair.told.staffing == news.staffing
        staffing = None if is_known else self._turned(video)
        chair.telling = replace(news, answer=chair.actor.staff.remote(staffing, others))
