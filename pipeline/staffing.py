"""How many replicas each stage gets, and what each takes of the cluster."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import ClusterError
from pipeline.stage import Stage


@dataclass(frozen=True, slots=True)
class Staff:
    """The replicas of a stateless stage.

    Attributes:
        replicas: How many.
        num_cpus: Processors that each takes.
        num_gpus: GPUs that each takes.
        threads: Threads that each works with.
    """

    replicas: int
    num_cpus: float
    num_gpus: float
    threads: int


def staffing(stages: Sequence[Stage], cpus: float, gpus: float) -> dict[str, Staff]:
    """Share a cluster among the stateless stages, as far as they do not say themselves.

    A stage that takes GPUs gets as many replicas as there are GPUs for it. Of the processors a
    quarter goes to the other stages and the rest to the translation. Where replicas outnumber
    processors they share them evenly, so that what is asked for always fits.

    Args:
        stages: The stages of a job.
        cpus: Processors of the cluster.
        gpus: GPUs of the cluster.

    Raises:
        ClusterError: If a stage asks for more than the cluster has.
    """
    stateless = [stage for stage in stages if not stage.operator.is_stateful]
    counts = {stage.name: _replicas(stage, stateless, cpus, gpus) for stage in stateless}
    asked = sum(counts[s.name] * (s.resources.num_cpus or 0.0) for s in stateless)
    open_count = sum(counts[s.name] for s in stateless if s.resources.num_cpus is None)
    share = min(1.0, max(0.0, cpus - asked) / open_count) if open_count else 0.0
    staff = {}
    for stage in stateless:
        num_cpus = share if stage.resources.num_cpus is None else stage.resources.num_cpus
        # Ray counts in ten-thousandths; rounding down keeps the sum within the cluster.
        num_cpus = int(num_cpus * 1000) / 1000 if num_cpus < 1 else num_cpus
        num_gpus = gpus_of(stage, gpus)
        _require("GPU", stage, counts[stage.name] * num_gpus, gpus)
        _require("CPU", stage, num_cpus, cpus)
        threads = max(1, int(num_cpus))
        staff[stage.name] = Staff(counts[stage.name], num_cpus, num_gpus, threads)
    return staff


def _replicas(stage: Stage, stateless: Sequence[Stage], cpus: float, gpus: float) -> int:
    if stage.resources.replicas is not None:
        return stage.resources.replicas
    per_replica = gpus_of(stage, gpus)
    if per_replica > 0:
        return max(1, int(gpus / per_replica))
    others = max(1, int(cpus / 4))
    is_heaviest = stage.resources.num_gpus is None or len(stateless) == 1
    return max(1, int(cpus) - others) if is_heaviest else others


def gpus_of(stage: Stage, gpus: float) -> float:
    """GPUs of one process of a stage, on a cluster with this many."""
    if stage.resources.num_gpus is not None:
        return stage.resources.num_gpus
    return 1.0 if gpus >= 1 else 0.0


def _require(kind: str, stage: Stage, wanted: float, there: float) -> None:
    if wanted > there:
        msg = f"stage {stage.name!r} must find {wanted:g} {kind} on the cluster, got {there:g}"
        raise ClusterError(msg)
