"""When a pool grows and when it shrinks."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.bounds import Bounds


@dataclass(frozen=True, slots=True)
class PoolState:
    """A pool at one moment.

    Attributes:
        bounds: The fewest and the most replicas.
        workers: Replicas that work.
        joining: Replicas that were asked for and do not work yet.
        queue_age_s: Seconds that the oldest chunk has waited for the pool or been in its hands.
        queued: Chunks that wait for it or are in its hands.
        idle_s: Seconds that each idle replica has had no work, by name.
    """

    bounds: Bounds
    workers: int
    joining: int
    queue_age_s: float
    queued: int
    idle_s: Mapping[str, float]


def to_start(pool: PoolState, grow_after_s: float) -> int:
    """How many more replicas to ask for.

    A pool below its least is filled up at once. Else it grows while more chunks are there than
    replicas and the oldest has waited too long; it doubles, so that a cluster which has to start
    machines for it is asked for several at a time. What was asked for must come first.

    Args:
        pool: The pool.
        grow_after_s: Age of the oldest chunk from which on it grows.
    """
    there = pool.workers + pool.joining
    if there < pool.bounds.least:
        return pool.bounds.least - there
    is_late = pool.queue_age_s > grow_after_s and pool.queued > pool.workers
    if not is_late or pool.joining:
        return 0
    return max(0, min(max(1, pool.workers), pool.bounds.most - there))


def to_end(pool: PoolState, idle_after_s: float) -> list[str]:
    """Which replicas to end: those idle for long, down to the least, the longest idle first.

    Args:
        pool: The pool.
        idle_after_s: Seconds without work from which on a replica is ended.
    """
    spare = pool.workers - pool.bounds.least
    idle = [name for name, seconds in pool.idle_s.items() if seconds > idle_after_s]
    idle.sort(key=lambda name: (-pool.idle_s[name], name))
    return idle[: max(0, spare)]
