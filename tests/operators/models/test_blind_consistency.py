"""Blind consistency against the published code's numbers, and what its structure implies."""

import math

import numpy as np
import pytest
import torch
from published import (
    assert_near_golden,
    assert_sums_match,
    published_layout,
    published_weights,
)
from shared import golden, golden_note, golden_tolerance
from torch import Tensor

from operators.models.blind_consistency import (
    BlindConsistency,
    blind_consistency,
    from_published,
)

NORMS = ("IN", "none")  # the published option: with it convolutions have biases


def pictures(count: int, height: int, width: int, *, batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, batch, 3, height, width, generator=generator)


def published_network(norm: str) -> BlindConsistency:
    weights = published_weights("lai_transformnet", norm)
    assert_sums_match(weights, "lai_transformnet", norm)
    network = blind_consistency().eval().requires_grad_(requires_grad=False)
    network.load_state_dict(from_published(weights))
    return network


@pytest.fixture
def small() -> BlindConsistency:
    torch.manual_seed(0)
    network = blind_consistency(width=4, num_residual_blocks=1)
    return network.eval().requires_grad_(requires_grad=False)


def test_parameters_are_as_many_as_in_the_published_network():
    network = blind_consistency()
    assert sum(parameter.numel() for parameter in network.parameters()) == 2_979_555


def test_a_file_trained_without_normalisation_has_no_biases_and_loads_all_the_same(
    small: BlindConsistency,
):
    own = small.state_dict()
    kept = ("weight", "Gates.bias", "deconv3.conv2d.bias")
    file = {key: tensor for key, tensor in own.items() if key.endswith(kept)}
    assert len(own) - len(file) == 2 + 7

    found = from_published({"model": file})

    assert found.keys() == own.keys()
    for key, tensor in own.items():
        assert torch.equal(found[key], tensor if key in file else torch.zeros_like(tensor))


def test_a_file_that_lost_one_bias_is_not_taken_for_one_without(small: BlindConsistency):
    file = small.state_dict()
    del file["conv2a.conv2d.bias"]
    assert "conv2a.conv2d.bias" not in from_published(file)


def test_a_file_may_have_wrapper_and_prefix_and_buffers_that_nobody_reads(small: BlindConsistency):
    own = small.state_dict()
    state_dict = {f"module.{key}": tensor for key, tensor in own.items()}
    state_dict["module.conv1a.norm_layer.running_mean"] = torch.zeros(4)
    state_dict["module.ResBlocks.0.conv2.norm_layer.num_batches_tracked"] = torch.tensor(0)

    found = from_published({"model": state_dict, "optimizer": {}})

    assert found.keys() == own.keys()
    assert all(found[key] is tensor for key, tensor in own.items())
    assert from_published(own).keys() == own.keys()


