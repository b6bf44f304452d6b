from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from shared import shared_path
from torch import Tensor

from operators.base import Grids
from operators.interpolators import blend
from operators.models import registry
from operators.models.rife4 import (
    IFNet,
    from_published,
    rife_4_6,
    rife_4_7,
    rife_4_10,
    rife_4_21,
    rife_4_25,
)

LAYOUTS = {
    "4.6": (rife_4_6, 5_306_256),
    "4.7": (rife_4_7, 5_325_012),
    "4.10": (rife_4_10, 5_364_312),
    "4.21": (rife_4_21, 9_322_416),
    "4.25": (rife_4_25, 5_664_776),
}


def leaky(features: Tensor) -> Tensor:
    return torch.where(features > 0, features, 0.2 * features)


def shrink(tensor: Tensor, factor: float) -> Tensor:
    return F.interpolate(tensor, scale_factor=factor, mode="bilinear", align_corners=False)


def warp(tensor: Tensor, flow: Tensor) -> Tensor:
    """Bilinear, clamped at the border, one output pixel after the other."""
    height, width = tensor.shape[-2:]
    out = torch.empty_like(tensor)
    for y in range(height):
        for x in range(width):
            sx = min(max(x + float(flow[0, 0, y, x]), 0.0), width - 1.0)
            sy = min(max(y + float(flow[0, 1, y, x]), 0.0), height - 1.0)
            x0, y0 = min(int(sx), width - 2), min(int(sy), height - 2)
            fx, fy = sx - x0, sy - y0
            top = (1 - fx) * tensor[..., y0, x0] + fx * tensor[..., y0, x0 + 1]
            bottom = (1 - fx) * tensor[..., y0 + 1, x0] + fx * tensor[..., y0 + 1, x0 + 1]
            out[..., y, x] = (1 - fy) * top + fy * bottom
    return out


def literal_block(state: dict[str, Tensor], n: int, seen: Tensor, scale: int) -> Tensor:
    """A block by the names of its weights; ``seen`` is already at the scale of the block."""
    name = f"block{n}"
    for part in ("conv0.0.0", "conv0.1.0"):
        weight, bias = state[f"{name}.{part}.weight"], state[f"{name}.{part}.bias"]
        seen = leaky(F.conv2d(seen, weight, bias, stride=2, padding=1))
    for part in range(8):
        at = f"{name}.convblock.{part}"
        bent = F.conv2d(seen, state[f"{at}.conv.weight"], state[f"{at}.conv.bias"], padding=1)
        seen = leaky(bent * state[f"{at}.beta"] + seen)
    weight, bias = state[f"{name}.lastconv.0.weight"], state[f"{name}.lastconv.0.bias"]
    found = F.conv_transpose2d(seen, weight, bias, stride=2, padding=1)
    return shrink(F.pixel_shuffle(found, 2), scale)


def literal_head(state: dict[str, Tensor], frame: Tensor) -> Tensor:
    last = max(int(key[len("encode.cnn")]) for key in state if key.startswith("encode."))
    features = frame
    for n in range(last + 1):
        weight, bias = state[f"encode.cnn{n}.weight"], state[f"encode.cnn{n}.bias"]
        # Version 4.7 rectified nothing between its two convolutions.
        features = leaky(features) if n and last > 1 else features
        if n == last:
            features = F.conv_transpose2d(features, weight, bias, stride=2, padding=1)
        else:
            features = F.conv2d(features, weight, bias, stride=2 if n == 0 else 1, padding=1)
    return features


