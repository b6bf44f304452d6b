"""Super SloMo (Jiang et al., CVPR 2018): flow of a pair, then grids of any instant between.

The weights that are published ("Super-SloMo", trained on Adobe240) fix a few things that the
paper does not have; each is noted where it happens.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from operators.check import require_flow, require_pair, require_same_grid
from operators.functional.flow import linear_motion
from operators.functional.warp import backward_warp

# Five times halved and doubled again.
MULTIPLE = 32
NEGATIVE_SLOPE = 0.1
# Mean colour of the training frames, RGB in [0, 1].
MEAN = (0.429, 0.431, 0.397)

# What the published file calls the two networks, and what this module does.
PUBLISHED_PARTS = {"state_dictFC": "flow_computation", "state_dictAT": "arbitrary_time"}


def from_published(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Turn the contents of the published file into a state dict of :class:`SuperSloMo`.

    Args:
        checkpoint: Two state dicts under ``state_dictFC`` and ``state_dictAT``, beside a log of
            the training; or a state dict of :class:`SuperSloMo`, which is returned as it is.

    Returns:
        A state dict for strict loading.
    """
    states = {
        part: checkpoint[published]
        for published, part in PUBLISHED_PARTS.items()
        if isinstance(checkpoint.get(published), Mapping)
    }
    if not states:
        return dict(checkpoint)
    return {
        f"{part}.{key.removeprefix('module.')}": tensor
        for part, state in states.items()
        for key, tensor in state.items()
    }


class Down(nn.Module):
    """A level of the encoder: halve, then two convolutions."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size, padding="same")
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size, padding="same")

    def forward(self, features: Tensor) -> Tensor:
        """``(B, in, H, W)`` to ``(B, out, H / 2, W / 2)``."""
        features = F.avg_pool2d(features, 2)
        features = F.leaky_relu(self.conv1(features), NEGATIVE_SLOPE)
        return F.leaky_relu(self.conv2(features), NEGATIVE_SLOPE)


class Up(nn.Module):
    """A level of the decoder: double, then two convolutions, the second with the skip."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(2 * out_channels, out_channels, 3, padding=1)

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """``(B, in, H, W)`` and ``(B, out, 2 H, 2 W)`` to ``(B, out, 2 H, 2 W)``."""
        features = F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
        features = F.leaky_relu(self.conv1(features), NEGATIVE_SLOPE)
        features = torch.cat((features, skip), dim=1)
        return F.leaky_relu(self.conv2(features), NEGATIVE_SLOPE)


class UNet(nn.Module):
    """The U-Net that both networks of the paper are: six levels down, five up.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 32, 7, padding=3)
        self.conv2 = nn.Conv2d(32, 32, 7, padding=3)
        self.down1 = Down(32, 64, 5)
        self.down2 = Down(64, 128, 3)
        self.down3 = Down(128, 256, 3)
        self.down4 = Down(256, 512, 3)
        self.down5 = Down(512, 512, 3)
        self.up1 = Up(512, 512)
        self.up2 = Up(512, 256)
        self.up3 = Up(256, 128)
        self.up4 = Up(128, 64)
        self.up5 = Up(64, 32)
        self.conv3 = nn.Conv2d(32, out_channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` to ``(B, out_channels, H, W)``; sides multiples of 32."""
        features = F.leaky_relu(self.conv1(features), NEGATIVE_SLOPE)
        skip1 = F.leaky_relu(self.conv2(features), NEGATIVE_SLOPE)
        skip2 = self.down1(skip1)
        skip3 = self.down2(skip2)
        skip4 = self.down3(skip3)
        skip5 = self.down4(skip4)
        features = self.down5(skip5)
        features = self.up1(features, skip5)
        features = self.up2(features, skip4)
        features = self.up3(features, skip3)
        features = self.up4(features, skip2)
        features = self.up5(features, skip1)
        # Not in the paper: the published weights have the non-linearity after the last layer too.
        return F.leaky_relu(self.conv3(features), NEGATIVE_SLOPE)


def to_pixels(flow: Tensor) -> Tensor:
    """A flow as the published weights mean it, to the convention of ``functional.warp``.

    The published code normalises sampling positions by ``W`` where its sampler expects
    ``W - 1``, so that its flow ``u`` at column ``x`` reads column ``(x + u) (W - 1) / W``, and
    rows likewise. The weights were trained with it and compensate. Here the same column is
    ``x + u'``.

    Args:
        flow: ``(B, 2, H, W)`` as the network puts it out.

    Returns:
        ``(B, 2, H, W)`` in pixels.
    """
    position, side = _positions_and_sides(flow)
    return flow * ((side - 1) / side) - position / side


def from_pixels(flow: Tensor) -> Tensor:
    """The inverse of :func:`to_pixels`; undefined for a side of one pixel."""
    position, side = _positions_and_sides(flow)
    return (flow + position / side) * (side / (side - 1))


