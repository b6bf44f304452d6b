from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from published import assert_near_golden
from shared import golden, golden_tolerance, weight_file
from torch import Tensor

from operators.base import Grids
from operators.functional.warp import sample_positions
from operators.interpolators import (
    LinearInterpolator,
    RifeInterpolator,
    SuperSloMoInterpolator,
    blend,
    blend_masks,
)
from operators.models import registry
from operators.models.entry import Entry, resolve

TINY_NETWORK = '''
import torch

class Tiny(torch.nn.Module):
    """Shows what it is given: red of the first image, of the second, and the instant."""

    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.zeros(1))
        self.calls = []

    def forward(self, first, second, t):
        self.calls.append((tuple(first.shape), float(first[..., -1, -1].abs().max())))
        red = torch.cat((first[:, :1], first[:, :1]), dim=1)
        return self.gain * red, self.gain * second[:, :2], torch.full_like(first[:, :1], t)

def from_published(state):
    return dict(state)
'''

# Super SloMo with a convolution for each of its networks, and the published layout of its file.
SMALL_SUPER_SLOMO = """
from torch import nn
from operators.models.superslomo import SuperSloMo, from_published

def build():
    return SuperSloMo(flow_computation=nn.Conv2d(6, 4, 1), arbitrary_time=nn.Conv2d(20, 5, 1))
"""


def sampled(image: np.ndarray, x: float, y: float, *, is_clamped: bool) -> np.ndarray:
    """Bilinear sample of ``(C, H, W)``: from the nearest border, or from zeros around."""
    _, height, width = image.shape
    if is_clamped:
        x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
    left, top = int(np.floor(x)), int(np.floor(y))
    total = np.zeros(image.shape[0])
    for v in (top, top + 1):
        for u in (left, left + 1):
            if 0 <= v < height and 0 <= u < width:
                total += (1 - abs(x - u)) * (1 - abs(y - v)) * image[:, v, u]
    return total


def random_grids(seed: int, height: int, width: int, reach: float) -> Grids:
    generator = torch.Generator().manual_seed(seed)
    flows = (torch.rand(2, 1, 2, height, width, generator=generator) - 0.5) * 2 * reach
    weight = torch.rand(1, 1, height, width, generator=generator)
    return Grids(flows[0], flows[1], weight)


def uniform(u: float, v: float, height: int, width: int) -> Tensor:
    return torch.tensor([u, v]).view(1, 2, 1, 1).repeat(1, 1, height, width)


def test_a_blend_is_equation_2_pixel_by_pixel() -> None:
    torch.manual_seed(0)
    first, second = torch.rand(2, 1, 3, 5, 7)
    grids = random_grids(1, 5, 7, reach=3.0)

    blended = blend(first, second, grids)[0].numpy()

    for y in range(5):
        for x in range(7):
            (u0, v0), (u1, v1) = grids.flow_t0[0, :, y, x], grids.flow_t1[0, :, y, x]
            weight = float(grids.weight_of_1[0, 0, y, x])
            a = sampled(first[0].numpy(), x + float(u0), y + float(v0), is_clamped=True)
            b = sampled(second[0].numpy(), x + float(u1), y + float(v1), is_clamped=True)
            np.testing.assert_allclose(
                blended[:, y, x], (1 - weight) * a + weight * b, atol=1e-5, rtol=0
            )


@given(seed=st.integers(0, 999), height=st.integers(2, 6), width=st.integers(2, 6))
def test_a_pixel_is_known_only_if_all_that_it_reads_is_known(
    seed: int, height: int, width: int
) -> None:
    grids = random_grids(seed, height, width, reach=2.0)
    generator = torch.Generator().manual_seed(seed + 1)
    masks = torch.rand(2, 1, 1, height, width, generator=generator) < 0.2

    missing = blend_masks(masks[0], masks[1], grids)

    assert missing.dtype == torch.bool
    for y in range(height):
        for x in range(width):
            known = [
                sampled(
                    1.0 - mask[0].float().numpy(),
                    x + float(flow[0, 0, y, x]),
                    y + float(flow[0, 1, y, x]),
                    is_clamped=False,
                )[0]
                for mask, flow in ((masks[0], grids.flow_t0), (masks[1], grids.flow_t1))
            ]
            weight = float(grids.weight_of_1[0, 0, y, x])
            share = (1 - weight) * known[0] + weight * known[1]
            # Nothing is asserted within rounding of the threshold itself.
            if abs(share - 0.999) > 1e-5:
                assert bool(missing[0, 0, y, x]) == (share < 0.999)


