"""The actors of a job: pools that all videos share, and lanes that hold a segment's state."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError

from pipeline.actors import RemoteDecode, RemoteEncode, RemoteStage
from pipeline.errors import ClusterError
from pipeline.staffing import Staff, owner_gpus, staffing
from pipeline.stage import Stage
from pipeline.wire import Wire

# What moves bytes and waits claims no processor, so that it never waits for one.
LIGHT_CPUS = 0.0
# A stateless stage repeats a call by itself this often when its process dies.
CALL_RETRIES = 1

Actor = Any  # a handle; Ray's own type says nothing of the class behind it


@dataclass(frozen=True, slots=True)
class Lane:
    """What one open segment needs for itself.

    Attributes:
        decoder: Reads its frames.
        owners: The owner of each stateful stage, by name of the stage.
        encoder: Writes it.
    """

    decoder: Actor
    owners: dict[str, Actor]
    encoder: Actor

    def actors(self) -> Iterator[tuple[str, Actor]]:
        """Each actor with the name of its stage."""
        yield "decode", self.decoder
        yield from self.owners.items()
        yield "encode", self.encoder


@dataclass(frozen=True, slots=True)
class Crew:
    """All actors of a job.

    Attributes:
        pools: The replicas of each stateless stage, by name of the stage.
        lanes: As many segments can be open at once.
    """

    pools: dict[str, list[Actor]] = field(default_factory=dict)
    lanes: list[Lane] = field(default_factory=list)

    def actors(self) -> Iterator[tuple[str, Actor]]:
        """Each actor with the name of its stage."""
        for name, pool in self.pools.items():
            for actor in pool:
                yield name, actor
        for lane in self.lanes:
            yield from lane.actors()

    def dismiss(self) -> None:
        """End all processes."""
        for _, actor in self.actors():
            ray.kill(actor)


def hire(stages: Sequence[Stage], wire: Wire, device: str, num_lanes: int, start_s: float) -> Crew:
    """Start all actors of a job and load their models.

    Args:
        stages: The stages of every pipeline of the job.
        wire: Number formats between stages.
        device: Where operators work, as ``choose_device`` reads it.
        num_lanes: Segments that can be open at once.
        start_s: Seconds to wait for the cluster to give what is asked for.

    Raises:
        ClusterError: If the cluster has not the resources that a stage asks for.
        ModelError: If a model cannot be loaded.
    """
    total: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    gpus = total.get("GPU", 0.0)
    for_owners = owner_gpus(stages, num_lanes, gpus)
    for_pools = gpus - num_lanes * sum(for_owners.values())
    staff = staffing(stages, total.get("CPU", 0.0), for_pools)
    pools = {
        stage.name: [
            _hire_replica(stage, staff[stage.name], wire, device)
            for _ in range(staff[stage.name].replicas)
        ]
        for stage in stages
        if not stage.operator.is_stateful
    }
    stateful = [stage for stage in stages if stage.operator.is_stateful]
    lanes = [_hire_lane(stateful, wire, device, for_owners) for _ in range(num_lanes)]
    crew = Crew(pools, lanes)
    _await_ready(crew, stages, start_s)
    return crew


def _hire_replica(stage: Stage, staff: Staff, wire: Wire, device: str) -> Actor:
    return RemoteStage.options(
        num_cpus=staff.num_cpus,
        num_gpus=staff.num_gpus,
        max_restarts=-1,
        max_task_retries=CALL_RETRIES,
    ).remote(stage, wire, device, staff.threads)


def _hire_lane(stateful: Sequence[Stage], wire: Wire, device: str, gpus: dict[str, float]) -> Lane:
    decoder = RemoteDecode.options(
        num_cpus=LIGHT_CPUS, max_restarts=-1, max_task_retries=CALL_RETRIES
    ).remote(wire)
    # What remembers must not be called again behind its back: the segment starts over instead.
    owners = {
        stage.name: RemoteStage.options(
            num_cpus=LIGHT_CPUS,
            num_gpus=gpus[stage.name],
            max_restarts=-1,
            max_task_retries=0,
        ).remote(stage, wire, device, 1)
        for stage in stateful
    }
    encoder = RemoteEncode.options(
        num_cpus=LIGHT_CPUS, max_restarts=-1, max_task_retries=0
    ).remote()
    return Lane(decoder, owners, encoder)


def _await_ready(crew: Crew, stages: Sequence[Stage], start_s: float) -> None:
    names = {stage.name for stage in stages}
    try:
        ready = [actor.ready.remote() for name, actor in crew.actors() if name in names]
        ray.get(ready, timeout=start_s)
    except RayTaskError as error:
        crew.dismiss()
        raise error.cause from None
    except RayActorError as error:
        crew.dismiss()
        reason = str(error).strip().splitlines()[-1]
        msg = f"the processes of the stages must start on the cluster, got {reason}"
        raise ClusterError(msg) from error
    except GetTimeoutError as error:
        crew.dismiss()
        msg = f"the cluster must start {len(ready)} processes within {start_s:g} s, got not all"
        raise ClusterError(msg) from error
