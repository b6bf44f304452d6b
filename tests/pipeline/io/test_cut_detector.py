"""Hard cuts are found where they are; motion, fades, dissolves and flashes are none."""

import weakref
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import ListSource, frames_of, textured
from torch import Tensor

from pipeline.io.cut_detector import Change, DetectedCuts, change

HEIGHT, WIDTH = 36, 64
# A thumbnail is shifted by up to three pixels.
SHIFT = 3


def scene(length: int, seed: int, dx: int = 1, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Tensor:
    """A camera that moves ``dx`` pixels a frame over one picture, ``(length, 3, H, W)``."""
    height, width = size
    canvas = textured(height, width + dx * length, seed)
    return torch.stack([canvas[:, :, dx * n : dx * n + width] for n in range(length)])


def cuts_of(images: Sequence[Tensor] | Tensor, **options: float) -> list[int]:
    return DetectedCuts(**options).find(ListSource(frames_of(list(images))))


def joined(*scenes: Tensor) -> Tensor:
    return torch.cat(scenes)


@given(
    first=st.integers(1, 12),
    inner=st.lists(st.integers(6, 15), max_size=4),
    last=st.integers(1, 12),
    dx=st.integers(0, 3),
)
@settings(max_examples=30)
def test_every_cut_is_found_and_nothing_else(
    first: int, inner: list[int], last: int, dx: int
) -> None:
    lengths = [first, *inner, last]

    found = cuts_of(joined(*(scene(length, seed, dx) for seed, length in enumerate(lengths))))

    assert found == np.cumsum(lengths)[:-1].tolist()


@pytest.mark.parametrize("gain", [1.0, 0.5, 0.15])
def test_cuts_between_dark_scenes_are_found_too(gain: float) -> None:
    images = joined(scene(12, 0), scene(12, 1)) * gain

    assert cuts_of(images) == [12]


def test_a_hard_cut_to_black_that_stays_is_a_cut() -> None:
    black = torch.zeros(12, 3, HEIGHT, WIDTH)

    assert cuts_of(joined(scene(12, 0), black, scene(12, 1))) == [12, 24]


@pytest.mark.parametrize("dx", [0, 2, 6, 16, 40])
def test_camera_motion_of_any_speed_is_no_cut(dx: int) -> None:
    """Up to a quarter of the width it is followed; beyond, all frames change alike."""
    assert cuts_of(scene(30, 3, dx)) == []


@pytest.mark.parametrize(("before", "after"), [(0, 12), (1, 24), (12, 0), (24, 1)])
def test_motion_that_begins_or_ends_at_once_is_no_cut(before: int, after: int) -> None:
    lefts = np.cumsum([before] * 15 + [after] * 15)
    canvas = textured(HEIGHT, WIDTH + lefts[-1], 3)

    assert cuts_of([canvas[:, :, left : left + WIDTH] for left in lefts]) == []


@pytest.mark.parametrize("length", [6, 8, 12, 24])
def test_a_dissolve_is_no_cut(length: int) -> None:
    one, other = scene(20 + length, 0), scene(20 + length, 1)
    share = torch.linspace(0, 1, length + 2)[1:-1].view(-1, 1, 1, 1)
    between = one[20:] * (1 - share) + other[:length] * share

    assert cuts_of(joined(one[:20], between, other[length:])) == []


@pytest.mark.parametrize("dark", [1, 5, 20])
@pytest.mark.parametrize("length", [6, 12, 24])
@pytest.mark.parametrize("shade", [0.0, 1.0])
def test_a_fade_to_black_or_white_and_back_does_not_shatter_the_shot(
    length: int, dark: int, shade: float
) -> None:
    down = torch.linspace(1, 0, length + 1)[1:]
    strength = torch.cat((torch.ones(10), down, torch.zeros(dark), down.flip(0), torch.ones(10)))
    images = scene(len(strength), 0)

    strength = strength.view(-1, 1, 1, 1)
    assert cuts_of(images * strength + shade * (1 - strength)) == []


@pytest.mark.parametrize("length", [1, 2, 3, 5])
@pytest.mark.parametrize("at", [1, 2, 9, 23])
@pytest.mark.parametrize("strength", [0.6, 1.0])
def test_a_flash_does_not_shatter_the_shot(length: int, at: int, strength: float) -> None:
    images = scene(30, 5)
    images[at : at + length] += strength * (1 - images[at : at + length])

    assert cuts_of(images) == []


def test_a_flash_beside_a_cut_hides_only_itself() -> None:
    images = joined(scene(20, 5), scene(20, 6))
    for at in (16, 23):
        images[at] = 1.0

    assert cuts_of(images) == [20]


def test_what_goes_through_a_still_picture_is_no_cut() -> None:
    images = scene(1, 5)[0].repeat(30, 1, 1, 1)
    for n in range(30):
        images[n, :, 8:28, 4 * n : 4 * n + 24] = textured(20, 24, 9)[:, :, : max(0, 64 - 4 * n)]

    assert cuts_of(images) == []


def test_noise_is_no_cut() -> None:
    generator = torch.Generator().manual_seed(0)
    dark = torch.rand(40, 3, HEIGHT, WIDTH, generator=generator) * 0.1
    still = scene(1, 5)[0] * 0.2 + torch.rand(40, 3, HEIGHT, WIDTH, generator=generator) * 0.1

    assert cuts_of(dark) == []
    assert cuts_of(still) == []


def test_where_every_frame_is_another_picture_none_is_a_cut() -> None:
    """Not even one that changes more than the others."""
    images = torch.rand(40, 3, 18, 32, generator=torch.Generator().manual_seed(0))
    images = 0.5 + (images - 0.5) * 0.3
    images[20] = 0.5 + (images[20] - 0.5) * 3

    assert cuts_of(images) == []


def test_frames_that_are_shown_twice_change_nothing() -> None:
    """Every frame of a film at twice its rate."""
    images = joined(scene(12, 0, 3), scene(12, 1, 3)).repeat_interleave(2, dim=0)

    assert cuts_of(images) == [24]


def test_of_cuts_close_to_each_other_the_strongest_counts() -> None:
    """A frame that mixes two scenes, as converters make it, changes twice: once more, once less."""
    one, other = scene(12, 0, 0), scene(12, 1, 0)
    mixed = (0.8 * one[-1:] + 0.2 * other[:1], 0.2 * one[-1:] + 0.8 * other[:1])

    assert cuts_of(joined(one, mixed[0], other)) == [13]
    assert cuts_of(joined(one, mixed[1], other)) == [12]


@pytest.mark.parametrize(("shortest", "expected"), [(3, [12, 15]), (4, [15]), (6, [15])])
def test_a_weaker_cut_gives_way_to_a_stronger_one_close_behind(
    shortest: int, expected: list[int]
) -> None:
    """Two thirds of the picture change, then all of it."""
    one, other, third = (scene(12, seed, 0) for seed in range(3))
    between = one[:3].clone()
    between[:, :, :, WIDTH // 3 :] = other[:3, :, :, WIDTH // 3 :]

    assert cuts_of(joined(one, between, third), shortest=shortest) == expected


@pytest.mark.parametrize("shortest", [1, 3, 6, 10])
def test_cuts_keep_their_distance(shortest: int) -> None:
    images = joined(*(scene(4, seed, 0) for seed in range(8)))

    found = cuts_of(images, shortest=shortest)

    assert found
    assert all(later - earlier >= shortest for earlier, later in pairwise(found))
    assert set(found) <= set(range(4, 32, 4))


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 1), (2, 2), (17, 31)])
def test_frames_smaller_than_a_thumbnail_are_legal(size: tuple[int, int]) -> None:
    one = torch.full((10, 3, *size), 0.2)
    other = torch.full((10, 3, *size), 0.7)

    assert cuts_of(joined(one, other)) == [10]


