import pytest
import torch
import torch.nn.functional as F
from shared import golden, golden_tolerance, shared_path
from torch import Tensor

from operators.functional.warp import backward_warp
from operators.models import registry
from operators.models.rife39 import IFNet, from_published

LEFT_OUT = ("contextnet.", "unet.")


@pytest.fixture(scope="module")
def published() -> IFNet:
    network = registry.entry("interpolator", "rife-3.9").load(shared_path("weights"))
    assert isinstance(network, IFNet)
    return network


def listed_keys() -> dict[str, tuple[int, ...]]:
    lines = shared_path("golden/keys/rife39.txt").read_text().splitlines()
    rows = [line.split("\t") for line in lines if line]
    return {key: tuple(int(n) for n in shape.strip("[]").split(",")) for key, shape, _ in rows}


def padded(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    return F.pad(image, (0, -width % 64, 0, -height % 64))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "t"),
    [("rife39", 0.25), ("rife39", 0.5), ("rife39_odd", 0.5), ("rife39_doubling", 0.5)],
)
def test_golden_flow_and_weight_agree_with_the_original_network(
    published: IFNet, name: str, t: float
) -> None:
    arrays, _ = golden(name)
    tolerance = golden_tolerance(name)
    tag = f"t{round(t * 100):03d}"
    first, second = (torch.from_numpy(arrays[key]) for key in ("frame0", "frame1"))
    height, width = first.shape[-2:]

    def close(actual: Tensor, key: str) -> None:
        expected = torch.from_numpy(arrays[f"{key}_{tag}"])
        limit = tolerance * float(expected.abs().max())
        torch.testing.assert_close(actual, expected, atol=limit, rtol=0.0)

    with torch.no_grad():
        refinements = list(published.refinements(padded(first), padded(second), t))
        flow_t0, flow_t1, weight_of_1 = published(padded(first), padded(second), t)

    for number, (flow, _) in enumerate(refinements):
        close(flow[..., ::8, ::8], f"flow_block{number}_s8")
    flow = torch.cat((flow_t0, flow_t1), dim=1)[..., :height, :width]
    weight_of_0 = 1.0 - weight_of_1[..., :height, :width]
    close(flow[..., ::2, ::2], "flow_s2")
    close(weight_of_0[..., ::2, ::2], "mask_sigmoid_s2")
    merged = (
        weight_of_0 * backward_warp(padded(first), flow_t0)[..., :height, :width]
        + (1.0 - weight_of_0) * backward_warp(padded(second), flow_t1)[..., :height, :width]
    )
    is_whole = arrays[f"merged_{tag}"].shape[-2:] == (height, width)
    close(merged if is_whole else merged[..., ::2, ::2], "merged")


@pytest.mark.shared
def test_keys_and_shapes_are_the_published_ones_without_the_repainting_network() -> None:
    expected = {key: shape for key, shape in listed_keys().items() if not key.startswith(LEFT_OUT)}

    actual = {key: tuple(value.shape) for key, value in IFNet().state_dict().items()}

    assert actual == expected


def test_it_has_as_many_parameters_as_method_and_version_4_0_say() -> None:
    assert sum(parameter.numel() for parameter in IFNet().parameters()) == 5_160_980


def test_what_only_training_and_repainting_need_is_left_out() -> None:
    state = {
        "module.block0.lastconv.bias": torch.zeros(5),
        "module.block_tea.lastconv.bias": torch.zeros(5),
        "module.unet.conv.bias": torch.zeros(3),
        "module.contextnet.conv1.conv1.0.bias": torch.zeros(16),
    }

    assert list(from_published(state)) == ["block0.lastconv.bias"]
