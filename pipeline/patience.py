"""Waiting for what takes as long as it takes, with signs of life; and no longer without them."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import suppress
from typing import TypeVar

from pipeline.errors import StandstillError

T = TypeVar("T")

LOOK_EVERY_S = 1.0


def begun(work: Callable[[], T]) -> Future[T]:
    """Do something in a thread of its own, which keeps no process from ending."""
    outcome: Future[T] = Future()

    def do() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            outcome.set_exception(error)

    threading.Thread(target=do, daemon=True).start()
    return outcome


def patiently(work: Callable[[], T], every_s: float, beat: Callable[[], None]) -> T:
    """Do what takes a disk as long as it takes, and show meanwhile that it goes on.

    Args:
        work: What is done, in a thread of its own, which keeps no process from ending.
        every_s: Seconds between two signs of life.
        beat: Gives them.
    """
    outcome = begun(work)
    while not wait([outcome], every_s).done:
        beat()
    return outcome.result()


def watched(work: Callable[[], T], still_s: float, what: str) -> T:
    """Read what may be long, as long as anything comes of it.

    Whoever waits for a disk that does not answer uses no processor, and whoever reads does,
    however slowly. Where a system does not tell what a thread uses (macOS), the wait has no end.

    Args:
        work: What is done, in a thread of its own; where it stands still the thread is left behind.
        still_s: Seconds after which one that has used no processor is given up.
        what: Is read, for the message.

    Raises:
        StandstillError: If it was given up.
    """
    clocks: list[int] = []

    def do() -> T:
        if hasattr(time, "pthread_getcpuclockid"):
            clocks.append(time.pthread_getcpuclockid(threading.get_ident()))
        return work()

    outcome, poll_s = begun(do), min(LOOK_EVERY_S, still_s / 4)
    used_s = waited_s = 0.0
    while not wait([outcome], poll_s).done:
        before_s = used_s
        # A thread that has ended just now has no clock any more.
        with suppress(OSError):
            used_s = time.clock_gettime(clocks[0]) if clocks else used_s + poll_s
        # Not by the clock: where the whole process was stopped, nobody stood still.
        waited_s = 0.0 if used_s > before_s else waited_s + poll_s
        if waited_s >= still_s and not outcome.done():
            msg = f"{what} must be readable, got nothing from it for {still_s:g} s"
            raise StandstillError(msg)
    return outcome.result()
