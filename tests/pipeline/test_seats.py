"""What coordinators did that died over a video counts, once."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, GetTimeoutError

from pipeline import seats
from pipeline.events import Event, EventLog, RecentEvents
from pipeline.seats import Chair, Chairs, Telling, Video, latest
from pipeline.video_job import Others, Sighting, Snapshot, StageCount


def video() -> Video:
    job: Any = None
    return Video(0, job)


def snapshot(
    frames_done: int, resumed: int, translated: int, retries: int, begun: int = 0
) -> Snapshot:
    stages = {"translate": StageCount(translated, float(translated), queued=3, in_flight_bytes=9)}
    return Snapshot(100, frames_done, resumed, stages, retries=retries, open_segments=begun)


def test_a_video_whose_coordinator_lives_is_as_far_as_that_says() -> None:
    one = video()
    one.snapshot = snapshot(40, 10, 50, 1)

    assert one.total() is one.snapshot


def test_a_successor_goes_on_counting() -> None:
    one = video()
    one.snapshot = snapshot(frames_done=40, resumed=10, translated=50, retries=2, begun=2)

    one.succeed()
    waiting = one.total()
    # It finds the 40 frames in the journal, and by whom they were made.
    one.snapshot = snapshot(frames_done=70, resumed=10, translated=35, retries=1, begun=1)

    assert (waiting.num_frames, waiting.frames_done, waiting.frames_resumed) == (100, 40, 10)
    assert waiting.stages["translate"] == StageCount(50, 50.0)
    total = one.total()
    assert (total.frames_done, total.frames_resumed, total.retries) == (70, 10, 2 + 2 + 1)
    assert total.stages["translate"] == StageCount(85, 85.0, queued=3, in_flight_bytes=9)


def test_a_second_successor_counts_no_death_twice() -> None:
    one = video()
    one.snapshot = snapshot(20, 0, 30, 0, begun=2)
    one.succeed()
    one.snapshot = snapshot(50, 0, 40, 1, begun=1)
    one.succeed()
    one.snapshot = snapshot(100, 0, 60, 0)

    total = one.total()

    assert (total.frames_done, total.frames_resumed, total.retries) == (100, 0, 2 + 1 + 1)
    assert total.stages["translate"].frames == 130


def test_what_an_earlier_run_had_made_is_known_to_who_looks_at_it_first() -> None:
    """One that had to leave before it saw a frame says nothing of it."""
    one = video()
    one.snapshot = Snapshot(failures=["segment 0"])
    one.succeed()

    one.snapshot = snapshot(frames_done=60, resumed=50, translated=10, retries=0)

    total = one.total()
    assert (total.frames_done, total.frames_resumed, total.retries) == (60, 50, 1)


def test_a_worker_is_what_it_was_when_it_was_last_seen() -> None:
    """Videos that share it have not all heard that it was started again."""
    before, after = Sighting(10.0, 900, 1, "a"), Sighting(20.0, 100, 2, "b")

    assert latest([{"w0": before}, {"w0": after, "w1": before}]) == {"w0": after, "w1": before}
    assert latest([{"w0": after}, {"w0": before}]) == {"w0": after}


class Hall:
    """A coordinator that answers, or does not, without a process; and those that replace it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: RecentEvents | Exception) -> None:
        self.killed: list[Any] = []
        self._answer = answer
        monkeypatch.setattr(seats.ray, "get", self._get)
        monkeypatch.setattr(seats.ray, "kill", self.killed.append)
        monkeypatch.setattr(seats, "new_chair", self._new_chair)
        self.started: list[int] = []
        self.chairs = Chairs((), 2)

    def _new_chair(self, _: object, number: int) -> Chair:
        self.started.append(number)
        actor = SimpleNamespace(look=SimpleNamespace(remote=lambda: "a ref"))
        return Chair(actor, number, asked="a ref", telling=Telling(1, Others(), "a ref"))

    def _get(self, _: Any, timeout: float) -> tuple[None, RecentEvents]:
        if isinstance(self._answer, Exception):
            raise self._answer
        return None, self._answer


def test_who_has_done_a_video_is_ready_for_another_with_nothing_said_of_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    events = EventLog()
    events.add(Event(logging.WARNING, "segment 3 failed", {}, 0.0, "pipeline.seats"))
    hall = Hall(monkeypatch, events.recent())

    chair = hall.chairs.take()
    assert len(hall.chairs) == 1

    hall.chairs.give_back(chair)

    assert len(hall.chairs) == 2
    assert hall.chairs.take() is chair
    assert (chair.asked, chair.telling, chair.told) == (None, None, None)
    assert "segment 3 failed" in caplog.text
    assert (hall.started, hall.killed) == ([0, 1], [])


@pytest.mark.parametrize("error", [GetTimeoutError("late"), ActorDiedError()])
def test_who_does_not_answer_after_a_video_is_replaced(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """What it was told of that video and has not heard yet, it would take for the next one's."""
    hall = Hall(monkeypatch, error)
    chair = hall.chairs.take()

    hall.chairs.give_back(chair)

    assert hall.killed == [chair.actor]
    assert len(hall.chairs) == 2
    # Not before it is wanted.
    assert hall.started == [0, 1]
    others = [hall.chairs.take(), hall.chairs.take()]
    assert chair not in others
    assert sorted(one.number for one in others) == [0, 1]
    assert hall.started == [0, 1, chair.number]


def test_at_the_end_all_coordinators_without_a_video_are_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hall = Hall(monkeypatch, TimeoutError())
    busy = hall.chairs.take()

    hall.chairs.dismiss()

    assert len(hall.killed) == 1
    assert busy.actor not in hall.killed


def test_what_was_told_is_no_news() -> None:
    told = Telling(3, Others(2, {"w0": 1}), answer="a ref")

    assert told.says(Telling(3, Others(2, {"w0": 1})))
    assert not told.says(Telling(4, Others(2, {"w0": 1})))
    assert not told.says(Telling(3, Others(1, {"w0": 1})))
