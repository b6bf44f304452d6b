"""Eight-bit levels there and back."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from operators.functional.color import to_float, to_levels

ALL_LEVELS = torch.arange(256, dtype=torch.int64).to(torch.uint8)


def test_every_level_survives_the_round_trip():
    assert torch.equal(to_levels(to_float(ALL_LEVELS)), ALL_LEVELS)


def test_every_level_is_the_nearest_float32_to_its_share_of_255():
    expected = (np.arange(256) / 255).astype(np.float32)
    assert np.array_equal(to_float(ALL_LEVELS).numpy(), expected)


def test_every_level_survives_noise_of_less_than_half_a_level():
    for sign in (-1, 1):
        noisy = to_float(ALL_LEVELS) + sign * 0.49 / 255
        assert torch.equal(to_levels(noisy), ALL_LEVELS)


def test_halves_are_rounded_to_even():
    """Of all halves, float32 holds 127.5 / 255 exactly; in float64 there are more."""
    halves = torch.arange(255, dtype=torch.float64) + 0.5
    images = halves / 255
    exact = images * 255 == halves
    assert exact.sum() > 100
    even = (torch.arange(255) + torch.arange(255) % 2)[exact]
    assert torch.equal(to_levels(images[exact]).to(torch.int64), even)
    assert to_levels(torch.tensor(0.5)).item() == 128


@given(st.floats(-3, 4, width=32))
def test_a_value_becomes_the_nearest_level_of_the_range(value: float):
    level = to_levels(torch.tensor(value)).item()
    assert abs(level - min(max(value, 0.0), 1.0) * 255) <= 0.5 + 1e-4


def test_shapes_and_types_are_kept_as_documented():
    image = torch.rand(2, 3, 4, 5)
    levels = to_levels(image)
    assert levels.shape == image.shape
    assert levels.dtype == torch.uint8
    assert to_float(levels).dtype == torch.float32


def test_pictures_become_the_levels_that_their_values_become_one_by_one():
    """Around every half level, where rounding shows, and far outside of the range."""
    halves = ((torch.arange(255, dtype=torch.float64) + 0.5) / 255).to(torch.float32)
    below, above = (torch.nextafter(halves, torch.full_like(halves, end)) for end in (0.0, 1.0))
    outside = torch.tensor([-torch.inf, -3e38, -0.7, 1.0 + 1e-6, 2.0**24, 3e38, torch.inf])
    values = torch.cat((halves, below, above, outside))

    expected = torch.stack([to_levels(value) for value in values])

    assert torch.equal(to_levels(values.expand(3, 2, -1)), expected.expand(3, 2, -1))
    assert torch.equal(to_levels(values[:, None]), expected[:, None])
    # As few as a vector unit does not take, and what it leaves over.
    for length in (3, 21):
        for picture, levels in zip(values.split(length), expected.split(length), strict=True):
            assert torch.equal(to_levels(picture[None]), levels[None])


@pytest.mark.parametrize("width", [7, 700, 200_000])
def test_pictures_of_any_size_become_what_their_values_become(width: int):
    """They are rounded some rows at a time: many, several and one of these."""
    generator = torch.Generator().manual_seed(width)
    image = torch.rand(3, 640_000 // width // 3 + 1, width, generator=generator) * 1.2 - 0.1

    assert torch.equal(to_levels(image), (image.clamp(0, 1) * 255).round().to(torch.uint8))
    assert torch.equal(to_levels(image.mT), to_levels(image).mT)


def test_pictures_become_the_shares_that_their_levels_become_one_by_one():
    expected = torch.stack([to_float(level) for level in ALL_LEVELS])

    picture = ALL_LEVELS.expand(3, 5, -1)

    assert torch.equal(to_float(picture), expected.expand(3, 5, -1))
    assert torch.equal(to_float(picture.mT), expected.expand(3, 5, -1).mT)


def test_what_is_empty_stays_empty():
    assert to_levels(torch.empty(3, 0, 4)).shape == (3, 0, 4)
    assert to_float(torch.empty(3, 4, 0, dtype=torch.uint8)).shape == (3, 4, 0)
