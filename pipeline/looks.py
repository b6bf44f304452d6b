"""What is to be known of a source before its first segment: decoders look through it."""

import time
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from pipeline.actors import Survey
from pipeline.crew import Lane
from pipeline.errors import ClusterError, InputError, StandstillError
from pipeline.faults import tell
from pipeline.video_job import Ref, VideoJob

# A decoder that dies while it looks is started again, and another may be luckier.
MOST_LOOKS = 5
# What two decoders cannot read is not there.
INPUT_LOOKS = 2
POLL_S = 0.5


class Looks:
    """Has the decoders of a video look through its source, however long that takes.

    Args:
        job: The video.
        lanes: Gives those whose decoders look, in turn if one of them dies.
        beat: Called while it lasts.
        stall_s: Seconds after which it is said that it still lasts, and without any progress
            ended.
    """

    def __init__(
        self,
        job: VideoJob,
        lanes: Callable[[], list[Lane]],
        beat: Callable[[], None],
        stall_s: float,
    ) -> None:
        self._job = job
        self._lanes = lanes
        self._beat = beat
        self._stall_s = stall_s

    def survey(self) -> tuple[Ref, Survey]:
        """Count the frames and look for damage.

        Returns:
            The source, which now knows what was found, as a ref: it may be large, goes to decoders
            and is not seen here; and what is told of it.

        Raises:
            InputError: If there is no frame, or what is there cannot be read, or does not come.
            ClusterError: If decoder after decoder dies.
        """
        sources: list[Ref] = []

        def ask(lane: Lane) -> Ref:
            source, answer = self._asked(lane)
            sources.append(source)
            return answer

        survey: Survey = self._answered(ask)
        if survey.num_frames == 0:
            msg = f"{self._job.name}: input must have at least one frame, got none"
            raise InputError(msg)
        for note in survey.notes:
            tell(self._job.name, note)
        return sources[-1], survey

    def again(self, lane: Lane) -> Ref:
        """The source anew, after what was found was lost with the node that held it."""
        source, _ = self._asked(lane)
        return source

    def _asked(self, lane: Lane) -> tuple[Ref, Ref]:
        source, answer = lane.decoder.actor.survey.remote(self._job.pipeline.source, self._stall_s)
        return source, answer

    def find_cuts(self) -> list[int]:
        """The first frame of each shot after the first.

        Raises:
            InputError: If the source cannot be read, or does not have the cuts it is told to.
            ClusterError: If decoder after decoder dies.
        """
        cuts: list[int] = self._answered(
            lambda lane: lane.decoder.actor.find_cuts.remote(self._job.pipeline, self._stall_s)
        )
        return cuts

    def _answered(self, ask: Callable[[Lane], Ref]) -> Any:
        reason = ""
        tried: list[str] = []
        for number in range(MOST_LOOKS):
            if number:
                tell(self._job.name, f"looking through the input again: {reason}")
            # Each time anew: a lane may have left its node meanwhile.
            lanes = self._lanes()
            elsewhere = [lane for lane in lanes if lane.node not in tried] or lanes
            lane = elsewhere[number % len(elsewhere)]
            ref = ask(lane)
            self._await(ref)
            try:
                return ray.get(ref)
            except RayTaskError as error:
                reason = self._excuse(error.cause, lane, tried)
            except RayError as error:
                reason = type(error).__name__
                time.sleep(POLL_S)
        msg = f"{self._job.name}: the input cannot be looked through: {reason}"
        raise ClusterError(msg)

    def _excuse(self, cause: Exception, lane: Lane, tried: list[str]) -> str:
        """Why somebody else is to look.

        Args:
            cause: What a decoder has raised.
            lane: Where it is.
            tried: Nodes on which the input could not be read; this one is added.

        Raises:
            Exception: The cause, if nobody else would see more.
        """
        if isinstance(cause, RayError):
            return type(cause).__name__
        tried.append(lane.node)
        stands_still = isinstance(cause, StandstillError)
        if stands_still:
            # A thread there still waits.
            ray.kill(lane.decoder.actor, no_restart=False)
        # A node may lack the disk that the others share.
        is_elsewhere = any(one.node not in tried for one in self._lanes())
        may_come = stands_still or (isinstance(cause, InputError) and is_elsewhere)
        if not may_come or len(tried) >= INPUT_LOOKS:
            raise cause from None
        return str(cause)

    def _await(self, ref: Ref) -> None:
        begin = time.monotonic()
        while not ray.wait([ref], timeout=POLL_S)[0]:
            self._beat()
            if time.monotonic() - begin > self._stall_s:
                begin = time.monotonic()
                tell(self._job.name, "still looking through the input")
