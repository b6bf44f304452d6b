"""How processes of the engine share processors with one another."""

import os
import sys
from contextlib import suppress


def wait_for_turn() -> None:
    """Let this process wait for its turn when it wakes, where it would interrupt another.

    Every process of Ray wakes a hundred times a second to look for signals, also one that has
    nothing to do, and each time whoever computes has to step aside and then finds its data out of
    the cache. A batch process waits until a processor is free or a slice is over. Nothing changes
    where processors are free, nor on systems other than Linux.
    """
    if sys.platform == "linux":
        # Some containers forbid it; then all is as it was.
        with suppress(OSError):
            # By number: zero would be the thread that calls, which need not be the main one.
            os.sched_setscheduler(os.getpid(), os.SCHED_BATCH, os.sched_param(0))
