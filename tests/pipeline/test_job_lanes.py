"""The lanes of a job are given, lent, left and taken back, and none is ended under a segment."""

import logging
from dataclasses import dataclass, field
from typing import Any

import pytest
from mock_lanes import Clock, lane, names

from pipeline import job_lanes
from pipeline.cluster import Nodes
from pipeline.crew import Lane
from pipeline.job_lanes import UNTOLD_S, JobLanes
from pipeline.seats import Chair, Video
from pipeline.video_job import Snapshot


@dataclass
class Coordinator:
    """Takes note of what it is told, and answers at once whether it listens."""

    told: list[tuple[str, Any]] = field(default_factory=list)
    listens: bool = True

    def __getattr__(self, method: str) -> "Call":
        return Call(self, method)


@dataclass
class Call:
    """A method of a coordinator."""

    coordinator: Coordinator
    method: str

    def remote(self, *given: Any) -> bool:
        """The answer, as its own ref."""
        self.coordinator.told.append((self.method, given))
        return self.coordinator.listens


class Hiring:
    """Starts lanes on the node that it is told."""

    needs_gpu = False

    def __init__(self) -> None:
        self.number = 0

    def lane(self, node: str) -> Lane:
        """A new one."""
        self.number += 1
        return lane(f"new{self.number}", node)


class Job:
    """A job whose processes are names.

    Args:
        names: Of its lanes.
        videos: That run on them, in order, one lane each.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *names: str, videos: int) -> None:
        self.clock = Clock(monkeypatch)
        self.ended: list[str] = []
        monkeypatch.setattr(job_lanes, "dismiss", self._dismiss)
        monkeypatch.setattr(job_lanes.ray, "wait", lambda refs, timeout: (refs, []))
        monkeypatch.setattr(job_lanes.ray, "get", lambda ref: ref)
        hiring: Any = Hiring()
        self.lanes = JobLanes([lane(name) for name in names], hiring, each=1)
        job: Any = None
        self.videos = [Video(n, job, Chair(Coordinator())) for n in range(videos)]
        for video in self.videos:
            self.lanes.give(video, takes_any=False)
            self.tells(video)

    @staticmethod
    def tells(video: Video) -> None:
        """A coordinator says which lanes it has."""
        video.snapshot = Snapshot(lanes=frozenset(one.decoder.name for one in video.lanes))

    def drain(self, node: str, after_s: float = 1.0) -> None:
        """A node is going to be taken away, and the driver looks."""
        self.clock.now += after_s
        nodes = Nodes({name: {} for name in "abc"}, {node: 60.0})
        self.lanes.leave_nodes(nodes, self.videos)

    def look(self, after_s: float) -> None:
        """No node is."""
        self.clock.now += after_s
        self.lanes.leave_nodes(Nodes({name: {} for name in "abc"}, {}), self.videos)

    def _dismiss(self, workers: Any) -> None:
        self.ended += [worker.name for worker in workers]


class Spread:
    """A job whose videos are given one lane each, as a test says.

    Args:
        some: Its lanes.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, some: list[Lane]) -> None:
        self.clock = Clock(monkeypatch)
        hiring: Any = Hiring()
        self.lanes = JobLanes(some, hiring, each=1)
        self._count = 0

    def video(self) -> Video:
        """Another one."""
        self._count += 1
        job: Any = None
        return Video(self._count, job)

    def give(self, video: Video, *, takes_any: bool = False) -> list[str]:
        """Give a video a lane; the names of what it has."""
        has_some = self.lanes.give(video, takes_any=takes_any)
        assert has_some == bool(video.lanes)
        return names(video.lanes)

    def fail(self, video: Video) -> None:
        """The node of the lane that it is given fails it."""
        self.give(video)
        assert self.lanes.avoid(video)
        self.lanes.take_back(video)

    def end(self, video: Video, *, is_done: bool) -> None:
        """A video is over."""
        self.lanes.judge(video, is_done=is_done)
        self.lanes.take_back(video)


def test_a_video_that_a_node_failed_is_given_lanes_on_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = Spread(monkeypatch, [lane("x", "a"), lane("y", "a"), lane("z", "b")])
    video = job.video()
    assert job.give(video) == ["x"]

    assert job.lanes.avoid(video)
    job.lanes.take_back(video)

    assert job.give(video) == ["z"]
    assert not job.lanes.avoid(video)  # There is no third.


def test_a_node_that_failed_a_video_is_given_none_until_it_has_done_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = Spread(monkeypatch, [lane("x", "a"), lane("y", "b")])
    video, second, third = job.video(), job.video(), job.video()
    job.fail(video)
    job.give(video)
    job.end(video, is_done=True)

    assert job.give(second) == ["y"]
    assert job.give(third) == []
    assert job.give(third, takes_any=True) == ["x"]
    job.end(third, is_done=True)
    assert job.give(job.video()) == ["x"]


@pytest.mark.parametrize("is_of_lanes", [True, False])
def test_a_video_that_its_lanes_fail_everywhere_speaks_against_no_node(
    monkeypatch: pytest.MonkeyPatch, is_of_lanes: bool
) -> None:
    """One that fails by something else, as a model that breaks, says nothing of them."""
    job = Spread(monkeypatch, [lane("x", "a"), lane("y", "b")])
    video = job.video()
    job.fail(video)
    job.give(video)
    video.snapshot.is_of_lanes = is_of_lanes
    job.end(video, is_done=False)

    assert job.give(job.video()) == (["x"] if is_of_lanes else ["y"])


