"""The runner: order, faults, reports. What it computes is tested with the recipes."""

import gc
from collections.abc import Iterable

import pytest
import torch
from streams import (
    CountingSink,
    FunctionTranslator,
    ListSink,
    ListSource,
    LongSource,
    frames_of,
    textured,
    without_images,
)

from operators.base import TranslatorTraits
from operators.errors import ModelError
from operators.frame import Frame, Interval
from operators.interpolate import Interpolate
from operators.timeline import Timeline
from operators.translate import Translate
from pipeline.errors import InputError, ResourceError
from pipeline.local_runner import LocalRunner, choose_device
from pipeline.progress import SilentProgress
from pipeline.recipes import framewise, hypercon
from pipeline.running import StageError
from pipeline.stage import Pipeline, Stage
from pipeline.tally import JobState


class Spy:
    """An operator that passes frames on and writes down what happens to it."""

    takes = Frame
    is_stateful = False
    reach = 0

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[str] = []
        self._error = error

    def setup(self, device: torch.device) -> None:
        self.calls.append(f"setup {device}")

    def process(self, item: Frame) -> Iterable[Frame]:
        self.calls.append(f"process {item.index}")
        if self._error is not None and item.index == 1:
            raise self._error
        return [item]

    def flush(self) -> Iterable[Frame]:
        self.calls.append("flush")
        return []

    def close(self) -> None:
        self.calls.append("close")


def three_frames() -> list[Frame]:
    return frames_of([textured(6, 8, seed) for seed in range(3)])


def run(stages: list[object], source: ListSource | None = None) -> ListSink:
    sink = ListSink()
    LocalRunner(device="cpu").run(Pipeline(source or ListSource(three_frames()), stages, sink))
    return sink


def test_an_operator_is_set_up_fed_flushed_and_closed_in_this_order() -> None:
    spy = Spy()

    sink = run([spy])

    expected = ["setup cpu", "process 0", "process 1", "process 2", "flush", "close"]
    assert spy.calls == expected
    assert sink.calls == ["open", "close"]


def test_frames_leave_with_the_times_they_came_with() -> None:
    source = three_frames()

    sink = run(list(framewise("identity")))

    assert [without_images(f).pts for f in sink.frames] == [f.pts for f in source]
    assert [f.time_base for f in sink.frames] == [f.time_base for f in source]


def test_a_plain_function_is_a_translation_stage() -> None:
    sink = run([lambda images: 1 - images])

    for frame, original in zip(sink.frames, three_frames(), strict=True):
        torch.testing.assert_close(frame.image, 1 - original.image, atol=1e-6, rtol=0)


def test_an_operator_is_closed_and_the_sink_aborted_after_an_error() -> None:
    spy, sink = Spy(RuntimeError("boom")), ListSink()

    with pytest.raises(
        StageError,
        match=r"stage 'spy' failed at frame 1 \(pts 3018, 0.034 s\): RuntimeError: boom",
    ):
        LocalRunner("cpu").run(Pipeline(ListSource(three_frames()), [spy], sink))

    assert spy.calls[-1] == "close"
    assert sink.calls == ["open", "abort"]


def test_running_out_of_memory_is_its_own_error() -> None:
    with pytest.raises(ResourceError, match=r"stage 'spy' failed at frame 1 .*: out of memory"):
        run([Spy(torch.OutOfMemoryError("CUDA out of memory"))])


def test_a_source_that_fails_keeps_its_own_words() -> None:
    source = ListSource(three_frames(), fail_at=2, error=InputError("clip.mp4: broken at frame 2"))

    with pytest.raises(InputError, match=r"^clip.mp4: broken at frame 2$"):
        run([Spy()], source)


def test_a_model_that_breaks_its_promise_is_named_with_the_frame() -> None:
    wrong = FunctionTranslator(lambda images: images[..., ::2])

    with pytest.raises(ModelError, match=r"stage 'translate' failed at frame 0.*must return"):
        run([Stage(Translate(wrong), "translate")])


def test_a_model_that_returns_nan_is_named_with_the_frame() -> None:
    wrong = FunctionTranslator(lambda images: images * torch.nan)

    with pytest.raises(ModelError, match=r"stage 'translate' failed at frame 0.*finite"):
        run([Stage(Translate(wrong), "translate")])


def test_no_frame_at_all_is_an_input_error() -> None:
    with pytest.raises(InputError, match="input must have at least one frame, got none"):
        run([Spy()], ListSource([]))


