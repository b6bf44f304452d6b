"""Does anything of the Ray engine grow with the length of the video? Prints JSON.

One long video of small frames goes through the whole method into a real file. Every few seconds the
private memory of every process of the engine, of the driver and of Ray's own, and what the object
store holds, are written down beside the number of frames done. After the first tenth of the video
nothing should grow: the slope is that of a straight line through what came later.

Run from the repository root, with half an hour of time:

    PYTHONPATH=.:tests:tests/ray python tests/benchmarks/soak.py [--frames 100000]
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import ray
from parts import Wavy
from ray._private.internal_api import get_memory_info_reply, get_state_from_address
from reaper import processes_of, session_name
from streams import LongSource
from three_nodes import PATHS

from pipeline.io.video_sink import VideoSink
from pipeline.progress import SilentProgress
from pipeline.ray_runner import RayRunner, start_session
from pipeline.ray_settings import RaySettings
from pipeline.recipes import hypercon
from pipeline.stage import Pipeline, Resources
from pipeline.tally import JobState

EVERY_S = 5.0
SETTLED = 0.1
MIB = 2**20


class Scale(SilentProgress):
    """Weighs all processes now and then."""

    def __init__(self) -> None:
        self._session = session_name()
        self._weighed_at = 0.0
        self.frames: list[int] = []
        self.mib: dict[str, list[float]] = defaultdict(list)

    def show(self, state: JobState) -> None:
        """Called by the driver a few times a second."""
        now = time.monotonic()
        if now - self._weighed_at < EVERY_S or not state.frames_done:
            return
        self._weighed_at = now
        self.frames.append(state.frames_done)
        weights = {f"{title} {number}": number for number, title in processes_of(self._session)}
        for name, number in {"driver": os.getpid(), **weights}.items():
            # A process that came later, or has gone, has no weight at other times.
            missing = len(self.frames) - 1 - len(self.mib[name])
            self.mib[name] += [float("nan")] * missing + [private_bytes(number) / MIB]
        self.mib["object store"].append(store_bytes() / MIB)
        sys.stderr.write(f"{state.frames_done} frames, {state.fps or 0:.0f} a second\n")

    def slopes(self, num_frames: int) -> dict[str, dict[str, float]]:
        """For each process that lived through it: MiB then, at the end, and for 10,000 frames."""
        result = {}
        frames = np.array(self.frames)
        for name, weights in self.mib.items():
            mib = np.array(weights + [float("nan")] * (len(frames) - len(weights)))
            kept = (frames >= SETTLED * num_frames) & ~np.isnan(mib)
            if kept.sum() >= 0.8 * (frames >= SETTLED * num_frames).sum():
                slope = np.polyfit(frames[kept], mib[kept], 1)[0]
                result[name] = {
                    "mib_first": round(float(mib[kept][0]), 1),
                    "mib_last": round(float(mib[kept][-1]), 1),
                    "mib_for_10000_frames": round(float(10_000 * slope), 3),
                }
        return result


def store_bytes() -> int:
    """What the object store of this machine holds."""
    address = ray.get_runtime_context().gcs_address
    reply = get_memory_info_reply(get_state_from_address(address))
    return int(reply.store_stats.object_store_bytes_used)


def private_bytes(number: int) -> int:
    """Memory that is of this process alone."""
    try:
        text = Path(f"/proc/{number}/smaps_rollup").read_text()
    except OSError:
        return 0
    kept = [line.split() for line in text.splitlines() if line.startswith("Private_")]
    return 1024 * sum(int(words[1]) for words in kept if words[0] != "Private_Hugetlb:")


def main() -> None:
    """Run, weigh and print."""
    parser = argparse.ArgumentParser(description="Memory of a long video.")
    parser.add_argument("--frames", type=int, default=100_000)
    frames = parser.parse_args().frames
    start_session(PATHS, num_cpus=4, object_store_memory=400 * MIB)
    stages = [
        replace(stage, resources=Resources(replicas=1))
        for stage in hypercon(Wavy(), insert=1, radius=1)
    ]
    scale = Scale()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        sink = VideoSink(Path(folder) / "out.mkv", preset="ultrafast")
        report = RayRunner(RaySettings(device="cpu"), progress=scale).run(
            Pipeline(LongSource(frames, 24, 32), stages, sink)
        )
    result = {
        "frames": report.frames_out,
        "seconds": round(time.monotonic() - begin, 1),
        "weighed": len(scale.frames),
        "processes": scale.slopes(frames),
    }
    json.dump(result, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
