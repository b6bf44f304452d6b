"""The lanes of a video are taken and given back, and left for others."""

import pytest
from mock_lanes import Clock, lane, names

from pipeline.crew import Worker
from pipeline.lanes import VideoLanes
from pipeline.video_job import Leg


def test_a_segment_takes_a_lane_and_gives_it_back() -> None:
    own = VideoLanes([lane("x"), lane("y")])

    first, second = own.take(), own.take()

    assert (first, second, own.take()) == (lane("x"), lane("y"), None)
    own.give_back(lane("y"))
    assert own.take() == lane("y")


def test_a_lane_that_failed_a_segment_is_taken_when_nothing_else_computes() -> None:
    """Its process may fail every segment, and would swallow them one after the other."""
    own = VideoLanes([lane("x"), lane("y")])

    own.distrust(lane("x"))

    assert own.take() == lane("y")
    assert own.take() is None
    assert own.take(takes_any=True) == lane("x")
    own.give_back(lane("x"))
    own.trust(lane("x"))
    assert own.take() == lane("x")


def test_a_lane_is_distrusted_when_two_segments_in_a_row_failed_on_it() -> None:
    own = VideoLanes([lane("x")])

    own.blame(lane("x"))
    own.trust(lane("x"))
    own.blame(lane("x"))
    assert own.take() == lane("x")

    own.blame(lane("x"))
    own.give_back(lane("x"))
    assert own.take() is None


def test_what_a_lane_still_waits_for_is_told_to_whoever_has_it_next() -> None:
    own = VideoLanes([lane("x")])
    leg = Leg("translate", Worker("t", "translate", None), "ref")

    own.give_back(own.take(), [leg])

    taken = own.take()
    assert own.left_behind(taken) == [leg]
    assert own.left_behind(taken) == []


def test_a_lane_on_a_node_to_avoid_is_taken_when_nothing_else_computes() -> None:
    own = VideoLanes([lane("x", "a"), lane("y", "b"), lane("z", "b")])
    own.distrust(lane("y", "b"))

    assert own.take({"b"}) == lane("x", "a")
    assert own.take({"b"}) is None
    assert own.take({"b"}, takes_any=True) == lane("y", "b")
    assert own.take({"a"}) == lane("z", "b")


def test_a_lane_that_is_lent_is_taken_too() -> None:
    own = VideoLanes([lane("x")])
    own.take()

    own.lend(lane("y"))

    assert names(own.free()) == ["y"]


def test_a_free_lane_is_left_at_once_and_one_in_use_when_it_is_given_back() -> None:
    own = VideoLanes([lane("x"), lane("y")])
    own.take()

    own.move("x", lane("z"), None)
    own.move("y", lane("w"), None)
    assert names(own.free()) == ["w"]
    own.give_back(lane("x"))

    assert names(own.free()) == ["w", "z"]


def test_a_lane_that_is_left_for_one_that_is_left_too_leads_to_the_last() -> None:
    own = VideoLanes([])

    own.move("x", lane("y"), None)
    own.move("y", lane("z"), None)

    assert own.successor(lane("x")) == lane("z")


def test_a_segment_may_stay_until_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    own = VideoLanes([])
    own.move("x", lane("y"), 30.0)

    assert not own.is_due(lane("x"), clock.now + 29)
    assert own.is_due(lane("x"), clock.now + 31)
    assert not own.is_due(lane("y"), clock.now + 31)