@pytest.mark.parametrize(("height", "width"), [(8, 12), (5, 7), (18, 9)])
def test_any_size_comes_out_as_it_went_in(small: BlindConsistency, height: int, width: int):
    output, state = small(*pictures(4, height, width, batch=2), None)
    assert output.shape == (2, 3, height, width)
    assert state[0].shape == state[1].shape == (2, 16, -(-height // 4), -(-width // 4))


def test_the_network_says_what_to_add_to_the_translated_frame(small: BlindConsistency):
    small.deconv3.conv2d.weight.zero_()
    small.deconv3.conv2d.bias.copy_(torch.tensor((0.0, 0.5, -100.0)))
    translated, *others = pictures(4, 8, 12)

    output, _ = small(translated, *others, None)

    added = torch.tensor((0.0, math.tanh(0.5), -1.0)).view(1, 3, 1, 1)
    torch.testing.assert_close(output, translated + added)


def test_untranslated_frames_are_seen_only_by_the_memory(small: BlindConsistency):
    translated, last, frame, last_frame = pictures(4, 8, 12)
    seen, _ = small(translated, last, frame, last_frame, None)
    unlike, _ = small(translated, last, 1.0 - frame, last_frame, None)
    assert not torch.equal(seen, unlike)

    small.convlstm.Gates.weight.zero_()
    small.convlstm.Gates.bias.zero_()

    seen, _ = small(translated, last, frame, last_frame, None)
    unlike, _ = small(translated, last, 1.0 - frame, 1.0 - last_frame, None)
    assert torch.equal(seen, unlike)


def test_nothing_is_remembered_but_the_state_that_is_handed_on(small: BlindConsistency):
    frames = pictures(4, 8, 12)
    first, state = small(*frames, None)
    second, _ = small(*frames, state)

    assert torch.equal(small(*frames, None)[0], first)
    assert torch.equal(small(*frames, state)[0], second)
    assert not torch.equal(first, second)


def test_frames_of_different_sizes_are_refused(small: BlindConsistency):
    frames = list(pictures(4, 8, 12))
    for position, name in enumerate(("previous_output", "frame", "previous_frame"), start=1):
        wrong = [frame[..., :8] if i == position else frame for i, frame in enumerate(frames)]
        with pytest.raises(ValueError, match=f"^{name} must be on the grid of translated"):
            small(*wrong, None)


def test_a_frame_too_small_to_reflect_is_refused(small: BlindConsistency):
    with pytest.raises(ValueError, match="at least 5 pixels a side, got 4x9"):
        small(*pictures(4, 4, 9), None)


@pytest.mark.shared
@pytest.mark.parametrize("norm", NORMS)
def test_keys_and_shapes_are_those_of_the_published_file(norm: str):
    layout = published_layout("lai_transformnet", norm)
    file = from_published({key: torch.empty(shape) for key, (shape, _) in layout.items()})
    own = blind_consistency().state_dict()
    assert {key: tensor.shape for key, tensor in own.items()} == {
        key: tensor.shape for key, tensor in file.items()
    }


@pytest.mark.shared
@pytest.mark.parametrize("norm", NORMS)
def test_a_shot_matches_the_golden_of_the_published_code(norm: str):
    network = published_network(norm)
    arrays, _ = golden("lai_transformnet")
    tolerance = golden_tolerance("lai_transformnet")
    frames, translated = torch.from_numpy(arrays["I"]), torch.from_numpy(arrays["P"])

    outputs, state = [translated[:1]], None
    for t in range(1, len(frames)):
        target = translated[t : t + 1]
        arguments = (target, outputs[-1], frames[t : t + 1], frames[t - 1 : t])
        output, state = network(*arguments, state)
        outputs.append(output)
        if norm == "IN":
            assert_near_golden(output - target, arrays[f"Y_{t}"], tolerance)
            assert_near_golden(state[0][:, ::4], arrays[f"hidden_{t}"], tolerance)
            assert_near_golden(state[1][:, ::4], arrays[f"cell_{t}"], tolerance)

    assert_near_golden(torch.cat(outputs), arrays[f"O_{norm}"], tolerance)


@pytest.mark.shared
def test_an_odd_size_fed_back_as_levels_matches_the_golden_of_the_published_script():
    network = published_network("IN")
    arrays, _ = golden("lai_transformnet")
    frames, translated = (
        torch.from_numpy(arrays[key]).permute(0, 3, 1, 2).float() / 255.0
        for key in ("odd_I_u8", "odd_P_u8")
    )

    (most_levels,) = golden_note("lai_transformnet", r"odd_O_u8 at \+-(\d+)")

    last, state = translated[:1], None
    for t in range(1, len(frames)):
        arguments = (translated[t : t + 1], last, frames[t : t + 1], frames[t - 1 : t])
        output, state = network(*arguments, state)
        levels = (output.clamp(0.0, 1.0) * 255.0).to(torch.uint8)
        last = levels.float() / 255.0

        rows, key = output[0].permute(1, 2, 0), f"odd_O_float_{t}"
        tolerance = golden_tolerance("lai_transformnet", key)
        if t == 1:
            assert_near_golden(rows, arrays[key], tolerance)
        else:
            # A level of the first output may be truncated either way; the rest follows from it.
            assert np.abs(rows.numpy() - arrays[key]).max() <= tolerance
        expected = arrays["odd_O_u8"][t].astype(int)
        difference = np.abs(levels[0].permute(1, 2, 0).numpy().astype(int) - expected)
        assert difference.max() <= most_levels
