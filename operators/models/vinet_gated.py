"""The parts of VINet that paint: gated encoders, bottleneck, decoder, and pooling over time.

Kim et al., "Deep video inpainting", CVPR 2019, section 3.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2


class GatedConv(nn.Module):
    """A convolution whose output is weighed by a second one.

    Args:
        inputs: Channels read.
        outputs: Channels written.
        stride: Step.
        dilation: Spacing of the kernel.

    Source:
        Yu et al., "Free-form image inpainting with gated convolution", ICCV 2019, section 3.1.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            inputs, 2 * outputs, 3, stride, padding=dilation, dilation=dilation, bias=False
        )

    def forward(self, features: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` to ``(B, outputs, H/stride, W/stride)``."""
        value, gate = self.conv(features).chunk(2, dim=1)
        output: Tensor = gate.sigmoid() * F.relu(value)
        return output


class GatedConv3d(nn.Module):
    """The same on a stack of maps, ``(B, C, T, H, W)``.

    Args:
        inputs: Channels read.
        outputs: Channels written.
        depth: Maps that the kernel spans, without padding. The published decoder has kernels of
            depth 1, over a single map.
        dilation: Spacing of the kernel within a map.
    """

    def __init__(self, inputs: int, outputs: int, *, depth: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv3d(
            inputs,
            2 * outputs,
            (depth, 3, 3),
            padding=(0, dilation, dilation),
            dilation=(1, dilation, dilation),
            bias=False,
        )

    def forward(self, features: Tensor) -> Tensor:
        """``(B, inputs, T, H, W)`` to ``(B, outputs, T - depth + 1, H, W)``."""
        value, gate = self.conv(features).chunk(2, dim=1)
        output: Tensor = gate.sigmoid() * F.relu(value)
        return output


class GatedUpConv(nn.Module):
    """Twofold linear upsampling, then a gated convolution.

    Departure: the published code upsamples to a size fixed when the network is built; that size
    is twice the input.

    Args:
        inputs: Channels read.
        outputs: Channels written.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        conv = nn.Conv3d(inputs, 2 * outputs, (1, 3, 3), padding=(0, 1, 1), bias=False)
        self.conv = nn.Sequential(_double(), conv)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, inputs, T, H, W)`` to ``(B, outputs, T, 2H, 2W)``."""
        value, gate = self.conv(features).chunk(2, dim=1)
        output: Tensor = gate.sigmoid() * F.leaky_relu(value, SLOPE)
        return output


def _double() -> nn.Upsample:
    return nn.Upsample(scale_factor=(1.0, 2.0, 2.0), mode="trilinear", align_corners=False)


@dataclass(frozen=True, slots=True, eq=False)
class Pyramid:
    """Features of one frame, each scale half of the next.

    Attributes:
        eighth: 128 channels.
        quarter: 96 channels.
        half: 64 channels.
        full: 32 channels.
    """

    eighth: Tensor
    quarter: Tensor
    half: Tensor
    full: Tensor


class Encoder(nn.Module):
    """Features of a frame at four scales.

    Args:
        halves: True if the first layer halves its input already, for frames twice as large.
    """

    def __init__(self, *, halves: bool) -> None:
        super().__init__()
        self.ec0 = GatedConv(5, 32, stride=2 if halves else 1)
        self.ec1 = GatedConv(32, 64, stride=2)
        self.ec2 = GatedConv(64, 64)
        self.ec3_1 = GatedConv(64, 96, stride=2)
        self.ec3_2 = GatedConv(96, 96)
        self.ec4_1 = GatedConv(96, 128, stride=2)
        self.ec4 = GatedConv(128, 128)
        self.ec5 = GatedConv(128, 128)

    def forward(self, inputs: Tensor) -> Pyramid:
        """Encode ``(B, 5, H, W)``: picture, ones, hole."""
        full = self.ec0(inputs)
        half = self.ec2(self.ec1(full))
        quarter = self.ec3_2(self.ec3_1(half))
        eighth = self.ec5(self.ec4(self.ec4_1(quarter)))
        return Pyramid(eighth, quarter, half, full)


class Bottleneck(nn.Module):
    """Merges the target with what the references say about it, looking far by dilation."""

    def __init__(self) -> None:
        super().__init__()
        self.bt0 = GatedConv(256, 128)
        self.bt1 = GatedConv(128, 128, dilation=2)
        self.bt2 = GatedConv(128, 128, dilation=4)
        self.bt3 = GatedConv(128, 128, dilation=8)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, 256, H, W)`` to ``(B, 128, H, W)``."""
        output: Tensor = self.bt3(self.bt2(self.bt1(self.bt0(features))))
        return output


class Decoder(nn.Module):
    """Features to a picture, with the merged features of two finer scales as skips.

    Args:
        doubles: True if the encoders halved the frame first.
    """

    def __init__(self, *, doubles: bool) -> None:
        super().__init__()
        self.dc0 = GatedConv3d(128, 128)
        self.dc1 = GatedConv3d(128, 128)
        self.dc1_1 = GatedUpConv(128, 96)
        self.dc2_1 = GatedConv3d(96 + 96, 96)
        self.dc2_bt1 = GatedConv3d(96, 96, dilation=2)
        self.dc2_bt2 = GatedConv3d(96, 96, dilation=4)
        self.dc2_bt3 = GatedConv3d(96, 96, dilation=8)
        self.dc2_2 = GatedUpConv(96, 64)
        self.dc3_1 = GatedConv3d(64 + 64, 64)
        self.dc3_2 = GatedConv3d(64, 64)
        self.dc4 = GatedUpConv(64, 32)
        self.upsample = _double() if doubles else nn.Identity()
        self.dc5 = GatedConv3d(32, 16)
        self.dc6 = nn.Conv3d(16, 3, (1, 3, 3), padding=(0, 1, 1), bias=False)

    def forward(self, hidden: Tensor, quarter: Tensor, half: Tensor) -> Tensor:
        """Decode.

        Args:
            hidden: ``(B, 128, H/8, W/8)``.
            quarter: ``(B, 96, H/4, W/4)``.
            half: ``(B, 64, H/2, W/2)``.

        Returns:
            ``(B, 3, H, W)`` around ``[-1, 1]``, twice that size if built to double.
        """
        features = self.dc1_1(self.dc1(self.dc0(hidden[:, :, None])))
        features = self.dc2_1(torch.cat((features, quarter[:, :, None]), dim=1))
        features = self.dc2_bt3(self.dc2_bt2(self.dc2_bt1(features)))
        features = self.dc2_2(features)
        features = self.dc3_1(torch.cat((features, half[:, :, None]), dim=1))
        features = self.dc4(self.dc3_2(features))
        output: Tensor = self.dc6(self.dc5(self.upsample(features)))
        return output[:, :, 0]


class Aggregation(nn.Module):
    """Several aligned feature maps to one.

    Args:
        channels: Channels of each.
        count: How many.
    """

    def __init__(self, channels: int, *, count: int) -> None:
        super().__init__()
        self.stAgg = GatedConv3d(channels, channels, depth=count)

    def forward(self, stack: Tensor) -> Tensor:
        """``(B, C, count, H, W)`` to ``(B, C, H, W)``."""
        output: Tensor = self.stAgg(stack)
        return output[:, :, 0]
