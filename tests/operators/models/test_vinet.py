"""VINet against the published code's numbers, and what its structure implies."""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from published import (
    assert_near_golden,
    assert_sums_match,
    published_layout,
    published_weights,
)
from shared import golden, golden_tolerance
from torch import Tensor

from operators.models.vinet import (
    Previous,
    Step,
    VINet,
    from_published,
    vinet_256,
    vinet_512,
)


def window(height: int, width: int, *, batch: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    frames = torch.rand(batch, 5, 3, height, width, generator=generator)
    holes = torch.zeros(batch, 5, 1, height, width)
    holes[..., height // 4 : height // 2, width // 3 : width // 2] = 1.0
    return frames, holes


def last_output(height: int, width: int, *, batch: int = 1) -> Previous:
    image = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1))
    return Previous(image, torch.zeros(batch, 1, height, width))


def built(*, is_double: bool) -> VINet:
    torch.manual_seed(0)
    network = VINet(is_double=is_double).eval().requires_grad_(requires_grad=False)
    for key, parameter in network.named_parameters():
        if not key.startswith(("flownet", "masknet")):
            parameter.mul_(4.5)  # or signals would die on their way through the gates
    return network


@pytest.fixture(scope="module")
def single() -> VINet:
    return built(is_double=False)


@pytest.fixture(scope="module", params=[False, True], ids=["256", "512"])
def network(request: pytest.FixtureRequest) -> VINet:
    return built(is_double=request.param)


def test_parameters_are_as_many_as_in_the_published_network(network: VINet):
    assert sum(parameter.numel() for parameter in network.parameters()) == 14_115_364


def test_the_builders_make_the_layout_of_their_file():
    assert not vinet_256().is_double
    assert vinet_512().is_double


def test_a_file_may_have_wrapper_and_prefix(single: VINet):
    own = single.state_dict()
    file = {"state_dict": {f"module.{key}": tensor for key, tensor in own.items()}, "epoch": 6}
    for found in (from_published(file), from_published(own)):
        assert found.keys() == own.keys()
        assert all(found[key] is tensor for key, tensor in own.items())


