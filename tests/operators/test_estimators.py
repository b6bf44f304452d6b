from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from shared import shared_path
from torch import Tensor

from operators.estimators import DIS_PRESETS, DisFlow, DisPreset, NetworkFlow, RifeFlow, _grey
from operators.functional.warp import backward_warp
from operators.models import registry
from operators.models.entry import Entry

TINY_NETWORK = '''
import torch

class Tiny(torch.nn.Module):
    """Flow of a pixel: gain times red of the first, and green of the second image."""

    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.zeros(1))
        self.calls = []

    def forward(self, first, second):
        self.calls.append((tuple(first.shape), first[..., -1, -1].clone()))
        return self.gain * torch.cat((first[:, :1], second[:, 1:2]), dim=1)

def from_published(state):
    return {"gain": state["published.gain"]}
'''


def texture(height: int, width: int) -> Tensor:
    """Smooth random colours with detail at several scales."""
    generator = torch.Generator().manual_seed(3)
    layers = [
        F.interpolate(
            torch.rand(1, 3, height // step + 2, width // step + 2, generator=generator),
            size=(height, width),
            mode="bicubic",
            align_corners=False,
        )
        for step in (3, 8, 24)
    ]
    return torch.stack(layers).mean(dim=0).clamp(0.0, 1.0)


def ready(preset: DisPreset = "medium") -> DisFlow:
    estimator = DisFlow(preset)
    estimator.setup(torch.device("cpu"))
    return estimator


@pytest.mark.parametrize("preset", DIS_PRESETS)
@pytest.mark.parametrize(("dx", "dy"), [(4, 0), (-4, 0), (0, 4), (0, -4), (3, -2), (0, 0)])
def test_dis_finds_the_shift_of_a_texture(preset: DisPreset, dx: int, dy: int) -> None:
    canvas = texture(140, 180)
    first = canvas[..., 10:130, 10:170]
    # What is at p in the first picture is at p + (dx, dy) in the second.
    second = canvas[..., 10 - dy : 130 - dy, 10 - dx : 170 - dx]

    forward, backward = ready(preset).pair(first, second)

    for flow, expected in ((forward, (dx, dy)), (backward, (-dx, -dy))):
        error = (flow - torch.tensor(expected, dtype=torch.float32).view(1, 2, 1, 1)).norm(dim=1)
        # The fastest preset stops at a quarter of the size.
        assert error.median() < (0.2 if preset == "ultrafast" else 0.1)


@pytest.mark.parametrize("preset", DIS_PRESETS)
@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 9), (9, 1), (8, 64), (12, 64), (5, 700), (31, 33), (16, 16)]
)
def test_dis_takes_pictures_of_any_size(preset: DisPreset, height: int, width: int) -> None:
    first, second = texture(height, width), texture(height, width).flip(3)

    flow = ready(preset)(first, second)

    assert flow.shape == (1, 2, height, width)
    assert flow.dtype == torch.float32
    assert flow.isfinite().all()


def test_dis_sees_no_motion_between_pictures_of_one_pixel() -> None:
    flow = ready()(torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1))

    assert torch.equal(flow, torch.zeros(1, 2, 1, 1))


def test_dis_of_a_batch_is_dis_of_each_picture() -> None:
    first = torch.cat((texture(40, 50), texture(40, 50).flip(2)))
    second = first.roll((1, 2), dims=(2, 3))
    estimator = ready()

    together = estimator(first, second)

    for number in range(2):
        single = slice(number, number + 1)
        assert torch.equal(together[single], estimator(first[single], second[single]))


def test_dis_does_not_remember_the_sizes_that_it_has_seen() -> None:
    first, second = texture(64, 80), texture(64, 80).roll(2, dims=3)
    expected = ready("fast")(first, second)
    estimator = ready("fast")

    estimator(texture(3, 33), texture(3, 33))

    assert torch.equal(estimator(first, second), expected)


def test_dis_does_not_depend_on_the_number_of_threads() -> None:
    first, second = texture(120, 160), texture(120, 160).roll((3, 1), dims=(2, 3))
    before = cv2.getNumThreads()

    try:
        cv2.setNumThreads(1)
        expected = ready()(first, second)
        cv2.setNumThreads(5)
        assert torch.equal(ready()(first, second), expected)
    finally:
        cv2.setNumThreads(before)


def test_grey_is_bt601_luma_in_levels() -> None:
    generator = np.random.default_rng(0)
    levels = generator.integers(0, 256, (3, 4, 5))
    images = torch.from_numpy(levels).float()[None] / 255

    grey = _grey(images)[0]

    red, green, blue = levels
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    assert grey.dtype == np.uint8
    assert np.abs(grey - luma).max() < 0.51


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError, match="must be one of ultrafast, fast, medium, got 'slow'"):
        DisFlow("slow")  # type: ignore[arg-type] # what a user may type


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NetworkFlow:
    (tmp_path / "tiny_flow_network.py").write_text(TINY_NETWORK)
    torch.save({"published.gain": torch.full((1,), 3.0)}, tmp_path / "tiny.pkl")
    monkeypatch.syspath_prepend(tmp_path)
    entry = Entry(
        kind="flow",
        name="tiny",
        summary="",
        adapter="operators.estimators:NetworkFlow",
        network="tiny_flow_network:Tiny",
        multiple=8,
        files=("tiny.pkl",),
    )
    return NetworkFlow(entry, tmp_path)


