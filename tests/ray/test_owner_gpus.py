"""Where a node is lost with the GPU of an owner, and all others are taken, a replica makes room."""

from pathlib import Path

import pytest
import ray
from agreement import Output, Watching, assert_same, source, stages
from parts import Wavy
from ray.cluster_utils import Cluster
from streams import ArraySink
from three_nodes import connect

from pipeline import driver
from pipeline.ray_runner import RayRunner
from pipeline.ray_settings import RaySettings
from pipeline.stage import Pipeline, Resources, Stage
from pipeline.tally import JobState

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

OWNER_GPUS = 0.5


class LosesTheOwner(Watching):
    """Takes away the node that has claimed half a GPU, once some frames are done.

    Args:
        cluster: The nodes.
        nodes: Those with GPUs.
    """

    def __init__(self, cluster: Cluster, nodes: list[object]) -> None:
        super().__init__()
        self._cluster = cluster
        self._nodes = {node.node_id: node for node in nodes}  # type: ignore[attr-defined]
        self.has_happened = False

    def show(self, state: JobState) -> None:
        """Called by the driver, in the thread that may handle clusters."""
        super().show(state)
        if not self.has_happened and state.frames_done >= 5:
            self.has_happened = True
            free = ray._private.state.available_resources_per_node()
            (owners,) = [node for node, left in free.items() if left.get("GPU", 0) % 1]
            self._cluster.remove_node(self._nodes[owners], allow_graceful=False)


def test_a_replica_makes_room_for_an_owner_that_lost_its_gpu(
    tmp_path: Path, expected: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "ROOM_AFTER_S", 5.0)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    try:
        # The driver is on the head: nothing else is there yet.
        connect(cluster)
        nodes = [cluster.add_node(num_cpus=2, num_gpus=2) for _ in range(2)]
        cluster.wait_for_nodes()
        losing = LosesTheOwner(cluster, nodes)
        settings = RaySettings(segment_frames=5, chunk_frames=1, device="cpu", lanes=1)
        interpolate, translate, aggregate = stages(Wavy(seconds=0.5))
        chain = [
            Stage(interpolate.operator, "interpolate", Resources(replicas=1, num_gpus=0)),
            Stage(translate.operator, "translate", Resources(replicas=3, num_gpus=1)),
            Stage(aggregate.operator, "aggregate", Resources(num_gpus=OWNER_GPUS)),
        ]
        path = tmp_path / "out.npz"

        RayRunner(settings, progress=losing).run(Pipeline(source(), chain, ArraySink(path)))
    finally:
        ray.shutdown()
        cluster.shutdown()

    assert losing.has_happened
    # Three, two after the node is gone, and one of these makes room.
    translators = losing.sizes("translate")
    assert (translators[0], min(translators)) == (3, 1)
    assert_same(path, expected)
