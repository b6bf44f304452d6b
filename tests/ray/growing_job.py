"""A job whose pool may grow: run by a test, with the output as argument.

Prints how many GPUs there were before, the most processes that there were, and the GPUs then.
"""

import json
import sys
from pathlib import Path

import ray
from agreement import Watching, source, stages
from parts import Wavy
from streams import ArraySink

from pipeline.bounds import Bounds
from pipeline.cluster import supply
from pipeline.ray_runner import RayRunner, join_cluster
from pipeline.ray_settings import RaySettings
from pipeline.stage import Pipeline, Resources, Stage

if __name__ == "__main__":
    join_cluster(None)
    before = supply()
    interpolate, translate, aggregate = stages(Wavy(seconds=0.5))
    wanted = Resources(replicas=Bounds(1, 2), num_gpus=1, num_cpus=0.5)
    growing = Stage(translate.operator, translate.name, wanted)
    settings = RaySettings(segment_frames=7, chunk_frames=1, device="cpu", grow_after_s=1, lanes=2)
    watching = Watching()
    RayRunner(settings, progress=watching).run(
        Pipeline(source(), [interpolate, growing, aggregate], ArraySink(Path(sys.argv[1])))
    )
    told = {"before": before.gpus, "workers": max(watching.sizes("translate"))}
    sys.stdout.write(json.dumps(told | {"then": ray.cluster_resources()["GPU"]}) + "\n")
