"""I3D against the published code's numbers, and its padding and paths against slow loops."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from published import (
    assert_near_golden,
    assert_sums_match,
    published_layout,
    published_weights,
)
from shared import golden, golden_tolerance
from torch import Tensor, nn

from operators.models.i3d import BLOCKS, I3D, ConvNorm, Inception, MaxPool, from_published, pad_same

TINY: dict[str, tuple[int, int, int, int, int, int]] = dict.fromkeys(BLOCKS, (1, 2, 3, 2, 1, 1))
# Endpoint, channels, and how often time and space have been halved by then.
PUBLISHED = (
    ("Conv3d_1a_7x7", 64, 1, 1),
    ("Conv3d_2c_3x3", 192, 1, 2),
    ("Mixed_3c", 480, 1, 3),
    ("Mixed_4f", 832, 2, 4),
    ("Mixed_5c", 1024, 3, 5),
)


def clips(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def tiny() -> I3D:
    torch.manual_seed(0)
    network = I3D(stem=(2, 3, 4), blocks=TINY, num_classes=2)
    return network.eval().requires_grad_(requires_grad=False)


@given(st.integers(1, 40), st.integers(1, 8), st.integers(1, 4))
def test_padding_is_the_least_that_lets_a_window_start_at_every_step(
    length: int, kernel: int, stride: int
) -> None:
    starts = len(range(0, length, stride))
    padded = pad_same(torch.ones(1, 1, length, 1, 1), (kernel, 1, 1), (stride, 1, 1)).flatten()

    before = int(padded.argmax())
    after = len(padded) - before - length

    assert padded[before : before + length].eq(1).all()
    assert padded.sum() == length
    assert before <= after <= before + 1
    windows = (len(padded) - kernel) // stride + 1
    assert windows >= starts if kernel < stride else windows == starts
    if before + after > 0:
        assert (len(padded) - 1 - kernel) // stride + 1 == starts - 1


def test_each_dimension_is_padded_by_its_own_window() -> None:
    padded = pad_same(torch.ones(2, 3, 5, 6, 7), (7, 1, 2), (2, 1, 1))
    assert padded.shape == (2, 3, 5 + 6, 6, 7 + 1)
    assert padded[:, :, 3:8, :, :7].eq(1).all()


def test_an_even_number_of_frames_is_padded_more_at_the_end() -> None:
    """Window of 7, step of 2: two frames before and three after, so the first sum has 5 ones."""
    layer = ConvNorm(1, 1, (7, 1, 1), stride=(2, 1, 1)).eval()
    nn.init.constant_(layer.conv3d.weight, 1.0)

    found = layer(torch.ones(1, 1, 10, 1, 1)).flatten()

    np.testing.assert_allclose(found.detach(), [5, 7, 7, 6, 4], rtol=1e-3)


def test_normalisation_adds_a_thousandth_to_the_variance() -> None:
    layer = ConvNorm(1, 1, (1, 1, 1)).eval()
    nn.init.constant_(layer.conv3d.weight, 1.0)
    nn.init.constant_(layer.bn.running_var, 0.003)

    found = layer(torch.tensor([1.0, -1.0]).view(1, 1, 2, 1, 1)).flatten()

    assert found.tolist() == pytest.approx([1 / 0.004**0.5, 0.0])


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_pooling_takes_the_largest_of_each_window(
    frames: int, rows: int, columns: int, seed: int
) -> None:
    features = clips(1, 1, frames, rows, columns, seed=seed)

    found = MaxPool((3, 3, 3), stride=(1, 1, 1))(features)[0, 0]

    for t in range(frames):
        for y in range(rows):
            for x in range(columns):
                near = [slice(max(i - 1, 0), i + 2) for i in (t, y, x)]
                assert found[t, y, x] == features[0, 0][tuple(near)].max()


def test_the_four_paths_lie_one_after_the_other() -> None:
    block = Inception(2, (1, 2, 3, 4, 5, 6)).eval()
    features = clips(1, 2, 3, 4, 5)

    found = block(features)

    assert block.out_channels == found.shape[1] == 1 + 3 + 5 + 6
    widest = block.b1b(block.b1a(features))
    deepest = block.b2b(block.b2a(features))
    pooled = block.b3b(nn.functional.max_pool3d(features, 3, stride=1, padding=1))
    expected = torch.cat((block.b0(features), widest, deepest, pooled), dim=1)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("frames", "height", "width"), [(1, 1, 1), (10, 48, 64), (9, 61, 85), (16, 33, 32)]
)
def test_clips_of_any_length_and_size_are_halved_rounding_up(
    tiny: I3D, frames: int, height: int, width: int
) -> None:
    found = tiny(clips(1, 3, frames, height, width), [name for name, *_ in PUBLISHED])

    assert list(found) == [name for name, *_ in PUBLISHED]
    for name, _, in_time, in_space in PUBLISHED:
        sizes = (-(-frames // 2**in_time), -(-height // 2**in_space), -(-width // 2**in_space))
        assert found[name].shape[2:] == sizes


def test_the_widths_are_those_of_the_paper() -> None:
    network = I3D().eval().requires_grad_(requires_grad=False)
    found = network(clips(1, 3, 2, 16, 16), [name for name, *_ in PUBLISHED])
    for name, channels, *_ in PUBLISHED:
        assert found[name].shape[1] == channels
    assert sum(p.numel() for p in network.parameters()) == 12_697_264


def test_endpoints_come_in_the_order_of_the_network_and_nothing_after_them_is_computed(
    tiny: I3D,
) -> None:
    ran: list[str] = []
    handles = [
        tiny.get_submodule(name).register_forward_hook(lambda *_unused, name=name: ran.append(name))
        for name in tiny.endpoints
    ]

    found = tiny(clips(1, 3, 2, 9, 9), ("Conv3d_2c_3x3", "Conv3d_1a_7x7"))

    for handle in handles:
        handle.remove()
    assert list(found) == ["Conv3d_1a_7x7", "Conv3d_2c_3x3"]
    assert ran == ["Conv3d_1a_7x7", "MaxPool3d_2a_3x3", "Conv3d_2b_1x1", "Conv3d_2c_3x3"]


def test_clips_of_a_batch_are_not_mixed(tiny: I3D) -> None:
    batch = clips(3, 3, 5, 20, 22)
    together = tiny(batch, ("Mixed_5c",))["Mixed_5c"]
    for i in range(3):
        alone = tiny(batch[i : i + 1], ("Mixed_5c",))["Mixed_5c"]
        torch.testing.assert_close(together[i : i + 1], alone)


def test_wrong_shapes_and_names_are_refused(tiny: I3D) -> None:
    with pytest.raises(ValueError, match=r"clips must be \(B, 3, T, H, W\), got \(1, 4, 2, 9, 9\)"):
        tiny(clips(1, 4, 2, 9, 9), ("Mixed_5c",))
    with pytest.raises(ValueError, match=r"clips must be \(B, 3, T, H, W\), got \(3, 2, 9, 9\)"):
        tiny(clips(3, 2, 9, 9), ("Mixed_5c",))
    with pytest.raises(ValueError, match=r"endpoint must be one of .*Mixed_5c, got 'Mixed_6a'"):
        tiny(clips(1, 3, 2, 9, 9), ("Mixed_5c", "Mixed_6a"))


def test_a_file_older_than_the_counters_of_the_normalisation_is_read(tiny: I3D) -> None:
    state = tiny.state_dict()
    old = {f"module.{k}": v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    assert len(old) < len(state)

    found = from_published(old)

    assert found.keys() == state.keys()
    tiny.load_state_dict(found)
    given = {**state, "Conv3d_1a_7x7.bn.num_batches_tracked": torch.tensor(7)}
    assert from_published(given)["Conv3d_1a_7x7.bn.num_batches_tracked"] == 7


@pytest.fixture(scope="module")
def published_network() -> I3D:
    weights = published_weights("i3d")
    assert_sums_match(weights, "i3d")
    network = I3D().eval().requires_grad_(requires_grad=False)
    network.load_state_dict(from_published(weights))
    return network


@pytest.mark.shared
def test_the_layout_is_that_of_the_published_file() -> None:
    layout = {key: shape for key, (shape, _) in published_layout("i3d").items()}
    assert {key: tuple(tensor.shape) for key, tensor in I3D().state_dict().items()} == layout


@pytest.mark.shared
@pytest.mark.parametrize("prefix", ["", "odd_"])
def test_endpoints_match_the_golden_of_the_published_code(
    published_network: I3D, prefix: str
) -> None:
    arrays, meta = golden("i3d")
    tolerance = golden_tolerance("i3d")
    clip = torch.from_numpy(arrays[f"{prefix}frames"]).transpose(0, 1)[None]

    found = published_network(clip, meta["endpoints"])

    for name in meta["endpoints"]:
        stride = 4 if f"{prefix}{name}_c4" in arrays else 8
        expected = arrays[f"{prefix}{name}_c{stride}"]
        assert_near_golden(found[name][:, ::stride], expected, tolerance)
    pooled = found["Mixed_5c"].mean(dim=(2, 3, 4))
    assert_near_golden(pooled, arrays[f"{prefix}pooled_5c"], tolerance)
