"""PWC-Net (Sun et al., CVPR 2018): pyramid, warping and cost volume, and a context network.

Weights exist under two naming schemes, of NVlabs/PWC-Net and of sniklaus/pytorch-pwc. They are
the same network; :func:`from_published` reads both.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from operators.check import require_pair
from operators.functional.flow import resize_flow
from operators.functional.precision import exact
from operators.functional.warp import backward_warp

# Six levels, each half the size of the one before.
MULTIPLE = 64
NEGATIVE_SLOPE = 0.1
# Channels of pyramid levels 1 to 6; level n has 1 / 2^n of the size of the picture.
PYRAMID_CHANNELS = (16, 32, 64, 96, 128, 196)
SEARCH_RADIUS = 4
COST_CHANNELS = (2 * SEARCH_RADIUS + 1) ** 2
DENSE_CHANNELS = (128, 128, 96, 64, 32)
CONTEXT_CHANNELS = (128, 128, 128, 96, 64, 32)
CONTEXT_DILATIONS = (1, 2, 4, 8, 16, 1)
COARSEST_LEVEL = 6
FINEST_LEVEL = 2
# The network was trained on flows divided by 20; one unit of its output is this many pixels of
# the full picture at every level.
FLOW_UNIT_PX = 20.0
# A warped feature counts if at least this share of it came from inside. The threshold is that of
# sniklaus/pytorch-pwc; NVlabs/PWC-Net has 0.9999.
INSIDE_SHARE = 0.999


def from_published(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Turn the contents of a published file into a state dict of :class:`PWCNet`.

    Args:
        checkpoint: A state dict named as in sniklaus/pytorch-pwc (``moduleExtractor.moduleOne.0``
            in files, ``netExtractor.netOne.0`` in its code) or as in NVlabs/PWC-Net
            (``conv1a.0``), possibly under ``state_dict`` and with the ``module.`` of
            ``DataParallel``. Names that are neither are kept.

    Returns:
        A state dict for strict loading. The ``deconv2`` of NVlabs, which its network never
        calls, is left out.
    """
    names = _sniklaus_names() | _nvlabs_names()
    renamed = {}
    for key, tensor in checkpoint.get("state_dict", checkpoint).items():
        layer, _, leaf = key.removeprefix("module.").rpartition(".")
        if layer == "deconv2":
            continue
        # No name of the network contains "module" but for this prefix.
        layer = layer.replace("module", "net")
        renamed[f"{names.get(layer, layer)}.{leaf}"] = tensor
    return renamed


def _sniklaus_names() -> dict[str, str]:
    """Layers of sniklaus/pytorch-pwc and what they are called here."""
    numbers = ("One", "Two", "Thr", "Fou", "Fiv", "Six")
    names = {}
    for level, number in enumerate(numbers, start=1):
        for i in (0, 2, 4):
            names[f"netExtractor.net{number}.{i}"] = f"pyramid.level{level}.{i}"
    for step, level in enumerate(_levels()):
        theirs, ours = f"net{numbers[level - 1]}", f"decoders.{step}"
        for i, number in enumerate(numbers[:5]):
            names[f"{theirs}.net{number}.0"] = f"{ours}.dense.{i}"
        names[f"{theirs}.netSix.0"] = f"{ours}.predict_flow"
        names[f"{theirs}.netUpflow"] = f"{ours}.upsample_flow"
        names[f"{theirs}.netUpfeat"] = f"{ours}.upsample_features"
    return names | {f"netRefiner.netMain.{i}": f"context.{i}" for i in range(0, 13, 2)}


def _nvlabs_names() -> dict[str, str]:
    """Layers of NVlabs/PWC-Net and what they are called here."""
    names = {}
    for level in range(1, COARSEST_LEVEL + 1):
        # The names of level 6 are not in the order in which the network calls them.
        order = ("aa", "a", "b") if level == COARSEST_LEVEL else ("a", "aa", "b")
        for i, suffix in enumerate(order):
            names[f"conv{level}{suffix}.0"] = f"pyramid.level{level}.{2 * i}"
    for step, level in enumerate(_levels()):
        for i in range(5):
            names[f"conv{level}_{i}.0"] = f"decoders.{step}.dense.{i}"
        names[f"predict_flow{level}"] = f"decoders.{step}.predict_flow"
        # Upsampling is named for the level that it leaves, here for the one that it enters.
        names[f"deconv{level + 1}"] = f"decoders.{step}.upsample_flow"
        names[f"upfeat{level + 1}"] = f"decoders.{step}.upsample_features"
    names |= {f"dc_conv{i}.0": f"context.{2 * i - 2}" for i in range(1, 7)}
    return names | {"dc_conv7": "context.12"}


