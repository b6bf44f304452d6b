"""Pooling against numpy, one pixel at a time."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from operators.functional import pool

Pool = Callable[[Tensor, Tensor], Tensor]

counts = st.integers(1, 7)
seeds = st.integers(0, 2**32 - 1)


def random_stack(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """A stack with equal values in it, and votes that leave every pixel at least one."""
    generator = torch.Generator().manual_seed(seed)
    stack = torch.randint(0, 6, (count, 3, 3, 4), generator=generator) / 5.0
    valid = torch.rand(count, 1, 3, 4, generator=generator) < 0.6
    keeper = torch.randint(0, count, (1, 1, 3, 4), generator=generator)
    return stack, valid.scatter(0, keeper, value=True)


@pytest.mark.parametrize(
    ("pooled", "truth"), [(pool.mean, np.mean), (pool.median, np.median)], ids=["mean", "median"]
)
@given(counts, seeds)
def test_pooling_is_that_of_numpy_over_the_valid_samples(
    pooled: Pool, truth: Callable[..., np.floating], count: int, seed: int
):
    stack, valid = random_stack(count, seed)
    result = pooled(stack, valid)
    assert result.shape == (3, 3, 4)
    for channel in range(3):
        for y in range(3):
            for x in range(4):
                votes = stack[:, channel, y, x][valid[:, 0, y, x]].double().numpy()
                assert result[channel, y, x].item() == pytest.approx(truth(votes), abs=1e-6)


def test_the_median_of_an_even_number_is_between_the_two_middle_ones():
    stack = torch.tensor((0.1, 0.2, 0.6, 0.9)).view(4, 1, 1, 1)
    everything = torch.ones(4, 1, 1, 1, dtype=torch.bool)
    assert pool.median(stack, everything).item() == pytest.approx(0.4)


@given(counts, seeds)
def test_what_an_invalid_sample_holds_does_not_matter(count: int, seed: int):
    stack, valid = random_stack(count, seed)
    other = torch.where(valid, stack, 1000.0)
    for pooled in (pool.mean, pool.median):
        assert torch.equal(pooled(stack, valid), pooled(other, valid))


@given(counts, seeds)
def test_the_median_does_not_depend_on_the_order_of_the_samples(count: int, seed: int):
    stack, valid = random_stack(count, seed)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(pool.median(stack, valid), pool.median(stack[order], valid[order]))
