"""The layers of RAFT that have weights; ``raft.py`` wires them."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Side of the picture over side of the features.
STRIDE = 8

Norm = Callable[[int], nn.Module]


def _convolution(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    norm: Norm | None = None,
) -> nn.Sequential:
    """Convolution and, unless ``norm`` is None, normalisation."""
    padding = kernel_size // 2
    layers = nn.Sequential(nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding))
    return layers.append(norm(out_channels)) if norm else layers


def _convolution_relu(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    *,
    stride: int = 1,
    norm: Norm | None = None,
) -> nn.Sequential:
    layers = _convolution(in_channels, out_channels, kernel_size, stride=stride, norm=norm)
    return layers.append(nn.ReLU())


class ResidualBlock(nn.Module):
    """A shortcut around two convolutions, or around a bottleneck of a quarter of the width."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int,
        norm: Norm | None,
        is_bottleneck: bool,
    ) -> None:
        super().__init__()
        convolution = partial(_convolution_relu, norm=norm)
        if is_bottleneck:
            width = out_channels // 4
            self.convnormrelu1 = convolution(in_channels, width, 1)
            self.convnormrelu2 = convolution(width, width, 3, stride=stride)
            self.convnormrelu3: nn.Module = convolution(width, out_channels, 1)
        else:
            self.convnormrelu1 = convolution(in_channels, out_channels, 3, stride=stride)
            self.convnormrelu2 = convolution(out_channels, out_channels, 3)
            self.convnormrelu3 = nn.Identity()
        self.downsample: nn.Module = nn.Identity()
        if stride > 1:
            self.downsample = _convolution(in_channels, out_channels, 1, stride=stride, norm=norm)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, in, H, W)`` to ``(B, out, H / stride, W / stride)``."""
        residual = self.convnormrelu2(self.convnormrelu1(features))
        return F.relu(self.downsample(features) + self.convnormrelu3(residual))


class Encoder(nn.Module):
    """Picture to features at an eighth of its size (paper, section 3.1).

    Args:
        channels: Of the stem and of the three layers after it.
        out_channels: Of the result.
        norm: Builds a normalisation of so many channels; None for none.
        is_bottleneck: The kind of the residual blocks.
    """

    def __init__(
        self,
        *,
        channels: tuple[int, int, int, int],
        out_channels: int,
        norm: Norm | None,
        is_bottleneck: bool,
    ) -> None:
        super().__init__()
        block = partial(ResidualBlock, norm=norm, is_bottleneck=is_bottleneck)
        stem, *widths = channels
        self.convnormrelu = _convolution_relu(3, stem, 7, stride=2, norm=norm)
        layers = [
            nn.Sequential(block(before, width, stride=stride), block(width, width, stride=1))
            for before, width, stride in zip(channels[:-1], widths, (1, 2, 2), strict=True)
        ]
        self.layer1, self.layer2, self.layer3 = layers
        self.conv = nn.Conv2d(widths[-1], out_channels, 1)

    def forward(self, image: Tensor) -> Tensor:
        """``(B, 3, H, W)`` to ``(B, out_channels, H / 8, W / 8)``."""
        features = self.layer2(self.layer1(self.convnormrelu(image)))
        encoded: Tensor = self.conv(self.layer3(features))
        return encoded


class MotionEncoder(nn.Module):
    """Correlation and flow to motion features (paper, section 3.3).

    Args:
        correlation_channels: Of what a lookup gives.
        correlation_widths: Of the one or two layers that read it, 1x1 and 3x3.
        flow_widths: Of the two layers that read the flow.
        out_channels: Of the result, of which the last two are the flow itself.
    """

    def __init__(
        self,
        *,
        correlation_channels: int,
        correlation_widths: tuple[int] | tuple[int, int],
        flow_widths: tuple[int, int],
        out_channels: int,
    ) -> None:
        super().__init__()
        self.convcorr1 = _convolution_relu(correlation_channels, correlation_widths[0], 1)
        self.convcorr2: nn.Module = nn.Identity()
        if len(correlation_widths) == 2:
            self.convcorr2 = _convolution_relu(*correlation_widths, 3)
        self.convflow1 = _convolution_relu(2, flow_widths[0], 7)
        self.convflow2 = _convolution_relu(*flow_widths, 3)
        self.conv = _convolution_relu(correlation_widths[-1] + flow_widths[-1], out_channels - 2, 3)

    def forward(self, flow: Tensor, correlation: Tensor) -> Tensor:
        """``(B, 2, H, W)`` and ``(B, C, H, W)`` to ``(B, out_channels, H, W)``."""
        from_correlation = self.convcorr2(self.convcorr1(correlation))
        from_flow = self.convflow2(self.convflow1(flow))
        motion = self.conv(torch.cat((from_correlation, from_flow), dim=1))
        return torch.cat((motion, flow), dim=1)


class ConvGRU(nn.Module):
    """A gated recurrent unit of convolutions (paper, equations (3) to (6))."""

    def __init__(self, *, hidden_size: int, input_size: int, kernel_size: tuple[int, int]) -> None:
        super().__init__()
        channels = hidden_size + input_size
        self.convz = nn.Conv2d(channels, hidden_size, kernel_size, padding="same")
        self.convr = nn.Conv2d(channels, hidden_size, kernel_size, padding="same")
        self.convq = nn.Conv2d(channels, hidden_size, kernel_size, padding="same")

    def forward(self, hidden: Tensor, features: Tensor) -> Tensor:
        """``(B, hidden, H, W)`` and ``(B, input, H, W)`` to the next hidden state."""
        both = torch.cat((hidden, features), dim=1)
        update = torch.sigmoid(self.convz(both))
        reset = torch.sigmoid(self.convr(both))
        candidate = torch.tanh(self.convq(torch.cat((reset * hidden, features), dim=1)))
        return (1.0 - update) * hidden + update * candidate


class RecurrentBlock(nn.Module):
    """One or two units after one another; two of them read along rows, then columns."""

    def __init__(
        self, *, hidden_size: int, input_size: int, kernel_sizes: tuple[tuple[int, int], ...]
    ) -> None:
        super().__init__()
        for number, kernel_size in enumerate(kernel_sizes, start=1):
            unit = ConvGRU(hidden_size=hidden_size, input_size=input_size, kernel_size=kernel_size)
            self.add_module(f"convgru{number}", unit)

    def forward(self, hidden: Tensor, features: Tensor) -> Tensor:
        """``(B, hidden, H, W)`` and ``(B, input, H, W)`` to the next hidden state."""
        for unit in self.children():
            hidden = unit(hidden, features)
        return hidden


class FlowHead(nn.Module):
    """Hidden state to a change of the flow."""

    def __init__(self, *, hidden_size: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(hidden_size, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, 2, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        """``(B, hidden, H, W)`` to ``(B, 2, H, W)`` in pixels of the features."""
        change: Tensor = self.conv2(F.relu(self.conv1(hidden)))
        return change


class UpdateBlock(nn.Module):
    """One step of the iteration (paper, section 3.3).

    Args:
        motion_encoder: Flow and correlation to motion features.
        recurrent_block: Hidden state, and context with motion, to the next hidden state.
        flow_head: Hidden state to a change of the flow.
    """

    def __init__(
        self, *, motion_encoder: nn.Module, recurrent_block: nn.Module, flow_head: nn.Module
    ) -> None:
        super().__init__()
        self.motion_encoder = motion_encoder
        self.recurrent_block = recurrent_block
        self.flow_head = flow_head

    def forward(
        self, hidden: Tensor, context: Tensor, correlation: Tensor, flow: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The next hidden state and the change of the flow."""
        motion = self.motion_encoder(flow, correlation)
        hidden = self.recurrent_block(hidden, torch.cat((context, motion), dim=1))
        return hidden, self.flow_head(hidden)


class MaskPredictor(nn.Module):
    """Hidden state to the weights of :func:`upsample_convex`, before their softmax."""

    def __init__(self, *, hidden_size: int, width: int) -> None:
        super().__init__()
        self.convrelu = _convolution_relu(hidden_size, width, 3)
        self.conv = nn.Conv2d(width, 9 * STRIDE**2, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """``(B, hidden, H, W)`` to ``(B, 576, H, W)``."""
        # The factor is not in the paper; the authors chose it to balance gradients.
        logits: Tensor = 0.25 * self.conv(self.convrelu(hidden))
        return logits