@pytest.mark.parametrize("num_frames", [1, 2])
def test_one_and_two_frames_are_legal(num_frames: int) -> None:
    source = ListSource(three_frames()[:num_frames])

    sink = run(list(hypercon("identity", radius=2)), source)

    assert [frame.index for frame in sink.frames] == list(range(num_frames))


def test_intervals_without_an_aggregation_are_refused_in_words() -> None:
    stages = [
        Stage(Interpolate(Timeline(0, 0)), "a"),
        Stage(_Widen(), "b"),
    ]

    with pytest.raises(TypeError, match="the sink must be given frames, got intervals of 2 images"):
        run(stages)


class _Widen(Spy):
    takes = Interval

    def process(self, item: Interval) -> Iterable[Interval]:
        images = item.images.expand(2, -1, -1, -1)
        return [Interval(item.index, 2, (0, 1), images, 2, item.pts, item.time_base)]


def test_the_report_counts_and_times_with_its_clock() -> None:
    ticks = iter(range(10_000))
    source = ListSource(three_frames())

    report = LocalRunner("cpu", clock=lambda: float(next(ticks))).run(
        Pipeline(source, [Spy()], ListSink())
    )

    assert (report.frames_in, report.frames_out) == (3, 3)
    assert [(stage.name, stage.frames) for stage in report.stages] == [
        ("decode", 3),
        ("spy", 3),
        ("encode", 3),
    ]
    # Every measured call takes one tick: three items and the flush.
    assert report.stages[1].busy_s == 4
    assert report.to_dict()["frames_out"] == 3


class Watched(SilentProgress):
    """Remembers what it was shown."""

    def __init__(self) -> None:
        self.totals: list[int | None] = []
        self.states: list[JobState] = []

    def start(self, total: int | None) -> None:
        self.totals.append(total)

    def show(self, state: JobState) -> None:
        self.states.append(state)


class _Clock:
    """Moves only when somebody works."""

    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


class _Slow(Spy):
    def __init__(self, clock: _Clock, seconds: float) -> None:
        super().__init__()
        self._clock = clock
        self._seconds = seconds

    def process(self, item: Frame) -> Iterable[Frame]:
        self._clock.now_s += self._seconds
        return super().process(item)


def test_progress_is_shown_how_far_it_is_how_fast_and_what_holds_it_up() -> None:
    clock, progress = _Clock(), Watched()
    frames = frames_of([textured(6, 8, seed) for seed in range(12)])
    stages = [Stage(_Slow(clock, 1.0), "quick"), Stage(_Slow(clock, 3.0), "slow")]

    LocalRunner("cpu", progress, clock).run(Pipeline(ListSource(frames), stages, ListSink()))

    assert len(progress.totals) == 1
    # Once at the start, and after each frame.
    assert [state.frames_done for state in progress.states] == list(range(13))
    last = progress.states[-1]
    assert (last.elapsed_s, last.fps, last.bottleneck) == (12 * 4, 1 / 4, "slow")
    assert [(rate.name, rate.frames, rate.busy_share) for rate in last.stages] == [
        ("decode", 12, 0),
        ("quick", 12, 1 / 4),
        ("slow", 12, 3 / 4),
        ("encode", 12, 0),
    ]


def test_the_runner_holds_no_more_late_in_a_video_than_early() -> None:
    """Live tensors while the 15th, the 30th and the 45th frame of 60 is written."""
    sink = _Census(moments=(15, 30, 45))
    stages = hypercon("identity", insert=1, radius=2)

    LocalRunner("cpu").run(Pipeline(LongSource(60, 32, 40), stages, sink))

    assert len(sink.live) == 3
    assert len(set(sink.live)) == 1


class _Census(CountingSink):
    """Counts the live tensors at some moments of the run."""

    def __init__(self, moments: tuple[int, ...]) -> None:
        super().__init__()
        self._moments = moments
        self.live: list[int] = []

    def write(self, frame: Frame) -> None:
        super().write(frame)
        if self.count in self._moments:
            # What other tests left in cycles must not be counted.
            gc.collect()
            self.live.append(sum(type(held) is torch.Tensor for held in gc.get_objects()))


def test_devices_by_name() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("cuda:1") == torch.device("cuda:1")


def test_an_upscaler_gives_larger_frames() -> None:
    double = FunctionTranslator(
        lambda images: images.repeat_interleave(2, -1).repeat_interleave(2, -2),
        TranslatorTraits(scale=2),
    )

    sink = run(list(hypercon(double, insert=1, radius=1)))

    assert {tuple(frame.image.shape) for frame in sink.frames} == {(3, 12, 16)}
