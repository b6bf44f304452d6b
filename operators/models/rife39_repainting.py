"""The part of RIFE 3.9 that repaints the blended frame: what motion alone cannot explain.

Source:
    Huang et al., "Real-Time Intermediate Flow Estimation for Video Frame Interpolation", ECCV
    2022, section 3.2 ("RefineNet"), in the form that Practical-RIFE published as version 3.9.
"""

import torch
from torch import Tensor, nn

from operators.functional.warp import backward_warp
from operators.models.refining import resize

WIDTH = 16


def conv_prelu(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """A convolution over 3x3 pixels and a rectifier whose slope is learned for each channel."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1),
        nn.PReLU(out_channels),
    )


def _double(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(in_channels, out_channels, kernel_size=4, stride=2, padding=1),
        nn.PReLU(out_channels),
    )


class Halve(nn.Module):
    """Two convolutions, the first of which halves the size."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = conv_prelu(in_channels, out_channels, stride=2)
        self.conv2 = conv_prelu(out_channels, out_channels, stride=1)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, in, H, W)`` to ``(B, out, H/2, W/2)``."""
        halved: Tensor = self.conv2(self.conv1(features))
        return halved


class ContextNet(nn.Module):
    """Features of a frame at four sizes, brought to the instant."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = Halve(3, WIDTH)
        self.conv2 = Halve(WIDTH, 2 * WIDTH)
        self.conv3 = Halve(2 * WIDTH, 4 * WIDTH)
        self.conv4 = Halve(4 * WIDTH, 8 * WIDTH)

    def forward(self, frame: Tensor, flow: Tensor) -> list[Tensor]:
        """Encode and warp.

        Args:
            frame: ``(B, 3, H, W)`` RGB in ``[0, 1]``; sides are multiples of 16.
            flow: ``(B, 2, H, W)`` from the instant into the frame, pixels.

        Returns:
            16, 32, 64 and 128 channels at a half, a quarter, an eighth and a sixteenth.
        """
        features = frame
        warped = []
        for halve in (self.conv1, self.conv2, self.conv3, self.conv4):
            features = halve(features)
            flow = resize(flow, 0.5) * 0.5
            warped.append(backward_warp(features, flow))
        return warped


class UNet(nn.Module):
    """Everything that is known of the instant to the change of its picture."""

    def __init__(self) -> None:
        super().__init__()
        # Two frames, the same warped, the mask, and both flows.
        self.down0 = Halve(4 * 3 + 1 + 4, 2 * WIDTH)
        # From here on the features of both frames come along.
        self.down1 = Halve(4 * WIDTH, 4 * WIDTH)
        self.down2 = Halve(8 * WIDTH, 8 * WIDTH)
        self.down3 = Halve(16 * WIDTH, 16 * WIDTH)
        self.up0 = _double(32 * WIDTH, 8 * WIDTH)
        self.up1 = _double(16 * WIDTH, 4 * WIDTH)
        self.up2 = _double(8 * WIDTH, 2 * WIDTH)
        self.up3 = _double(4 * WIDTH, WIDTH)
        self.conv = nn.Conv2d(WIDTH, 3, kernel_size=3, padding=1)

    def forward(self, known: Tensor, of_first: list[Tensor], of_second: list[Tensor]) -> Tensor:
        """The change of the picture.

        Args:
            known: ``(B, 17, H, W)``: both frames, both as they are warped, logits of the mask,
                flow into the first frame and into the second; sides are multiples of 16.
            of_first: What :class:`ContextNet` gives for the first frame.
            of_second: The same of the second.

        Returns:
            ``(B, 3, H, W)`` in ``[-1, 1]``, to be added.
        """
        half = self.down0(known)
        quarter = self.down1(torch.cat((half, of_first[0], of_second[0]), dim=1))
        eighth = self.down2(torch.cat((quarter, of_first[1], of_second[1]), dim=1))
        sixteenth = self.down3(torch.cat((eighth, of_first[2], of_second[2]), dim=1))
        features = self.up0(torch.cat((sixteenth, of_first[3], of_second[3]), dim=1))
        features = self.up1(torch.cat((features, eighth), dim=1))
        features = self.up2(torch.cat((features, quarter), dim=1))
        features = self.up3(torch.cat((features, half), dim=1))
        return 2.0 * torch.sigmoid(self.conv(features)) - 1.0
