"""RIFE 4: intermediate flow from two frames and a time, in the layouts of versions 4.6 to 4.26.

Source:
    Huang et al., "Real-Time Intermediate Flow Estimation for Video Frame Interpolation", ECCV
    2022, section 3, in the forms that Practical-RIFE published as versions 4.x.

Departures from the paper: more blocks, each of residual convolutions with learned gains and fed
with the time of the frame that is asked for; from 4.7 on each frame also brings learned features
along, and from 4.21 on each block hands features of its own to the next.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from operators.functional.precision import exact
from operators.functional.warp import backward_warp
from operators.models.refining import RefiningNetwork, resize
from operators.models.weights import strip_prefix, without

SLOPE = 0.2
FLOW_AND_MASK = 4 + 1

# The first two served only in training; the others repaint the blended frame, without a grid.
NOT_READ = ("teacher.", "caltime.", "block_tea.", "contextnet.", "unet.")

# Up to 4.12 the encoder was a sequence in which activations counted.
SEQUENCE = re.compile(r"^encode\.(\d)\.")
POSITIONS = {"0": 0, "1": 1, "2": 1, "4": 2, "6": 3}


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The keys of a published file as those of :class:`IFNet`."""
    kept = without(strip_prefix(state), NOT_READ)
    return {
        SEQUENCE.sub(lambda match: f"encode.cnn{POSITIONS.get(match[1], match[1])}.", key): value
        for key, value in kept.items()
    }


@dataclass(frozen=True, slots=True)
class Layout:
    """What differs between the versions.

    Attributes:
        channels: Channels inside each block, coarse to fine.
        scales: How many times smaller each block looks at the frames.
        outputs: Channels that a block gives: flow, mask and what follows them.
        carried: How many of the outputs after flow and mask the next block reads.
        head_channels: Channels inside the encoder of frames.
        head_convolutions: Convolutions of the encoder between its first and its last.
        head_features: Channels that the encoder gives for each frame; 0 for no encoder.
        adds_masks: True if a block corrects the mask so far; false if it replaces it.
    """

    channels: tuple[int, ...]
    scales: tuple[int, ...]
    outputs: int
    carried: int = 0
    head_channels: int = 0
    head_convolutions: int = 0
    head_features: int = 0
    adds_masks: bool = False


class Head(nn.Module):
    """Encodes a frame into features of the same size.

    Args:
        channels: Channels inside.
        convolutions: Convolutions between the first and the last; without any, nothing is
            rectified either.
        features: Channels of the result.
    """

    def __init__(self, channels: int, convolutions: int, features: int) -> None:
        super().__init__()
        self.last = convolutions + 1
        self.cnn0 = nn.Conv2d(3, channels, kernel_size=3, stride=2, padding=1)
        for number in range(1, self.last):
            convolution = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
            self.add_module(f"cnn{number}", convolution)
        expand = nn.ConvTranspose2d(channels, features, kernel_size=4, stride=2, padding=1)
        self.add_module(f"cnn{self.last}", expand)

    def forward(self, frame: Tensor) -> Tensor:
        """``(B, 3, H, W)`` RGB to ``(B, features, H, W)``."""
        features: Tensor = self.cnn0(frame)
        for number in range(1, self.last + 1):
            if self.last > 1:
                features = F.leaky_relu(features, SLOPE)
            features = self.get_submodule(f"cnn{number}")(features)
        return features


class ResConv(nn.Module):
    """A residual convolution with a learned gain for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel_size=3, padding=1)
        self.beta = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same."""
        return F.leaky_relu(self.conv(features) * self.beta + features, SLOPE)


def _conv(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=2, padding=1),
        nn.LeakyReLU(SLOPE),
    )