def test_where_all_nodes_failed_one_they_are_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or one video after the other would be computed, where the fault is that of many."""
    job = Spread(monkeypatch, [lane("x", "a"), lane("y", "b")])
    first, second = job.video(), job.video()
    job.give(first)
    job.give(second)
    for video in (first, second):
        assert job.lanes.avoid(video)
        job.lanes.take_back(video)

    assert job.give(first) == ["y"]
    assert job.give(second) == ["x"]


def test_a_lane_that_was_lent_and_not_used_has_failed_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = Spread(monkeypatch, [lane("x", "a"), lane("y", "b")])
    video = job.video()
    job.give(video)
    job.lanes.lend([video])
    assert names(video.lanes) == ["x", "y"]
    video.snapshot.lanes = frozenset("x")

    assert job.lanes.avoid(video)
    assert video.avoided == frozenset("a")


def test_a_lane_on_a_node_that_failed_a_video_is_not_lent_to_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = Spread(monkeypatch, [lane("x", "a"), lane("y", "b"), lane("z", "c")])
    moved, other = job.video(), job.video()
    job.fail(moved)
    job.give(moved)
    job.give(other)
    job.end(other, is_done=True)
    job.clock.now += 1000.0

    job.lanes.lend([moved])

    assert names(moved.lanes) == ["y", "z"]


def test_a_video_that_avoids_all_nodes_is_given_lanes_when_nothing_else_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those that it was to wait for may have left."""
    job = Spread(monkeypatch, [lane("x", "a")])
    video = job.video()
    video.avoided = frozenset("a")

    assert job.give(video) == []
    assert job.give(video, takes_any=True) == ["x"]


def test_free_lanes_are_lent_evenly_to_the_videos_that_run_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = Job(monkeypatch, *"pqrst", videos=2)

    job.lanes.lend(job.videos)

    assert sorted(len(video.lanes) for video in job.videos) == [2, 3]
    lent = [one for video in job.videos for one in video.chair.actor.told]
    assert sorted(given[0].decoder.name for method, given in lent if method == "lend") == [*"rst"]
    waiting = Video(2, job.videos[0].job)
    assert not job.lanes.give(waiting, takes_any=True)
    job.lanes.take_back(job.videos[0])
    assert job.lanes.give(waiting, takes_any=True)
    assert len(waiting.lanes) == 1


def test_a_video_that_has_just_begun_is_told_of_a_lane_until_it_listens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = Job(monkeypatch, *"pq", videos=1)
    coordinator: Any = job.videos[0].chair.actor
    coordinator.listens = False

    job.lanes.lend(job.videos)
    job.lanes.lend(job.videos)
    coordinator.listens = True
    for _ in range(3):
        job.lanes.lend(job.videos)

    assert coordinator.told == [("lend", (lane("q"),))] * 3


def test_a_video_that_is_over_is_told_of_no_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(monkeypatch, *"pqr", videos=2)
    over, other = job.videos
    coordinator: Any = over.chair.actor
    coordinator.listens = False
    job.lanes.lend([over])

    job.lanes.take_back(over)
    job.lanes.lend([other])

    assert len(coordinator.told) == 1
    assert len(other.lanes) == 3


def test_a_lane_on_a_draining_node_is_ended_when_its_video_has_left_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job = Job(monkeypatch, "p", videos=1)
    (video,) = job.videos

    with caplog.at_level(logging.WARNING):
        job.drain("a")
    assert names(video.lanes) == ["new1"]
    assert "leaves a node that is being drained" in caplog.text
    job.look(after_s=1)
    assert ("move", ("p", video.lanes[0], pytest.approx(29.0))) in video.chair.actor.told
    job.look(after_s=2 * UNTOLD_S)
    assert job.ended == []  # The video has not told that it left.
    job.tells(video)
    job.look(after_s=1)

    assert job.ended == ["p", "ep"]


def test_a_lane_is_not_ended_while_a_coordinator_has_not_said_whether_it_uses_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One that has taken over, or is slow to begin, was given the lane all the same."""
    job = Job(monkeypatch, "p", "q", videos=2)
    video, other = job.videos
    job.drain("a")

    for one in job.videos:
        one.snapshot = Snapshot()
    job.look(after_s=2 * UNTOLD_S)
    assert job.ended == []
    job.tells(video)
    job.look(after_s=1)

    # The other one never had it.
    assert other.snapshot.lanes == frozenset()
    assert job.ended == ["p", "ep"]


def test_a_lane_is_not_ended_under_a_segment_when_its_successor_is_drained_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = Job(monkeypatch, "p", videos=1)
    (video,) = job.videos

    job.drain("a")
    successor = video.lanes[0].node
    job.drain(successor)
    job.look(after_s=2 * UNTOLD_S)

    assert "p" not in job.ended
    assert names(video.lanes) == ["new2"]


def test_at_the_end_every_lane_is_ended_also_one_that_was_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = Job(monkeypatch, "p", "q", videos=1)
    job.drain("a")

    job.lanes.dismiss()

    assert sorted(job.ended) == sorted(["p", "ep", "q", "eq", "new1", "enew1", "new2", "enew2"])