class SuperSloMo(nn.Module):
    """Super SloMo: sampling grids and blend weight of any instant between two frames.

    Pictures are RGB in ``[0, 1]`` of any size, flows are in pixels and in the convention of
    ``operators.functional.warp``. Sides that are not multiples of 32 are padded on the right and
    at the bottom by repeating the border, and results are cropped. The published script resizes
    instead, down to a multiple of 32 and back up, which costs sharpness and changes the grids.

    Args:
        flow_computation: Two pictures (6 channels) to both flows (4 channels).
        arbitrary_time: Pictures, flows and warped pictures (20 channels) to the changes of two
            flows and the visibility (5 channels).
    """

    mean: Tensor

    def __init__(self, *, flow_computation: nn.Module, arbitrary_time: nn.Module) -> None:
        super().__init__()
        self.flow_computation = flow_computation
        self.arbitrary_time = arbitrary_time
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Flow from ``first`` to ``second``: the first half of :meth:`flows`."""
        return self.flows(first, second)[0]

    def flows(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Flow both ways, by one pass of the flow computation network.

        Args:
            first: ``(B, 3, H, W)`` RGB in ``[0, 1]``.
            second: The same.

        Returns:
            ``(B, 2, H, W)`` from ``first`` to ``second``, and the same back, in pixels.

        Raises:
            ValueError: If the shapes are others.
        """
        require_pair(first, second)
        height, width = first.shape[-2:]
        frames = torch.cat((self._prepare(first), self._prepare(second)), dim=1)
        forward, backward = self.flow_computation(frames).split(2, dim=1)
        return (
            to_pixels(forward)[..., :height, :width],
            to_pixels(backward)[..., :height, :width],
        )

    def grids(
        self, first: Tensor, second: Tensor, flows: tuple[Tensor, Tensor], t: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Where the frame at instant ``t`` reads both frames (paper, section 3.2).

        Args:
            first: ``(B, 3, H, W)`` RGB in ``[0, 1]``.
            second: The same.
            flows: What :meth:`flows` gives for the pair.
            t: The instant, strictly between 0 at ``first`` and 1 at ``second``.

        Returns:
            ``flow_t0`` and ``flow_t1``, each ``(B, 2, H, W)`` in pixels on the grid of the
            instant, and ``weight_of_1``, ``(B, 1, H, W)`` in ``[0, 1]``.

        Raises:
            ValueError: If the shapes are others or ``t`` lies outside.
        """
        require_pair(first, second)
        for name, flow in zip(("flows[0]", "flows[1]"), flows, strict=True):
            require_flow(name, flow)
            require_same_grid(name, flow, "first", first)
        if not 0.0 < t < 1.0:
            msg = f"t must be strictly between 0 and 1, got {t}"
            raise ValueError(msg)
        height, width = first.shape[-2:]
        flow_t0, flow_t1, visibility_0 = self._refine(
            self._prepare(first), self._prepare(second), _pad(flows[0]), _pad(flows[1]), t
        )
        share_0 = (1.0 - t) * visibility_0
        share_1 = t * (1.0 - visibility_0)
        weight_of_1 = share_1 / (share_0 + share_1)
        return (
            flow_t0[..., :height, :width],
            flow_t1[..., :height, :width],
            weight_of_1[..., :height, :width],
        )

    def _prepare(self, image: Tensor) -> Tensor:
        return _pad(image - self.mean)

    def _refine(
        self, first: Tensor, second: Tensor, forward: Tensor, backward: Tensor, t: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Flows of the instant and the visibility of ``first``, everything on the padded grid."""
        # Equation (4) is linear in the network's own flows; the offset of `to_pixels` is no
        # motion and must not be scaled by t.
        forward, backward = from_pixels(forward), from_pixels(backward)
        coarse_t0, coarse_t1 = linear_motion(forward, backward, t)
        # The order of the published weights, t1 before t0. Warped pictures are zero, the mean
        # colour, outside.
        changes = self.arbitrary_time(
            torch.cat(
                (
                    first,
                    second,
                    forward,
                    backward,
                    coarse_t1,
                    coarse_t0,
                    backward_warp(second, to_pixels(coarse_t1), padding="zeros"),
                    backward_warp(first, to_pixels(coarse_t0), padding="zeros"),
                ),
                dim=1,
            )
        )
        change_t0, change_t1, visibility_logit = changes.split((2, 2, 1), dim=1)
        # The paper makes the two visibility maps sum to one, so one is enough.
        return (
            to_pixels(coarse_t0 + change_t0),
            to_pixels(coarse_t1 + change_t1),
            torch.sigmoid(visibility_logit),
        )


def super_slomo() -> SuperSloMo:
    """Super SloMo with the parts of the published weights: 39 610 473 parameters."""
    return SuperSloMo(flow_computation=UNet(6, 4), arbitrary_time=UNet(20, 5))


def _positions_and_sides(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Column and row of each pixel ``(1, 2, H, W)``, and width and height ``(1, 2, 1, 1)``."""
    height, width = flow.shape[-2:]
    ys = torch.arange(height, device=flow.device, dtype=flow.dtype).view(height, 1)
    xs = torch.arange(width, device=flow.device, dtype=flow.dtype).view(1, width)
    position = torch.stack((xs.expand(height, width), ys.expand(height, width)))[None]
    side = torch.tensor((width, height), device=flow.device, dtype=flow.dtype)
    return position, side.view(1, 2, 1, 1)


def _pad(image: Tensor) -> Tensor:
    height, width = image.shape[-2:]
    return F.pad(image, (0, -width % MULTIPLE, 0, -height % MULTIPLE), mode="replicate")
