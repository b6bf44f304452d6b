"""Items as operators take them, and errors as users read them."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import pytest
import torch
from streams import frames_of, textured

from operators.errors import ModelError
from operators.frame import Frame, FramePair, Interval, interval_of
from pipeline.errors import HyperConError, InputError, ResourceError
from pipeline.running import StageError, as_frames, as_taken, explain_stage, moment_of, pairs


@dataclass
class Taker:
    """An operator that is never run: only what it takes is asked."""

    takes: type
    is_stateful: bool = False
    reach: int = 0

    def setup(self, device: torch.device) -> None: ...
    def process(self, item: Frame) -> list[Frame]: ...
    def flush(self) -> list[Frame]: ...
    def close(self) -> None: ...


def three_frames() -> list[Frame]:
    return frames_of([textured(6, 8, seed) for seed in range(3)])


def wide_interval() -> Interval:
    return Interval(4, 2, (0, 1), torch.rand(2, 3, 6, 8), 2, 4096, Fraction(1, 15360))


def test_pairs_end_with_a_frame_alone() -> None:
    made = list(pairs(three_frames()))

    assert [(pair.first.index, pair.second and pair.second.index) for pair in made] == [
        (0, 1),
        (1, 2),
        (2, None),
    ]


def test_no_frames_make_no_pairs() -> None:
    assert list(pairs([])) == []


def test_who_takes_intervals_gets_frames_as_intervals_of_one_image() -> None:
    frame, interval = three_frames()[1], wide_interval()

    first, second = as_taken(Taker(Interval), "translate", [frame, interval])

    assert isinstance(first, Interval)
    assert torch.equal(first.images, frame.image[None])
    assert (first.index, first.pts, first.residues) == (frame.index, frame.pts, (0,))
    assert second is interval


def test_who_takes_frames_gets_intervals_of_one_image_as_frames() -> None:
    frames = three_frames()
    items = [interval_of(frames[0]), frames[1]]

    first, second = as_taken(Taker(Frame), "fade", items)

    assert isinstance(first, Frame)
    assert torch.equal(first.image, frames[0].image)
    assert (first.index, first.pts) == (0, frames[0].pts)
    assert second is frames[1]


def test_who_takes_pairs_gets_them_of_intervals_of_one_image_too() -> None:
    items = [interval_of(frame) for frame in three_frames()]

    made = list(as_taken(Taker(FramePair), "interpolate", items))

    assert [isinstance(pair, FramePair) and pair.first.index for pair in made] == [0, 1, 2]


def test_items_are_taken_one_by_one_as_they_are_asked_for() -> None:
    def endless() -> Iterator[Frame]:
        while True:
            yield from three_frames()

    for takes in (Frame, FramePair, Interval):
        taken = as_taken(Taker(takes), "stage", endless())
        assert isinstance(next(iter(taken)), takes)


def test_intervals_of_several_images_where_frames_are_taken_are_refused_in_words() -> None:
    message = (
        "stage 'fade' must be given frames, got intervals of 2 images; put an Aggregate before it"
    )

    with pytest.raises(TypeError, match=f"^{message}$"):
        list(as_taken(Taker(Frame), "fade", [wide_interval()]))
    with pytest.raises(TypeError, match=r"^the sink must be given frames"):
        list(as_frames([wide_interval()], "the sink"))


def test_the_moment_of_an_item_is_its_frame_and_time() -> None:
    frame = Frame(118, textured(2, 2), pts=60416, time_base=Fraction(1, 15360))
    expected = " at frame 118 (pts 60416, 3.933 s)"

    assert moment_of(frame) == expected
    assert moment_of(FramePair(frame, None)) == expected
    assert moment_of(interval_of(frame)) == expected
    assert moment_of(None) == " at the end of the shot"


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            ModelError("model must return pictures, got None"),
            ModelError,
            "stage 'x' failed at frame 1: model must return pictures, got None",
        ),
        (
            torch.OutOfMemoryError("CUDA out of memory"),
            ResourceError,
            "stage 'x' failed at frame 1: out of memory; a smaller --size needs less",
        ),
        (MemoryError(), ResourceError, "stage 'x' failed at frame 1: out of memory"),
        (InputError("in.mp4: broken at frame 2"), InputError, "in.mp4: broken at frame 2"),
        (RuntimeError("boom"), StageError, "stage 'x' failed at frame 1: RuntimeError: boom"),
        (KeyError("mask"), StageError, "stage 'x' failed at frame 1: KeyError: 'mask'"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_of_a_stage_is_one_that_a_user_can_read(
    error: Exception, kind: type[Exception], message: str
) -> None:
    explained = explain_stage(error, "x", " at frame 1")

    assert type(explained) is kind
    assert str(explained).startswith(message)
    assert isinstance(explained, HyperConError | ModelError)
