"""Chunks go to the least busy, on the node of their lane, and no more than there is credit for."""

from collections import Counter
from collections.abc import Iterator
from itertools import count

import pytest
import torch

from operators.frame import Frame
from operators.timeline import Segment
from pipeline.crew import Lane, Worker
from pipeline.stage import Stage
from pipeline.traffic import Traffic, count_waiting
from pipeline.video_job import Limits, OpenSegment, Others, Sighting, Staffing, StageCount


class Recording:
    """An actor whose methods only note that they were called."""

    def __init__(self, name: str, calls: list[tuple[str, str]], refs: Iterator[int]) -> None:
        self._name = name
        self._calls = calls
        self._refs = refs
        self._method = ""

    def __getattr__(self, method: str) -> "Recording":
        called = Recording(self._name, self._calls, self._refs)
        called._method = method
        return called

    def remote(self, *_: object) -> object:
        """Refs to what would come."""
        self._calls.append((self._name, self._method))
        return next(self._refs) if self._method == "write" else (next(self._refs), next(self._refs))


class Idle:
    """An operator that is never run."""

    takes = Frame
    is_stateful = False
    reach = 0

    def setup(self, device: torch.device) -> None: ...
    def process(self, item: Frame) -> list[Frame]: ...
    def flush(self) -> list[Frame]: ...
    def close(self) -> None: ...


class Yard:
    """A lane, a pool and the traffic between them.

    Args:
        nodes: The node of each worker of the pool.
        limits: Others than usual.
    """

    def __init__(self, *nodes: str, **limits: int) -> None:
        self.calls: list[tuple[str, str]] = []
        refs = count()

        def worker(name: str, stage: str, node: str = "here") -> Worker:
            return Worker(name, stage, Recording(name, self.calls, refs), node)

        self.pool = [worker(f"w{n}", "translate", node) for n, node in enumerate(nodes)]
        self.lane = Lane(worker("d", "decode"), {}, worker("e", "encode"), "here")
        usual = {"max_credits": 100}
        self.traffic = Traffic(
            (Stage(Idle(), "translate"),),
            Staffing({"translate": self.pool}),
            Others(),
            Limits(None, 1, halo=0, ahead=0, overlap=0, **(usual | limits)),
        )

    def open(self, num_chunks: int) -> OpenSegment:
        """A segment that has begun."""
        segment = Segment(0, 0, num_chunks, 0, num_chunks, num_chunks)
        return OpenSegment(segment, self.lane, has_begun=True)

    def translated_by(self) -> Counter[str]:
        """How many chunks each worker of the pool was sent."""
        return Counter(name for name, method in self.calls if method == "share")


def test_every_worker_is_sent_two_chunks_and_no_more() -> None:
    yard = Yard("here", "here", "here")
    run = yard.open(20)

    yard.traffic.feed([run], overlap=0, usual=1, after=100)

    assert yard.translated_by() == {"w0": 2, "w1": 2, "w2": 2}
    assert len(run.flights) == yard.traffic.credits == 6
    assert run.frames_left == 14


@pytest.mark.parametrize(
    ("abreast", "used", "wanted"),
    [(1, 0, 8), (2, 4, 4), (3, 8, 4), (8, 7, 2), (8, 9, 2), (2, 1, 7), (8, 2, 6)],
)
def test_credit_is_shared_with_other_videos_as_far_as_they_use_theirs(
    abreast: int, used: int, wanted: int
) -> None:
    yard = Yard(*["here"] * 4)

    yard.traffic.others = Others(abreast, chunks=used)

    assert yard.traffic.credits == wanted


def test_credit_is_what_the_object_store_holds_and_half_of_it_when_it_was_full() -> None:
    yard = Yard(*["here"] * 8, max_credits=10)

    assert yard.traffic.credits == 10
    assert [yard.traffic.halve() for _ in range(5)] == [5, 2, 1, 1, 1]
    assert yard.traffic.credits == 1


def test_open_segments_share_the_credit() -> None:
    yard = Yard(*["here"] * 4)
    first, second = yard.open(20), yard.open(20)

    yard.traffic.feed([first, second], overlap=0, usual=1, after=100)

    assert (len(first.flights), len(second.flights)) == (4, 4)


def test_what_a_segment_does_not_use_that_is_nearly_done_others_use() -> None:
    yard = Yard(*["here"] * 4)
    first, second = yard.open(2), yard.open(20)

    yard.traffic.feed([first, second], overlap=0, usual=1, after=100)

    assert (len(first.flights), len(second.flights)) == (2, 6)
    assert yard.traffic.credits == 8


def test_a_chunk_stays_on_its_node_until_all_workers_there_have_two() -> None:
    yard = Yard("far", "here", "far")

    yard.traffic.feed([yard.open(20)], overlap=0, usual=1, after=100)

    assert yard.translated_by() == {"w1": 3, "w0": 2, "w2": 1}


def test_what_others_ask_of_a_worker_counts_too() -> None:
    yard = Yard("here", "here", "here")
    yard.traffic.others = Others(2, {"w0": 5, "w1": 1})

    yard.traffic.feed([yard.open(20)], overlap=0, usual=1, after=100)

    assert yard.translated_by() == {"w1": 3, "w2": 3}


