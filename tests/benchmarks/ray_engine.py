"""What does the Ray engine cost? Prints JSON; every figure is a ratio to an ideal or per frame.

Two questions, beside that of ``two_translators.py``:

- ``hops``: 720p, four stages that do nothing between a source and a sink that do nothing:
  milliseconds of wall time per frame over all hops. ``identity`` is the same with a translator
  that gives back what it was given, for which levels become numbers and levels again.
- ``declared_gpus``: translators that sleep on declared GPUs: throughput over the ideal, for one
  long video and for many short ones, after the processes have started: of the whole, and between a
  tenth and nine tenths of the frames. However many GPUs there are, all together give as many frames
  a second: one machine carries all processes, and what a frame costs it is asked by ``hops``.

Run from the repository root:

    PYTHONPATH=.:tests:tests/ray python tests/benchmarks/ray_engine.py [--gpus 8 32 64] [--lanes 8]

Each process takes some 190 MiB; 64 GPUs in 24 GiB need ``--lanes 8``, for many videos take 12.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path

import ray
import torch
from streams import LongSource
from torch import Tensor

from operators.base import TranslatorTraits
from operators.frame import Frame, with_changes
from pipeline.driver import Driver
from pipeline.io.endpoint import SegmentedSink, Sink, StreamInfo
from pipeline.progress import SilentProgress
from pipeline.ray_runner import plan_crew, start_session
from pipeline.ray_settings import RaySettings
from pipeline.recipes import framewise
from pipeline.report import RunReport
from pipeline.stage import Pipeline, Resources, Stage
from pipeline.tally import JobState
from pipeline.wire import Wire, pack, unpack

# For all that starts and nobody waits for: decoders, encoders, coordinators.
STARTED_S = 15.0
# Of videos that go before those that are measured.
FIRST_FRAMES = 8
# Frames that all declared GPUs together give a second, and for how long: begin and end take four.
FRAMES_A_SECOND = 57
SLEPT_S = 180
# Videos for each GPU; zero for one in all.
LOADS = {"one_long": 0, "many_short": 4}
ROOT = Path(__file__).parents[2]


class CountingSink:
    """Writes how many frames it was given: a sink that costs nothing."""

    segment_suffix = ".txt"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path)
        self._count = 0

    def open(self, info: StreamInfo) -> None:
        """Count from zero."""
        self._count = 0

    def write(self, frame: Frame) -> None:
        """Count."""
        self._count += 1

    def close(self) -> None:
        """Leave the count behind."""
        self.path.write_text(str(self._count))

    def abort(self) -> None:
        """Nothing was written."""

    def segment(self, path: Path) -> Sink:
        """The same for a segment."""
        return CountingSink(path)

    def join(self, info: StreamInfo, parts: Iterable[Path]) -> None:
        """Add up."""
        self.path.write_text(str(sum(int(part.read_text()) for part in parts)))


class Timed:
    """A translator that takes a given time: of a core, or asleep like one that waits for a GPU.

    Args:
        seconds: For each image.
        is_asleep: Sleep instead of working.
    """

    name = "timed"
    traits = TranslatorTraits()

    def __init__(self, seconds: float, *, is_asleep: bool) -> None:
        self._seconds = seconds
        self._is_asleep = is_asleep

    def setup(self, device: torch.device) -> None:
        """Nothing to load."""

    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Wait, and give back what came."""
        seconds = self._seconds * images.shape[0]
        if self._is_asleep:
            time.sleep(seconds)
            return images
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            torch.sin(images[..., :64, :64])
        return images


class Watching(SilentProgress):
    """Remembers how many frames the translators had taken, and when."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, int]] = []

    def show(self, state: JobState) -> None:
        """Called some times a second."""
        frames = sum(one.frames for one in state.stages if one.name == "translate")
        self.samples.append((time.perf_counter(), frames))


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of a job.

    Attributes:
        seconds: From when its processes had started to its end.
        samples: Moments of it, and how many frames its translators had taken by then.
        reports: Of each video.
    """

    seconds: float
    samples: list[tuple[float, int]]
    reports: list[RunReport]

    @property
    def steady_fps(self) -> float:
        """Frames a second between a tenth and nine tenths of them."""
        first, last = self.samples[0][1], self.samples[-1][1]
        begin, end = (
            next(one for one in self.samples if one[1] >= first + share * (last - first))
            for share in (0.1, 0.9)
        )
        return (end[1] - begin[1]) / (end[0] - begin[0])


def with_resources(stages: Iterable[Stage], **resources: Resources) -> list[Stage]:
    """Stages with resources by name."""
    return [replace(s, resources=resources.get(s.name, s.resources)) for s in stages]


def measure(
    stages: list[Stage], sources: list[LongSource], settings: RaySettings, folder: Path
) -> Measured:
    """Run a job after its processes have started."""
    pipelines = [
        Pipeline(source, stages, CountingSink(folder / f"{time.time_ns()}-{n}.txt"))
        for n, source in enumerate(sources)
    ]
    hiring, lanes = plan_crew(pipelines[0], len(pipelines), settings)
    watching = Watching()
    driver = Driver(hiring, lanes, settings, watching, len(pipelines))
    time.sleep(STARTED_S)
    # What a coordinator or a decoder does for the first time is of the start, too.
    firsts = [
        Pipeline(first_frames(source), stages, CountingSink(folder / f"first-{n}.txt"))
        for n, source in enumerate(sources[:lanes])
    ]
    run_all(driver, firsts)
    begin = time.perf_counter()
    outcomes = run_all(driver, pipelines)
    seconds = time.perf_counter() - begin
    driver.end()
    reports = [outcome for outcome in outcomes if isinstance(outcome, RunReport)]
    assert len(reports) == len(pipelines), outcomes
    samples = [sample for sample in watching.samples if sample[0] >= begin]
    return Measured(seconds, samples, reports)