def test_a_network_sees_its_multiple_and_the_flow_is_cut_back(
    tiny: NetworkFlow, cpu: torch.device
) -> None:
    tiny.setup(cpu)
    first, second = torch.rand(2, 1, 3, 11, 17)

    flow = tiny(first, second)

    assert torch.equal(flow, 3.0 * torch.cat((first[:, :1], second[:, 1:2]), dim=1))
    assert tiny._network is not None
    ((shape, corner),) = tiny._network.network.calls
    assert shape == (1, 3, 16, 24)
    assert torch.equal(corner, first[..., -1, -1])


def test_both_directions_take_one_pass(tiny: NetworkFlow, cpu: torch.device) -> None:
    tiny.setup(cpu)
    first, second = torch.rand(2, 2, 3, 8, 8)

    forward, backward = tiny.pair(first, second)

    assert torch.equal(forward, 3.0 * torch.cat((first[:, :1], second[:, 1:2]), dim=1))
    assert torch.equal(backward, 3.0 * torch.cat((second[:, :1], first[:, 1:2]), dim=1))
    assert tiny._network is not None
    assert len(tiny._network.network.calls) == 1


def test_a_network_must_be_set_up(tiny: NetworkFlow) -> None:
    with pytest.raises(RuntimeError, match="'tiny' must be set up"):
        tiny(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8))


@pytest.mark.parametrize("shape", [(1, 3, 8, 9), (2, 3, 8, 8), (1, 1, 8, 8)])
def test_pictures_that_do_not_match_are_refused(
    tiny: NetworkFlow, cpu: torch.device, shape: tuple[int, ...]
) -> None:
    tiny.setup(cpu)
    for estimator in (tiny, ready()):
        with pytest.raises(ValueError, match="second must be"):
            estimator(torch.rand(1, 3, 8, 8), torch.rand(*shape))
        with pytest.raises(ValueError, match="second must be"):
            estimator.pair(torch.rand(1, 3, 8, 8), torch.rand(*shape))


TINY_RIFE = '''
import torch

class Tiny(torch.nn.Module):
    """Linear motion, up to what the batch holds: grids of t, and a look at what was read."""

    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(1))
        self.calls = []

    def forward(self, first, second, t):
        self.calls.append((tuple(first.shape), float(first[..., -1, -1].abs().max())))
        motion = (second - first)[:, :2] + first.max()
        return -t * motion, (1 - t) * motion, first[:, :1]

def from_published(state):
    return dict(state)
'''


@pytest.fixture
def tiny_rife(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RifeFlow:
    (tmp_path / "tiny_rife_network.py").write_text(TINY_RIFE)
    torch.save({"gain": torch.ones(1)}, tmp_path / "tiny.pkl")
    monkeypatch.syspath_prepend(tmp_path)
    entry = Entry(
        kind="flow",
        name="tiny",
        summary="",
        adapter="operators.estimators:RifeFlow",
        network="tiny_rife_network:Tiny",
        multiple=8,
        files=("tiny.pkl",),
    )
    return RifeFlow(entry, tmp_path)


def test_the_grids_at_the_ends_of_a_pair_are_its_flow(
    tiny_rife: RifeFlow, cpu: torch.device
) -> None:
    tiny_rife.setup(cpu)
    first, second = torch.rand(2, 2, 3, 5, 11) + 0.1
    # What one image of a batch reads must not depend on the other.
    motion = torch.stack([(b - a)[:2] + a.max() for a, b in zip(first, second, strict=True)])

    forward, backward = tiny_rife.pair(first, second)

    torch.testing.assert_close(forward, motion)
    torch.testing.assert_close(backward, -motion)
    assert torch.equal(tiny_rife(first, second), forward)
    assert tiny_rife._network is not None
    assert set(tiny_rife._network.network.calls) == {((1, 3, 8, 16), 0.0)}


def test_a_network_of_both_roles_must_be_set_up(tiny_rife: RifeFlow) -> None:
    with pytest.raises(RuntimeError, match="'tiny' must be set up"):
        tiny_rife(torch.rand(1, 3, 8, 8), torch.rand(1, 3, 8, 8))


@pytest.mark.shared
def test_rife_sees_the_motion_of_real_frames(cpu: torch.device) -> None:
    folder = shared_path("clips/davis-bmx-trees/frames")
    paths = sorted(folder.iterdir())[5:7]
    first, second = (
        torch.from_numpy(cv2.resize(cv2.imread(str(path))[..., ::-1], (214, 120)).copy())
        .permute(2, 0, 1)[None]
        .float()
        / 255
        for path in paths
    )
    estimator = registry.flow_estimator("rife-4.6", shared_path("weights"))
    estimator.setup(cpu)

    forward, backward = estimator.pair(first, second)

    def residual(there: Tensor, image: Tensor, flow: Tensor) -> float:
        return float((backward_warp(there, flow) - image).abs().mean())

    still = residual(second, first, torch.zeros_like(forward))
    assert residual(second, first, forward) < 0.6 * still
    assert residual(first, second, backward) < 0.6 * still