@given(seed=st.integers(0, 999))
def test_larger_masks_give_larger_holes(seed: int) -> None:
    grids = random_grids(seed, 5, 6, reach=2.0)
    generator = torch.Generator().manual_seed(seed + 1)
    first, second, more = torch.rand(3, 1, 1, 5, 6, generator=generator) < 0.25

    fewer = blend_masks(first, second, grids)
    holes = blend_masks(first | more, second | more, grids)

    assert bool((holes | ~fewer).all())


@given(t=st.floats(0.05, 0.95), seed=st.integers(0, 99))
def test_without_motion_the_hole_is_the_union_of_both(t: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    first, second = torch.rand(2, 1, 1, 4, 5, generator=generator) < 0.3
    still = torch.zeros(1, 2, 4, 5)

    holes = blend_masks(first, second, Grids(still, still, torch.full((1, 1, 4, 5), t)))

    assert torch.equal(holes, first | second)


@given(seed=st.integers(0, 999))
def test_rounding_opens_no_hole_where_everything_is_known(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    positions = torch.rand(2, 1, 2, 9, 11, generator=generator) * torch.tensor([10.0, 8.0]).view(
        1, 2, 1, 1
    )
    y, x = torch.meshgrid(torch.arange(9.0), torch.arange(11.0), indexing="ij")
    flows = positions - torch.stack((x, y))
    weight = torch.rand(1, 1, 9, 11, generator=generator)
    none = torch.zeros(1, 1, 9, 11, dtype=torch.bool)

    assert not blend_masks(none, none, Grids(flows[0], flows[1], weight)).any()


def test_what_is_read_from_outside_is_missing() -> None:
    none = torch.zeros(1, 1, 4, 6, dtype=torch.bool)
    grids = Grids(uniform(-2.0, 0.0, 4, 6), uniform(2.0, 0.0, 4, 6), torch.full((1, 1, 4, 6), 0.5))

    holes = blend_masks(none, none, grids)

    assert holes[0, 0, 0].tolist() == [True, True, False, False, True, True]


@pytest.mark.parametrize("t", [0.25, 0.5, 0.75])
def test_constant_motion_is_interpolated_in_closed_form(t: float, cpu: torch.device) -> None:
    height, width, u, v = 24, 40, 6.0, -4.0
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(40.0), indexing="ij")

    def scene(at: float) -> Tensor:
        """Linear in x and y, so that bilinear sampling is exact; it moves by (u, v)."""
        red, green = (x - at * u) / 80 + 0.3, (y - at * v) / 80 + 0.3
        return torch.stack((red, green, 0.5 * (red + green)))[None]

    interpolator = LinearInterpolator()
    interpolator.setup(cpu)
    flow = uniform(u, v, height, width), uniform(-u, -v, height, width)

    (grids,) = interpolator(scene(0.0), scene(1.0), flow, (t,))
    picture = blend(scene(0.0), scene(1.0), grids)

    torch.testing.assert_close(grids.flow_t0, -t * flow[0])
    torch.testing.assert_close(grids.flow_t1, (1 - t) * flow[0])
    torch.testing.assert_close(grids.weight_of_1, torch.full((1, 1, height, width), t))
    inside = (..., slice(6, -6), slice(8, -8))
    torch.testing.assert_close(picture[inside], scene(t)[inside], atol=1e-5, rtol=0.0)


def test_the_weight_of_a_frame_is_its_time_by_what_the_other_frame_sees_of_it(
    cpu: torch.device,
) -> None:
    """The blend of Super SloMo, written out for every pixel with its own sampling."""
    torch.manual_seed(2)
    height, width = 6, 8
    forward, backward = (torch.rand(2, 1, 2, height, width) - 0.5) * 6
    picture = torch.rand(1, 3, height, width)
    times = (0.25, 0.6)

    def visible(there: np.ndarray, back: np.ndarray) -> np.ndarray:
        result = np.zeros((1, height, width))
        for y in range(height):
            for x in range(width):
                f = there[:, y, x]
                b = sampled(back, x + f[0], y + f[1], is_clamped=True)
                tolerated = 0.01 * (f @ f + b @ b) + 0.5
                result[0, y, x] = 1 / (1 + (f + b) @ (f + b) / tolerated)
        return result

    f01, f10 = forward[0].double().numpy(), backward[0].double().numpy()
    first_in_second, second_in_first = visible(f01, f10), visible(f10, f01)

    found = LinearInterpolator()(picture, picture, (forward, backward), times)

    for t, grids in zip(times, found, strict=True):
        for y in range(height):
            for x in range(width):
                a, b = f01[:, y, x], f10[:, y, x]
                to_first = t * t * b - t * (1 - t) * a
                to_second = (1 - t) ** 2 * a - t * (1 - t) * b
                v1 = sampled(first_in_second, x + to_first[0], y + to_first[1], is_clamped=True)
                v0 = sampled(second_in_first, x + to_second[0], y + to_second[1], is_clamped=True)
                expected = t * v1 / ((1 - t) * v0 + t * v1)
                assert float(grids.weight_of_1[0, 0, y, x]) == pytest.approx(
                    expected.item(), abs=1e-4
                )
                np.testing.assert_allclose(grids.flow_t0[0, :, y, x], to_first, atol=1e-5)
                np.testing.assert_allclose(grids.flow_t1[0, :, y, x], to_second, atol=1e-5)


@pytest.mark.parametrize("t", [0.0, 1.0, -0.5, float("nan")])
def test_an_instant_must_be_strictly_between_the_frames(t: float) -> None:
    picture, flow = torch.rand(1, 3, 4, 4), torch.zeros(1, 2, 4, 4)

    with pytest.raises(ValueError, match="times must be strictly between 0 and 1"):
        LinearInterpolator()(picture, picture, (flow, flow), (0.5, t))


def test_linear_motion_needs_a_flow_on_the_grid_of_the_pictures() -> None:
    picture, flow = torch.rand(1, 3, 4, 4), torch.zeros(1, 2, 4, 5)

    with pytest.raises(ValueError, match="flow must be the forward and backward flow"):
        LinearInterpolator()(picture, picture, None, (0.5,))
    with pytest.raises(ValueError, match="forward must be on the grid of first"):
        LinearInterpolator()(picture, picture, (flow, flow), (0.5,))


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RifeInterpolator:
    (tmp_path / "tiny_interpolation_network.py").write_text(TINY_NETWORK)
    torch.save({"gain": torch.full((1,), 2.0)}, tmp_path / "tiny.pkl")
    monkeypatch.syspath_prepend(tmp_path)
    entry = Entry(
        kind="interpolator",
        name="tiny",
        summary="",
        adapter="operators.interpolators:RifeInterpolator",
        network="tiny_interpolation_network:Tiny",
        multiple=8,
        files=("tiny.pkl",),
    )
    return RifeInterpolator(entry, tmp_path)


def test_a_network_sees_zeros_around_and_gives_grids_in_the_order_of_the_times(
    tiny: RifeInterpolator, cpu: torch.device
) -> None:
    tiny.setup(cpu)
    first, second = torch.rand(2, 1, 3, 5, 11) + 0.1

    found = tiny(first, second, None, (0.75, 0.25))

    for t, grids in zip((0.75, 0.25), found, strict=True):
        assert torch.equal(grids.flow_t0[:, :1], 2.0 * first[:, :1])
        assert torch.equal(grids.flow_t1, 2.0 * second[:, :2])
        assert torch.equal(grids.weight_of_1, torch.full((1, 1, 5, 11), t))
    assert tiny._network is not None
    assert tiny._network.network.calls == [((1, 3, 8, 16), 0.0)] * 2
    assert not tiny.reads_flow


def test_a_network_must_be_set_up(tiny: RifeInterpolator) -> None:
    with pytest.raises(RuntimeError, match="'tiny' must be set up"):
        tiny(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8), None, (0.5,))


