"""What there is of a cluster, and what is about to go: the only place that asks Ray for it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray._private.state import state as private_state
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.staffing import Supply


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes of a cluster.

    Attributes:
        alive: Their ids, and the resources that each has.
        draining: Those that are going to be taken away, with the seconds that are left; None
            where nobody has said.
    """

    alive: Mapping[str, Mapping[str, float]]
    draining: Mapping[str, float | None]

    @classmethod
    def now(cls) -> "Nodes":
        """Ask the cluster."""
        listed: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        alive = {node["NodeID"]: node["Resources"] for node in listed if node["Alive"]}
        # Ray tells its own libraries only; without it, nodes are just left when they are gone.
        ask = getattr(private_state, "get_draining_nodes", dict)
        left = {
            node: deadline_ms / 1000 - time.time() if deadline_ms else None
            for node, deadline_ms in ask().items()
        }
        return cls(alive, {node: seconds for node, seconds in left.items() if node in alive})

    def for_lanes(self, *, needs_gpu: bool) -> list[str]:
        """Where segments are best computed: on nodes with GPUs if pools take any, or on all.

        Args:
            needs_gpu: Whether a pool takes GPUs.

        Returns:
            Ids of nodes that stay, without those that have no processor if others have; empty if
            there are none.
        """
        staying = [node for node in self.alive if node not in self.draining]
        # A head that carries no work has none; only where there is nothing else must it do.
        staying = [node for node in staying if self.alive[node].get("CPU", 0) > 0] or staying
        with_gpu = [node for node in staying if self.alive[node].get("GPU", 0) > 0]
        return with_gpu if needs_gpu and with_gpu else staying

    def smallest_store(self) -> float:
        """Bytes of room for objects on the node that has the least."""
        return min(
            (resources.get("object_store_memory", 0.0) for resources in self.alive.values()),
            default=0.0,
        )


def supply() -> Supply:
    """What the cluster has now."""
    total: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return Supply(total.get("CPU", 0.0), total.get("GPU", 0.0))


def free_gpus() -> float:
    """GPUs that nobody has claimed."""
    free: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
    return free.get("GPU", 0.0)


def light(node: str) -> dict[str, Any]:
    """Options for an actor that moves bytes and waits.

    It claims no processor, so that it never waits for one. A byte of memory it claims all the
    same, if the node gives any: one that claims nothing Ray starts on any node, wherever it is
    wanted.

    Args:
        node: Where it is to be started, if there is room; empty for anywhere.
    """
    options: dict[str, Any] = {"num_cpus": 0.0}
    if not node:
        return options
    if Nodes.now().alive.get(node, {}).get("memory", 0.0) > 0:
        options["memory"] = 1
    near = NodeAffinitySchedulingStrategy(node, soft=True, _spill_on_unavailable=True)
    return options | {"scheduling_strategy": near}


def here() -> str:
    """The node of this process."""
    return str(ray.get_runtime_context().get_node_id())
