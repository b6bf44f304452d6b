"""Pools stay between their bounds, leave nodes in time, and end only whom nobody needs."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from ray.exceptions import RayTaskError

from operators.errors import ModelError
from pipeline import pools
from pipeline.actors import Started
from pipeline.bounds import Bounds
from pipeline.cluster import Nodes
from pipeline.crew import Crew, Worker
from pipeline.pools import LAST_WORD_S, Pools
from pipeline.ray_settings import RaySettings
from pipeline.staffing import Staff
from pipeline.video_job import Sighting, StageCount

LATE = StageCount(queued=50, queue_age_s=99.0)


@dataclass(eq=False)
class Replica:
    """An actor that has one method, and answers when a test says so."""

    name: str
    is_killed: bool = False
    restarts: int = 0
    answer: str | Exception | None = None

    @property
    def ready(self) -> "Replica":
        return self

    def remote(self) -> "Replica":
        """The answer is asked of the actor itself."""
        return self


@dataclass
class Agency:
    """Starts replicas as ``Hiring`` does."""

    bounds: Bounds
    num_gpus: float = 0.0
    hired: list[Replica] = field(default_factory=list)

    @property
    def staff(self) -> Mapping[str, Staff]:
        return {"translate": Staff(self.bounds, 1.0, self.num_gpus, 1)}

    def replica(self, stage: str) -> Worker:
        """Another one, which has not answered yet."""
        self.hired.append(Replica(f"hired{len(self.hired)}"))
        return Worker(self.hired[-1].name, stage, self.hired[-1])


class Town:
    """Pools, their nodes, and a clock, all under control.

    Args:
        nodes: The node of each replica that is there to begin with.
        bounds: Of the pool.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *nodes: str, bounds: Bounds) -> None:
        self.now = 1000.0
        self.alive = {"a", "b", "c"}
        self.draining: set[str] = set()
        self.loads: Counter[str] = Counter()
        self.seen: dict[str, Sighting] = {}
        self.nodes = Nodes({}, {})
        self.agency = Agency(bounds)
        numbers = count()
        self.first = [Replica(f"w{next(numbers)}") for _ in nodes]
        workers = [
            Worker(one.name, "translate", one, node)
            for one, node in zip(self.first, nodes, strict=True)
        ]
        monkeypatch.setattr(pools.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(pools.time, "time", lambda: self.now)
        monkeypatch.setattr(pools.ray, "wait", self._wait)
        monkeypatch.setattr(pools.ray, "get", self._get)
        monkeypatch.setattr(pools.ray, "kill", self._kill)
        hiring: Any = self.agency
        self.pools = Pools(Crew({"translate": workers}), hiring, RaySettings(worker_bytes=1000))

    def see(self, name: str, held_bytes: int = 0, node: str = "a", ended: int = 0) -> None:
        """Let a chunk come back from a worker, or from the process that it had so many ago."""
        (replica,) = (one for one in self.first if one.name == name)
        process = 100 + replica.restarts - ended
        self.seen[name] = Sighting(self.now, held_bytes, process, node)

    def look(self, waits: StageCount | None = None, after_s: float = 1.0) -> bool:
        """Let time pass, and the pools look."""
        self.nodes = Nodes({node: {} for node in self.alive}, dict.fromkeys(self.draining))
        return self.look_again(waits, after_s)

    def look_again(self, waits: StageCount | None = None, after_s: float = 1.0) -> bool:
        """The same before anybody has asked for the nodes again."""
        self.now += after_s
        counts = {"translate": waits or StageCount()}
        return self.pools.look(counts, self.loads, self.nodes, self.seen)

    @property
    def names(self) -> list[str]:
        """Who works."""
        return [worker.name for worker in self.pools.staffing.pools["translate"]]

    @property
    def killed(self) -> list[str]:
        """Whose process was ended."""
        return [one.name for one in (*self.first, *self.agency.hired) if one.is_killed]

    @staticmethod
    def _wait(refs: list[Replica], **_: object) -> tuple[list[Replica], list[Replica]]:
        done = [ref for ref in refs if ref.answer is not None]
        return done, [ref for ref in refs if ref not in done]

    @staticmethod
    def _get(ref: Replica) -> Started:
        if isinstance(ref.answer, Exception):
            raise ref.answer
        return Started(ref.answer, 0.1)

    @staticmethod
    def _kill(actor: Replica, *, no_restart: bool = True) -> None:
        actor.is_killed = actor.is_killed or no_restart
        actor.restarts += not no_restart


def test_who_is_hired_works_only_when_its_model_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    town = Town(monkeypatch, "a", bounds=Bounds(1, 4))

    assert not town.look(LATE)
    assert (len(town.agency.hired), town.names) == (1, ["w0"])
    assert not town.look(LATE)
    assert len(town.agency.hired) == 1  # Who was asked for must come first.
    town.agency.hired[0].answer = "b"
    assert town.look()

    assert town.names == ["w0", "hired0"]
    assert town.pools.staffing.pools["translate"][1].node == "b"
    assert not town.look()


def test_who_cannot_load_its_model_is_ended_and_never_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    town = Town(monkeypatch, "a", bounds=Bounds(1, 2))
    town.look(LATE)

    town.agency.hired[0].answer = RayTaskError("ready", "", ModelError("no weights here"))
    assert not town.look()

    assert town.killed == ["hired0"]
    assert town.names == ["w0"]


def test_after_one_that_cannot_load_its_model_the_next_is_asked_for_later_and_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else a pool that wants to grow would start processes without end."""
    town = Town(monkeypatch, "a", bounds=Bounds(1, 2))
    seen = []
    for _ in range(600):
        for one in town.agency.hired:
            one.answer = RayTaskError("ready", "", ModelError("no weights here"))
        town.look(LATE)
        seen.append(len(town.agency.hired))

    # Waits of 2, 4, 8, 16, 32, 60, 60, ... seconds: some 15 in 600 s, and not 600.
    assert 10 <= seen[-1] <= 20
    assert seen[70] - seen[60] <= 1


def test_who_does_not_start_in_time_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    town = Town(monkeypatch, "a", bounds=Bounds(1, 2))
    town.look(LATE)

    town.look(after_s=RaySettings().start_s - 1)
    assert town.killed == []
    town.look(after_s=2)

    assert town.killed == ["hired0"]


def test_who_is_idle_for_long_is_sent_nothing_at_once_and_ended_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    town = Town(monkeypatch, "a", "a", bounds=Bounds(1, 2))
    town.loads["w0"] = 1
    town.look()

    assert not town.look(after_s=RaySettings().idle_s - 1)
    assert town.look(after_s=2)
    assert town.names == ["w0"]
    assert town.killed == []
    town.look(after_s=60)

    assert town.killed == ["w1"]


def test_who_is_to_be_ended_finishes_what_it_was_still_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A coordinator that had not heard of it yet may have sent a chunk."""
    town = Town(monkeypatch, "a", "a", bounds=Bounds(1, 2))
    town.loads["w0"] = 1
    town.look()
    town.look(after_s=61)

    town.loads["w1"] = 1
    town.look(after_s=60)
    town.look(after_s=60)
    assert town.killed == []
    town.loads["w1"] = 0
    town.look()
    assert town.killed == []
    town.look(after_s=60)

    assert town.killed == ["w1"]


def test_a_draining_node_is_left_and_its_last_replica_waits_for_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    town = Town(monkeypatch, "a", "a", bounds=Bounds(1, 2))
    town.loads.update(["w0", "w1"])
    town.draining = {"a"}

    assert town.look()
    assert town.names == ["w1"]
    assert len(town.agency.hired) == 1
    town.look()
    assert len(town.agency.hired) == 1
    town.agency.hired[0].answer = "b"
    town.look()

    assert town.names == ["hired0"]
    assert town.killed == []  # Both still have a chunk in hand.


def test_who_has_grown_too_large_starts_again_in_its_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody has room for another process to be there first."""
    town = Town(monkeypatch, "a", bounds=Bounds(1, 1))

    town.see("w0", held_bytes=1000)
    town.look()
    assert town.first[0].restarts == 0
    for held in (1001, 200, 1500, 1500):
        town.see("w0", held_bytes=held)
        # Nothing has come back since.
        town.look()
        town.look()

    assert town.first[0].restarts == 3
    assert (town.names, town.killed, town.agency.hired) == (["w0"], [], [])


def test_what_was_on_its_way_when_its_process_was_ended_does_not_end_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    town = Town(monkeypatch, "a", bounds=Bounds(1, 1))
    town.see("w0", held_bytes=1001)
    town.look()

    town.see("w0", held_bytes=1001, ended=1)
    town.look()
    assert town.first[0].restarts == 1
    town.see("w0", held_bytes=1001)
    town.look()

    assert town.first[0].restarts == 2


def test_who_is_seen_at_work_long_after_it_was_ended_is_ended_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ray may not have heard of it, having just begun again itself."""
    town = Town(monkeypatch, "a", bounds=Bounds(1, 1))
    town.see("w0", held_bytes=1001)
    town.look()

    town.look(after_s=2 * LAST_WORD_S)
    assert town.first[0].restarts == 1  # Nothing was heard at all.
    town.see("w0", held_bytes=1001, ended=1)
    town.look()

    assert town.first[0].restarts == 2


def test_of_a_pool_that_leaks_one_at_a_time_starts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    town = Town(monkeypatch, "a", "a", bounds=Bounds(2, 2))

    town.see("w0", held_bytes=2000)
    town.see("w1", held_bytes=3000)
    town.look()
    town.look()
    assert [one.restarts for one in town.first] == [1, 0]
    town.see("w0", held_bytes=100)
    town.look()

    assert [one.restarts for one in town.first] == [1, 1]


def test_who_was_started_again_elsewhere_is_known_to_be_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    town = Town(monkeypatch, "a", "b", bounds=Bounds(2, 2))

    town.see("w0", node="c")
    assert town.look()
    assert not town.look()
    town.alive.remove("a")
    assert not town.look()
    town.alive.remove("c")
    town.look()

    assert (town.names, town.killed) == (["w1"], ["w0"])


def test_who_joins_with_a_node_that_nobody_has_seen_yet_is_not_lost_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nodes are asked for now and then; a replica may be there before anybody does."""
    town = Town(monkeypatch, "a", bounds=Bounds(1, 2))
    town.look(LATE)

    town.agency.hired[0].answer = "new"
    assert town.look_again()
    town.look_again()
    assert (town.names, town.killed) == (["w0", "hired0"], [])
    town.alive.add("new")
    town.look()
    assert (town.names, town.killed) == (["w0", "hired0"], [])
    town.alive.remove("new")
    town.look()

    assert (town.names, town.killed) == (["w0"], ["hired0"])


def test_who_joins_and_is_lost_before_anybody_has_seen_its_node_is_told_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    town = Town(monkeypatch, "a", bounds=Bounds(1, 2))
    town.look(LATE)
    town.agency.hired[0].answer = "new"
    town.look_again()

    town.look()

    assert town.pools.staffing.lost == {"hired0"}


def test_who_is_lost_with_its_node_is_told_of_and_replaced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    town = Town(monkeypatch, "a", "b", bounds=Bounds(2, 2))

    town.alive.remove("a")
    assert town.look()

    assert town.names == ["w1"]
    assert town.pools.staffing.lost == {"w0"}
    for one in (*town.first, *town.agency.hired):
        one.answer = "c"
    assert town.look()
    assert len(town.names) == 2


def test_at_the_end_nobody_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who work, those who are to go, and those who have not come yet."""
    town = Town(monkeypatch, "a", "a", "b", bounds=Bounds(1, 8))
    town.draining = {"b"}
    town.loads.update(["w0", "w1", "w2"])
    town.look(LATE)

    town.pools.dismiss()

    assert sorted(town.killed) == sorted(one.name for one in (*town.first, *town.agency.hired))


def test_who_is_to_be_ended_and_is_lost_with_its_node_is_told_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A node that is drained goes while a chunk is still there: nothing more will come of it."""
    town = Town(monkeypatch, "a", "b", bounds=Bounds(1, 2))
    town.draining = {"a"}
    town.loads.update(["w0", "w1"])
    town.look()
    assert town.names == ["w1"]

    town.alive.remove("a")
    assert town.look()

    assert town.pools.staffing.lost == {"w0"}
    assert town.killed == ["w0"]


def test_a_replica_makes_room_where_nobody_who_waits_takes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    town = Town(monkeypatch, "a", "b", "b", bounds=Bounds(3, 3))
    town.agency.num_gpus = 1.0
    town.alive.remove("a")
    town.look()
    assert [one.name for one in town.agency.hired] == ["hired0"]

    assert town.pools.make_room()
    assert not town.pools.make_room()

    # One goes, and so does the one that waits for a GPU; neither is replaced at once.
    town.look()
    assert town.names == ["w1"]
    assert {"w0", "hired0"} <= set(town.killed)
    town.look(after_s=5)
    town.look(after_s=5)
    assert set(town.killed) == {"w0", "hired0", "w2"}
    assert len(town.agency.hired) == 1
    town.look(after_s=pools.MOST_WAIT_S)
    assert len(town.agency.hired) == 3


def test_the_last_replica_makes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    town = Town(monkeypatch, "a", bounds=Bounds(1, 1))
    town.agency.num_gpus = 1.0

    assert not town.pools.make_room()

    assert town.names == ["w0"]
    assert town.killed == []
