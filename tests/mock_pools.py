"""Pools for tests that never start a process: nodes, replicas and clock are under control."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from pipeline import pools
from pipeline.actors import Started
from pipeline.bounds import Bounds
from pipeline.cluster import Nodes
from pipeline.crew import Crew, Worker
from pipeline.pools import Pools
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
