"""Nothing crosses a cut: a video of many shots is the shots, each run on its own."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from streams import ArraySink, FunctionTranslator, ListSink, ListSource, frames_of, read_arrays
from torch import Tensor

from operators.frame import Frame
from pipeline.errors import InputError
from pipeline.io.cut_detector import DetectedCuts
from pipeline.io.cuts import Cuts
from pipeline.io.endpoint import Sink, Source
from pipeline.local_runner import LocalRunner
from pipeline.recipes import AlignmentName, hypercon
from pipeline.report import RunReport
from pipeline.stage import Pipeline, Stage

HEIGHT, WIDTH = 24, 32


class KnownCuts:
    """Cuts that are known, and how often they were asked for."""

    def __init__(self, *cuts: int) -> None:
        self.cuts = list(cuts)
        self.searches = 0

    def find(self, source: Source) -> list[int]:
        self.searches += 1
        return self.cuts


def drifting(length: int, seed: int) -> list[Tensor]:
    """A scene that moves; another for every seed."""
    generator = torch.Generator().manual_seed(seed)
    canvas = torch.rand(1, 3, 6, 12, generator=generator)
    canvas = torch.nn.functional.interpolate(canvas, (HEIGHT, WIDTH + 2 * length), mode="bilinear")
    levels = (canvas[0] * 255).round() / 255
    return [levels[:, :, 2 * n : 2 * n + WIDTH].contiguous() for n in range(length)]


def scenes(lengths: Sequence[int]) -> list[list[Tensor]]:
    return [drifting(length, seed) for seed, length in enumerate(lengths)]


def wavy(images: Tensor) -> Tensor:
    """Not monotonous, so that frames which were pooled in another way show."""
    red, green, blue = images.unbind(1)
    return torch.stack((torch.sin(9 * green) / 2 + 0.5, 1 - blue, (red * 4).round() / 4), dim=1)


def method(alignment: AlignmentName = "shared", insert: int = 1, radius: int = 3) -> list[Stage]:
    return list(
        hypercon(FunctionTranslator(wavy), insert=insert, radius=radius, alignment=alignment)
    )


def run(
    images: list[Tensor],
    sink: Sink,
    cuts: Cuts | None = None,
    *,
    stages: list[Stage] | None = None,
    source: ListSource | None = None,
    key: str | None = None,
) -> RunReport:
    """Segments are five frames long."""
    pipeline = Pipeline(
        source or ListSource(frames_of(images)), stages or method(), sink, cuts=cuts
    )
    return LocalRunner("cpu", segment_frames=5, key=key).run(pipeline)


def alone(shots: list[list[Tensor]], stages: list[Stage]) -> np.ndarray:
    """The outputs of the shots, each a video of its own in one piece."""
    outputs = []
    for shot in shots:
        sink = ListSink()
        run(shot, sink, stages=stages)
        outputs.append(sink.images())
    return np.concatenate(outputs)


def joined(shots: list[list[Tensor]]) -> list[Tensor]:
    return [image for shot in shots for image in shot]


def cuts_between(shots: list[list[Tensor]]) -> list[int]:
    return np.cumsum([len(shot) for shot in shots])[:-1].tolist()


LENGTHS = [
    pytest.param([9, 8], id="two scenes"),
    pytest.param([1, 11], id="a cut at frame 1"),
    pytest.param([12, 1], id="a cut at the last frame"),
    pytest.param([5, 1, 1, 2, 6], id="cuts side by side"),
    pytest.param([5, 5, 10], id="cuts where segments end"),
]


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("alignment", ["shared", "exact"])
def test_a_video_of_shots_is_its_shots_one_by_one(
    tmp_path: Path, lengths: list[int], alignment: AlignmentName
) -> None:
    shots, stages = scenes(lengths), method(alignment)
    expected = alone(shots, stages)
    cuts = KnownCuts(*cuts_between(shots))
    whole = ListSink()

    run(joined(shots), whole, cuts, stages=stages)
    report = run(joined(shots), ArraySink(tmp_path / "o.npz"), cuts, stages=stages)

    np.testing.assert_array_equal(whole.images(), expected)
    images, times = read_arrays(tmp_path / "o.npz")
    np.testing.assert_array_equal(images, expected)
    assert times[:, 0].tolist() == [frame.pts for frame in frames_of(joined(shots))]
    assert (report.shots, report.cuts) == (len(lengths), cuts_between(shots))


def test_without_cuts_windows_do_cross() -> None:
    """The comparison above could fail."""
    shots, stages, sink = scenes([9, 8]), method(), ListSink()

    run(joined(shots), sink, stages=stages)

    differing = (sink.images() != alone(shots, stages)).any(axis=(1, 2, 3))
    assert np.flatnonzero(differing).tolist() == [7, 8, 9, 10]


def test_cuts_that_are_detected_part_the_shots_too(tmp_path: Path) -> None:
    shots, stages = scenes([10, 9, 12]), method()

    report = run(joined(shots), ArraySink(tmp_path / "o.npz"), DetectedCuts(), stages=stages)

    assert report.cuts == [10, 19]
    images, _ = read_arrays(tmp_path / "o.npz")
    np.testing.assert_array_equal(images, alone(shots, stages))


class Remembering:
    """Adds the mean of all frames of the shot so far: it needs its shots whole."""

    takes = Frame
    is_stateful = True
    reach = None

    def __init__(self) -> None:
        self._seen: list[Tensor] = []

    def setup(self, device: torch.device) -> None: ...

    def process(self, item: Frame) -> Iterable[Frame]:
        self._seen.append(item.image)
        mean = torch.stack(self._seen).mean(dim=0)
        yield Frame(item.index, (item.image + mean) / 2, item.pts, item.time_base)

    def flush(self) -> Iterable[Frame]:
        self._seen.clear()
        return ()

    def close(self) -> None: ...


@pytest.mark.parametrize("lengths", LENGTHS)
def test_what_is_remembered_is_forgotten_at_a_cut(tmp_path: Path, lengths: list[int]) -> None:
    shots, stages = scenes(lengths), [Stage(Remembering(), "remember")]

    run(
        joined(shots),
        ArraySink(tmp_path / "o.npz"),
        KnownCuts(*cuts_between(shots)),
        stages=stages,
    )

    images, _ = read_arrays(tmp_path / "o.npz")
    np.testing.assert_array_equal(images, alone(shots, stages))


class Torn(ListSource):
    """A source that ends in an error, and notes which frames were read."""

    def __init__(self, frames: Sequence[Frame], fail_at: int | None = None) -> None:
        super().__init__(frames, fail_at, InputError("torn"))
        self.read: list[int] = []

    def frames(self, first: int = 0, stop: int | None = None) -> Iterator[Frame]:
        for frame in super().frames(first, stop):
            self.read.append(frame.index)
            yield frame


def interrupted(tmp_path: Path, shots: list[list[Tensor]], cuts: Cuts) -> None:
    """A run that ends in the second segment of the second shot, frames 11 to 15."""
    with pytest.raises(InputError, match="torn"):
        run([], ArraySink(tmp_path / "o.npz"), cuts, source=Torn(video(shots), 17), key="key")


def video(shots: list[list[Tensor]]) -> list[Frame]:
    return frames_of(joined(shots))


def test_a_run_that_is_resumed_does_not_look_for_cuts_again(tmp_path: Path) -> None:
    shots = scenes([6, 17])
    cuts = KnownCuts(6)
    interrupted(tmp_path, shots, cuts)
    source = Torn(video(shots))

    report = run([], ArraySink(tmp_path / "o.npz"), cuts, source=source, key="key")

    assert cuts.searches == 1
    assert (report.shots, report.cuts) == (2, [6])
    # Segments of the second shot begin at 6, 11, 16 and 21, and read two frames before.
    assert report.frames_resumed == 11
    assert source.read == list(range(9, 23))
    images, _ = read_arrays(tmp_path / "o.npz")
    np.testing.assert_array_equal(images, alone(shots, method()))
    assert list(tmp_path.iterdir()) == [tmp_path / "o.npz"]


def test_cuts_of_another_run_are_never_taken_over(tmp_path: Path) -> None:
    shots = scenes([6, 17])
    interrupted(tmp_path, shots, KnownCuts(6))
    cuts = KnownCuts(6, 9)

    report = run(joined(shots), ArraySink(tmp_path / "o.npz"), cuts, key="other")

    assert cuts.searches == 1
    assert (report.cuts, report.frames_resumed) == ([6, 9], 0)


def test_no_frame_is_decoded_twice_because_of_a_cut(tmp_path: Path) -> None:
    shots = scenes([7, 1, 9])
    source = Torn(video(shots))

    run([], ArraySink(tmp_path / "o.npz"), KnownCuts(7, 8), source=source)

    assert source.read == list(range(17))


def test_looking_for_cuts_counts_as_decoding() -> None:
    seconds = iter(range(1000))

    def slow_search(_: Source) -> list[int]:
        for _ in range(100):
            next(seconds)
        return []

    cuts = KnownCuts()
    cuts.find = slow_search  # type: ignore[method-assign]
    pipeline = Pipeline(ListSource(frames_of(drifting(3, 0))), method(), ListSink(), cuts=cuts)

    report = LocalRunner("cpu", clock=lambda: float(next(seconds))).run(pipeline)

    assert 100 < report.stages[0].busy_s < 120


def test_of_very_many_cuts_the_report_tells_the_first() -> None:
    report = RunReport()

    report.tell_cuts(range(5, 1005, 5))

    assert report.shots == 201
    assert report.to_dict()["cuts"] == list(range(5, 505, 5))