def literal(
    state: dict[str, Tensor], first: Tensor, second: Tensor, t: float, version: str
) -> tuple[Tensor, Tensor]:
    """The published forward pass as method and file names describe it, without any class."""
    scales = (16, 8, 4, 2, 1) if version == "4.25" else (8, 4, 2, 1)
    time = torch.full((1, 1, *first.shape[-2:]), t, dtype=first.dtype)
    has_head = any(key.startswith("encode.") for key in state)
    heads = [literal_head(state, frame) for frame in (first, second)] if has_head else []
    found = literal_block(
        state, 0, shrink(torch.cat((first, second, *heads, time), 1), 1 / scales[0]), scales[0]
    )
    flow, mask = found[:, :4] * scales[0], found[:, 4:5]
    for n, scale in enumerate(scales[1:], start=1):
        parts = [warp(first, flow[:, :2]), warp(second, flow[:, 2:])]
        if has_head:
            parts += [warp(heads[0], flow[:, :2]), warp(heads[1], flow[:, 2:])]
        parts += [time, mask]
        if version in ("4.21", "4.25"):
            parts.append(found[:, 5:])
        small = shrink(torch.cat(parts, 1), 1 / scale)
        found = literal_block(
            state, n, torch.cat((small, shrink(flow, 1 / scale) / scale), 1), scale
        )
        flow = flow + found[:, :4] * scale
        mask = mask + found[:, 4:5] if version == "4.6" else found[:, 4:5]
    return flow, mask


@pytest.mark.parametrize("version", LAYOUTS)
def test_it_has_as_many_parameters_as_published(version: str) -> None:
    build, count = LAYOUTS[version]

    assert sum(parameter.numel() for parameter in build().parameters()) == count


@pytest.mark.parametrize("version", LAYOUTS)
def test_it_agrees_with_the_forward_pass_written_out(version: str) -> None:
    torch.manual_seed(0)
    build: Callable[[], IFNet] = LAYOUTS[version][0]
    # Double precision: what the warps of one block round, the next blocks would magnify.
    network = build().eval().double()
    side = 64 if version == "4.25" else 32
    with torch.no_grad():
        for parameter in network.parameters():
            # Larger than the usual start: flows of several pixels, so that warping matters.
            parameter.mul_(1.8 if parameter.ndim == 4 else 1.0)
        first, second = torch.rand(2, 1, 3, side, side, dtype=torch.float64)
        state = network.state_dict()

        flow_t0, flow_t1, weight_of_1 = network(first, second, 0.3)
        flow, mask = literal(state, first, second, 0.3, version)

    assert flow.abs().max() > 2.0
    torch.testing.assert_close(flow_t0, flow[:, :2], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(flow_t1, flow[:, 2:], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(weight_of_1, 1.0 - torch.sigmoid(mask), atol=1e-6, rtol=1e-6)


def test_keys_of_every_published_form_become_its_own() -> None:
    names = {
        "module.block0.lastconv.0.bias": "block0.lastconv.0.bias",
        "encode.0.weight": "encode.cnn0.weight",
        "encode.1.weight": "encode.cnn1.weight",
        "module.encode.2.bias": "encode.cnn1.bias",
        "encode.4.bias": "encode.cnn2.bias",
        "encode.6.bias": "encode.cnn3.bias",
        "module.encode.cnn3.weight": "encode.cnn3.weight",
    }
    for published, own in names.items():
        assert list(from_published({published: torch.zeros(1)})) == [own]
    for extra in ("module.teacher.conv0.0.0.bias", "caltime.0.weight", "block_tea.x", "unet.x"):
        assert from_published({extra: torch.zeros(1)}) == {}


@pytest.mark.shared
def test_published_weights_find_the_frame_that_was_left_out() -> None:
    network = registry.entry("interpolator", "rife-4.6").load(shared_path("weights"))
    folder = shared_path("clips/davis-bmx-trees/frames")
    before, between, after = (
        torch.from_numpy(np.ascontiguousarray(cv2.imread(str(folder / f"{n:05d}.jpg"))[:, :, ::-1]))
        .permute(2, 0, 1)[None]
        .float()[..., :224, :416]
        / 255
        for n in (10, 11, 12)
    )

    with torch.no_grad():
        flow_t0, flow_t1, weight_of_1 = network(before, after, 0.5)
    found = blend(before, after, Grids(flow_t0, flow_t1, weight_of_1))

    error = (found - between).abs().mean()
    error_of_average = (0.5 * (before + after) - between).abs().mean()
    assert error < 0.6 * error_of_average
