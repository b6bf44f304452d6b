"""One small video through the whole method: what every run of it on Ray must agree on."""

from pathlib import Path

import numpy as np
from parts import Wavy
from streams import ListSource, frames_of, moving, read_arrays

from operators.frame import Frame
from pipeline.bounds import Bounds
from pipeline.progress import SilentProgress
from pipeline.ray_settings import RaySettings
from pipeline.recipes import hypercon
from pipeline.stage import Resources, Stage
from pipeline.tally import JobState

NUM_FRAMES, HEIGHT, WIDTH = 23, 24, 32
SHORT = RaySettings(segment_frames=7, chunk_frames=2, device="cpu", stall_s=60)

Output = tuple[np.ndarray, np.ndarray]


class Watching(SilentProgress):
    """Remembers how far a job was each time it was told."""

    def __init__(self) -> None:
        self.states: list[JobState] = []

    def show(self, state: JobState) -> None:
        self.states.append(state)

    def sizes(self, stage: str) -> list[int]:
        """How many processes a stage had each time."""
        return [one.workers for state in self.states for one in state.stages if one.name == stage]


def frames(num_frames: int = NUM_FRAMES) -> list[Frame]:
    return frames_of(moving(num_frames, HEIGHT, WIDTH))


def source(num_frames: int = NUM_FRAMES) -> ListSource:
    return ListSource(frames(num_frames))


def stages(translator: Wavy, translators: int | Bounds = 2) -> list[Stage]:
    interpolate, translate, aggregate = hypercon(translator, insert=1, radius=3)
    return [
        Stage(interpolate.operator, interpolate.name, Resources(replicas=1)),
        Stage(translate.operator, translate.name, Resources(replicas=translators)),
        aggregate,
    ]


def assert_same(path: Path, expected: Output) -> None:
    images, times = read_arrays(path)
    np.testing.assert_array_equal(times, expected[1])
    np.testing.assert_array_equal(images, expected[0])
    leftovers = [place.name for place in path.parent.iterdir() if place.name.startswith(".")]
    assert leftovers == []
