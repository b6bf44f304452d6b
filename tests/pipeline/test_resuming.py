"""A run in segments, interrupted or not, gives what a run in one piece gives."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from clips import read_back, write_clip
from streams import (
    ArraySink,
    FunctionTranslator,
    ListSink,
    ListSource,
    frames_of,
    moving,
    read_arrays,
)
from torch import Tensor

from operators.frame import Frame
from pipeline.errors import InputError
from pipeline.io.video_sink import VideoSink
from pipeline.io.video_source import VideoSource
from pipeline.local_runner import LocalRunner
from pipeline.recipes import AlignmentName, hypercon
from pipeline.report import RunReport
from pipeline.stage import Pipeline, Stage


class Cut(KeyboardInterrupt):
    """What ends a run in the middle; nothing in the program catches it."""


def clip(num_frames: int = 23) -> list[Frame]:
    return frames_of(moving(num_frames, 24, 32))


def wavy(images: Tensor) -> Tensor:
    """Not monotonous, so that frames which were pooled in another way show."""
    red, green, blue = images.unbind(1)
    return torch.stack((torch.sin(9 * green) / 2 + 0.5, 1 - blue, (red * 4).round() / 4), dim=1)


def method(insert: int = 1, radius: int = 3, alignment: AlignmentName = "shared") -> list[Stage]:
    return list(
        hypercon(FunctionTranslator(wavy), insert=insert, radius=radius, alignment=alignment)
    )


def in_one_piece(stages: list[Stage]) -> ListSink:
    """The same without segments: this sink has none."""
    sink = ListSink()
    LocalRunner("cpu").run(Pipeline(ListSource(clip()), stages, sink))
    return sink


def in_segments(
    path: Path,
    source: ListSource,
    stages: list[Stage] | None = None,
    *,
    key: str | None = "key",
    segment_frames: int = 5,
) -> RunReport:
    """Run to a sink that joins segments."""
    runner = LocalRunner("cpu", key=key, segment_frames=segment_frames)
    return runner.run(Pipeline(source, stages or method(), ArraySink(path)))


def assert_whole(path: Path, expected: ListSink) -> None:
    """The frames of an output are those of a run in one piece, and nothing else is there."""
    images, times = read_arrays(path)
    np.testing.assert_array_equal(images, expected.images())
    assert times[:, 0].tolist() == [frame.pts for frame in expected.frames]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("segment_frames", [1, 2, 5, 22, 23, 64])
@pytest.mark.parametrize(
    ("insert", "radius", "alignment"),
    [
        (0, 0, "shared"),
        (0, 2, "shared"),
        (1, 1, "shared"),
        (3, 2, "shared"),
        (1, 5, "shared"),
        (1, 1, "exact"),
        (1, 2, "exact"),
    ],
)
def test_segments_of_any_length_give_the_frames_of_one_piece(
    tmp_path: Path, segment_frames: int, insert: int, radius: int, alignment: AlignmentName
) -> None:
    stages = method(insert, radius, alignment)
    expected = in_one_piece(stages)

    report = in_segments(
        tmp_path / "o.npz", ListSource(clip()), stages, segment_frames=segment_frames
    )

    assert_whole(tmp_path / "o.npz", expected)
    # Nothing is translated that no window reads.
    stride, last = insert + 1, len(clip()) - 1
    num_read = 0
    for first in range(0, last + 1, segment_frames):
        end = min(first + segment_frames - 1, last)
        lowest = max((first * stride - radius) // stride, 0)
        highest = min((end * stride + radius) // stride, last)
        num_read += highest - lowest + 1
    translate = next(stage for stage in report.stages if stage.name == "translate")
    assert translate.frames == num_read


@pytest.mark.parametrize("error", [InputError("torn"), Cut()], ids=["error", "interruption"])
def test_a_run_that_was_interrupted_is_resumed_by_running_it_again(
    tmp_path: Path, error: BaseException
) -> None:
    """Of segments of five frames with a halo of two, the third is the first to read frame 12."""
    path = tmp_path / "o.npz"
    with pytest.raises(type(error)):
        in_segments(path, ListSource(clip(), fail_at=12, error=error))
    assert not path.exists()
    source = ReadSource(clip())

    report = in_segments(path, source)

    assert_whole(path, in_one_piece(method()))
    assert (report.frames_resumed, report.frames_in, report.frames_out) == (10, 23, 23)
    # The third segment begins at frame 10 and reads two before it.
    assert source.read == list(range(8, 23))


class ReadSource(ListSource):
    """Notes which frames were read."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        super().__init__(frames)
        self.read: list[int] = []

    def frames(self, first: int = 0, stop: int | None = None) -> Iterator[Frame]:
        for frame in super().frames(first, stop):
            self.read.append(frame.index)
            yield frame


