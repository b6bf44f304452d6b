"""Who coordinates which video of a job, and how far each is known to be."""

import logging
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import RayError

from pipeline.cluster import here, light
from pipeline.coordinator import RemoteCoordinator
from pipeline.crew import Lane
from pipeline.events import EventReader, RecentEvents, replay
from pipeline.report import RunReport, StageReport
from pipeline.video_job import Others, Sighting, Snapshot, StageCount, VideoJob

logger = logging.getLogger(__name__)

# A coordinator whose video is over answers at once, on however slow a machine.
ANSWER_S = 5.0


@dataclass(frozen=True, slots=True)
class Telling:
    """What a coordinator is told of the pools.

    Attributes:
        staffing: Which of the staffings of the job, by number.
        others: What the other videos ask of them.
        answer: Whether it listened, as a ref.
    """

    staffing: int
    others: Others
    answer: Any = None

    def says(self, other: "Telling") -> bool:
        """Whether the other is no news after it."""
        return (self.staffing, self.others) == (other.staffing, other.others)


@dataclass(slots=True)
class Chair:
    """A coordinator, which runs one video after the other.

    Attributes:
        actor: Its handle.
        number: Which of those that there are at once.
        asked: A question for its snapshot that is not answered yet.
        events: What it has logged so far.
        telling: What it is being told, until it has answered.
        told: What it was told last, of this video.
    """

    actor: Any
    number: int = 0
    asked: Any = None
    events: EventReader = field(default_factory=EventReader)
    telling: Telling | None = None
    told: Telling | None = None


@dataclass(slots=True)
class Video:
    """A video of the job.

    Attributes:
        index: Its place in the job.
        job: What is to be done.
        chair: Who coordinates it, while it runs.
        running: The call that ends with it.
        lanes: What it was given.
        began_at: When it was started.
        restarts: How often its coordinator died.
        avoided: Nodes whose lanes failed it as a whole.
        moves: How often it was begun again elsewhere for that.
        snapshot: How far its coordinator is known to be.
        before: What coordinators did that died over it or had to leave it; None if none has.
        moved_at: When it was last seen to be alive.
        worker_s: Seconds of workers of each stage that were its share so far, by name.
        staffed_s: Seconds in which it had them.
    """

    index: int
    job: VideoJob
    chair: Chair | None = None
    running: Any = None
    lanes: list[Lane] = field(default_factory=list)
    began_at: float = 0.0
    restarts: int = 0
    avoided: frozenset[str] = frozenset()
    moves: int = 0
    snapshot: Snapshot = field(default_factory=Snapshot)
    before: Snapshot | None = None
    moved_at: float = 0.0
    worker_s: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    staffed_s: float = 0.0

    @property
    def seat(self) -> int:
        """The number of who coordinates it, which no other video that runs has."""
        return 0 if self.chair is None else self.chair.number

    def total(self) -> Snapshot:
        """How far it is, with what coordinators did before the one that it has."""
        before, now = self.before, self.snapshot
        if before is None:
            return now
        work = Snapshot()
        add_up(work, before)
        add_up(work, now)
        return replace(
            now,
            num_frames=max(before.num_frames, now.num_frames),
            frames_done=max(before.frames_done, now.frames_done),
            # One that has not come to look at it knows nothing.
            frames_resumed=max(before.frames_resumed, now.frames_resumed),
            stages=work.stages,
            retries=work.retries,
        )

    def succeed(self) -> None:
        """Its coordinator is gone; the next one counts from zero."""
        total = self.total()
        # What it had begun is begun again.
        begun = self.snapshot.open_segments + len(self.snapshot.failures)
        self.before = replace(total, retries=total.retries + begun)
        for count in self.before.stages.values():
            count.wait_for_nothing()
        self.snapshot = Snapshot()

    def mean_size(self, stage: str) -> float:
        """Workers of a stage that were its share, on average."""
        return self.worker_s[stage] / self.staffed_s if self.staffed_s else 1.0

    def outcome(self) -> RunReport | Exception:
        """What it became, or what ended it; to be asked when it is over."""
        snapshot = self.total()
        if snapshot.error is not None:
            return snapshot.error
        report = RunReport(
            frames_in=snapshot.num_frames,
            frames_out=snapshot.frames_done,
            frames_resumed=snapshot.frames_resumed,
            retries=snapshot.retries,
            wall_s=time.perf_counter() - self.began_at,
            stages=[
                StageReport(name, count.frames, count.busy_s, self.mean_size(name))
                for name, count in snapshot.stages.items()
            ],
        )
        report.notes = list(snapshot.notes)
        report.tell_cuts(snapshot.cuts)
        return report


class Chairs:
    """The coordinators of a job that have no video now.

    Args:
        loads: Classes that they will need.
        count: How many there are at once, all together; all are started.
    """

    def __init__(self, loads: Sequence[type], count: int) -> None:
        self._loads = loads
        self._ready = [new_chair(loads, number) for number in range(count)]
        self._vacant: list[int] = []

    def __len__(self) -> int:
        return len(self._ready) + len(self._vacant)

    def take(self) -> Chair:
        """One for a video; another is started if that which had its number is gone."""
        return self._ready.pop() if self._ready else new_chair(self._loads, self._vacant.pop())

    def give_back(self, chair: Chair) -> None:
        """Its video is over. What it logged at the end is logged, if it answers.

        By its answer it has heard all that it was told, and takes none of it for the next video's.
        """
        try:
            _, recent = ray.get(chair.actor.look.remote(), timeout=ANSWER_S)
        except RayError:
            self.end(chair)
            return
        replay_new(chair, recent)
        chair.asked = chair.telling = chair.told = None
        self._ready.append(chair)

    def end(self, chair: Chair) -> None:
        """End one, whatever it is at: silent is not dead."""
        ray.kill(chair.actor)
        self._vacant.append(chair.number)

    def dismiss(self) -> None:
        """End all that have no video."""
        while self._ready:
            self.end(self._ready.pop())


def new_chair(loads: Sequence[type], number: int) -> Chair:
    """Start a coordinator on this node: where the driver is lost, the job is.

    Args:
        loads: Classes that it will need.
        number: Which of those that there are at once.
    """
    options = RemoteCoordinator.options(enable_task_events=False, **light(here()))
    return Chair(options.remote(loads), number)


def replay_new(chair: Chair, recent: RecentEvents) -> None:
    """Log what a coordinator has logged and was not logged here yet."""
    events, lost = chair.events.read(recent)
    if lost:
        logger.warning("%d earlier messages of a coordinator were not kept", lost)
    for event in events:
        replay(event)


def latest(seen: Iterable[Mapping[str, Sighting]]) -> dict[str, Sighting]:
    """What each worker was when it was last seen, by its name.

    Args:
        seen: What each video saw of it.
    """
    result: dict[str, Sighting] = {}
    for name, one in (item for each in seen for item in each.items()):
        if name not in result or one.at > result[name].at:
            result[name] = one
    return result


def add_up(total: Snapshot, one: Snapshot) -> None:
    """Add the counts of a video to those of a job."""
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
