"""GMFlow with refinement at a second scale: optical flow by global matching.

Source:
    Xu et al., "GMFlow: Learning Optical Flow via Global Matching", CVPR 2022, section 3:
    features told of each other, matching, propagation, refinement at a quarter of the size.
"""

from collections.abc import Mapping
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from operators.functional.precision import exact, full_precision
from operators.functional.warp import backward_warp, sample_positions
from operators.models.gmflow_transformer import Transformer, add_position
from operators.models.weights import strip_prefix

CHANNELS = 128
UPSAMPLING = 4
# At an eighth of the size, then at a quarter.
WINDOWS_COARSE, WINDOWS_FINE = 2, 8
MATCHING_RADIUS = 4
PROPAGATION_RADIUS = 1

# Statistics of ImageNet, RGB in [0, 1].
MEAN = (0.485, 0.456, 0.406)
STANDARD_DEVIATION = (0.229, 0.224, 0.225)

# Low enough that softmax makes it zero.
OUTSIDE = -1e9


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The keys of a published file as those of :class:`GMFlow`."""
    return strip_prefix(state)


class ResidualBlock(nn.Module):
    """Two convolutions with instance normalisation, and a shortcut."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(nn.Conv2d(in_channels, channels, 1, stride=stride))

    def forward(self, features: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` to ``(B, channels, H / stride, W / stride)``."""
        residual = F.relu(F.instance_norm(self.conv1(features)))
        residual = F.relu(F.instance_norm(self.conv2(residual)))
        if self.downsample is not None:
            features = F.instance_norm(self.downsample(features))
        return F.relu(features + residual)


class Backbone(nn.Module):
    """Features at a quarter and at an eighth of the size; the last convolution is shared."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.layer1 = nn.Sequential(ResidualBlock(64, 64, 1), ResidualBlock(64, 64, 1))
        self.layer2 = nn.Sequential(ResidualBlock(64, 96, 2), ResidualBlock(96, 96, 1))
        self.layer3 = nn.Sequential(
            ResidualBlock(96, CHANNELS, 1), ResidualBlock(CHANNELS, CHANNELS, 1)
        )
        self.conv2 = nn.Conv2d(CHANNELS, CHANNELS, kernel_size=1)
        self.trident_conv = nn.Conv2d(CHANNELS, CHANNELS, kernel_size=3, padding=1, bias=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised ``(B, 3, H, W)`` to ``(B, 128, H/8, W/8)`` and ``(B, 128, H/4, W/4)``."""
        features = F.relu(F.instance_norm(self.conv1(images)))
        features = self.conv2(self.layer3(self.layer2(self.layer1(features))))
        coarse = F.conv2d(features, self.trident_conv.weight, stride=2, padding=1)
        return coarse, self.trident_conv(features)


class FlowPropagation(nn.Module):
    """Carries flow to pixels that look alike but were not matched."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj = nn.Linear(CHANNELS, CHANNELS)
        self.k_proj = nn.Linear(CHANNELS, CHANNELS)

    def everywhere(self, features: Tensor, flow: Tensor) -> Tensor:
        """Over the whole picture: ``(B, C, H, W)`` and ``(B, 2, H, W)`` to ``(B, 2, H, W)``."""
        query = self.q_proj(_pixels(features))
        # The published weights were trained with keys made of queries, not of features.
        key = self.k_proj(query)
        with full_precision(flow):
            carried = F.scaled_dot_product_attention(exact(query), exact(key), _pixels(flow))
        return carried.transpose(1, 2).reshape(flow.shape)

    def nearby(self, features: Tensor, flow: Tensor) -> Tensor:
        """Within ``PROPAGATION_RADIUS``; pixels outside the picture hold zeros."""
        pixels = features.permute(0, 2, 3, 1)
        query = self.q_proj(pixels).permute(0, 3, 1, 2)
        key = self.k_proj(pixels).permute(0, 3, 1, 2)
        height, width = flow.shape[-2:]
        radius = PROPAGATION_RADIUS
        keys, flows = F.pad(key, (radius,) * 4), F.pad(flow, (radius,) * 4)
        scores, values = [], []
        for y, x in product(range(2 * radius + 1), repeat=2):
            window = (..., slice(y, y + height), slice(x, x + width))
            scores.append((query * keys[window]).sum(dim=1))
            values.append(flows[window])
        share = (exact(torch.stack(scores, dim=1)) / CHANNELS**0.5).softmax(dim=1)
        carried: Tensor = (share[:, :, None] * torch.stack(values, dim=1)).sum(dim=1)
        return carried


class GMFlow(nn.Module):
    """Flow by matching everywhere at 1/8, then nearby at 1/4.

    Height and width must be multiples of 32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.transformer = Transformer(CHANNELS, blocks=6)
        self.feature_flow_attn = FlowPropagation()
        self.upsampler = nn.Sequential(
            nn.Conv2d(2 + CHANNELS, 256, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 9 * UPSAMPLING**2, kernel_size=1),
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Flow from ``first`` to ``second``.

        Args:
            first: ``(B, 3, H, W)`` RGB in ``[0, 1]``.
            second: The same.

        Returns:
            ``(B, 2, H, W)`` on the grid of ``first``, pixels.
        """
        coarse, fine = self.backbone(_normalised(torch.cat((first, second))))

        first_features, second_features = exact(coarse).chunk(2)
        first_features, second_features = self._told(
            first_features, second_features, WINDOWS_COARSE
        )
        flow = match_everywhere(first_features, second_features)
        flow = self.feature_flow_attn.everywhere(first_features, flow)

        flow = 2.0 * F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=True)
        first_features, second_features = exact(fine).chunk(2)
        second_features = backward_warp(second_features, flow, padding="zeros")
        first_features, second_features = self._told(first_features, second_features, WINDOWS_FINE)
        flow = flow + match_nearby(first_features, second_features, MATCHING_RADIUS)
        flow = self.feature_flow_attn.nearby(first_features, flow)

        weights = exact(self.upsampler(torch.cat((flow, first_features), dim=1)))
        return upsample_convex(flow, weights, UPSAMPLING)

    def _told(self, first: Tensor, second: Tensor, windows: int) -> tuple[Tensor, Tensor]:
        """Features of both frames, each told of the other."""
        told: tuple[Tensor, Tensor] = self.transformer(
            add_position(first, windows), add_position(second, windows), windows
        )
        return told


def match_everywhere(first: Tensor, second: Tensor) -> Tensor:
    """The expected displacement over all pixels of the other frame.

    Args:
        first: ``(B, C, H, W)`` features.
        second: The same.

    Returns:
        ``(B, 2, H, W)`` pixels of the feature grid.
    """
    batch, _, height, width = first.shape
    here = sample_positions(first.new_zeros(batch, 2, height, width))
    with full_precision(here):
        there = F.scaled_dot_product_attention(_pixels(first), _pixels(second), _pixels(here))
    return there.transpose(1, 2).reshape(here.shape) - here


def match_nearby(first: Tensor, second: Tensor, radius: int) -> Tensor:
    """The expected displacement over the pixels at most ``radius`` away along either axis.

    Args:
        first: ``(B, C, H, W)`` features.
        second: The same.
        radius: In pixels of the feature grid.

    Returns:
        ``(B, 2, H, W)`` pixels of the feature grid. Pixels outside the picture have no share.
    """
    _, channels, height, width = first.shape
    padded = F.pad(second, (radius,) * 4)
    exists = F.pad(second.new_ones(1, height, width), (radius,) * 4) > 0
    size = range(2 * radius + 1)
    scores = []
    for y, x in product(size, repeat=2):
        window = (..., slice(y, y + height), slice(x, x + width))
        score = (first * padded[window]).sum(dim=1) / channels**0.5
        scores.append(score.masked_fill(~exists[window], OUTSIDE))
    share = torch.stack(scores, dim=1).softmax(dim=1)
    # Offsets in the order of the loop; x comes first in a flow.
    offsets = torch.tensor([(x - radius, y - radius) for y, x in product(size, repeat=2)])
    with full_precision(share):
        return torch.einsum("bkhw,kc->bchw", share, offsets.to(share))


def upsample_convex(flow: Tensor, weights: Tensor, factor: int) -> Tensor:
    """Each fine pixel is a weighted mean of the nine coarse ones around it.

    Args:
        flow: ``(B, 2, H, W)`` pixels of its grid.
        weights: ``(B, 9 * factor**2, H, W)`` logits.
        factor: How much finer.

    Returns:
        ``(B, 2, factor * H, factor * W)`` pixels of the finer grid.

    Source:
        Teed and Deng, "RAFT", ECCV 2020, section 3.3.
    """
    batch, _, height, width = flow.shape
    share = weights.view(batch, 1, 9, factor, factor, height, width).softmax(dim=2)
    around = F.unfold(factor * flow, kernel_size=3, padding=1)
    fine = (share * around.view(batch, 2, 9, 1, 1, height, width)).sum(dim=2)
    return fine.permute(0, 1, 4, 2, 5, 3).reshape(batch, 2, factor * height, factor * width)


def _normalised(images: Tensor) -> Tensor:
    mean = images.new_tensor(MEAN).view(1, 3, 1, 1)
    return (images - mean) / images.new_tensor(STANDARD_DEVIATION).view(1, 3, 1, 1)


def _pixels(grid: Tensor) -> Tensor:
    """``(B, C, H, W)`` to ``(B, H * W, C)``."""
    return grid.flatten(2).transpose(1, 2)
