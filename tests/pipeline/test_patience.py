"""What works is waited for, and what stands still is not."""

import threading
import time

import pytest

from pipeline.errors import InputError, StandstillError
from pipeline.patience import patiently, watched

STILL_S = 0.4

needs_clocks = pytest.mark.skipif(
    not hasattr(time, "pthread_getcpuclockid"), reason="the system does not say what threads use"
)


def test_what_was_done_is_given_back_and_errors_are_raised() -> None:
    def torn() -> int:
        msg = "ends at 12"
        raise InputError(msg)

    assert watched(lambda: 7, STILL_S, "film.mp4") == 7
    with pytest.raises(InputError, match="ends at 12"):
        watched(torn, STILL_S, "film.mp4")


@needs_clocks
def test_what_does_not_come_is_not_waited_for() -> None:
    never = threading.Event()

    with pytest.raises(StandstillError, match=r"film.mp4 must be readable, got nothing from it"):
        watched(never.wait, STILL_S, "film.mp4")

    never.set()


def test_what_comes_slowly_is_waited_for() -> None:
    """A little is done now and then, for three times as long as nothing may be done."""

    def read() -> str:
        for _ in range(30):
            threading.Event().wait(STILL_S / 10)
            sum(range(10_000))
        return "all of it"

    assert watched(read, STILL_S, "film.mp4") == "all of it"


def test_there_are_signs_of_life_meanwhile() -> None:
    beats: list[float] = []
    goes_on = threading.Event()

    def beat() -> None:
        beats.append(time.monotonic())
        if len(beats) == 3:
            goes_on.set()

    assert patiently(goes_on.wait, 0.01, beat) is True
    assert len(beats) >= 3