@pytest.mark.parametrize("num_frames", [0, 1])
def test_a_video_without_a_pair_has_no_cut(num_frames: int) -> None:
    assert cuts_of(scene(2, 0)[:num_frames]) == []


def test_two_different_frames_are_two_shots() -> None:
    assert cuts_of(joined(scene(1, 0), scene(1, 1))) == [1]


def test_a_lower_threshold_finds_more() -> None:
    """Half of the picture changes."""
    images = scene(1, 0)[0].repeat(24, 1, 1, 1)
    images[12:, :, :, : WIDTH // 3] = scene(1, 1)[0][:, :, : WIDTH // 3]

    assert cuts_of(images) == []
    assert cuts_of(images, threshold=0.15) == [12]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 0.0}, "threshold must be between 0 and 1, got 0.0"),
        ({"threshold": 1.0}, "threshold must be between 0 and 1, got 1.0"),
        ({"shortest": 0}, "shortest must be at least 1, got 0"),
    ],
)
def test_numbers_out_of_range_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DetectedCuts(**options)


class Watched:
    """Thumbnails of a long video, and how many of them are alive at a time."""

    name = "watched"

    def __init__(self, num_frames: int) -> None:
        self._num_frames = num_frames
        self._made: list[weakref.ref[np.ndarray]] = []
        self.passes = 0
        self.most_alive = 0

    def info(self) -> None: ...
    def count(self) -> int:
        return self._num_frames

    def frames(self) -> None:
        msg = "frames must not be decoded in full where there are thumbnails"
        raise AssertionError(msg)

    def thumbnails(self, height: int, width: int) -> Iterator[np.ndarray]:
        self.passes += 1
        generator = np.random.default_rng(0)
        for _ in range(self._num_frames):
            thumbnail = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
            self._made.append(weakref.ref(thumbnail))
            self._made = [made for made in self._made if made() is not None]
            self.most_alive = max(self.most_alive, len(self._made))
            yield thumbnail


