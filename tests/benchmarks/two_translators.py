"""Two single-threaded translators on two cores: wall time of the engine over the ideal.

480p, the whole method with one inserted frame, a translator that takes 120 or 500 ms of one core
for an image, two images a frame. The ideal is half of the time that all operators take for the same
frames. That is measured in two processes side by side, one on each core, with nothing else on the
machine: cores share caches and memory, and two do less than twice the work of one. In the engine
itself more processes than cores take turns, and their clocks run on while they wait.

A machine is not equally fast all of the time, so the two take turns: the ideal, the engine, the
ideal, the engine, and so on. A round of the engine is held to the mean of the ideals around it.

Run from the repository root:

    PYTHONPATH=.:tests:tests/ray python tests/benchmarks/two_translators.py [--image-s 0.12]
"""

import argparse
import json
import multiprocessing
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from itertools import pairwise
from pathlib import Path

import cv2
import torch
from ray_engine import CountingSink, Timed, measure, session, with_resources
from streams import LongSource

from pipeline.local_runner import LocalRunner
from pipeline.ray_settings import RaySettings
from pipeline.recipes import hypercon
from pipeline.stage import Pipeline, Resources, Stage

# Seconds that a translator takes for an image, and how many frames a round has.
IMAGES = {0.12: 480, 0.5: 240}
ROUNDS = 3
# Of the frames of a round, what each of two processes computes for the ideal.
SHARE_ALONE = 8


def stages_of(image_s: float) -> list[Stage]:
    """The whole method, with a translator that takes so long of a core for an image."""
    return with_resources(
        hypercon(Timed(image_s, is_asleep=False), insert=1, radius=1),
        interpolate=Resources(replicas=1),
        translate=Resources(replicas=2),
    )


def source_of(frames: int) -> LongSource:
    """A video."""
    return LongSource(frames, 480, 854)


def alone(path: Path, frames: int, image_s: float) -> float:
    """Seconds that all operators take for a frame, in one process with one thread."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    # In one segment: nothing is computed twice.
    runner = LocalRunner("cpu", segment_frames=frames)
    report = runner.run(Pipeline(source_of(frames), stages_of(image_s), CountingSink(path)))
    return report.busy_s / frames


def side_by_side(folder: Path, frames: int, image_s: float) -> float:
    """Seconds that two processes together take for a frame, all operators of both added up."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as processes:
        paths = [folder / f"alone-{number}.txt" for number in range(2)]
        return sum(processes.map(alone, paths, [frames] * 2, [image_s] * 2)) / 2


def with_engine(folder: Path, frames: int, image_s: float) -> float:
    """Seconds that the engine takes for a frame, from when its processes have started."""
    settings = RaySettings(device="cpu")
    with session(cpus=2):
        done = measure(stages_of(image_s), [source_of(frames)], settings, folder)
    return done.seconds / frames


def ratio(folder: Path, frames: int, image_s: float) -> dict[str, float | list[float]]:
    """Wall time over the ideal, of all rounds together and of each."""
    operators = [side_by_side(folder, frames // SHARE_ALONE, image_s)]
    walls = []
    for _ in range(ROUNDS):
        walls.append(with_engine(folder, frames, image_s))
        operators.append(side_by_side(folder, frames // SHARE_ALONE, image_s))
    ideals = [(before + after) / 2 / 2 for before, after in pairwise(operators)]
    return {
        "wall_over_ideal": sum(walls) / sum(ideals),
        "of_each_round": [wall / ideal for wall, ideal in zip(walls, ideals, strict=True)],
        "operators_s_a_frame": operators,
        "wall_s_a_frame": walls,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Two translators on two cores.")
    parser.add_argument("--image-s", type=float, nargs="*", choices=IMAGES, default=list(IMAGES))
    given = parser.parse_args()
    # Ray says on standard output, from its own threads, what belongs beside the figures.
    with tempfile.TemporaryDirectory() as name, redirect_stdout(sys.stderr):
        report = {
            f"{1000 * image_s:.0f}_ms_an_image": ratio(Path(name), IMAGES[image_s], image_s)
            for image_s in given.image_s
        }
    json.dump(report, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
