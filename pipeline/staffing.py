"""How many replicas each stage gets, and what each takes of the cluster."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.bounds import Bounds
from pipeline.errors import ClusterError
from pipeline.stage import Stage


@dataclass(frozen=True, slots=True)
class Supply:
    """What a cluster has.

    Attributes:
        cpus: Processors.
        gpus: GPUs.
    """

    cpus: float
    gpus: float


@dataclass(frozen=True, slots=True)
class Staff:
    """The replicas of a stateless stage.

    Attributes:
        bounds: The fewest, with which it begins, and the most.
        num_cpus: Processors that each takes.
        num_gpus: GPUs that each takes.
        threads: Threads that each works with.
    """

    bounds: Bounds
    num_cpus: float
    num_gpus: float
    threads: int

    @property
    def replicas(self) -> int:
        """With how many it begins."""
        return self.bounds.least


def staffing(stages: Sequence[Stage], supply: Supply) -> dict[str, Staff]:
    """Share a cluster among the stateless stages, as far as they do not say themselves.

    A stage that takes GPUs gets as many replicas as there are GPUs for it; several such stages
    share them evenly, and where there are fewer GPUs than stages, each takes a part of one. Of the
    processors a quarter goes to the other stages and the rest to the translation. Where replicas
    outnumber processors they share them evenly, so that what is asked for always fits.

    A stage that says between which numbers it grows may ask for more than there is: a cluster that
    grows is told by it. So is one without any processor, as a head is that carries no work: what is
    asked of it, one processor for each replica, it has to start first.

    Args:
        stages: The stages of a job.
        supply: What the cluster has.

    Raises:
        ClusterError: If a stage that does not grow, or all of them together, ask for more.
    """
    stateless = [stage for stage in stages if not stage.operator.is_stateful]
    is_empty = supply.cpus < 1
    bounds = {stage.name: _bounds(stage, stateless, supply) for stage in stateless}
    asked = sum(bounds[s.name].most * (s.resources.num_cpus or 0.0) for s in stateless)
    open_count = sum(bounds[s.name].most for s in stateless if s.resources.num_cpus is None)
    share = min(1.0, max(0.0, supply.cpus - asked) / open_count) if open_count else 0.0
    # Rounding down, to what Ray can count, keeps the sum within the cluster.
    share = 1.0 if is_empty else int(share * 1000) / 1000
    staff = {}
    for stage in stateless:
        num_cpus = share if stage.resources.num_cpus is None else stage.resources.num_cpus
        threads = max(1, int(num_cpus))
        num_gpus = gpus_of(stage, stateless, supply.gpus)
        staff[stage.name] = Staff(bounds[stage.name], num_cpus, num_gpus, threads)
    if not is_empty:
        for name, one in staff.items():
            _require_supply(f"stage {name!r}", [one], supply)
        _require_supply("all stages together", list(staff.values()), supply)
    return staff


def _bounds(stage: Stage, stateless: Sequence[Stage], supply: Supply) -> Bounds:
    if stage.resources.bounds is not None:
        return stage.resources.bounds
    replicas = _replicas(stage, stateless, supply)
    return Bounds(replicas, replicas)


def _replicas(stage: Stage, stateless: Sequence[Stage], supply: Supply) -> int:
    per_replica = gpus_of(stage, stateless, supply.gpus)
    if per_replica > 0:
        # A third of one, three times, must not be a little less than one.
        return max(1, int(round(_gpu_share(stateless, supply.gpus) / per_replica, 4)))
    others = max(1, int(supply.cpus / 4))
    is_heaviest = stage.resources.num_gpus is None or len(stateless) == 1
    processors = int(supply.cpus) - others if is_heaviest else others
    return max(1, int(processors / max(1.0, stage.resources.num_cpus or 0.0)))


def _gpu_share(stateless: Sequence[Stage], gpus: float) -> float:
    """GPUs for each stage that leaves the number of its replicas open."""
    takers = [stage for stage in stateless if gpus_of(stage, stateless, gpus) > 0]
    asked = sum(
        stage.resources.bounds.most * gpus_of(stage, stateless, gpus)
        for stage in takers
        if stage.resources.bounds is not None
    )
    return (gpus - asked) / sum(stage.resources.bounds is None for stage in takers)


def owner_gpus(stages: Sequence[Stage], num_lanes: int, gpus: float) -> dict[str, float]:
    """GPUs of each owner of a stateful stage, by name of the stage.

    The owners of all lanes share one GPU where they do not say otherwise, or half of the only one
    if a pool needs it too: they work on one frame at a time.

    Args:
        stages: The stages of a job.
        num_lanes: Owners of each stateful stage.
        gpus: GPUs of the cluster.
    """
    stateful = [stage for stage in stages if stage.operator.is_stateful]
    shared_by = num_lanes * sum(stage.resources.num_gpus is None for stage in stateful)
    stateless = [stage for stage in stages if not stage.operator.is_stateful]
    has_pool = any(gpus_of(stage, stateless, gpus) > 0 for stage in stateless)
    shared = 0.0 if gpus < 1 else 0.5 if gpus < 2 and has_pool else 1.0
    return {
        stage.name: int(1000 * shared / shared_by) / 1000
        if stage.resources.num_gpus is None
        else stage.resources.num_gpus
        for stage in stateful
    }


def gpus_of(stage: Stage, stateless: Sequence[Stage], gpus: float) -> float:
    """GPUs of one replica of a stage: what it says, or a whole one, or its part of too few.

    Args:
        stage: One of the stateless stages.
        stateless: All of them.
        gpus: GPUs that there are for them.
    """
    if stage.resources.num_gpus is not None:
        return stage.resources.num_gpus
    said = sum(
        (one.resources.bounds.least if one.resources.bounds else 1) * one.resources.num_gpus
        for one in stateless
        if one.resources.num_gpus is not None
    )
    takers = sum(one.resources.num_gpus is None for one in stateless)
    share = min(1.0, max(0.0, gpus - said) / takers)
    return share if share == 1 else int(share * 1000) / 1000


def _require_supply(who: str, staff: Sequence[Staff], supply: Supply) -> None:
    """Require that the cluster has what those ask for who do not grow."""
    fixed = [one for one in staff if one.bounds.least == one.bounds.most]
    wanted = {
        "GPU": sum(one.replicas * one.num_gpus for one in fixed),
        "CPU": sum(one.replicas * one.num_cpus for one in fixed),
    }
    for kind, there in (("GPU", supply.gpus), ("CPU", supply.cpus)):
        # Ray counts in ten-thousandths.
        if round(wanted[kind], 4) > there:
            msg = f"{who} must find {wanted[kind]:g} {kind} on the cluster, got {there:g}"
            raise ClusterError(msg)
