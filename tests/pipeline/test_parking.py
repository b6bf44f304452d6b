"""A segment that failed on one node is computed on another; a place may be missing everywhere."""

from mock_lanes import lane

from operators.timeline import Segment
from pipeline.crew import Lane
from pipeline.lanes import VideoLanes
from pipeline.parking import Parking
from pipeline.video_job import OpenSegment


def run(number: int, on: Lane) -> OpenSegment:
    segment = Segment(index=number, first=0, stop=4, halo_first=0, halo_stop=5, taken_stop=5)
    return OpenSegment(segment, on)


X, Y, Z = lane("x", "a"), lane("y", "a"), lane("z", "b")


def test_a_segment_waits_for_a_lane_on_a_node_that_it_has_not_tried() -> None:
    own = VideoLanes([X, Y, Z])
    parking = Parking(own)
    failed = run(0, own.take())
    assert parking.may_wait(failed, [X, Y, Z])
    own.give_back(failed.lane)
    parking.add(failed)
    assert (len(parking), parking.frames) == (1, 5)

    busy = own.take({"a"})
    assert (busy, parking.take(takes_any=False)) == (Z, None)
    own.give_back(busy)

    assert parking.take(takes_any=False) is failed
    assert failed.lane == Z
    assert (len(parking), own.free()) == (0, [Y, X])


def test_a_segment_takes_what_there_is_when_nothing_else_computes() -> None:
    own = VideoLanes([X])
    parking = Parking(own)
    failed = run(0, X)
    parking.may_wait(failed, [X, Z])
    parking.add(failed)

    assert parking.take(takes_any=False) is None
    assert parking.take(takes_any=True) is failed


def test_one_that_waits_for_another_node_keeps_no_other_waiting() -> None:
    own = VideoLanes([X])
    parking = Parking(own)
    first, second = run(0, X), run(1, Z)
    for one in (first, second):
        parking.may_wait(one, [X, Z])
        parking.add(one)

    assert parking.take(takes_any=False) is second
    assert second.lane == X


def test_nobody_waits_for_another_node_where_there_is_none() -> None:
    parking = Parking(VideoLanes([]))
    failed = run(0, X)

    assert not parking.may_wait(failed, [X, Y])
    assert failed.avoided == set()
    assert parking.may_wait(failed, [X, Z])
    failed.lane = Z
    assert not parking.may_wait(failed, [X, Z])
    assert failed.avoided == {"a"}


def test_a_place_is_missing_when_every_node_says_so() -> None:
    parking = Parking(VideoLanes([]))

    assert parking.is_refused_everywhere("a", [X, Y])
    assert not Parking(VideoLanes([])).is_refused_everywhere("a", [X, Z])
    assert parking.is_refused_everywhere("b", [X, Z])
    parking.is_written("a")
    assert not parking.is_refused_everywhere("b", [X, Z])
