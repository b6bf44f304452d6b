"""The actor that owns a video while it is computed; between videos it waits for the next."""

from collections.abc import Sequence
from typing import Any

import ray

from pipeline import log
from pipeline.crew import Crew, Lane
from pipeline.events import EventHandler, EventLog, RecentEvents
from pipeline.turns import wait_for_turn
from pipeline.video_job import Limits, Others, Snapshot, Staffing, VideoJob
from pipeline.video_run import VideoRun


class Coordinator:
    """Runs one video after the other. It holds refs and never sees a frame.

    Args:
        loads: Classes that it will need; to be given them is to have loaded them.
    """

    def __init__(self, loads: Sequence[type]) -> None:
        del loads  # They came with their modules, which is all that is wanted of them.
        wait_for_turn()
        self._video: VideoRun | None = None
        self._events = EventLog()
        # Nobody reads what is written here: the driver asks for it and logs it as its own.
        log.send_to(EventHandler(self._events))

    @ray.method
    def run(self, job: VideoJob, crew: Crew, others: Others, limits: Limits) -> Snapshot:
        """Run a video to its end, segment by segment, several at a time.

        Args:
            job: The video.
            crew: Who works; the lanes are this video's own, the pools are shared.
            others: What other videos ask of the pools.
            limits: What it may use.

        Returns:
            What was done; if ``error`` is set, there is no output.
        """
        self._video = VideoRun(job, crew, others, limits)
        try:
            return self._video.run()
        finally:
            self._video = None

    @ray.method(concurrency_group="control")
    def look(self) -> tuple[Snapshot | None, RecentEvents]:
        """How far the video is and what was logged of late, answered while ``run`` goes on."""
        video = self._video
        return None if video is None else video.snapshot(), self._events.recent()

    @ray.method(concurrency_group="control")
    def staff(self, staffing: Staffing | None, others: Others) -> bool:
        """Use these pools, if any are given, and think of the other videos; whether it was told."""
        video = self._video
        if video is not None:
            video.staff(staffing, others)
        return video is not None

    @ray.method(concurrency_group="control")
    def lend(self, lane: Lane) -> bool:
        """Use one more lane; whether it was told."""
        video = self._video
        if video is not None:
            video.lend(lane)
        return video is not None

    @ray.method(concurrency_group="control")
    def move(self, lane: str, to: Lane, leave_in_s: float | None) -> None:
        """Leave a lane when its segment is done, or when time is up."""
        video = self._video
        if video is not None:
            video.move(lane, to, leave_in_s)


# Ray's own types do not know the option.
RemoteCoordinator: Any = ray.remote(concurrency_groups={"control": 1})(Coordinator)  # type: ignore[call-overload]
