"""Recurrent operators against loops that keep the whole shot, and at the ends of shots."""

import pickle
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from seeded import save_seeded
from torch import Tensor

from operators.base import Operator
from operators.errors import FrameError, ModelError
from operators.frame import Frame
from operators.models import registry
from operators.models.blind_consistency import BlindConsistency as BlindConsistencyNetwork
from operators.models.entry import Entry
from operators.models.vinet import Previous, Step, VINet
from operators.recurrent import BlindConsistency, VINetInpaint, reflected

CPU = torch.device("cpu")


def shot(num_frames: int, height: int, width: int, *, masked: bool = False) -> list[Frame]:
    generator = torch.Generator().manual_seed(3)
    frames = []
    for index in range(num_frames):
        image, guide = torch.rand(2, 3, height, width, generator=generator)
        mask = None
        if masked:
            mask = torch.rand(1, height, width, generator=generator) < 0.3
        frames.append(Frame(index + 40, image, 11 * index, Fraction(1, 24), mask, guide))
    return frames


def run(operator: Operator, frames: Iterable[Frame]) -> list[Frame]:
    results: list[Frame] = []
    for frame in frames:
        results += operator.process(frame)  # type: ignore[arg-type]  # of frames are frames made
    return [*results, *operator.flush()]  # type: ignore[list-item]  # as above


def same_images(actual: list[Frame], expected: list[Tensor]) -> None:
    assert len(actual) == len(expected)
    for frame, image in zip(actual, expected, strict=True):
        torch.testing.assert_close(frame.image, image, atol=1e-5, rtol=0.0)


@pytest.fixture(scope="module")
def lai(tmp_path_factory: pytest.TempPathFactory) -> tuple[BlindConsistency, Tensor]:
    """The operator, set up, and the network that it should hold."""
    folder = tmp_path_factory.mktemp("lai")
    entry = registry.entry("recurrent", "lai")
    network = save_seeded(entry, folder)
    operator = BlindConsistency(entry, folder)
    operator.setup(CPU)
    return operator, network


def consistent_by_hand(network: BlindConsistencyNetwork, frames: list[Frame]) -> list[Tensor]:
    """Lai et al., section 3.1, on frames whose sides need no padding, without masks."""
    outputs = [frames[0].image]
    state = None
    for before, frame in pairwise(frames):
        assert before.guide is not None
        assert frame.guide is not None
        output, state = network(
            frame.image[None], outputs[-1][None], frame.guide[None], before.guide[None], state
        )
        outputs.append(output[0].clamp(0.0, 1.0))
    return outputs


def test_frames_are_corrected_by_the_network_from_the_second_on(
    lai: tuple[BlindConsistency, BlindConsistencyNetwork],
) -> None:
    operator, network = lai
    frames = shot(4, 16, 24)

    results = run(operator, frames)

    same_images(results, consistent_by_hand(network, frames))
    assert torch.equal(results[0].image, frames[0].image)
    assert not torch.equal(results[1].image, frames[1].image)
    assert [(r.index, r.pts) for r in results] == [(f.index, f.pts) for f in frames]


def test_a_shot_does_not_hear_of_the_one_before(
    lai: tuple[BlindConsistency, BlindConsistencyNetwork],
) -> None:
    operator, network = lai
    frames = shot(3, 16, 24)
    run(operator, shot(2, 16, 24)[::-1])

    same_images(run(operator, frames), consistent_by_hand(network, frames))


def test_odd_sizes_are_extended_by_their_border_and_cut_back(
    lai: tuple[BlindConsistency, BlindConsistencyNetwork],
) -> None:
    operator, network = lai
    frames = shot(2, 5, 17)

    def extended(image: Tensor | None) -> Tensor:
        assert image is not None
        columns = torch.cat((image, image[..., -1:].expand(-1, -1, 3)), dim=2)
        return torch.cat((columns, columns[..., -1:, :].expand(-1, 3, -1)), dim=1)

    wide = [replace(f, image=extended(f.image), guide=extended(f.guide)) for f in frames]
    expected = [image[..., :5, :17] for image in consistent_by_hand(network, wide)]

    same_images(run(operator, frames), expected)