def test_a_run_can_be_interrupted_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "o.npz"
    for fail_at in (8, 8, 14, 22):
        with pytest.raises(Cut):
            in_segments(path, ListSource(clip(), fail_at=fail_at, error=Cut()))

    report = in_segments(path, ListSource(clip()))

    assert report.frames_resumed == 20
    assert_whole(path, in_one_piece(method()))


def test_a_run_without_a_key_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="torn"):
        in_segments(
            tmp_path / "o.npz",
            ListSource(clip(), fail_at=12, error=InputError("torn")),
            key=None,
        )

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "segment_frames"), [("other", 5), ("key", 4), (None, 5)], ids=["key", "length", "none"]
)
def test_segments_of_another_run_are_never_taken_over(
    tmp_path: Path, key: str | None, segment_frames: int
) -> None:
    path = tmp_path / "o.npz"
    # Other pictures: one segment of them in the output would show.
    others = frames_of([1 - image for image in moving(23, 24, 32)])
    with pytest.raises(InputError):
        in_segments(path, ListSource(others, fail_at=20, error=InputError("torn")))

    report = in_segments(path, ListSource(clip()), key=key, segment_frames=segment_frames)

    assert report.frames_resumed == 0
    assert_whole(path, in_one_piece(method()))


# Segments of five frames take six or seven calls, the halo of one frame included.
@pytest.mark.parametrize(
    ("cuts", "frames_resumed"), [((1,), 0), ((17,), 10), ((17, 12), 15), ((9, 9, 10), 15)]
)
def test_a_lossy_video_is_the_same_however_often_it_was_interrupted(
    tmp_path: Path, cuts: tuple[int, ...], frames_resumed: int
) -> None:
    """Encoders choose by what they have seen: only whole segments of one grid are alike."""
    stamps = [4 * n + n % 3 for n in range(23)]
    source = write_clip(tmp_path / "in.mp4", pts=stamps, time_base=Fraction(1, 100))

    def encode(path: Path, cut: int | None = None) -> RunReport:
        stages = list(hypercon(Interrupted(cut), insert=1, radius=2))
        runner = LocalRunner("cpu", key="key", segment_frames=5)
        return runner.run(Pipeline(VideoSource(source), stages, VideoSink(path)))

    encode(tmp_path / "whole.mp4")
    for cut in cuts:
        with pytest.raises(Cut):
            encode(tmp_path / "resumed.mp4", cut)
    report = encode(tmp_path / "resumed.mp4")

    times, lumas = read_back(tmp_path / "resumed.mp4")
    expected_times, expected_lumas = read_back(tmp_path / "whole.mp4")
    assert times == expected_times == read_back(source)[0]
    np.testing.assert_array_equal(lumas, expected_lumas)
    assert report.frames_resumed == frames_resumed
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "in.mp4",
        "resumed.mp4",
        "whole.mp4",
    ]


class Interrupted(FunctionTranslator):
    """A negative, until a call at which the run is interrupted."""

    def __init__(self, at_call: int | None) -> None:
        super().__init__(lambda images: 1 - images)
        self._at_call = at_call

    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        if len(self.batches) == self._at_call:
            raise Cut
        return super().__call__(images, masks)
