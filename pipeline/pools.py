"""The pools of a job while it runs: replicas come, go, and are lost with their nodes."""

import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import ray
from ray.exceptions import RayError, RayTaskError

from pipeline.actors import Started
from pipeline.cluster import Nodes
from pipeline.crew import Crew, Hiring, Worker, dismiss
from pipeline.log import facts
from pipeline.ray_settings import GIB, RaySettings
from pipeline.scaling import PoolState, to_end, to_start
from pipeline.video_job import Ref, Sighting, Staffing, StageCount

logger = logging.getLogger(__name__)

NODES_EVERY_S = 2.0
# After a replica that could not start the next is asked for so much later, at first and at most.
FIRST_WAIT_S = 2.0
MOST_WAIT_S = 60.0
# What a process has done before it was ended is heard of by then.
LAST_WORD_S = 60.0


@dataclass(slots=True)
class _Joining:
    """A replica that was asked for and does not work yet."""

    worker: Worker
    since: float


@dataclass(frozen=True, slots=True)
class _Ended:
    """What a process was last seen to be before it was ended, and when that was."""

    last: Sighting
    ended_at: float

    def is_it(self, seen: Sighting) -> bool:
        """Whether a later sighting is still of it; one that is seen for long was not ended."""
        is_same = (seen.node, seen.process) == (self.last.node, self.last.process)
        return is_same and seen.at <= self.ended_at + LAST_WORD_S


