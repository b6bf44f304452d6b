"""DeepFill v1 against the numbers of two published ports, and what holds for any inpainter."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from published import (
    assert_near_golden,
    assert_sums_match,
    published_layout,
    published_names,
    published_weights,
)
from shared import golden, golden_tolerance
from torch import Tensor

from operators.models.contextual_attention import DAA233, NBEI, OFFICIAL, Conventions
from operators.models.deepfill import (
    Conv,
    DeepFill,
    deepfill,
    deepfill_daa233,
    deepfill_nbei,
    from_published,
    from_tensorflow,
)

PORTS: dict[str, Callable[[], DeepFill]] = {
    "deepfillv1_daa233": deepfill_daa233,
    "deepfillv1_nbei": deepfill_nbei,
}


def masked_pictures(batch: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    images = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(batch, 1, height, width)
    masks[:, :, height // 4 : height // 2, width // 3 : width // 2] = 1.0
    return images, masks


@pytest.fixture(scope="module")
def small() -> DeepFill:
    torch.manual_seed(0)
    return deepfill(width=4).eval().requires_grad_(requires_grad=False)


@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.booleans(),
)
def test_halving_starts_at_the_corner_officially_and_before_it_in_the_port_that_pads_both_sides(
    height: int, width: int, tap: tuple[int, int], pads_symmetrically: bool
):
    """A kernel that is 1 at one tap and 0 elsewhere shows where that tap reads."""
    conv = Conv(1, 1, stride=2, activation=None, pads_symmetrically=pads_symmetrically)
    with torch.no_grad():
        conv.conv.bias.zero_()
        conv.conv.weight.zero_()[0, 0, tap[0], tap[1]] = 1.0
    image = torch.arange(1.0, 4.0 * height * width + 1).view(1, 1, 2 * height, 2 * width)

    output = conv(image).detach()

    before = 1 if pads_symmetrically else 0
    assert output.shape == (1, 1, height, width)
    for y in range(height):
        for x in range(width):
            row, column = 2 * y + tap[0] - before, 2 * x + tap[1] - before
            is_inside = 0 <= row < 2 * height and 0 <= column < 2 * width
            assert output[0, 0, y, x] == (image[0, 0, row, column] if is_inside else 0.0)


@pytest.mark.parametrize("conventions", [OFFICIAL, DAA233, NBEI])
def test_parameters_are_as_many_as_in_the_published_network(conventions: Conventions):
    network = deepfill(conventions=conventions)
    assert sum(parameter.numel() for parameter in network.parameters()) == 3_601_542


@pytest.mark.parametrize("conventions", [OFFICIAL, DAA233, NBEI])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 40)])
def test_the_hole_is_filled_with_a_picture_and_the_rest_is_kept_exactly(
    conventions: Conventions, height: int, width: int
):
    torch.manual_seed(0)
    network = deepfill(width=4, conventions=conventions).requires_grad_(requires_grad=False)
    images, masks = masked_pictures(2, height, width)

    filled = network(images, masks)

    missing = masks.bool().expand_as(images)
    assert torch.equal(filled[~missing], images[~missing])
    assert not torch.equal(filled[missing], images[missing])
    assert filled.min() >= 0.0
    assert filled.max() <= 1.0


def test_what_lies_in_the_hole_is_not_read(small: DeepFill):
    images, masks = masked_pictures(1, 24, 32)
    other = torch.where(masks.bool(), 1.0 - images, images)
    assert torch.equal(small(images, masks), small(other, masks))


def test_each_picture_of_a_batch_has_its_own_hole(small: DeepFill):
    images, masks = masked_pictures(2, 24, 32)
    masks[1] = masks[1].flip(-1)
    together = small(images, masks)
    for index in range(2):
        alone = small(images[index : index + 1], masks[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone, rtol=0, atol=1e-5)


def test_the_first_stage_sees_blue_first_from_minus_one_to_one_with_the_hole_at_zero(
    small: DeepFill,
):
    seen: list[Tensor] = []
    handle = small.coarse_generator.register_forward_pre_hook(
        lambda _module, inputs: seen.append(inputs[0])
    )
    _, masks = masked_pictures(1, 16, 16)
    red = torch.tensor((1.0, 0.0, 0.5)).view(1, 3, 1, 1).expand(1, 3, 16, 16)

    small(red, 0.6 * masks)

    handle.remove()
    blue_green_red = torch.tensor((0.0, -1.0, 1.0)).view(1, 3, 1, 1)
    assert torch.equal(seen[0][:, :3], blue_green_red * (1.0 - masks))
    assert torch.equal(seen[0][:, 3:], torch.cat((torch.ones_like(masks), masks), dim=1))


def test_shapes_that_do_not_belong_together_are_refused(small: DeepFill):
    images, masks = masked_pictures(1, 16, 24)
    with pytest.raises(ValueError, match="sides that are multiples of 8, got 16x20"):
        small(images[..., :20], masks[..., :20])
    with pytest.raises(ValueError, match="masks must be on the grid of images"):
        small(images, masks[..., :16])
    with pytest.raises(ValueError, match=r"masks must be \(B, 1, H, W\)"):
        small(images, images)


def test_variables_of_the_official_checkpoint_fill_every_layer():
    """Names spelled out for one layer of each kind; kernels turned from HWIO to OIHW."""
    network = deepfill()
    layers = {
        "coarse_generator.conv1": "inpaint_net/conv1",
        "coarse_generator.conv2_downsample": "inpaint_net/conv2_downsample",
        "coarse_generator.conv10_atrous": "inpaint_net/conv10_atrous",
        "coarse_generator.conv13": "inpaint_net/conv13_upsample/conv13_upsample_conv",
        "coarse_generator.conv17": "inpaint_net/conv17",
        "fine_generator.conv1": "inpaint_net/xconv1",
        "fine_generator.conv7_atrous": "inpaint_net/xconv7_atrous",
        "fine_generator.pmconv4_downsample": "inpaint_net/pmconv4_downsample",
        "fine_generator.pmconv9": "inpaint_net/pmconv9",
        "fine_generator.allconv15": "inpaint_net/allconv15_upsample/allconv15_upsample_conv",
        "fine_generator.allconv16": "inpaint_net/allconv16",
    }
    generator = np.random.default_rng(0)
    variables = {"discriminator/conv1/kernel": np.zeros((5, 5, 3, 64), np.float32)}
    for ours, theirs in layers.items():
        outputs, inputs, *side = network.get_submodule(ours).conv.weight.shape
        shape = (*side, inputs, outputs)
        variables[f"{theirs}/kernel"] = generator.standard_normal(shape, np.float32)
        variables[f"{theirs}/bias"] = generator.standard_normal(outputs, np.float32)

    found = from_tensorflow(variables)

    assert len(found) == 2 * len(layers)
    for ours, theirs in layers.items():
        kernel = variables[f"{theirs}/kernel"]
        weight = found[f"{ours}.conv.weight"]
        assert weight.shape == network.get_submodule(ours).conv.weight.shape
        for _ in range(20):
            y, x, i, o = (generator.integers(size) for size in kernel.shape)
            assert weight[o, i, y, x] == kernel[y, x, i, o]
        assert np.array_equal(found[f"{ours}.conv.bias"].numpy(), variables[f"{theirs}/bias"])


def tensorflow_path(layer: str) -> str:
    """By the rule of the release: the second stage's own branch is "x", upsamplers nest."""
    stage, name = layer.removesuffix(".conv").split(".")
    name = f"x{name}" if stage == "fine_generator" and name.startswith("conv") else name
    if name.endswith(("conv13", "conv15")):
        name = f"{name}_upsample/{name}_upsample_conv"
    return f"inpaint_net/{name}"