class IFBlock(nn.Module):
    """Estimates flow and mask at one scale.

    Args:
        in_channels: Channels of what it reads, flow included.
        channels: Channels inside.
        outputs: Channels of what it gives.
    """

    def __init__(self, in_channels: int, channels: int, outputs: int) -> None:
        super().__init__()
        self.conv0 = nn.Sequential(
            _conv(in_channels, channels // 2), _conv(channels // 2, channels)
        )
        self.convblock = nn.Sequential(*(ResConv(channels) for _ in range(8)))
        self.lastconv = nn.Sequential(
            nn.ConvTranspose2d(channels, 4 * outputs, kernel_size=4, stride=2, padding=1),
            nn.PixelShuffle(2),
        )

    def forward(
        self, seen: Tensor, flow: Tensor | None, scale: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Change of flow, mask, and what follows.

        Args:
            seen: ``(B, C, H, W)`` frames, time and mask, in full size.
            flow: ``(B, 4, H, W)`` so far, pixels; None for the first block.
            scale: How many times smaller the block looks at them.

        Returns:
            ``(B, 4, H, W)`` pixels, ``(B, 1, H, W)`` logits, ``(B, outputs - 5, H, W)``.
        """
        small = resize(seen, 1 / scale)
        if flow is not None:
            small = torch.cat((small, resize(flow, 1 / scale) / scale), dim=1)
        found = resize(exact(self.lastconv(self.convblock(self.conv0(small)))), scale)
        return found[:, :4] * scale, found[:, 4:5], found[:, FLOW_AND_MASK:]


class IFNet(RefiningNetwork):
    """The blocks. Height and width must be multiples of four times the coarsest scale.

    Args:
        layout: Which version.
    """

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout
        features = 2 * layout.head_features
        for number, channels in enumerate(layout.channels):
            reads = 3 + 3 + 1 + features + (1 + 4 + layout.carried if number else 0)
            self.add_module(f"block{number}", IFBlock(reads, channels, layout.outputs))
        if features:
            self.encode = Head(layout.head_channels, layout.head_convolutions, layout.head_features)

    def refinements(
        self, first: Tensor, second: Tensor, t: float
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Flow ``(B, 4, H, W)`` and mask logits ``(B, 1, H, W)`` after each block, in order."""
        layout = self.layout
        time = torch.full_like(first[:, :1], t)
        first, second = self._with_features(first), self._with_features(second)
        block0 = self.get_submodule("block0")
        flow, mask, carried = block0(_joined(first, second, time), None, layout.scales[0])
        yield flow, mask
        for number, scale in enumerate(layout.scales[1:], start=1):
            warped_first = backward_warp(first, flow[:, :2])
            warped_second = backward_warp(second, flow[:, 2:4])
            seen = _joined(warped_first, warped_second, time, mask, carried[:, : layout.carried])
            block = self.get_submodule(f"block{number}")
            change, new_mask, carried = block(seen, flow, scale)
            flow = flow + change
            mask = mask + new_mask if layout.adds_masks else new_mask
            yield flow, mask

    def _with_features(self, frame: Tensor) -> Tensor:
        if not self.layout.head_features:
            return frame
        return torch.cat((frame, self.encode(frame)), dim=1)


def _joined(first: Tensor, second: Tensor, *others: Tensor) -> Tensor:
    """Both pictures, then the features of both, then the others: the order of training."""
    return torch.cat((first[:, :3], second[:, :3], first[:, 3:], second[:, 3:], *others), dim=1)


def rife_4_6() -> IFNet:
    """Version 4.6."""
    return IFNet(
        Layout(channels=(192, 128, 96, 64), scales=(8, 4, 2, 1), outputs=6, adds_masks=True)
    )


def rife_4_7() -> IFNet:
    """Versions 4.7 to 4.9."""
    return IFNet(
        Layout(
            channels=(192, 128, 96, 64),
            scales=(8, 4, 2, 1),
            outputs=6,
            head_channels=16,
            head_features=4,
        )
    )


def rife_4_10() -> IFNet:
    """Versions 4.10 to 4.19, and 4.24."""
    return IFNet(
        Layout(
            channels=(192, 128, 96, 64),
            scales=(8, 4, 2, 1),
            outputs=6,
            head_channels=32,
            head_convolutions=2,
            head_features=8,
        )
    )


def rife_4_21() -> IFNet:
    """Versions 4.21 to 4.23."""
    return IFNet(
        Layout(
            channels=(256, 192, 96, 48),
            scales=(8, 4, 2, 1),
            outputs=13,
            carried=8,
            head_channels=32,
            head_convolutions=2,
            head_features=8,
        )
    )


def rife_4_25() -> IFNet:
    """Versions 4.25 and 4.26."""
    return IFNet(
        Layout(
            channels=(192, 128, 96, 64, 32),
            scales=(16, 8, 4, 2, 1),
            outputs=13,
            carried=8,
            head_channels=16,
            head_convolutions=2,
            head_features=4,
        )
    )
