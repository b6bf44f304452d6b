"""Whose fault it is that an attempt at a segment failed, and what is said of it."""

import logging
from dataclasses import dataclass
from itertools import takewhile

import ray
from ray.exceptions import RayError, RayTaskError

from operators.errors import ModelError
from pipeline.actors import StaleCallError
from pipeline.chunk import Chunk
from pipeline.errors import HyperConError, ResourceError, UsageError
from pipeline.log import facts
from pipeline.video_job import Flight, Leg, OpenSegment

# What a call of a stage may raise.
FAILURES = (RayError, HyperConError, ModelError, StaleCallError)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a call failed.

    Attributes:
        cause: What was raised.
        reason: In one line.
        is_own: True for what the code that ran has raised, which comes again; false for what
            befell its process, which need not.
        is_of_output: True if the place of the output cannot be written, or has no room.
    """

    cause: Exception
    reason: str
    is_own: bool
    is_of_output: bool


def fault_of(leg: Leg, chunk: Chunk, error: Exception, stall_s: float) -> Fault:
    """Understand what a leg of a chunk's way has raised.

    Args:
        leg: The leg.
        chunk: The chunk.
        error: What ``ray.get`` raised.
        stall_s: Seconds after which a process was taken to stand still.
    """
    cause: Exception = error.cause if isinstance(error, RayTaskError) else error
    is_own = leg.is_stalled or not isinstance(cause, RayError | StaleCallError)
    if leg.is_stalled:
        reason = stalled(leg, chunk, stall_s)
    elif isinstance(cause, HyperConError | ModelError):
        reason = str(cause)
    elif is_own:
        reason = f"stage {leg.stage!r} failed: {type(cause).__name__}: {cause}"
    else:
        reason = f"{type(cause).__name__} in stage {leg.stage!r}"
    is_of_output = leg.stage == "encode" and isinstance(cause, ResourceError | UsageError)
    return Fault(cause, reason, is_own, is_of_output)


def stalled(leg: Leg, chunk: Chunk, stall_s: float) -> str:
    """What is said of a process that stands still."""
    return f"stage {leg.stage!r} made no progress for {stall_s:g} s at {frames_of(chunk)}"


def frames_of(chunk: Chunk) -> str:
    """The frames of a chunk, for messages."""
    return f"frames {chunk.first} to {chunk.stop - 1}"


def tell(
    video: str,
    message: str,
    run: OpenSegment | None = None,
    *,
    stage: str | None = None,
    frames: str | None = None,
) -> None:
    """Log what went wrong, with what is known of where."""
    where = "" if run is None else f"segment {run.segment.index}, attempt {run.attempt}: "
    about = facts(
        video=video,
        segment=None if run is None else run.segment.index,
        attempt=None if run is None else run.attempt,
        stage=stage,
        frames=frames,
    )
    logger.warning("%s: %s%s", video, where, message, extra=about)


def first_failure(
    run: OpenSegment, flight: Flight, error: Exception
) -> tuple[Flight, Leg, Exception]:
    """What failed first of an attempt: where one call fails, those after it are refused.

    Args:
        run: The attempt.
        flight: A chunk of it of which a call failed.
        error: What that call raised.

    Returns:
        The chunk whose call failed first in order, that leg of its way, and what it raised.
    """
    for earlier in takewhile(lambda one: one is not flight, run.flights):
        for leg in earlier.legs:
            if not ray.wait([leg.done], timeout=0)[0]:
                break
            try:
                ray.get(leg.done)
            except FAILURES as first:
                return earlier, leg, first
    return flight, flight.legs[0], error
