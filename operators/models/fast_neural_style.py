"""Fast neural style: one feed-forward network for each style, "mosaic" and "rain princess".

In the order of Johnson et al., "Perceptual losses for real-time style transfer and
super-resolution", ECCV 2016, supplementary table 1, as published with the PyTorch examples.
The published network departs from that table; each place says so.
"""

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from operators.check import require_images
from operators.functional.color import to_levels
from operators.functional.precision import exact
from operators.models.weights import strip_prefix

# Reflection needs one pixel more than the widest padding, that of the 9x9 kernels.
SMALLEST_SIDE = 5
# The largest of eight-bit levels.
WHITE = int(to_levels(torch.ones(())))

_OLD_STATISTICS = re.compile(r"(^|\.)in\d\.(running_mean|running_var|num_batches_tracked)$")


class PaddedConv(nn.Module):
    """A convolution after reflection padding and, if asked, twofold nearest upsampling.

    Departure: the paper pads the input once, by 40 pixels, and upsamples by transposed
    convolutions, which leave a checkerboard.

    Args:
        inputs: Channels read.
        outputs: Channels written.
        kernel_size: Side of the kernel, odd.
        stride: Step of the convolution.
        is_upsampling: True to double height and width first.
        bias: True to add one.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int,
        *,
        stride: int = 1,
        is_upsampling: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.padding = kernel_size // 2
        self.is_upsampling = is_upsampling
        self.conv2d = nn.Conv2d(inputs, outputs, kernel_size, stride, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` to ``(B, outputs, ⌈H/stride⌉, ⌈W/stride⌉)``, doubled if asked."""
        if self.is_upsampling:
            features = F.interpolate(features, scale_factor=2.0, mode="nearest")
        output: Tensor = self.conv2d(F.pad(features, (self.padding,) * 4, mode="reflect"))
        return output


def _norm(channels: int) -> nn.InstanceNorm2d:
    """Departure: the paper normalises over the batch; here every picture by itself, always.

    Source: Ulyanov et al., "Instance normalization: the missing ingredient for fast
    stylization", 2016.
    """
    return nn.InstanceNorm2d(channels, affine=True)


class ResidualBlock(nn.Module):
    """Two convolutions and a skip, no activation after the sum.

    Departure: the paper does not pad here and crops the skip instead.

    Args:
        channels: Channels read and written.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = PaddedConv(channels, channels, 3)
        self.in1 = _norm(channels)
        self.conv2 = PaddedConv(channels, channels, 3)
        self.in2 = _norm(channels)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        residual = F.relu(self.in1(self.conv1(features)))
        output: Tensor = features + self.in2(self.conv2(residual))
        return output


class TransformerNet(nn.Module):
    """Paints a picture in the one style that it was trained for.

    Args:
        width: Channels after the first convolution; 32 in every published file.
    """

    def __init__(self, *, width: int = 32) -> None:
        super().__init__()
        self.conv1 = PaddedConv(3, width, 9)
        self.in1 = _norm(width)
        self.conv2 = PaddedConv(width, 2 * width, 3, stride=2)
        self.in2 = _norm(2 * width)
        self.conv3 = PaddedConv(2 * width, 4 * width, 3, stride=2)
        self.in3 = _norm(4 * width)
        self.res1 = ResidualBlock(4 * width)
        self.res2 = ResidualBlock(4 * width)
        self.res3 = ResidualBlock(4 * width)
        self.res4 = ResidualBlock(4 * width)
        self.res5 = ResidualBlock(4 * width)
        self.deconv1 = PaddedConv(4 * width, 2 * width, 3, is_upsampling=True)
        self.in4 = _norm(2 * width)
        self.deconv2 = PaddedConv(2 * width, width, 3, is_upsampling=True)
        self.in5 = _norm(width)
        self.deconv3 = PaddedConv(width, 3, 9)

    def paint(self, levels: Tensor) -> Tensor:
        """The network proper, in the numbers that it was trained on.

        Args:
            levels: ``(B, 3, H, W)`` RGB as eight-bit levels in floating point, mean not removed.

        Returns:
            ``(B, 3, 4⌈H/4⌉, 4⌈W/4⌉)`` RGB levels, not clamped: the last layer is linear.
            Departure: the paper ends in a scaled hyperbolic tangent.
        """
        features = F.relu(self.in1(self.conv1(levels)))
        features = F.relu(self.in2(self.conv2(features)))
        features = F.relu(self.in3(self.conv3(features)))
        for block in (self.res1, self.res2, self.res3, self.res4, self.res5):
            features = block(features)
        features = F.relu(self.in4(self.deconv1(features)))
        features = F.relu(self.in5(self.deconv2(features)))
        output: Tensor = self.deconv3(features)
        return output

    def forward(self, images: Tensor) -> Tensor:
        """Paint pictures.

        Args:
            images: ``(B, 3, H, W)`` RGB in ``[0, 1]``, at least five pixels high and wide; read
                as eight-bit levels, as the published network reads them.

        Returns:
            ``(B, 3, H, W)`` RGB in ``[0, 1]``. Sides that are no multiple of four come out of
            the last layer longer, and are cropped here.

        Raises:
            ValueError: If the shape is another or a side is too short.
        """
        require_images("images", images, channels=3)
        height, width = images.shape[-2:]
        if min(height, width) < SMALLEST_SIDE:
            msg = f"images must be at least {SMALLEST_SIDE} pixels a side, got {height}x{width}"
            raise ValueError(msg)
        painted = self.paint(to_levels(images).to(images.dtype))
        return (exact(painted[..., :height, :width]) / WHITE).clamp(0.0, 1.0).to(images.dtype)


def from_published(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn the contents of a published file into a state dict of :class:`TransformerNet`.

    Args:
        state_dict: A state dict, possibly with the ``module.`` of ``DataParallel``.

    Returns:
        A state dict for strict loading. The files were written by a PyTorch whose instance
        normalisation kept running statistics, which none reads any more; they are left out.
    """
    state_dict = strip_prefix(state_dict)
    return {k: tensor for k, tensor in state_dict.items() if not _OLD_STATISTICS.search(k)}
