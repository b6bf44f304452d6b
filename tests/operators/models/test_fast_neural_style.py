"""Fast neural style against the published code's numbers, and its parts against slow loops."""

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
from shared import golden, golden_note, golden_tolerance
from torch import Tensor

from operators.models.fast_neural_style import PaddedConv, TransformerNet, from_published


def pictures(batch: int, height: int, width: int) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def small() -> TransformerNet:
    torch.manual_seed(0)
    return TransformerNet(width=4).eval().requires_grad_(requires_grad=False)


@pytest.fixture(scope="module")
def published_network() -> TransformerNet:
    weights = published_weights("fast_neural_style")
    assert_sums_match(weights, "fast_neural_style")
    network = TransformerNet().eval().requires_grad_(requires_grad=False)
    network.load_state_dict(from_published(weights))
    return network


def reflected(position: int, size: int) -> int:
    position = abs(position)
    return 2 * (size - 1) - position if position >= size else position


@given(
    st.integers(3, 6),
    st.integers(3, 6),
    st.tuples(st.integers(0, 4), st.integers(0, 4)),
    st.integers(1, 2),
    st.booleans(),
)
def test_a_padded_convolution_reads_reflections_beyond_the_border(
    height: int, width: int, tap: tuple[int, int], stride: int, is_upsampling: bool
):
    """A kernel that is 1 at one tap and 0 elsewhere shows where that tap reads."""
    conv = PaddedConv(1, 1, 5, stride=stride, is_upsampling=is_upsampling, bias=False)
    with torch.no_grad():
        conv.conv2d.weight.zero_()[0, 0, tap[0], tap[1]] = 1.0
    image = torch.arange(height * width, dtype=torch.float32).view(1, 1, height, width)

    output = conv(image).detach()

    scale = 2 if is_upsampling else 1
    tall, wide = scale * height, scale * width
    assert output.shape == (1, 1, -(-tall // stride), -(-wide // stride))
    for y in range(output.shape[2]):
        for x in range(output.shape[3]):
            source_y = reflected(y * stride + tap[0] - 2, tall) // scale
            source_x = reflected(x * stride + tap[1] - 2, wide) // scale
            assert output[0, 0, y, x] == image[0, 0, source_y, source_x]


def test_parameters_are_as_many_as_in_the_published_network():
    assert sum(parameter.numel() for parameter in TransformerNet().parameters()) == 1_679_235


def test_old_running_statistics_and_prefixes_of_a_file_are_dropped(small: TransformerNet):
    own = small.state_dict()
    file = {f"module.{key}": tensor for key, tensor in own.items()}
    for layer in ("in1", "in5", "res1.in1", "res5.in2"):
        file[f"module.{layer}.running_mean"] = torch.zeros(4)
        file[f"module.{layer}.running_var"] = torch.ones(4)
        file[f"module.{layer}.num_batches_tracked"] = torch.tensor(1)

    found = from_published(file)

    assert found.keys() == own.keys()
    assert all(found[key] is tensor for key, tensor in own.items())


@pytest.mark.parametrize(("height", "width"), [(5, 5), (6, 23), (8, 9), (31, 16)])
def test_the_output_has_the_size_of_the_input_and_the_range_of_a_picture(
    small: TransformerNet, height: int, width: int
):
    painted = small(pictures(2, height, width))
    assert painted.shape == (2, 3, height, width)
    assert painted.min() >= 0.0
    assert painted.max() <= 1.0


@pytest.mark.parametrize("size", [(4, 9), (9, 4)])
def test_a_picture_too_small_to_reflect_is_refused(small: TransformerNet, size: tuple[int, int]):
    with pytest.raises(ValueError, match=f"at least 5 pixels a side, got {size[0]}x{size[1]}"):
        small(pictures(1, *size))


def test_a_picture_is_painted_as_levels_from_0_to_255_then_clamped_and_cropped(
    small: TransformerNet,
):
    images = pictures(1, 10, 13)
    levels = torch.from_numpy(np.rint(images.numpy() * np.float32(255.0)))

    painted = small(images)

    raw = small.paint(levels).numpy()
    assert raw.shape == (1, 3, 12, 16)
    expected = np.clip(raw, 0.0, 255.0)[..., :10, :13] / 255.0
    np.testing.assert_allclose(painted.numpy(), expected, atol=1e-6)


def test_each_picture_of_a_batch_is_normalised_by_itself(small: TransformerNet):
    images = pictures(3, 16, 20)
    images[1] *= 0.1
    together = small(images)
    for image, painted in zip(images, together, strict=True):
        torch.testing.assert_close(small(image[None])[0], painted, rtol=0, atol=1e-5)


@pytest.mark.shared
def test_keys_and_shapes_are_those_of_the_published_file():
    layout = published_layout("fast_neural_style")
    own = {key: tuple(tensor.shape) for key, tensor in TransformerNet().state_dict().items()}
    assert list(own.items()) == [(key, shape) for key, (shape, _) in layout.items()]


@pytest.mark.shared
def test_every_stage_matches_the_golden_of_the_published_code(published_network: TransformerNet):
    arrays, _ = golden("fast_neural_style")
    tolerance = golden_tolerance("fast_neural_style")
    seen: dict[str, Tensor] = {}
    handles = [
        getattr(published_network, name).register_forward_hook(
            lambda _module, _inputs, output, name=name: seen.__setitem__(name, output)
        )
        for name in ("in3", "res1", "deconv3")
    ]

    painted = published_network(torch.from_numpy(arrays["frame"]))

    for handle in handles:
        handle.remove()
    assert_near_golden(seen["in3"].relu(), arrays["after_in3_relu"], tolerance)
    assert_near_golden(seen["res1"], arrays["after_res1"], tolerance)
    assert_near_golden(seen["deconv3"], arrays["y"], tolerance)
    assert_near_golden(painted, np.clip(arrays["y"], 0.0, 255.0) / 255.0, tolerance)
    assert_levels_match(painted, arrays["y"], arrays["y_u8"])


@pytest.mark.shared
def test_an_odd_size_matches_the_golden_of_the_published_code(published_network: TransformerNet):
    arrays, _ = golden("fast_neural_style")
    frame = torch.from_numpy(arrays["odd_frame"])
    height, width = frame.shape[-2:]

    raw = published_network.paint((frame * 255.0).round())
    painted = published_network(frame)

    assert_near_golden(raw, arrays["odd_y"], golden_tolerance("fast_neural_style"))
    cropped = arrays["odd_y"][..., :height, :width], arrays["odd_y_u8"][:height, :width]
    assert_levels_match(painted, *cropped)
    assert_levels_match(raw.clamp(0.0, 255.0) / 255.0, arrays["odd_y"], arrays["odd_y_u8"])


def assert_levels_match(painted: Tensor, raw: np.ndarray, expected: np.ndarray) -> None:
    """The published script truncates; just beside a whole number it may fall either way."""
    levels = (painted[0].permute(1, 2, 0).double().numpy() * 255.0 + 1e-4).astype(np.uint8)
    difference = np.abs(levels.astype(int) - expected.astype(int))
    allowed = r"Allow \+-(\d+) in `y_u8` where y is within ([\d.e-]+) of an integer"
    most, beside = golden_note("fast_neural_style", allowed)
    whole = np.moveaxis(np.abs(raw[0] - np.rint(raw[0])), 0, -1) < beside
    assert difference[~whole].max() == 0
    assert difference.max() <= most