class Pools:
    """Keeps each pool between its bounds and off nodes that are gone or going.

    Args:
        crew: What was hired to begin with.
        hiring: How more are.
        settings: How the engine runs.
    """

    def __init__(self, crew: Crew, hiring: Hiring, settings: RaySettings) -> None:
        self._hiring = hiring
        self._settings = settings
        self._pools = {name: list(pool) for name, pool in crew.pools.items()}
        self._joining: dict[Ref, _Joining] = {}
        self._leaving: list[Worker] = []
        self._idle_since: dict[str, float] = {}
        self._lost: set[str] = set()
        self._ended: dict[str, _Ended] = {}
        self._nodes: Nodes | None = None
        self._newcomers: set[str] = set()
        self._failures: Counter[str] = Counter()
        self._not_before: dict[str, float] = {}
        self._no_room_before = 0.0

    @property
    def staffing(self) -> Staffing:
        """Who works now."""
        pools = {name: list(pool) for name, pool in self._pools.items()}
        return Staffing(pools, frozenset(self._lost))

    @property
    def sizes(self) -> dict[str, int]:
        """Replicas that work now, by name of the stage."""
        return {name: len(pool) for name, pool in self._pools.items()}

    def look(
        self,
        counts: Mapping[str, StageCount],
        loads: Counter[str],
        nodes: Nodes,
        seen: Mapping[str, Sighting],
    ) -> bool:
        """Take note of what changed and act on it.

        Args:
            counts: What waits for each stage, over all videos.
            loads: Frames that each worker still has to do, by name; all videos together.
            nodes: The nodes.
            seen: What each worker was when it was last seen, by name, as far as it was.

        Returns:
            Whether other workers are to be used from now on.
        """
        before = self.staffing
        if nodes is not self._nodes:
            self._nodes, self._newcomers = nodes, set()
        self._welcome()
        self._find(seen)
        self._drop_lost(nodes)
        self._leave_draining(nodes)
        self._replace_large(seen)
        for name in self._pools:
            self._scale(name, counts.get(name, StageCount()), loads)
        self._end_leaving(loads)
        return self.staffing != before

    def make_room(self) -> bool:
        """Give up a replica that holds GPUs: without an owner a segment would wait for ever.

        One of the largest pool and never its last, once in a while. Replicas that wait for a GPU
        themselves are asked for again later, when owners have theirs.

        Returns:
            Whether other workers are to be used from now on.
        """
        if time.monotonic() < self._no_room_before:
            return False
        with_gpu = [name for name in self._pools if self._hiring.staff[name].num_gpus > 0]
        largest = max(with_gpu, key=lambda name: len(self._pools[name]), default=None)
        if largest is None or len(self._pools[largest]) < 2:
            return False
        self._no_room_before = time.monotonic() + MOST_WAIT_S
        for ref, joining in list(self._joining.items()):
            if joining.worker.stage in with_gpu:
                del self._joining[ref]
                ray.kill(joining.worker.actor)
        for name in with_gpu:
            self._not_before[name] = time.monotonic() + MOST_WAIT_S
        worker = self._pools[largest][-1]
        _tell(worker, "makes room for a process that owns segments and finds no GPU")
        self._retire(worker)
        return True

    def dismiss(self) -> None:
        """End all processes, also those that are no longer, or not yet, in a pool."""
        dismiss(one.worker for one in self._joining.values())
        dismiss((*self._leaving, *(worker for pool in self._pools.values() for worker in pool)))

    def _welcome(self) -> None:
        refs = list(self._joining)
        for ref in ray.wait(refs, num_returns=len(refs), timeout=0)[0] if refs else []:
            worker = self._joining.pop(ref).worker
            try:
                started: Started = ray.get(ref)
            except RayError as error:
                # A model that loads in the others and not here is the fault of the process.
                self._put_off(worker.stage)
                _tell(worker, f"could not start: {_reason(error)}")
                ray.kill(worker.actor)
                continue
            del self._failures[worker.stage]
            self._pools[worker.stage].append(self._settled(worker, started.node))
        for ref, joining in list(self._joining.items()):
            if time.monotonic() - joining.since > self._settings.start_s:
                self._put_off(joining.worker.stage)
                _tell(joining.worker, f"did not start within {self._settings.start_s:g} s")
                del self._joining[ref]
                ray.kill(joining.worker.actor)

    def _put_off(self, stage: str) -> None:
        """Ask for no other replica for a while, and longer each time: it may fare no better."""
        wait_s = min(MOST_WAIT_S, FIRST_WAIT_S * 2 ** self._failures[stage])
        self._failures[stage] += 1
        self._not_before[stage] = time.monotonic() + wait_s

    def _find(self, seen: Mapping[str, Sighting]) -> None:
        """Take note of who was started again on another node."""
        for pool in self._pools.values():
            for place, worker in enumerate(pool):
                if worker.name in seen and seen[worker.name].node != worker.node:
                    pool[place] = self._settled(worker, seen[worker.name].node)

    def _settled(self, worker: Worker, node: str) -> Worker:
        # A node that joined after somebody last looked is not gone.
        self._newcomers.add(worker.name)
        return replace(worker, node=node)

    def _drop_lost(self, nodes: Nodes) -> None:
        for pool in self._pools.values():
            for worker in [one for one in pool if self._is_lost(one, nodes)]:
                _tell(worker, "was lost with its node")
                pool.remove(worker)
                self._lost.add(worker.name)
                # Its calls fail by this. Without room for it elsewhere they would wait for ever,
                # and so would every call that was sent after one which needs their results.
                ray.kill(worker.actor)
                self._join(self._hiring.replica(worker.stage))
        for worker in [one for one in self._leaving if self._is_lost(one, nodes)]:
            self._leaving.remove(worker)
            self._lost.add(worker.name)
            ray.kill(worker.actor)

    def _is_lost(self, worker: Worker, nodes: Nodes) -> bool:
        is_here = not worker.node or worker.node in nodes.alive
        return not is_here and worker.name not in self._newcomers

    def _leave_draining(self, nodes: Nodes) -> None:
        """Send replicas there nothing more; the last of a pool waits for its successor."""
        for name, pool in self._pools.items():
            for worker in [one for one in pool if one.node in nodes.draining]:
                if len(pool) > 1:
                    _tell(worker, "leaves a node that is being drained")
                    self._retire(worker)
                elif not self._num_joining(name):
                    self._join(self._hiring.replica(name))

    def _replace_large(self, seen: Mapping[str, Sighting]) -> None:
        """Start those again that have grown too large, before their node has no memory left.

        In their place: for another there may be no room. Of a pool one at a time; what it was at
        is done again.
        """
        most = self._settings.worker_bytes
        if most is None:
            return
        for pool in self._pools.values():
            known = [(one, seen[one.name]) for one in pool if one.name in seen]
            if any(
                self._ended[who.name].is_it(one) for who, one in known if who.name in self._ended
            ):
                # Nothing was heard yet of the one in its place.
                continue
            for worker, one in known:
                if one.held_bytes > most:
                    self._ended[worker.name] = _Ended(one, time.time())
                    _tell(worker, f"is replaced: it holds {one.held_bytes / GIB:.2f} GiB")
                    ray.kill(worker.actor, no_restart=False)
                    break

    def _scale(self, name: str, count: StageCount, loads: Counter[str]) -> None:
        now = time.monotonic()
        pool = self._pools[name]
        for worker in pool:
            if loads[worker.name] > 0 or not self._idle_since.get(worker.name):
                self._idle_since[worker.name] = now
        idle_s = {one.name: now - self._idle_since[one.name] for one in pool}
        joining = self._num_joining(name)
        bounds = self._hiring.staff[name].bounds
        state = PoolState(bounds, len(pool), joining, count.queue_age_s, count.queued, idle_s)
        if now >= self._not_before.get(name, now):
            for _ in range(to_start(state, self._settings.grow_after_s)):
                self._join(self._hiring.replica(name))
        ending = set(to_end(state, self._settings.idle_s))
        for worker in [one for one in pool if one.name in ending]:
            self._retire(worker)

    def _num_joining(self, name: str) -> int:
        return sum(one.worker.stage == name for one in self._joining.values())

    def _join(self, worker: Worker) -> None:
        self._joining[worker.actor.ready.remote()] = _Joining(worker, time.monotonic())

    def _retire(self, worker: Worker) -> None:
        self._pools[worker.stage].remove(worker)
        # A coordinator that has not heard of it yet may still send it work.
        self._idle_since[worker.name] = time.monotonic()
        self._leaving.append(worker)

    def _end_leaving(self, loads: Counter[str]) -> None:
        """End who has had nothing to do for a while."""
        for worker in list(self._leaving):
            since = self._idle_since.get(worker.name, 0.0)
            if loads[worker.name] > 0:
                self._idle_since[worker.name] = time.monotonic()
            elif time.monotonic() - since > 2 * NODES_EVERY_S:
                self._leaving.remove(worker)
                ray.kill(worker.actor)


def _reason(error: RayError) -> str:
    cause = error.cause if isinstance(error, RayTaskError) else error
    return f"{type(cause).__name__}: {next(iter(str(cause).splitlines()), '')}"


def _tell(worker: Worker, what: str) -> None:
    about = facts(stage=worker.stage, worker=worker.name, node=worker.node or None)
    logger.warning("process %r %s", worker.name, what, extra=about)