def test_any_sides_of_the_declared_multiple_will_do(network: VINet):
    height, width = 2 * network.multiple, 3 * network.multiple
    first = network(*window(height, width, batch=2), None)
    second = network(*window(height, width, batch=2), last_output(height, width, batch=2))

    coarse = (height // network.multiple, width // network.multiple)
    for step in (first, second):
        assert step.image.shape == (2, 3, height, width)
        assert step.state[0].shape == step.state[1].shape == (2, 128, *coarse)
        for scale, flow, mask in zip((1, 2, 4), step.flows, step.masks, strict=True):
            assert flow.shape == (2, 5, 2, scale * coarse[0], scale * coarse[1])
            assert mask.shape == (2, 1, scale * coarse[0], scale * coarse[1])
    assert first.last_flow is None
    assert second.last_flow.shape == (2, 2, height, width)


def test_what_lies_in_a_hole_is_not_read(single: VINet):
    frames, holes = window(16, 24)
    other = torch.where(holes.bool(), 1.0 - frames, frames)
    assert torch.equal(single(frames, holes, None).image, single(other, holes, None).image)


def test_pictures_of_a_batch_do_not_see_each_other(single: VINet):
    frames, holes = window(16, 24, batch=2)
    previous = last_output(16, 24, batch=2)
    together = single(frames, holes, previous)
    for index in range(2):
        only = slice(index, index + 1)
        alone = single(
            frames[only], holes[only], Previous(previous.image[only], previous.hole[only])
        )
        torch.testing.assert_close(together.image[only], alone.image, rtol=0, atol=1e-5)
        torch.testing.assert_close(together.flows[2][only], alone.flows[2], rtol=0, atol=1e-5)
        torch.testing.assert_close(together.state[0][only], alone.state[0], rtol=0, atol=1e-5)


def test_nothing_is_remembered_but_what_is_handed_on(single: VINet):
    frames, holes = window(16, 24)
    previous = last_output(16, 24)
    first = single(frames, holes, None)
    second = single(frames, holes, previous, first.state)

    assert torch.equal(single(frames, holes, None).image, first.image)
    assert torch.equal(single(frames, holes, previous, first.state).image, second.image)
    afresh = single(frames, holes, previous)
    assert (afresh.state[0] - second.state[0]).abs().max() > 1e-2
    assert not torch.equal(afresh.image, second.image)


def test_the_encoders_see_blue_first_from_minus_one_to_one_with_holes_at_zero(single: VINet):
    seen: list[Tensor] = []
    handles = [
        encoder.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
        for encoder in (single.encoder1, single.encoder2)
    ]
    _, holes = window(16, 24)
    holes = holes * torch.tensor((1.0, 1.0, 1.0, 0.0, 0.0)).view(5, 1, 1, 1)
    reds = torch.tensor((0.0, 0.25, 0.5, 0.75, 1.0)).view(1, 5, 1, 1, 1)
    frames = torch.cat((reds, torch.zeros(1, 5, 2, 1, 1)), dim=2).expand(1, 5, 3, 16, 24)
    previous = Previous(frames[:, 4], torch.full((1, 1, 16, 24), 0.5))

    single(frames, holes, None)
    single(frames, holes, previous)

    for handle in handles:
        handle.remove()
    blue_green_red = 2.0 * frames[0].flip(1) - 1.0
    known = torch.cat(
        (blue_green_red * (1.0 - holes[0]), torch.ones_like(holes[0]), holes[0]), dim=1
    )
    first_target, first_others, target, others = seen
    assert torch.equal(first_target, known[2:3])
    assert torch.equal(target, known[2:3])
    assert torch.equal(first_others, known[[0, 1, 3, 4, 2]])
    assert torch.equal(others[:4], known[[0, 1, 3, 4]])
    painted = torch.cat((blue_green_red[4:], torch.ones(1, 1, 16, 24), previous.hole), dim=1)
    assert torch.equal(others[4:], painted)


def without_motion(network: VINet, *, trust: float) -> VINet:
    """Flows all zero, and the previous output taken where ``trust`` is large."""
    for part in (network.flownet, network.flownet_64, network.flownet_128, network.flownet_256):
        for parameter in part.parameters():
            parameter.zero_()
    last = network.masknet_256.convs[2]
    last.weight.zero_()
    last.bias.fill_(trust)
    return network


@pytest.mark.parametrize("is_double", [False, True])
def test_a_previous_output_that_is_trusted_is_shown_again(is_double: bool):
    network = without_motion(built(is_double=is_double), trust=100.0)
    frames, holes = window(32, 48)
    previous = last_output(32, 48)

    step = network(frames, holes, previous)

    assert torch.equal(step.last_flow, torch.zeros(1, 2, 32, 48))
    torch.testing.assert_close(step.image, previous.image, rtol=0, atol=1e-5)


def test_a_previous_output_that_is_not_trusted_serves_only_as_a_reference():
    network = without_motion(built(is_double=False), trust=-100.0)
    frames, holes = window(16, 24)
    target = Previous(frames[:, 2] * (1.0 - holes[:, 2]) + 0.5 * holes[:, 2], holes[:, 2])

    # Told of its own masked input, the network sees what it sees at the first frame.
    step, first = network(frames, holes, target), network(frames, holes, None)

    torch.testing.assert_close(step.image, first.image, rtol=0, atol=1e-5)


def test_shapes_that_do_not_belong_together_are_refused(single: VINet):
    frames, holes = window(16, 24)
    with pytest.raises(ValueError, match=r"frames must be \(B, 5, 3, H, W\), got \(1, 4, 3"):
        single(frames[:, :4], holes, None)
    with pytest.raises(ValueError, match=r"holes must be \(B, 5, 1, H, W\)"):
        single(frames, holes[:, :, 0], None)
    with pytest.raises(ValueError, match=r"holes must be floating point, got torch\.bool"):
        single(frames, holes.bool(), None)
    with pytest.raises(ValueError, match="holes must be on the grid of frames"):
        single(frames, holes[..., :16], None)
    with pytest.raises(ValueError, match="multiples of 8, got 16x20"):
        single(frames[..., :20], holes[..., :20], None)
    with pytest.raises(ValueError, match=r"previous\.image must be on the grid of a frame"):
        single(frames, holes, last_output(16, 16))


@pytest.mark.shared
def test_keys_and_shapes_are_those_of_the_published_file(network: VINet):
    layout = published_layout("vinet_single")
    own = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    assert list(own.items()) == [(key, shape) for key, (shape, _) in layout.items()]


@dataclass(frozen=True)
class Run:
    """Two steps of the published demo: the second is told of the first one's output."""

    steps: list[Step]
    encoded: list[Tensor]


def golden_run(name: str) -> Run:
    arrays, meta = golden(name)
    # Both layouts have the same keys, so there is one list.
    weights = published_weights(name, keys="vinet_single")
    assert_sums_match(weights, name)
    network = VINet(is_double=meta["double_size"]).eval().requires_grad_(requires_grad=False)
    network.load_state_dict(from_published(weights))
    encoded: list[Tensor] = []
    network.encoder1.register_forward_hook(
        lambda _module, _inputs, output: encoded.append(output.eighth)
    )
    frames = torch.from_numpy(arrays["frames_bgr"])[None].flip(2)
    holes = torch.from_numpy(arrays["hole"])[None]

    first = network(frames[:, :5], holes[:, :5], None)
    mistrust = 0.5 if meta["double_size"] else 0.0
    previous = Previous(first.image, mistrust * holes[:, 2])
    second = network(frames[:, 1:], holes[:, 1:], previous)
    return Run([first, second], encoded)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["vinet_single", "vinet_double"])
def test_every_stage_of_two_steps_matches_the_golden_of_the_published_code(name: str):
    arrays, _ = golden(name)
    tolerance = golden_tolerance(name)

    run = golden_run(name)

    for t, (step, encoded) in enumerate(zip(run.steps, run.encoded, strict=True)):
        assert_near_golden(encoded[:, ::8], arrays[f"enc1_c8_{t}"], tolerance)
        assert_near_golden(step.state[0][:, ::8], arrays[f"hidden_c8_{t}"], tolerance)
        coarse, _, fine = (flow.transpose(1, 2) for flow in step.flows)
        assert_near_golden(coarse, arrays[f"flow8_{t}"], tolerance)
        assert_near_golden(fine[..., ::4, ::4], arrays[f"flow2_s4_{t}"], tolerance)
        stacked = [
            share
            for scale, mask in zip((8, 4, 2), step.masks, strict=True)
            for enlarged in [F.interpolate(mask, scale_factor=scale, mode="bilinear")]
            for share in (enlarged, 1.0 - enlarged)
        ]
        occlusion = torch.stack(stacked, dim=2)[..., ::8, ::8]
        assert_near_golden(occlusion, arrays[f"occ_s8_{t}"], tolerance)
        painted = 2.0 * step.image.flip(1) - 1.0
        assert_near_golden(painted, arrays[f"out_{t}"], tolerance)
    last_flow = run.steps[1].last_flow
    assert_near_golden(last_flow[..., ::4, ::4], arrays["flow6_last_s4_1"], tolerance)
