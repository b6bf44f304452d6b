"""The actors of a job: pools that all videos share, and lanes that hold a segment's state."""

import itertools
import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from pipeline.actors import RemoteDecode, RemoteEncode, RemoteStage, Started
from pipeline.cluster import Nodes, light
from pipeline.errors import ClusterError
from pipeline.staffing import Staff
from pipeline.stage import Stage
from pipeline.wire import Wire

# A stateless stage repeats a call by itself this often when its process dies.
CALL_RETRIES = 1
# While processes start, it is said now and then which are missing.
TELL_S = 10.0

logger = logging.getLogger(__name__)

Actor = Any  # a handle; Ray's own type says nothing of the class behind it
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Worker:
    """A process of a stage.

    Attributes:
        name: Unique in the job.
        stage: Name of the stage.
        actor: Its handle.
        node: Where it was started; Ray may have started it again elsewhere.
    """

    name: str
    stage: str
    actor: Actor
    node: str = ""


@dataclass(frozen=True, slots=True)
class Lane:
    """What one open segment needs for itself, together on a node as far as there is room.

    Attributes:
        decoder: Reads its frames.
        owners: The owner of each stateful stage, by name of the stage.
        encoder: Writes it.
        node: Where it was to be started.
    """

    decoder: Worker
    owners: dict[str, Worker]
    encoder: Worker
    node: str = ""

    def workers(self) -> Iterator[Worker]:
        """All processes of the lane."""
        yield self.decoder
        yield from self.owners.values()
        yield self.encoder


@dataclass(frozen=True, slots=True)
class Crew:
    """The actors that a video is given, or all of a job.

    Attributes:
        pools: The replicas of each stateless stage, by name of the stage.
        lanes: As many segments can be open at once.
        setup_s: Seconds that the slowest of them took, as each has told (``Started``).
    """

    pools: dict[str, list[Worker]] = field(default_factory=dict)
    lanes: list[Lane] = field(default_factory=list)
    setup_s: float = 0.0

    def workers(self) -> Iterator[Worker]:
        """All processes."""
        for pool in self.pools.values():
            yield from pool
        for lane in self.lanes:
            yield from lane.workers()


@dataclass(frozen=True, slots=True)
class Hiring:
    """How the processes of a job are started.

    Ray keeps no record of their single calls: it would grow by kilobytes for every chunk.

    Attributes:
        stages: The stages of every pipeline of the job.
        wire: Number formats between stages.
        device: Where operators work, as ``choose_device`` reads it.
        staff: What each replica of a stateless stage takes, by name of the stage.
        owner_gpus: GPUs of each owner of a stateful stage, by name of the stage.
        loads: Classes whose modules all processes load when they start, while models are loaded
            elsewhere, and not in their first call.
    """

    stages: Sequence[Stage]
    wire: Wire
    device: str
    staff: dict[str, Staff]
    owner_gpus: dict[str, float]
    loads: tuple[type, ...]

    @property
    def needs_gpu(self) -> bool:
        """Whether a pool takes GPUs."""
        return any(one.num_gpus for one in self.staff.values())

    @property
    def gpus_for_owner(self) -> float:
        """What that owner takes which takes least, of those that take any; 0 if none does."""
        return min((gpus for gpus in self.owner_gpus.values() if gpus > 0), default=0.0)

    def replica(self, name: str) -> Worker:
        """Start another process of a stateless stage, wherever there is room."""
        stage = next(stage for stage in self.stages if stage.name == name)
        staff = self.staff[name]
        actor = RemoteStage.options(
            enable_task_events=False,
            num_cpus=staff.num_cpus,
            num_gpus=staff.num_gpus,
            max_restarts=-1,
            max_task_retries=CALL_RETRIES,
            # A chunk that is late, of whatever segment, keeps no other waiting.
            allow_out_of_order_execution=True,
            scheduling_strategy="SPREAD",
        ).remote(stage, self.wire, self.device, staff.threads)
        return Worker(f"{name} {next(_numbers)}", name, actor)

    def lane(self, node: str) -> Lane:
        """Start the processes of a lane, on a node if it has room."""
        common = {
            "enable_task_events": False,
            **light(node),
            "max_restarts": -1,
        }
        decoder = RemoteDecode.options(max_task_retries=CALL_RETRIES, **common).remote(
            self.wire, self.loads
        )
        # What remembers must not be called again behind its back: the segment starts over.
        owners = {
            stage.name: RemoteStage.options(
                max_task_retries=0, num_gpus=self.owner_gpus[stage.name], **common
            ).remote(stage, self.wire, self.device, 1)
            for stage in self.stages
            if stage.operator.is_stateful
        }
        encoder = RemoteEncode.options(max_task_retries=0, **common).remote(self.loads)
        number = next(_numbers)
        return Lane(
            Worker(f"decode {number}", "decode", decoder, node),
            {name: Worker(f"{name} {number}", name, one, node) for name, one in owners.items()},
            Worker(f"encode {number}", "encode", encoder, node),
            node,
        )


