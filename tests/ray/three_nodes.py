"""A cluster of three nodes on this machine, and a job on it under which one is taken away.

Run by a test, and by hand for many repeats with their logs kept:

    PYTHONPATH=.:tests:tests/ray python tests/ray/three_nodes.py FOLDER [--repeats 20] [--drain]

Prints JSON: for each repeat what was lost, whether the output was exact, and the longest time
without a frame. Ray takes some sixteen seconds to notice that a node is gone.
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import ray
from agreement import source, stages
from parts import Wavy
from ray.cluster_utils import Cluster
from streams import ArraySink, read_arrays

from pipeline.cluster import here
from pipeline.local_runner import LocalRunner
from pipeline.progress import SilentProgress
from pipeline.ray_runner import RayRunner
from pipeline.ray_settings import RaySettings
from pipeline.stage import Pipeline
from pipeline.tally import JobState

TESTS = Path(__file__).parents[1]
PATHS = ":".join(map(str, (TESTS.parent, TESTS, TESTS / "ray")))


class Mishap(SilentProgress):
    """Takes a node away once some frames are done, and measures how long nothing moves.

    Args:
        cluster: The nodes.
        node: The one that is taken away.
        after: Frames of the output that must be there before.
        is_drain: Say so a minute before, instead of killing it.
    """

    def __init__(self, cluster: Cluster, node: Any, after: int, *, is_drain: bool) -> None:
        self._cluster = cluster
        self._node = node
        self._after = after
        self._is_drain = is_drain
        self._work = 0
        self._moved_at = time.monotonic()
        self.has_happened = False
        self.longest_stall_s = 0.0

    def show(self, state: JobState) -> None:
        """Called by the driver, in the thread that may handle clusters."""
        now = time.monotonic()
        if not self.has_happened and state.frames_done >= self._after:
            self.has_happened = True
            self._happen()
        work = sum(stage.frames for stage in state.stages)
        if work != self._work:
            self._work, self._moved_at = work, now
        elif self._work:
            self.longest_stall_s = max(self.longest_stall_s, now - self._moved_at)

    def _happen(self) -> None:
        if not self._is_drain:
            self._cluster.remove_node(self._node, allow_graceful=False)
            return
        accepted, why = ray._private.worker.global_worker.gcs_client.drain_node(
            self._node.node_id,
            2,  # a preemption: whoever is there must leave in time
            "taken away",
            int(time.time() * 1000) + 60_000,
        )
        if not accepted:
            msg = f"the node must accept to be drained, got {why}"
            raise RuntimeError(msg)


def connect(cluster: Cluster) -> None:
    """Let this process drive jobs there, whose workers find the tests' modules."""
    ray.init(
        address=cluster.address,
        log_to_driver=False,
        configure_logging=False,
        runtime_env={"env_vars": {"PYTHONPATH": PATHS}},
    )


@contextmanager
def three_nodes() -> Iterator[tuple[Cluster, list[Any]]]:
    """A cluster that this process can drive jobs on, and its nodes but the head."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    try:
        others = [cluster.add_node(num_cpus=2) for _ in range(2)]
        cluster.wait_for_nodes()
        connect(cluster)
        yield cluster, others
    finally:
        ray.shutdown()
        cluster.shutdown()


def run_once(folder: Path, *, is_drain: bool = False, seconds: float = 0.8) -> dict[str, Any]:
    """One job that loses one of its nodes."""
    with three_nodes() as (cluster, others):
        # On one machine a driver may find itself on any of the nodes; without its own it is lost.
        victim = next(node for node in others if node.node_id != here())
        mishap = Mishap(cluster, victim, after=5, is_drain=is_drain)
        settings = RaySettings(segment_frames=5, chunk_frames=1, device="cpu", lanes=3)
        path = folder / "out.npz"
        begin = time.monotonic()
        report = RayRunner(settings, progress=mishap).run(
            Pipeline(source(), stages(Wavy(seconds=seconds), 3), ArraySink(path))
        )
        return {
            "has_happened": mishap.has_happened,
            "retries": report.retries,
            "wall_s": time.monotonic() - begin,
            "longest_stall_s": mishap.longest_stall_s,
            "output": path,
        }


def repeated(folder: Path, repeats: int, *, is_drain: bool) -> dict[str, Any]:
    """Jobs one after the other, each held to what the local runner makes."""
    LocalRunner("cpu").run(Pipeline(source(), stages(Wavy()), ArraySink(folder / "local.npz")))
    expected = read_arrays(folder / "local.npz")
    results = []
    for number in range(repeats):
        own = folder / f"{number:02}"
        own.mkdir()
        logging.basicConfig(filename=own / "log.txt", level=logging.INFO, force=True)
        result = run_once(own, is_drain=is_drain)
        arrays = read_arrays(result.pop("output"))
        result["is_exact"] = all(map(np.array_equal, arrays, expected))
        results.append(result)
        sys.stderr.write(f"{number}: {result}\n")
    stalls = sorted(result["longest_stall_s"] for result in results)
    return {
        "repeats": len(results),
        "exact": sum(result["is_exact"] for result in results),
        "stall_s": {"least": stalls[0], "median": stalls[len(stalls) // 2], "most": stalls[-1]},
        "runs": results,
    }


def main() -> None:
    """Repeat, compare, print."""
    parser = argparse.ArgumentParser(description="Jobs that lose a node.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--drain", action="store_true")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    # Ray says on standard output, from its own threads, what belongs beside the figures.
    with redirect_stdout(sys.stderr):
        summary = repeated(given.folder, given.repeats, is_drain=given.drain)
    json.dump(summary, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
