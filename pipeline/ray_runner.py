"""Many processes, one machine or a cluster: segments in parallel, the local runner's answer.

The driver starts the actors once and shares them among the videos of a job. Each video has a
coordinator, an actor that holds its refs. No frame passes through either.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from pipeline.cluster import Nodes, supply
from pipeline.crew import Hiring
from pipeline.driver import Driver
from pipeline.errors import ClusterError, UsageError
from pipeline.io.endpoint import SegmentedSink
from pipeline.progress import Progress, SilentProgress
from pipeline.ray_settings import RaySettings
from pipeline.report import RunReport
from pipeline.sizing import num_lanes
from pipeline.staffing import Supply, owner_gpus, staffing
from pipeline.stage import Pipeline

CONNECT_S = 10.0
# Of a session of our own, where nobody said otherwise. Processes that Ray starts ahead of need have
# another environment than actors, which cannot use them. Nobody reads Ray's statistics of its own
# loops, an eighth of what an idle process costs, nor what a dashboard would show of the machine.
OWN_SESSION = {
    "RAY_prestart_worker_first_driver": "0",
    "RAY_event_stats": "0",
    "REPORTER_UPDATE_INTERVAL_MS": "60000",
}


class RayRunner:
    """Runs pipelines on Ray, with the frames that the local runner gives.

    Args:
        settings: How.
        key: Names settings and input, so that a later run of the same takes over the segments of
            one that was interrupted. None keeps nothing for later.
        progress: Told as segments are committed.
    """

    def __init__(
        self,
        settings: RaySettings | None = None,
        *,
        key: str | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._settings = settings or RaySettings()
        self._key = key
        self._progress = progress or SilentProgress()

    def run(self, pipeline: Pipeline) -> RunReport:
        """Run a pipeline to its end.

        Returns:
            What was done. The output is complete and under its final name.

        Raises:
            HyperConError: In one line, naming stage, segment and frame; committed segments are
                kept if the runner was given a key.
            ModelError: If a model cannot be loaded or breaks its contract; likewise.
        """
        (outcome,) = self.run_all([pipeline])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def run_all(self, pipelines: Sequence[Pipeline]) -> list[RunReport | Exception]:
        """Run many videos through the same stages; a video that fails does not stop the others.

        Args:
            pipelines: One for each video; all have the stages and the wire of the first.

        Returns:
            For each video, in order, what was done or what ended it.

        Raises:
            HyperConError: If the cluster or a model cannot be had at all.
            ModelError: If a model cannot be loaded.
        """
        if not pipelines:
            return []
        sinks = [_require_segmented(pipeline) for pipeline in pipelines]
        _require_alike(pipelines)
        join_cluster(self._settings.address)
        hiring, lanes = plan_crew(pipelines[0], len(pipelines), self._settings)
        driver = Driver(hiring, lanes, self._settings, self._progress, len(pipelines))
        try:
            for pipeline, sink in zip(pipelines, sinks, strict=True):
                driver.add(pipeline, sink, self._key)
            return driver.run()
        finally:
            driver.end()
            self._progress.finish()


def plan_crew(pipeline: Pipeline, num_videos: int, settings: RaySettings) -> tuple[Hiring, int]:
    """Share the session that there is among the processes of a job.

    Args:
        pipeline: Its stages and wire are those of all videos of the job.
        num_videos: How many there are.
        settings: How the engine runs.

    Returns:
        How processes are started, and how many segments can be open at once.

    Raises:
        ClusterError: If the cluster has not what is asked for.
    """
    there = supply()
    stages = pipeline.stages
    staff = staffing(stages, there)
    workers = max((one.bounds.most for one in staff.values()), default=1)
    nodes = Nodes.now().for_lanes(needs_gpu=any(one.num_gpus for one in staff.values()))
    lanes = num_lanes(settings, workers, len(nodes), num_videos)
    owners = owner_gpus(stages, lanes, there.gpus)
    for_owners = lanes * sum(owners.values())
    if for_owners:
        staff = staffing(stages, Supply(there.cpus, there.gpus - for_owners))
    parts = (pipeline.source, pipeline.sink, *(stage.operator for stage in stages))
    loads = tuple(type(part) for part in parts)
    return Hiring(stages, pipeline.wire, settings.device, staff, owners, loads), lanes


def join_cluster(address: str | None) -> None:
    """Use the session that there is, else the cluster of the address, else this machine.

    Args:
        address: Of a cluster; None for ``RAY_ADDRESS``.

    Raises:
        ClusterError: If the cluster does not answer.
    """
    if ray.is_initialized():
        return
    wanted = address or os.environ.get("RAY_ADDRESS") or "local"
    _require_listener(wanted)
    # Workers of this machine import what the driver can, wherever it was started from.
    root = str(Path(__file__).parents[1])
    paths = os.pathsep.join(dict.fromkeys([root, *filter(None, sys.path)]))
    # Ray ends the process by an exit code of its own; the command's own handler says more.
    before = signal.getsignal(signal.SIGTERM)
    try:
        if wanted == "local":
            start_session(paths, configure_logging=False)
        else:
            ray.init(address=wanted, log_to_driver=False, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        msg = f"cluster {wanted!r} must answer, got {type(error).__name__}: {error}"
        raise ClusterError(msg) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def start_session(paths: str, **options: Any) -> None:
    """Start a session of our own on this machine, in which Ray does nothing that nobody asked for.

    Args:
        paths: Where its workers find modules, as in ``PYTHONPATH``.
        options: Further ones of ``ray.init``.
    """
    os.environ.update(OWN_SESSION | os.environ)
    ray.init(
        address="local",
        log_to_driver=False,
        include_dashboard=False,
        runtime_env={"env_vars": {"PYTHONPATH": paths}},
        **options,
    )
    _end_log_monitor()


def _end_log_monitor() -> None:
    """End what reads all logs ten times a second for drivers that print them, as this one does not.

    Ray has no option for it, only a method of its own; without that it goes on.
    """
    node = getattr(ray._private.worker, "_global_node", None)  # noqa: SLF001
    end = getattr(node, "kill_log_monitor", None)
    if end is not None:
        end()


def _require_alike(pipelines: Sequence[Pipeline]) -> None:
    """Require stages of the same names and kinds, which one set of processes can run."""
    kinds = [[(stage.name, type(stage.operator)) for stage in one.stages] for one in pipelines]
    for number, kind in enumerate(kinds):
        if kind != kinds[0]:
            names = ", ".join(name for name, _ in kind)
            msg = f"all pipelines of a job must have the same stages, got {names} in {number}"
            raise UsageError(msg)
    taken = {name for name, _ in kinds[0]} & {"decode", "encode"}
    if taken:
        msg = f"stages must not be called decode or encode on Ray, got {sorted(taken)[0]!r}"
        raise UsageError(msg)


def _require_segmented(pipeline: Pipeline) -> SegmentedSink:
    sink = pipeline.sink
    if not isinstance(sink, SegmentedSink):
        msg = f"the Ray engine must be given a sink that joins segments, got {type(sink).__name__}"
        raise UsageError(msg)
    return sink


def _require_listener(address: str) -> None:
    """Require that somebody listens, where the address names a host: Ray itself waits for long."""
    host, separator, port = address.rpartition("//")[2].rpartition(":")
    if not separator or not port.isdecimal():
        return
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S):
            pass
    except (OSError, OverflowError) as error:
        msg = f"cluster {address!r} must answer, got {type(error).__name__}: {error}"
        raise ClusterError(msg) from error
