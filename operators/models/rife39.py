"""RIFE 3.9: intermediate flow from two frames and a time, coarse to fine.

Source:
    Huang et al., "Real-Time Intermediate Flow Estimation for Video Frame Interpolation", ECCV
    2022, section 3, in the form that Practical-RIFE published as version 3.9.

Departures from the paper: four blocks instead of three, each fed with the time of the frame that
is asked for, and the scales are doubled where the motion is too large for them. The published
file also holds the networks that repaint the blended frame (:meth:`IFNet.repainted`). HyperCon
does not ask for them: what they paint comes from no grid, so masks could not follow it.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from operators.functional.precision import exact
from operators.functional.warp import backward_warp
from operators.models.refining import RefiningNetwork, resize
from operators.models.rife39_repainting import ContextNet, UNet, conv_prelu
from operators.models.weights import strip_prefix, without

SCALES: tuple[int, ...] = (8, 4, 2, 1)
REACH_PX = 32.0

TEACHER = "block_tea."  # served only in training


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The keys of a published file as those of :class:`IFNet`."""
    return without(strip_prefix(state), (TEACHER,))


class IFBlock(nn.Module):
    """Estimates, at one scale, by how much flow and mask change.

    Args:
        in_channels: Channels of what it reads, flow included.
        channels: Channels inside.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.conv0 = nn.Sequential(
            conv_prelu(in_channels, channels // 2, stride=2),
            conv_prelu(channels // 2, channels, stride=2),
        )
        self.convblock = nn.Sequential(
            *(conv_prelu(channels, channels, stride=1) for _ in range(8))
        )
        self.lastconv = nn.ConvTranspose2d(channels, 5, kernel_size=4, stride=2, padding=1)

    def forward(self, seen: Tensor, flow: Tensor | None, scale: int) -> tuple[Tensor, Tensor]:
        """Change of flow, ``(B, 4, H, W)`` pixels, and of the mask, ``(B, 1, H, W)`` logits.

        Args:
            seen: ``(B, C, H, W)`` frames, time and mask, in full size.
            flow: ``(B, 4, H, W)`` so far, pixels; None for the first block.
            scale: How many times smaller the block looks at them.
        """
        small = resize(seen, 1 / scale)
        if flow is not None:
            small = torch.cat((small, resize(flow, 1 / scale) / scale), dim=1)
        features = self.conv0(small)
        features = self.convblock(features) + features
        # What comes out is half the size of what the block looked at.
        change = resize(exact(self.lastconv(features)), 2 * scale)
        return change[:, :4] * (2 * scale), change[:, 4:5]


class IFNet(RefiningNetwork):
    """The four blocks, and what repaints. Height and width must be multiples of 64."""

    def __init__(self) -> None:
        super().__init__()
        self.block0 = IFBlock(3 + 3 + 1, channels=192)
        self.block1 = IFBlock(3 + 3 + 1 + 1 + 4, channels=128)
        self.block2 = IFBlock(3 + 3 + 1 + 1 + 4, channels=96)
        self.block3 = IFBlock(3 + 3 + 1 + 1 + 4, channels=64)
        self.contextnet = ContextNet()
        self.unet = UNet()

    def refinements(
        self, first: Tensor, second: Tensor, t: float
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Flow ``(B, 4, H, W)`` and mask logits ``(B, 1, H, W)`` after each block, in order."""
        frames = (first, second, torch.full_like(first[:, :1], t))
        scales = SCALES
        flow, mask = self.block0(torch.cat(frames, dim=1), None, scales[0])
        yield flow, mask

        change, mask_change = _look(self.block1, frames, flow, mask, scales[1])
        if _exceeds_reach(change):
            scales = tuple(2 * scale for scale in SCALES)
            flow, mask = self.block0(torch.cat(frames, dim=1), None, scales[0])
            change, mask_change = _look(self.block1, frames, flow, mask, scales[1])
        flow, mask = flow + change, mask + mask_change
        yield flow, mask

        for block, scale in ((self.block2, scales[2]), (self.block3, scales[3])):
            change, mask_change = _look(block, frames, flow, mask, scale)
            flow, mask = flow + change, mask + mask_change
            yield flow, mask

    def repainted(self, first: Tensor, second: Tensor, t: float) -> Tensor:
        """The frame at an instant as the published program puts it out: blended, then repainted.

        Args:
            first: ``(B, 3, H, W)`` RGB in ``[0, 1]``.
            second: The same.
            t: The instant, 0 at the first frame and 1 at the second.

        Returns:
            ``(B, 3, H, W)`` RGB in ``[0, 1]``.
        """
        *_, (flow, mask) = self.refinements(first, second, t)
        to_first, to_second = flow[:, :2], flow[:, 2:4]
        warped_first = backward_warp(first, to_first)
        warped_second = backward_warp(second, to_second)
        share = torch.sigmoid(mask)
        blended = share * warped_first + (1.0 - share) * warped_second
        change: Tensor = self.unet(
            torch.cat((first, second, warped_first, warped_second, mask, flow), dim=1),
            self.contextnet(first, to_first),
            self.contextnet(second, to_second),
        )
        return (blended + change).clamp(0.0, 1.0)


def _look(
    block: nn.Module, frames: tuple[Tensor, Tensor, Tensor], flow: Tensor, mask: Tensor, scale: int
) -> tuple[Tensor, Tensor]:
    """Let a block see the frames as the flow so far brings them to the instant."""
    first, second, time = frames
    warped_first = backward_warp(first, flow[:, :2])
    warped_second = backward_warp(second, flow[:, 2:4])
    seen = torch.cat((warped_first, warped_second, time, mask), dim=1)
    change: tuple[Tensor, Tensor] = block(seen, flow, scale)
    return change


def _exceeds_reach(change: Tensor) -> bool:
    """True if the correction towards both frames is larger than the scales were made for."""
    largest_to_first = change[:, :2].abs().max()
    largest_to_second = change[:, 2:4].abs().max()
    return bool((largest_to_first > REACH_PX) & (largest_to_second > REACH_PX))