def test_it_looks_once_and_holds_no_more_than_its_neighbourhood() -> None:
    short, long = Watched(60), Watched(600)

    for source in (short, long):
        DetectedCuts().find(source)

    assert short.passes == long.passes == 1
    assert short.most_alive == long.most_alive <= 20


def slow_change(first: np.ndarray, second: np.ndarray) -> Change:
    """The definition, shift by shift and pixel by pixel, in whole numbers."""
    height, width, _ = first.shape
    rows, columns = range(SHIFT, height - SHIFT), range(SHIFT, width - SHIFT)
    results = []
    for dy in range(-SHIFT, SHIFT + 1):
        for dx in range(-SHIFT, SHIFT + 1):
            pairs = [(first[y + dy, x + dx], second[y, x]) for y in rows for x in columns]
            ours = np.array([pair[0] for pair in pairs], dtype=np.int64)
            theirs = np.array([pair[1] for pair in pairs], dtype=np.int64)
            squared = ((ours - theirs) ** 2).sum()
            # Each pixel with every other, not only with its own.
            shuffled = np.mean([((one - theirs) ** 2).sum() for one in ours])
            results.append((squared / (shuffled + ours.size * 36), np.sqrt(squared / ours.size)))
    return Change(*min(results))


@pytest.mark.parametrize("contrast", [256, 20, 1])
def test_a_change_is_the_difference_over_that_of_shuffled_pictures(contrast: int) -> None:
    generator = np.random.default_rng(1)
    first, second = generator.integers(0, contrast, (2, 9, 10, 3)).astype(np.uint8)
    second[:, 2:] = first[:, :-2] // 2

    expected = slow_change(first, second)

    assert change(first, second).share == pytest.approx(expected.share, rel=1e-12)
    assert change(first, second).levels == pytest.approx(expected.levels, rel=1e-12)


def test_a_small_shift_is_no_change() -> None:
    canvas = (textured(24, 40, 3) * 255).permute(1, 2, 0).numpy().astype(np.uint8)

    moved = change(canvas[3:21, 3:35], canvas[1:19, 6:38])

    assert moved == Change(0.0, 0.0)
