"""VINet: inpaints a video frame from its neighbours and from what it painted last.

In the order of Kim et al., "Deep video inpainting", CVPR 2019, section 3, and its published
code. It is the video-to-video baseline of the paper for inpainting.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from operators.check import require_images, require_same_grid
from operators.functional.precision import exact
from operators.functional.warp import backward_warp
from operators.models.convlstm import ConvLSTM, State
from operators.models.vinet_flow import FlowNetwork, MaskNetwork, enlarge_flow
from operators.models.vinet_gated import Aggregation, Bottleneck, Decoder, Encoder
from operators.models.weights import strip_prefix

# The demo of the authors takes every third frame: two before the target, it, two after it.
WINDOW = 5
TARGET = 2


@dataclass(frozen=True, slots=True, eq=False)
class Previous:
    """What the network is told of the frame that it painted last.

    Attributes:
        image: ``(B, 3, H, W)`` RGB in ``[0, 1]``, the last output.
        hole: ``(B, 1, H, W)``, how much of it is to be mistrusted. The demo of the authors says
            half of the hole to the 512-pixel network and zero everywhere to the 256-pixel one.
    """

    image: Tensor
    hole: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What one step of the network gives.

    Attributes:
        image: ``(B, 3, H, W)`` RGB around ``[0, 1]``, not clamped. Known pixels are painted as
            well; put those of the frame over them.
        state: Of the memory. The demo of the authors forgets it after every frame.
        flows: From the target to its four references and to the previous output, each
            ``(B, 5, 2, h, w)`` in pixels of its grid: at 1/8, 1/4 and 1/2 of the first features.
        masks: Share of the references in the merged features, each ``(B, 1, h, w)``, at the
            same scales.
        last_flow: ``(B, 2, H, W)`` into the previous output, pixels; None without one.
    """

    image: Tensor
    state: State
    flows: tuple[Tensor, ...]
    masks: tuple[Tensor, ...]
    last_flow: Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """Features of the target completed from the references, at one scale.

    Attributes:
        features: ``(B, C, h, w)``.
        flow: ``(5B, 2, h, w)``, reference by reference.
        mask: ``(B, 1, h, w)``, share of the references.
    """

    features: Tensor
    flow: Tensor
    mask: Tensor


