"""Who coordinates which video of a job, and how far each is known to be."""

import logging
from dataclasses import dataclass, field
from typing import Any

from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.cluster import here
from pipeline.coordinator import RemoteCoordinator
from pipeline.crew import Lane
from pipeline.events import EventReader, RecentEvents, replay
from pipeline.video_job import Snapshot, StageCount, VideoJob

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Chair:
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
        snapshot: How far it is known to be.
        moved_at: When it was last seen to be alive.
    """

    index: int
    job: VideoJob
    chair: Chair | None = None
    running: Any = None
    lanes: list[Lane] = field(default_factory=list)
    began_at: float = 0.0
    restarts: int = 0
    snapshot: Snapshot = field(default_factory=Snapshot)
    moved_at: float = 0.0


@dataclass(frozen=True, slots=True)
class LeftLane:
    """A lane that is left for another, at the latest at a time, by the monotonic clock."""

    lane: Lane
    to: Lane
    leave_at: float | None


def new_chair() -> Chair:
    """A coordinator on this node: where the driver is lost, the job is."""
    near = NodeAffinitySchedulingStrategy(here(), soft=True)
    return Chair(RemoteCoordinator.options(num_cpus=0, scheduling_strategy=near).remote())


def replay_new(chair: Chair, recent: RecentEvents) -> None:
    """Log what a coordinator has logged and was not logged here yet."""
    events, lost = chair.events.read(recent)
    if lost:
        logger.warning("%d earlier messages of a coordinator were not kept", lost)
    for event in events:
        replay(event)


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
