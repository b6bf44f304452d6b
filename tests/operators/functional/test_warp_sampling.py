"""Reading at arbitrary positions, which backward warping and correlation lookups are made of."""

import pytest
import torch

from operators.functional.warp import backward_warp, bilinear_sample, sample_positions


def test_positions_may_lie_on_a_grid_of_another_size() -> None:
    columns = torch.arange(5.0).expand(4, 5)
    rows = 10.0 * torch.arange(4.0)[:, None].expand(4, 5)
    image = torch.stack((columns + rows, -columns))[None]
    positions = torch.tensor([[0.5, 4.0, 3.25], [1.0, 2.75, 0.0]]).view(1, 2, 1, 3)

    found = bilinear_sample(image, positions, "border")

    expected = torch.tensor([[10.5, 31.5, 3.25], [-0.5, -4.0, -3.25]]).view(1, 2, 1, 3)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_outside_is_the_border_or_zero() -> None:
    image = torch.full((1, 1, 3, 4), 7.0)
    positions = torch.tensor([[-5.0, 9.0, 1.0], [1.0, 1.0, -4.0]]).view(1, 2, 1, 3)
    assert torch.equal(bilinear_sample(image, positions, "border"), torch.full((1, 1, 1, 3), 7.0))
    assert torch.equal(bilinear_sample(image, positions, "zeros"), torch.zeros(1, 1, 1, 3))


def test_a_backward_warp_is_sampling_where_the_flow_points() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, 5, 6, generator=generator)
    flow = 6 * torch.rand(2, 2, 5, 6, generator=generator) - 3
    sampled = bilinear_sample(image, sample_positions(flow), "zeros")
    assert torch.equal(sampled, backward_warp(image, flow, "zeros"))


def test_sampling_refuses_positions_of_another_batch_or_dimension() -> None:
    image = torch.zeros(2, 3, 4, 5)
    with pytest.raises(ValueError, match="positions must have the batch of image, got"):
        bilinear_sample(image, torch.zeros(1, 2, 4, 5), "zeros")
    with pytest.raises(ValueError, match=r"positions must be \(B, 2, H, W\), got \(2, 3, 4, 5\)"):
        bilinear_sample(image, torch.zeros(2, 3, 4, 5), "zeros")