class FeaturePyramid(nn.Module):
    """Features of one picture at six sizes (paper, "Feature pyramid extractor")."""

    def __init__(self) -> None:
        super().__init__()
        in_channels = 3
        for level, channels in enumerate(PYRAMID_CHANNELS, start=1):
            stage = nn.Sequential(
                nn.Conv2d(in_channels, channels, 3, stride=2, padding=1),
                nn.LeakyReLU(NEGATIVE_SLOPE),
                nn.Conv2d(channels, channels, 3, padding=1),
                nn.LeakyReLU(NEGATIVE_SLOPE),
                nn.Conv2d(channels, channels, 3, padding=1),
                nn.LeakyReLU(NEGATIVE_SLOPE),
            )
            self.add_module(f"level{level}", stage)
            in_channels = channels

    def forward(self, image: Tensor) -> list[Tensor]:
        """``(B, 3, H, W)``, sides multiples of 64, to levels 1 to 6, the finest first."""
        levels = []
        features = image
        for stage in self.children():
            features = stage(features)
            levels.append(features)
        return levels


def warp_inside(features: Tensor, flow: Tensor) -> Tensor:
    """Warp features, and zero those that came from outside (paper, equation (1)).

    The paper has no such mask; the published weights were trained with it.

    Args:
        features: ``(B, C, H, W)``.
        flow: ``(B, 2, H, W)`` in pixels of that grid.

    Returns:
        ``(B, C, H, W)``.
    """
    ones = torch.ones_like(features[:, :1])
    warped = backward_warp(torch.cat((features, ones), dim=1), flow, padding="zeros")
    is_inside = warped[:, -1:] > INSIDE_SHARE
    return warped[:, :-1] * is_inside


def cost_volume(first: Tensor, second: Tensor) -> Tensor:
    """Correlation with every feature at most four pixels away (paper, equation (2)).

    Args:
        first: ``(B, C, H, W)``.
        second: ``(B, C, H, W)``, zero outside.

    Returns:
        ``(B, 81, H, W)``; channel ``9 (dy + 4) + (dx + 4)`` is the mean over ``C`` of
        ``first(x, y) * second(x + dx, y + dy)``.
    """
    height, width = first.shape[-2:]
    padded = F.pad(second, (SEARCH_RADIUS,) * 4)
    costs = [
        (first * padded[..., dy : dy + height, dx : dx + width]).mean(dim=1)
        for dy in range(2 * SEARCH_RADIUS + 1)
        for dx in range(2 * SEARCH_RADIUS + 1)
    ]
    return torch.stack(costs, dim=1)