def hire(hiring: Hiring, num_lanes: int, start_s: float) -> Crew:
    """Start all actors of a job and load their models.

    Args:
        hiring: How each is started.
        num_lanes: Segments that can be open at once; spread over the nodes.
        start_s: Seconds to wait for the cluster to give what is asked for.

    Raises:
        ClusterError: If the cluster has not the resources that a stage asks for.
        ModelError: If a model cannot be loaded.
    """
    staff = hiring.staff
    pools = {name: [hiring.replica(name) for _ in range(staff[name].replicas)] for name in staff}
    nodes = Nodes.now().for_lanes(needs_gpu=hiring.needs_gpu) or [""]
    lanes = [hiring.lane(nodes[number % len(nodes)]) for number in range(num_lanes)]
    crew = Crew(pools, lanes)
    try:
        started = _await_ready(crew, hiring.stages, start_s)
    except BaseException:
        dismiss(crew.workers())
        raise
    settled = {
        name: [replace(one, node=started[one.name].node) for one in pool]
        for name, pool in pools.items()
    }
    return Crew(settled, lanes, max((one.setup_s for one in started.values()), default=0.0))


def dismiss(workers: Iterable[Worker]) -> None:
    """End processes, whatever they are at."""
    for worker in workers:
        ray.kill(worker.actor)


def _await_ready(crew: Crew, stages: Sequence[Stage], start_s: float) -> dict[str, Started]:
    """Wait until all models are loaded, by name of the worker."""
    names = {stage.name for stage in stages}
    workers = [worker for worker in crew.workers() if worker.stage in names]
    asked = {worker.actor.ready.remote(): worker for worker in workers}
    waiting, until = list(asked), time.monotonic() + start_s
    while waiting:
        ready, waiting = ray.wait(waiting, num_returns=len(waiting), timeout=TELL_S)
        _require_started(ready)
        missing = Counter(asked[ref].stage for ref in waiting)
        told = ", ".join(f"{count} of {stage!r}" for stage, count in missing.items())
        if waiting and time.monotonic() > until:
            msg = (
                f"the cluster must start {len(workers)} processes within {start_s:g} s, got all "
                f"but {told}"
            )
            raise ClusterError(msg)
        if waiting:
            logger.info("waiting for the cluster to start %s", told)
    return {worker.name: one for worker, one in zip(workers, ray.get(list(asked)), strict=True)}


def _require_started(ready: Sequence[Any]) -> None:
    try:
        ray.get(list(ready))
    except RayTaskError as error:
        raise error.cause from None
    except RayError as error:
        msg = f"the processes of the stages must start on the cluster, got {why_not(error)}"
        raise ClusterError(msg) from error


def why_not(error: RayError) -> str:
    """Why a process did not start: what Ray says ends with it, after a traceback."""
    return str(error).strip().splitlines()[-1]