def test_a_whole_checkpoint_of_the_release_loads_strictly():
    network = deepfill(width=4)
    variables = {}
    for key, tensor in network.state_dict().items():
        layer, _, leaf = key.rpartition(".")
        array = tensor.numpy()
        if leaf == "weight":
            variables[f"{tensorflow_path(layer)}/kernel"] = np.transpose(array, (2, 3, 1, 0))
        else:
            variables[f"{tensorflow_path(layer)}/bias"] = array

    found = from_tensorflow(variables)

    assert len(found) == 84
    deepfill(width=4).load_state_dict(found)
    assert all(torch.equal(found[key], tensor) for key, tensor in network.state_dict().items())


@pytest.mark.shared
def test_keys_and_shapes_are_those_of_daa233():
    layout = published_layout("deepfillv1_daa233")
    own = {key: tuple(tensor.shape) for key, tensor in deepfill().state_dict().items()}
    assert list(own.items()) == [(key, shape) for key, (shape, _) in layout.items()]


@pytest.mark.shared
def test_the_layers_of_nbei_go_by_the_verified_map():
    names = published_names("deepfillv1_daa233_nbei_map")
    file = {
        f"module.{theirs}.{leaf}": torch.tensor(position)
        for position, theirs in enumerate(names.values())
        for leaf in ("weight", "bias")
    }

    found = from_published(file)

    assert found == {
        f"{ours}.{leaf}": torch.tensor(position)
        for position, ours in enumerate(names)
        for leaf in ("weight", "bias")
    }