def test_super_slomo_finds_its_own_flow_once_and_refines_it_for_each_instant(
    tmp_path: Path, cpu: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "small_super_slomo.py").write_text(SMALL_SUPER_SLOMO)
    monkeypatch.syspath_prepend(tmp_path)
    entry = replace(
        registry.entry("interpolator", "super-slomo"), network="small_super_slomo:build"
    )
    torch.manual_seed(0)
    network = resolve("small_super_slomo:build")().requires_grad_(requires_grad=False)
    parts = {"FC": network.flow_computation, "AT": network.arbitrary_time}
    states = {f"state_dict{key}": part.state_dict() for key, part in parts.items()}
    torch.save({"timestamp": datetime.now(UTC), "epoch": 9, **states}, tmp_path / entry.files[0])
    interpolator = SuperSloMoInterpolator(entry, tmp_path)
    first, second = torch.rand(2, 1, 3, 21, 37)
    with pytest.raises(RuntimeError, match="'super-slomo' must be set up"):
        interpolator(first, second, None, (0.5,))
    interpolator.setup(cpu)

    found = interpolator(first, second, None, (0.25, 0.5))

    assert not interpolator.reads_flow
    flows = network.flows(first, second)
    for t, grids in zip((0.25, 0.5), found, strict=True):
        expected = network.grids(first, second, flows, t)
        actuals = (grids.flow_t0, grids.flow_t1, grids.weight_of_1)
        for actual, part in zip(actuals, expected, strict=True):
            assert torch.equal(actual, part)
        assert blend(first, second, grids).shape == first.shape
    with pytest.raises(ValueError, match="times must be strictly between 0 and 1"):
        interpolator(first, second, None, (1.0,))


