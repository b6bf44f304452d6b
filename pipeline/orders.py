"""The order to begin a segment: given to the processes of a lane until they answer."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import ray
from ray.exceptions import ObjectLostError, RayError, RayTaskError

from pipeline.crew import Lane
from pipeline.errors import HyperConError, InputError, ResourceError, UsageError
from pipeline.faults import tell
from pipeline.io.endpoint import StreamInfo
from pipeline.io.segments import SegmentStore
from pipeline.looks import INPUT_LOOKS, Looks
from pipeline.video_job import Limits, OpenSegment, Ref, VideoJob

RESTART_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Refusal:
    """A lane would not begin an attempt.

    Attributes:
        reason: Why, in one line.
        is_loss: True if something befell it; false for what its own code has raised.
        of_output: What was raised if the place of the output cannot be written, or has no room.
    """

    reason: str
    is_loss: bool
    of_output: HyperConError | None = None


class Orders:
    """Has lanes begin attempts.

    Args:
        job: The video.
        limits: What it may use.
        looks: Look through the source again if what was found is lost.
        source: The source after it was looked through.
        store: Where segments are kept.
        info: Of the source.
    """

    def __init__(
        self,
        job: VideoJob,
        limits: Limits,
        looks: Looks,
        source: Ref,
        store: SegmentStore,
        info: StreamInfo,
    ) -> None:
        self._job = job
        self._limits = limits
        self._looks = looks
        self._source = source
        self._store = store
        self._info = info
        self._failed_looks = 0
        self._looked_on: str | None = None

    def follow(self, run: OpenSegment, runs: Sequence[OpenSegment]) -> Refusal | None:
        """Give an order if it is time, and see whether it was followed.

        Args:
            run: The attempt.
            runs: All that are open, of which others may wait for the same.

        Returns:
            Why the attempt cannot be begun; None as long as it may.

        Raises:
            InputError: If the source was lost, and cannot be looked through again.
        """
        now = time.monotonic()
        if run.has_begun or now < run.begin_at:
            return None
        if not run.beginning:
            run.beginning, run.asked_at = self._given(run), now
            run.source = self._source
        waiting = ray.wait(run.beginning, num_returns=len(run.beginning), timeout=0)[1]
        try:
            if not waiting:
                ray.get(run.beginning)
                run.has_begun, run.moved_at, run.left_behind = True, now, []
                self._failed_looks = 0
                return None
        except RayTaskError as error:
            return self._refusal(run, runs, error)
        except RayError as error:
            # Restarting takes seconds, noticing a dead node some sixteen.
            self._ask_later(run, now)
            if isinstance(error, ObjectLostError):
                self._look_again(run, run.lane)
        if not _is_there(self._source):
            # It is looked through again, which takes as long as it takes.
            run.waits_since = run.asked_at = now
        elif run.beginning and now - run.asked_at > self._limits.chunk_s:
            self._free(run, runs, waiting, now)
        return None

    def _given(self, run: OpenSegment) -> list[Ref]:
        """One call for each process of the lane, in their order."""
        part = self._store.part_path(run.segment.index, run.attempt)
        lane, frames = run.lane, run.segment.num_frames
        return [
            lane.decoder.actor.open.remote(run.token, self._source),
            *(owner.actor.begin.remote(run.token) for owner in lane.owners.values()),
            lane.encoder.actor.begin.remote(run.token, self._job.sink, self._info, part, frames),
        ]

    def _refusal(
        self, run: OpenSegment, runs: Sequence[OpenSegment], error: RayTaskError
    ) -> Refusal:
        cause = error.cause
        if isinstance(cause, InputError):
            # It opens nothing itself: this is what looking through the source again has come to.
            self._failed_looks += run.source is self._source
            if self._failed_looks >= INPUT_LOOKS:
                raise cause from None
            lanes = (one.lane for one in runs if one.lane.node != self._looked_on)
            self._look_again(run, next(lanes, run.lane))
            return Refusal(str(cause), is_loss=True)
        is_loss = isinstance(cause, RayError)
        refused = _error_of(run.beginning[-1])
        of_output = refused if isinstance(refused, ResourceError | UsageError) else None
        if is_loss:
            # What a decoder was to be given is lost.
            self._look_again(run, run.lane)
        else:
            # Who fails to forget would fail again, as after an error of its device.
            for worker, answer in zip(run.lane.workers(), run.beginning, strict=True):
                if _error_of(answer) is not None:
                    ray.kill(worker.actor, no_restart=False)
        return Refusal(str(cause), is_loss, of_output)

    def _free(
        self, run: OpenSegment, runs: Sequence[OpenSegment], waiting: Sequence[Ref], now: float
    ) -> None:
        """End what a lane may be waiting for in vain, for so long without an answer.

        That is a worker which hangs at a chunk of the attempt before: an owner keeps order. Or it
        is the source: of an object that was moved to a disk and is gone from it Ray says nothing,
        and whoever is to be given it waits for ever, with all that is asked of it afterwards.
        """
        run.asked_at = now
        tell(self._job.name, f"its processes have not answered for {run.waited_s(now):.0f} s", run)
        stuck = [leg for leg in run.left_behind if not ray.wait([leg.done], timeout=0)[0]]
        for leg in stuck:
            tell(self._job.name, f"{leg.worker.name!r} is ended: it does not come back", run)
            ray.kill(leg.worker.actor, no_restart=False)
        if run.beginning[0] in waiting:
            reason = f"what was found in the input did not come for {self._limits.chunk_s:g} s"
            tell(self._job.name, f"{reason}: it is looked for again", run)
            for one in runs:
                # Others have asked for the same.
                if one.source is run.source and one.beginning and not one.has_begun:
                    ray.kill(one.lane.decoder.actor, no_restart=False)
                    self._ask_later(one, now)
            self._look_again(run, run.lane)

    def _look_again(self, run: OpenSegment, lane: Lane) -> None:
        """Have the source looked through once more, unless that was done for another segment."""
        if run.source is self._source:
            self._looked_on = lane.node
            self._source = self._looks.again(lane)

    def _ask_later(self, run: OpenSegment, now: float) -> None:
        run.beginning, run.begin_at = [], now + RESTART_POLL_S


def _error_of(answer: Ref) -> Exception | None:
    """What a call has raised, if it has."""
    try:
        ray.get(answer)
    except RayTaskError as error:
        cause: Exception = error.cause
        return cause
    except RayError as error:
        return error
    return None


def _is_there(ref: Ref) -> bool:
    return bool(ray.wait([ref], timeout=0, fetch_local=False)[0])