class VINet(nn.Module):
    """The recurrent inpainting network.

    Departure: the published code is built for one square size. Here any sides will do that are
    multiples of :attr:`multiple`; the weights know 256 or 512 pixels.

    Args:
        is_double: True for the layout of the 512-pixel weights, which halves the frame before
            anything else; false for that of the 256-pixel weights.

    Attributes:
        multiple: Of which the sides of a frame must be.
    """

    def __init__(self, *, is_double: bool) -> None:
        super().__init__()
        self.is_double = is_double
        self.multiple = 16 if is_double else 8
        self.encoder1 = Encoder(halves=is_double)
        self.encoder2 = Encoder(halves=is_double)
        self.bottleneck = Bottleneck()
        self.convlstm = ConvLSTM(128, 128)
        self.decoder = Decoder(doubles=is_double)
        # Named by the side of their features for a frame of 256 pixels; without a number, 32.
        self.flownet = FlowNetwork(128, is_coarsest=True)
        self.flownet_64 = FlowNetwork(96, is_coarsest=False)
        self.flownet_128 = FlowNetwork(64, is_coarsest=False)
        self.flownet_256 = FlowNetwork(32, is_coarsest=False)
        self.masknet_256 = MaskNetwork(32)
        self.masknet = MaskNetwork(128)
        self.masknet_64 = MaskNetwork(96)
        self.masknet_128 = MaskNetwork(64)
        self.st_agg = Aggregation(128, count=WINDOW)
        self.st_agg_64 = Aggregation(96, count=WINDOW)
        self.st_agg_128 = Aggregation(64, count=WINDOW)

    def forward(
        self,
        frames: Tensor,
        holes: Tensor,
        previous: Previous | None,
        state: State | None = None,
    ) -> Step:
        """Paint the middle frame of a window.

        Args:
            frames: ``(B, 5, 3, H, W)`` RGB in ``[0, 1]``, the target in the middle; what lies in
                a hole is not read.
            holes: ``(B, 5, 1, H, W)``, 1 where missing.
            previous: The last output; None for the first frame of a shot.
            state: Of the memory; None to start afresh.

        Returns:
            The painted frame and what led to it.

        Raises:
            ValueError: If the shapes disagree or a side is no multiple of :attr:`multiple`.
        """
        _require_window(frames, holes, self.multiple)
        inputs = _network_input(frames, holes)
        last = inputs[:, TARGET] if previous is None else _last_input(previous, frames[:, TARGET])
        neighbours = [inputs[:, index] for index in range(WINDOW) if index != TARGET]
        target = self.encoder1(inputs[:, TARGET])
        references = self.encoder2(torch.cat((*neighbours, last)))

        coarsest = (self.flownet, self.st_agg, self.masknet)
        eighth = merge(*coarsest, target.eighth, references.eighth)
        features = torch.cat((target.eighth, eighth.features), dim=1)
        state = self.convlstm(self.bottleneck(features), state)
        middle = (self.flownet_64, self.st_agg_64, self.masknet_64)
        quarter = merge(*middle, target.quarter, references.quarter, eighth.flow)
        finest = (self.flownet_128, self.st_agg_128, self.masknet_128)
        half = merge(*finest, target.half, references.half, quarter.flow)
        output = self.decoder(state[0], quarter.features, half.features)

        last_flow = None
        if previous is not None:
            last_features, flow = _each(references.full)[-1], _each(half.flow)[-1]
            share, last_flow = self._trust_in_last(target.full, last_features, flow)
            last_output = backward_warp(exact(last[:, :3]), last_flow)
            output = torch.lerp(exact(output), last_output, exact(share))
        scales = (eighth, quarter, half)
        return Step(
            image=(output.flip(1) + 1.0) / 2.0,
            state=state,
            flows=tuple(torch.stack(_each(scale.flow), dim=1) for scale in scales),
            masks=tuple(scale.mask for scale in scales),
            last_flow=last_flow,
        )

    def _trust_in_last(
        self, target: Tensor, reference: Tensor, coarse: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Share of the previous output in the new one, and the flow into it, both on its grid."""
        flow = enlarge_flow(coarse, 2)
        aligned = backward_warp(reference, flow)
        # As published: the mask judges by the unrefined flow. The picture is warped by the refined
        # one, but in the layout for 512 pixels nothing is, and flownet_256 lies idle.
        share = self.masknet_256(target, aligned)
        if self.is_double:
            share = F.interpolate(share, scale_factor=2.0, mode="nearest")
            return share, enlarge_flow(coarse, 4)
        return share, self.flownet_256(target, aligned, flow)


def merge(
    flow_network: FlowNetwork,
    aggregation: Aggregation,
    mask_network: MaskNetwork,
    target: Tensor,
    references: Tensor,
    coarse: Tensor | None = None,
) -> Merged:
    """Align the references with the target, pool them, and take them where they serve better.

    Args:
        flow_network: Of this scale.
        aggregation: Of this scale.
        mask_network: Of this scale.
        target: ``(B, C, h, w)`` features.
        references: ``(5B, C, h, w)`` features, reference by reference.
        coarse: ``(5B, 2, h/2, w/2)``, the flow of the next coarser scale; None at the coarsest.

    Returns:
        The completed features, the flow and the mask.

    Source:
        Section 3. Samples outside of a reference are zero, as in the published code.
    """
    targets = target.repeat(WINDOW, 1, 1, 1)
    if coarse is None:
        flow = flow_network(targets, references)
    else:
        known = enlarge_flow(coarse, 2)
        flow = flow_network(targets, backward_warp(references, known, "zeros"), known)
    aligned = backward_warp(references, flow, "zeros")
    pooled = aggregation(torch.stack(_each(aligned), dim=2))
    mask = mask_network(target, pooled)
    return Merged(torch.lerp(target, pooled, mask), flow, mask)


def _each(stacked: Tensor) -> tuple[Tensor, ...]:
    """``(5B, C, h, w)`` to one ``(B, C, h, w)`` for each reference."""
    return stacked.chunk(WINDOW)


def _to_network(images: Tensor) -> Tensor:
    """RGB in ``[0, 1]`` to BGR in ``[-1, 1]``: the authors trained on what OpenCV reads."""
    return images.flip(-3) * 2.0 - 1.0


def _network_input(frames: Tensor, holes: Tensor) -> Tensor:
    known = _to_network(frames) * (1.0 - holes)
    return torch.cat((known, torch.ones_like(holes), holes), dim=2)


def _last_input(previous: Previous, target: Tensor) -> Tensor:
    require_images("previous.image", previous.image, channels=3)
    require_images("previous.hole", previous.hole, channels=1)
    require_same_grid("previous.image", previous.image, "a frame", target)
    require_same_grid("previous.hole", previous.hole, "a frame", target)
    ones = torch.ones_like(previous.hole)
    return torch.cat((_to_network(previous.image), ones, previous.hole), dim=1)


def _require_window(frames: Tensor, holes: Tensor, multiple: int) -> None:
    for name, stack, channels in (("frames", frames, 3), ("holes", holes, 1)):
        if stack.ndim != 5 or stack.shape[1:3] != (WINDOW, channels):
            msg = f"{name} must be (B, {WINDOW}, {channels}, H, W), got {tuple(stack.shape)}"
            raise ValueError(msg)
        require_images(name, stack.flatten(0, 1))
    require_same_grid("holes", holes.flatten(0, 1), "frames", frames.flatten(0, 1))
    height, width = frames.shape[-2:]
    if height % multiple or width % multiple:
        msg = f"frames must have sides that are multiples of {multiple}, got {height}x{width}"
        raise ValueError(msg)


def vinet_256() -> VINet:
    """The network of ``save_agg_rec_256.pth``."""
    return VINet(is_double=False)


def vinet_512() -> VINet:
    """The network of ``save_agg_rec_512.pth``."""
    return VINet(is_double=True)


def from_published(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Turn the contents of a published file into a state dict of :class:`VINet`.

    Args:
        checkpoint: A state dict, possibly under ``state_dict`` and with the ``module.`` of
            ``DataParallel``.

    Returns:
        A state dict for strict loading.
    """
    return strip_prefix(checkpoint.get("state_dict", checkpoint))