def test_known_pixels_of_masked_frames_are_those_of_the_guide(
    lai: tuple[BlindConsistency, BlindConsistencyNetwork],
) -> None:
    operator, _ = lai
    frames = shot(3, 16, 24, masked=True)

    for frame, result in list(zip(frames, run(operator, frames), strict=True))[1:]:
        assert frame.guide is not None
        assert frame.mask is not None
        known = ~frame.mask.expand_as(frame.image)
        assert torch.equal(result.image[known], frame.guide[known])
        assert not torch.equal(result.image[~known], frame.guide[~known])


def test_without_a_guide_of_its_size_a_frame_is_refused(
    lai: tuple[BlindConsistency, BlindConsistencyNetwork],
) -> None:
    operator, _ = lai
    (frame,) = shot(1, 16, 24)
    for wrong, rule in (
        (replace(frame, guide=None), "frame 40: a frame that is made consistent must have a guide"),
        (replace(frame, image=torch.zeros(3, 32, 48)), "frame 40: .* must be a picture of the siz"),
        (replace(frame, is_picture=False), "got a tensor that is no picture"),
    ):
        with pytest.raises(FrameError, match=rule):
            list(operator.process(wrong))
    operator.flush()


class RecordingVINet(VINet):
    """Answers with what it was asked: the mean of its window, plus a share of the last output."""

    def __init__(self, *, is_double: bool) -> None:
        super().__init__(is_double=is_double)
        self.holes: list[Tensor | None] = []
        self.sizes: list[tuple[int, ...]] = []

    def forward(
        self, frames: Tensor, holes: Tensor, previous: Previous | None, state: object = None
    ) -> Step:
        assert state is None
        self.sizes.append(tuple(frames.shape[-2:]))
        weights = torch.tensor([0.4, 0.05, 0.1, 0.15, 0.3]).view(1, 5, 1, 1, 1)
        image = ((frames + 0.1 * holes) * weights).sum(dim=1)
        self.holes.append(None if previous is None else previous.hole)
        if previous is not None:
            image = 0.5 * image + 0.5 * previous.image
        return Step(image=image, state=(image, image), flows=(), masks=(), last_flow=None)


def recording(monkeypatch: pytest.MonkeyPatch, name: str) -> tuple[VINetInpaint, RecordingVINet]:
    network = RecordingVINet(is_double=name == "vinet-512")
    monkeypatch.setattr(Entry, "load", lambda entry, given: network)
    operator = registry.recurrent(name)
    assert isinstance(operator, VINetInpaint)
    operator.setup(CPU)
    return operator, network


def painted_by_hand(frames: list[Frame]) -> list[Tensor]:
    """Each frame from its window in a list that mirrors the shot as often as is needed."""
    there_and_back = [*range(len(frames)), *range(len(frames) - 2, 0, -1)]
    outputs: list[Tensor] = []
    for t, frame in enumerate(frames):
        assert frame.mask is not None
        image = torch.zeros_like(frame.image)
        for offset, weight in ((-6, 0.4), (-3, 0.05), (0, 0.1), (3, 0.15), (6, 0.3)):
            member = frames[there_and_back[(t + offset) % len(there_and_back)]]
            assert member.mask is not None
            image += weight * (member.image + 0.1 * member.mask)
        if outputs:
            image = 0.5 * image + 0.5 * outputs[-1]
        outputs.append(torch.where(frame.mask, image.clamp(0, 1), frame.image))
    return outputs


