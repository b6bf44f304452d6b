"""Who failed lately is chosen last, for longer each time, until it has done something."""

import pytest

from pipeline import suspects
from pipeline.suspects import FIRST_S, MOST_DOUBLED, Suspects


class Clock:
    """Time under control."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(suspects.time, "monotonic", lambda: self.now)


def test_the_time_doubles_up_to_a_quarter_of_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, those = Clock(monkeypatch), Suspects()
    lasted = []

    for _ in range(7):
        those.blame("w0")
        begin = clock.now
        while "w0" in those:
            clock.now += 1.0
        lasted.append(clock.now - begin)

    assert lasted == [60, 120, 240, 480, 960, 960, 960]
    assert (FIRST_S, MOST_DOUBLED) == (60, 4)


def test_a_name_that_never_does_anything_can_fail_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, those = Clock(monkeypatch), Suspects()

    times = [those.blame("w0") for _ in range(2000)]

    assert times[-1] == 2000
    clock.now += 959
    assert "w0" in those


def test_work_that_is_done_clears_a_name_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, those = Clock(monkeypatch), Suspects()

    times = [those.blame(name) for name in ("w0", "w0", "w1")]
    those.clear("w0")
    those.clear("w2")

    assert times == [1, 2, 1]
    assert [name in those for name in ("w0", "w1", "w2")] == [False, True, False]
    assert those.blame("w0") == 1
    clock.now += FIRST_S
    assert "w0" not in those