def published_network(name: str) -> DeepFill:
    weights = published_weights(name)
    assert_sums_match(weights, name)
    network = PORTS[name]().eval().requires_grad_(requires_grad=False)
    network.load_state_dict(from_published(weights))
    return network


@pytest.mark.shared
@pytest.mark.parametrize("frame", [0, 1])
@pytest.mark.parametrize("name", PORTS)
def test_every_stage_matches_the_golden_of_the_port(name: str, frame: int):
    network = published_network(name)
    arrays, _ = golden(name)
    tolerance = golden_tolerance(name)
    # The golden of nbei has the attention with the two convolutions after it.
    attended = "attention" if name == "deepfillv1_daa233" else "pmconv10"
    fine = network.fine_generator
    parts = {
        "stage1": network.coarse_generator,
        "stage2": fine,
        "attn_in": fine.pmconv6,
        "attn_out": getattr(fine, attended),
    }
    seen: dict[str, Tensor] = {}
    for key, part in parts.items():
        part.register_forward_hook(
            lambda _module, _inputs, output, key=key: seen.__setitem__(key, output)
        )
    images = torch.from_numpy(arrays[f"frame_{frame}"]).flip(1)

    filled = network(images, torch.from_numpy(arrays[f"mask_{frame}"]))

    assert_near_golden(seen["stage1"], arrays[f"stage1_{frame}"], tolerance)
    assert_near_golden(seen["stage2"], arrays[f"stage2_{frame}"], tolerance)
    assert_near_golden(seen["attn_in"][:, ::2], arrays[f"attn_in_{frame}"], tolerance)
    assert_near_golden(seen["attn_out"][:, ::2], arrays[f"attn_out_{frame}"], tolerance)
    composited = filled.flip(1) * 2.0 - 1.0
    assert_near_golden(composited, arrays[f"composited_{frame}"], tolerance)


@pytest.mark.shared
def test_an_odd_size_matches_the_golden_of_the_script_of_nbei():
    network = published_network("deepfillv1_nbei")
    arrays, meta = golden("deepfillv1_nbei")
    height, width = meta["odd_image_shape"]
    image = cv2.resize(arrays["odd_image_bgr_u8"].astype(np.float64) / 255.0, (width, height))
    mask = (arrays["odd_mask_u8"] > 0).astype(np.uint8)
    mask = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST)
    rgb = np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1)[None], np.float32)

    filled = network(torch.from_numpy(rgb), torch.from_numpy(mask[None, None].astype(np.float32)))

    bgr = np.ascontiguousarray(filled[0].numpy().transpose(1, 2, 0)[..., ::-1]) * 255.0
    height, width = meta["odd_res_shape"]
    resized = torch.from_numpy(cv2.resize(bgr, (width, height)))
    assert_near_golden(resized, arrays["odd_public_out"], golden_tolerance("deepfillv1_nbei"))