class Decoder(nn.Module):
    """Estimates the flow at one level from the one below (paper, "Optical flow estimator").

    The layers are densely connected. Where the paper upsamples bilinearly, the published weights
    have learned transposed convolutions, and they pass features up beside the flow.

    Args:
        level: Level of the pyramid, 6 the coarsest.
        coarse_channels: Channels of the features that the coarser decoder hands on; None for
            the coarsest, which begins from no flow.
    """

    def __init__(self, *, level: int, coarse_channels: int | None) -> None:
        super().__init__()
        in_channels = COST_CHANNELS
        self.pixels_per_unit = FLOW_UNIT_PX / 2**level
        if coarse_channels is not None:
            in_channels += PYRAMID_CHANNELS[level - 1] + 4
            self.upsample_flow = nn.ConvTranspose2d(2, 2, 4, stride=2, padding=1)
            self.upsample_features = nn.ConvTranspose2d(coarse_channels, 2, 4, stride=2, padding=1)
        self.dense = nn.ModuleList()
        for channels in DENSE_CHANNELS:
            self.dense.append(nn.Conv2d(in_channels, channels, 3, padding=1))
            in_channels += channels
        self.predict_flow = nn.Conv2d(in_channels, 2, 3, padding=1)
        self.out_channels = in_channels

    def forward(
        self, first: Tensor, second: Tensor, coarse: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """Flow and features at this level.

        Args:
            first: ``(B, C, H, W)`` features of the first picture at this level.
            second: The same of the second picture.
            coarse: Flow ``(B, 2, H / 2, W / 2)`` and features of the coarser level, or None.

        Returns:
            Flow ``(B, 2, H, W)`` in units of 20 pixels of the full picture, and features
            ``(B, out_channels, H, W)``.
        """
        if coarse is None:
            features = _matching_cost(first, second)
        else:
            flow = exact(self.upsample_flow(coarse[0]))
            coarse_features = self.upsample_features(coarse[1])
            warped = warp_inside(second, flow * self.pixels_per_unit)
            cost = _matching_cost(first, warped)
            features = torch.cat((cost, first, flow, coarse_features), dim=1)
        for convolution in self.dense:
            new = F.leaky_relu(convolution(features), NEGATIVE_SLOPE)
            features = torch.cat((new, features), dim=1)
        return exact(self.predict_flow(features)), features


def _matching_cost(first: Tensor, second: Tensor) -> Tensor:
    # Not in the paper: the published weights expect the cost volume through a non-linearity.
    return F.leaky_relu(cost_volume(first, second), NEGATIVE_SLOPE)


def context_network(in_channels: int) -> nn.Sequential:
    """The dilated convolutions that refine the finest flow (paper, "Context network").

    Args:
        in_channels: Channels of the features of the finest decoder.

    Returns:
        A network from ``(B, in_channels, H, W)`` to a correction ``(B, 2, H, W)``.
    """
    layers: list[nn.Module] = []
    for channels, dilation in zip(CONTEXT_CHANNELS, CONTEXT_DILATIONS, strict=True):
        layers += [
            nn.Conv2d(in_channels, channels, 3, padding=dilation, dilation=dilation),
            nn.LeakyReLU(NEGATIVE_SLOPE),
        ]
        in_channels = channels
    return nn.Sequential(*layers, nn.Conv2d(in_channels, 2, 3, padding=1))


class PWCNet(nn.Module):
    """PWC-Net: optical flow of pictures of any size.

    Pictures are resized to multiples of 64, as the published weights were evaluated, and the
    flow is brought back to the size of the pictures.

    Args:
        pyramid: Picture to features at levels 1 to 6.
        decoders: Of levels 6 to 2, in this order.
        context: Features of level 2 to a correction of its flow.
    """

    def __init__(
        self, *, pyramid: nn.Module, decoders: Sequence[nn.Module], context: nn.Module
    ) -> None:
        super().__init__()
        self.pyramid = pyramid
        self.decoders = nn.ModuleList(decoders)
        self.context = context

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Flow from ``first`` to ``second``.

        Args:
            first: ``(B, 3, H, W)`` RGB in ``[0, 1]``.
            second: The same.

        Returns:
            ``(B, 2, H, W)`` on the grid of ``first``, pixels.

        Raises:
            ValueError: If the shapes are others.
        """
        require_pair(first, second)
        height, width = first.shape[-2:]
        flow = self._decode(self._features(first), self._features(second))
        return resize_flow(flow, height, width)

    def _features(self, images: Tensor) -> list[Tensor]:
        height, width = (side + -side % MULTIPLE for side in images.shape[-2:])
        resized = F.interpolate(images, (height, width), mode="bilinear", align_corners=False)
        # The weights were trained on BGR.
        features: list[Tensor] = self.pyramid(resized.flip(1))
        return features

    def _decode(self, first: list[Tensor], second: list[Tensor]) -> Tensor:
        """Flow at a quarter of the resized picture, in pixels of that grid."""
        flow, features = self.decoders[0](first[-1], second[-1], None)
        for level, decoder in zip(_levels()[1:], self.decoders[1:], strict=True):
            flow, features = decoder(first[level - 1], second[level - 1], (flow, features))
        refined: Tensor = (flow + self.context(features)) * (FLOW_UNIT_PX / 2**FINEST_LEVEL)
        return refined


def pwc_net() -> PWCNet:
    """PWC-Net with the parts of the published weights: 9 374 274 parameters."""
    decoders: list[Decoder] = []
    for level in _levels():
        coarse_channels = decoders[-1].out_channels if decoders else None
        decoders.append(Decoder(level=level, coarse_channels=coarse_channels))
    context = context_network(decoders[-1].out_channels)
    return PWCNet(pyramid=FeaturePyramid(), decoders=decoders, context=context)


def _levels() -> range:
    return range(COARSEST_LEVEL, FINEST_LEVEL - 1, -1)