@pytest.mark.parametrize("num_frames", [1, 2, 3, 4, 6, 7, 8, 13, 14, 20])
def test_every_frame_is_painted_from_its_window_mirrored_at_the_ends(
    num_frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator, _ = recording(monkeypatch, "vinet-512")
    frames = shot(num_frames, 7, 18, masked=True)

    for _ in range(2):  # the second time as the next shot
        results = run(operator, frames)
        same_images(results, painted_by_hand(frames))
        assert [(r.index, r.pts) for r in results] == [(f.index, f.pts) for f in frames]


def test_a_frame_comes_out_as_soon_as_its_window_is_there_and_few_are_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    operator, network = recording(monkeypatch, "vinet-256")
    waiting = []

    for arrived, frame in enumerate(shot(30, 8, 8, masked=True), start=1):
        made = len(list(operator.process(frame)))
        assert made == (1 if arrived > 6 else 0)
        waiting.append(len(operator._held))

    assert max(waiting) == 13
    assert len(list(operator.flush())) == 6
    assert len(operator._held) == 0
    assert len(network.sizes) == 30


@pytest.mark.parametrize(("name", "share"), [("vinet-256", 0.0), ("vinet-512", 0.5)])
def test_the_last_output_is_mistrusted_as_the_demo_says(
    name: str, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator, network = recording(monkeypatch, name)
    frames = shot(3, 16, 32, masked=True)

    run(operator, frames)

    assert network.holes[0] is None
    for frame, hole in zip(frames[1:], network.holes[1:], strict=True):
        assert frame.mask is not None
        assert hole is not None
        assert torch.equal(hole[0], share * frame.mask.float())


def test_sides_are_extended_to_the_multiple_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in (("vinet-256", (24, 40)), ("vinet-512", (32, 48))):
        operator, network = recording(monkeypatch, name)
        (result,) = run(operator, shot(1, 17, 34, masked=True))
        assert network.sizes == [size]
        assert result.image.shape == (3, 17, 34)


def test_vinet_needs_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    operator, _ = recording(monkeypatch, "vinet-256")

    with pytest.raises(FrameError, match="frame 40: a frame for vinet-256 must have a mask"):
        list(operator.process(shot(1, 8, 8)[0]))


def test_the_real_network_fills_holes_and_nothing_else(tmp_path: Path) -> None:
    save_seeded(registry.entry("recurrent", "vinet-512"), tmp_path)
    operator = registry.recurrent("vinet-512", tmp_path)
    operator.setup(CPU)
    frames = shot(2, 20, 33, masked=True)

    for frame, result in zip(frames, run(operator, frames), strict=True):
        assert frame.mask is not None
        hole = frame.mask.expand_as(frame.image)
        assert torch.equal(result.image[~hole], frame.image[~hole])
        assert not torch.isclose(result.image[hole], frame.image[hole]).all()
        assert 0.0 <= result.image.min() <= result.image.max() <= 1.0
    operator.close()


@given(position=st.integers(-50, 50), last=st.integers(0, 20))
def test_reflection_is_that_of_padding_as_often_as_it_takes(position: int, last: int) -> None:
    line = torch.arange(last + 1.0)[None]
    reach = 50
    while last > 0 and line.shape[1] < last + 1 + 2 * reach:
        line = F.pad(line, (last, last), mode="reflect")
    expected = 0 if last == 0 else int(line[0, (line.shape[1] - last - 1) // 2 + position])

    assert reflected(position, last) == expected


@pytest.mark.parametrize("entry", registry.entries("recurrent"), ids=lambda entry: entry.name)
def test_every_recurrent_operator_serves_the_contract_and_travels(
    entry: Entry, tmp_path: Path
) -> None:
    operator = pickle.loads(pickle.dumps(registry.recurrent(entry.name, tmp_path)))  # noqa: S301 - our own

    assert isinstance(operator, Operator)
    assert operator.takes is Frame
    assert operator.is_stateful
    assert operator.reach is None
    with pytest.raises(ModelError, match=entry.files[0]):
        operator.setup(CPU)
    # A runner closes what failed to be set up, too.
    operator.close()


@pytest.mark.parametrize("name", ["lai", "vinet-256"])
def test_an_operator_must_be_set_up(name: str) -> None:
    frames = shot(7, 8, 8, masked=True)
    operator = registry.recurrent(name)

    with pytest.raises(RuntimeError, match=f"'{name}' must be set up"):
        run(operator, frames)
