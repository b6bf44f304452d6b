"""A process of the engine waits for its turn."""

import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from pipeline.turns import wait_for_turn

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has batch processes")


def test_a_process_becomes_a_batch_process() -> None:
    assert apart(_policy_after) == os.SCHED_BATCH


def test_where_that_is_forbidden_all_stays_as_it_was() -> None:
    assert apart(_policy_where_forbidden) == os.SCHED_OTHER


def apart(policy: Callable[[], int]) -> int:
    """What a process of its own says."""
    with ProcessPoolExecutor(1, get_context("spawn")) as processes:
        return processes.submit(policy).result()


def _policy_after(change: Callable[..., None] = os.sched_setscheduler) -> int:
    # Other tests run actors in this process, of which this one inherits.
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.sched_setscheduler = change
    wait_for_turn()
    return os.sched_getscheduler(0)


def _policy_where_forbidden() -> int:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "no")

    return _policy_after(refuse)