@pytest.mark.shared
def test_golden_interpolation_of_a_picture_of_odd_size_agrees_with_the_original(
    cpu: torch.device,
) -> None:
    arrays, meta = golden("rife39_odd")
    tolerance = golden_tolerance("rife39_odd")
    path = weight_file(meta["flownet_sha256"])
    interpolator = RifeInterpolator(registry.entry("interpolator", "rife-3.9"), path)
    interpolator.setup(cpu)
    first, second = (torch.from_numpy(arrays[key]) for key in ("frame0", "frame1"))

    (grids,) = interpolator(first, second, None, (0.5,))

    flows = torch.cat((grids.flow_t0, grids.flow_t1), dim=1)
    assert_near_golden(flows[..., ::2, ::2], arrays["flow_s2_t050"], tolerance)
    weight_of_0 = 1.0 - grids.weight_of_1
    assert_near_golden(weight_of_0[..., ::2, ::2], arrays["mask_sigmoid_s2_t050"], tolerance)
    # The original blended before it cropped, we crop and then blend: what either flow brings
    # from beyond the right or the lower border was padding there and is the border here.
    height, width = first.shape[-2:]
    positions = [sample_positions(flow) for flow in (grids.flow_t0, grids.flow_t1)]
    inside = torch.stack([(p[:, 0] <= width - 1) & (p[:, 1] <= height - 1) for p in positions])
    inside = inside.all(dim=0)[:, None]
    assert inside.float().mean() > 0.5
    expected = arrays["merged_t050"]
    blended = torch.where(inside, blend(first, second, grids), torch.from_numpy(expected))
    assert_near_golden(blended, expected, tolerance)