def test_who_has_the_fewest_frames_to_do_is_least_busy_and_not_who_has_the_fewest_chunks() -> None:
    """At the end chunks become short: two of one frame are done before one of eight."""
    yard = Yard("here", "here")
    run = yard.open(11)

    yard.traffic.feed([run], overlap=0, usual=8, after=100)
    run.segment = Segment(0, 0, 14, 0, 14, 14)
    yard.traffic.feed([run], overlap=0, usual=6, after=100)

    frames: Counter[str] = Counter()
    for flight in run.flights:
        frames[flight.legs[1].worker.name] += flight.chunk.num_frames
    assert frames == {"w0": 8, "w1": 6}


def test_where_little_is_left_more_and_shorter_chunks_take_the_same_credit() -> None:
    yard = Yard("here", "here")
    run = yard.open(30)

    yard.traffic.feed([run], overlap=0, usual=4, after=0)

    lengths = [flight.chunk.num_frames for flight in run.flights]
    assert lengths == [4, 3, 3, 3, 2, 2]
    assert 4 * yard.traffic.credits <= sum(lengths) < 4 * yard.traffic.credits + 2


def test_a_segment_that_has_not_begun_is_sent_nothing() -> None:
    yard = Yard("here")
    run = yard.open(5)
    run.has_begun = False

    yard.traffic.feed([run], overlap=0, usual=1, after=100)

    assert not yard.calls


def test_what_is_over_or_recalled_is_no_load() -> None:
    yard = Yard("here", "here")
    run = yard.open(20)
    yard.traffic.feed([run], overlap=0, usual=1, after=100)
    assert yard.traffic.loads == {"d": 4, "w0": 2, "w1": 2, "e": 4}

    assert yard.traffic.land(run.flights[0]).stage == "decode"
    assert yard.traffic.loads["d"] == 3
    yard.traffic.recall(run)

    assert yard.traffic.loads == {}
    assert (run.frames_left, len(run.flights)) == (20, 0)


def test_a_segment_knows_whether_it_waits_for_a_lost_worker() -> None:
    yard = Yard("here", "here")
    run = yard.open(1)
    yard.traffic.feed([run], overlap=0, usual=1, after=100)

    assert yard.traffic.lost_worker(run) is None
    yard.traffic.staffing = Staffing({"translate": yard.pool[1:]}, frozenset({"w0"}))
    assert yard.traffic.lost_worker(run) == "w0"
    yard.traffic.land(run.flights[0])
    yard.traffic.land(run.flights[0])
    assert yard.traffic.lost_worker(run) is None


def test_nothing_is_sent_while_nobody_is_there_for_a_stage() -> None:
    yard = Yard("here")
    yard.traffic.staffing = Staffing({"translate": []})

    yard.traffic.feed([yard.open(5)], overlap=0, usual=1, after=100)

    assert yard.traffic.deserted == "translate"
    assert not yard.calls


def test_what_waits_is_counted_where_it_waits() -> None:
    yard = Yard("here")
    run = yard.open(2)
    yard.traffic.feed([run], overlap=0, usual=1, after=100)
    yard.traffic.land(run.flights[0])
    run.flights[0].num_bytes, run.flights[0].waits_since = 700, 10.0
    run.flights[1].num_bytes, run.flights[1].waits_since = 0, 12.5
    counts = {name: StageCount(queued=9, queue_age_s=9) for name in ("decode", "translate")}

    count_waiting(counts, [run], now=13.0)

    assert counts["decode"] == StageCount(queued=1, in_flight_bytes=0, queue_age_s=0.5)
    assert counts["translate"] == StageCount(queued=1, in_flight_bytes=700, queue_age_s=3.0)


def test_who_failed_lately_is_chosen_last() -> None:
    """It has nothing to do, and would be the first of all."""
    yard = Yard("here", "here", "here")
    run = yard.open(9)
    yard.traffic.suspects.blame("w1")

    yard.traffic.feed([run], 0, 1, 0)

    assert {name for name, _ in yard.calls} == {"d", "w0", "w2", "e"}


def test_if_all_failed_all_are_chosen() -> None:
    yard = Yard("here", "here")
    run = yard.open(9)
    for name in ("w0", "w1"):
        yard.traffic.suspects.blame(name)

    yard.traffic.feed([run], 0, 1, 0)

    assert {name for name, _ in yard.calls} == {"d", "w0", "w1", "e"}


def test_a_worker_was_seen_when_any_video_last_saw_it() -> None:
    yard = Yard("here")
    own = {"w0": Sighting(20.0, 0, 1, "here")}
    yard.traffic.others = Others(2, seen_at={"w0": 30.0, "w1": 10.0})

    seen = [yard.traffic.seen_at(name, own) for name in ("w0", "w1", "w2")]

    assert seen == [30.0, 10.0, 0.0]
    yard.traffic.others = Others(2, seen_at={"w0": 10.0})
    assert yard.traffic.seen_at("w0", own) == 20.0