@contextmanager
def session(cpus: int, gpus: int = 0) -> Iterator[None]:
    """A session of Ray as the engine starts one."""
    paths = ":".join(str(ROOT / part) for part in (".", "tests", "tests/ray", "tests/benchmarks"))
    start_session(paths, num_cpus=cpus, num_gpus=gpus, object_store_memory=1000 * 2**20)
    try:
        yield
    finally:
        ray.shutdown()


def first_frames(source: LongSource) -> LongSource:
    """A short video of the same size."""
    info = source.info()
    return type(source)(FIRST_FRAMES, info.height, info.width)


def run_all(driver: Driver, pipelines: list[Pipeline]) -> list[RunReport | Exception]:
    """Run videos on a crew that has been started."""
    for pipeline in pipelines:
        sink = pipeline.sink
        assert isinstance(sink, SegmentedSink)
        driver.add(pipeline, sink, None)
    return driver.run()


class Idle:
    """An operator that gives back what it is given, unread.

    Args:
        is_stateful: Whether it belongs to a lane.
    """

    takes = Frame
    reach = 0

    def __init__(self, *, is_stateful: bool) -> None:
        self.is_stateful = is_stateful

    def setup(self, device: torch.device) -> None:
        """Nothing to load."""

    def process(self, frame: Frame) -> list[Frame]:
        """Give back."""
        return [frame]

    def flush(self) -> list[Frame]:
        """Nothing is held."""
        return []

    def close(self) -> None:
        """Nothing to release."""


class StillSource(LongSource):
    """Gives one picture again and again, as levels that need no work."""

    def __init__(self, num_frames: int, height: int, width: int) -> None:
        super().__init__(num_frames, height, width)
        self._packed = pack(next(super().frames(0, 1)), Wire())

    def frames(self, first: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """The same picture with other numbers."""
        for n in range(first, self._num_frames if stop is None else stop):
            frame = unpack(self._packed, torch.device("cpu"))
            assert isinstance(frame, Frame)
            yield with_changes(frame, index=n, pts=3000 * n)


def hops(folder: Path) -> dict[str, float]:
    """Stages that do nothing, at 720p."""
    frames = 1200
    one = Resources(replicas=1)
    idle = [
        Stage(Idle(is_stateful=False), "interpolate", one),
        Stage(Idle(is_stateful=False), "translate", one),
        Stage(Idle(is_stateful=True), "aggregate"),
    ]
    identity = with_resources(framewise("identity"), translate=one)
    settings = RaySettings(segment_frames=frames // 4, device="cpu", lanes=2)
    result = {}
    for name, stages in (("idle", idle), ("identity", identity)):
        source = StillSource(frames, 720, 1280)
        measured = measure(list(stages), [source], settings, folder)
        result[f"{name}_ms_per_frame"] = 1000 * measured.seconds / frames
        for stage in measured.reports[0].stages:
            result[f"{name}_{stage.name}_ms"] = 1000 * stage.busy_s / frames
    return result


def declared_gpus(
    gpus: int, lanes: int | None, loads: Collection[str], folder: Path
) -> dict[str, float]:
    """Translators that sleep, one on each of the declared GPUs; files are small and local."""
    seconds_each = gpus / FRAMES_A_SECOND
    stages = with_resources(
        framewise(Timed(seconds_each, is_asleep=True)),
        interpolate=Resources(replicas=2, num_cpus=0.1),
        translate=Resources(replicas=gpus, num_cpus=0.01, num_gpus=1),
    )
    result = {"seconds_for_a_frame": seconds_each}
    frames = int(SLEPT_S / seconds_each) * gpus
    for name in loads:
        count = LOADS[name] * gpus or 1
        settings = RaySettings(device="cpu", lanes=lanes)
        sources = [StillSource(frames // count, 32, 48) for _ in range(count)]
        measured = measure(stages, sources, settings, folder)
        frames_out = sum(report.frames_out for report in measured.reports)
        best_fps = gpus / seconds_each
        result[f"{name}_share_of_ideal"] = frames_out / measured.seconds / best_fps
        result[f"{name}_steady_share_of_ideal"] = measured.steady_fps / best_fps
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="What the Ray engine costs.")
    parser.add_argument("--gpus", type=int, nargs="*", default=[8])
    parser.add_argument("--lanes", type=int, help="Of the sleeping ones; by default by the GPUs.")
    parser.add_argument("--loads", nargs="*", choices=LOADS, default=list(LOADS))
    parser.add_argument("--only", choices=["hops", "declared_gpus"])
    given = parser.parse_args()
    report: dict[str, dict[str, float]] = {}
    # Ray says on standard output, from its own threads, what belongs beside the figures.
    with tempfile.TemporaryDirectory() as name, redirect_stdout(sys.stderr):
        folder = Path(name)
        if given.only in (None, "hops"):
            with session(cpus=8):
                report["hops"] = hops(folder)
        for count in given.gpus if given.only in (None, "declared_gpus") else ():
            with session(cpus=8, gpus=count):
                measured = declared_gpus(count, given.lanes, given.loads, folder)
            report[f"declared_gpus_{count}"] = measured
    json.dump(report, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
