"""InceptionV3 with the weights and the habits of the published FID.

Source:
    Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, in the
    form that Heusel et al., "GANs Trained by a Two Time-Scale Update Rule", NeurIPS 2017, measured
    the FID with: the TensorFlow network of 2015-12-05, as mseitzer/pytorch-fid published it. Names
    are torchvision's, from which it departs where the blocks say so.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from operators.check import require_images
from operators.models.weights import strip_prefix

SIDE_PX = 299
NUM_FEATURES = 2048
NUM_CLASSES = 1008
NORM_EPSILON = 1e-3

Kernel = int | tuple[int, int]


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn the contents of a published file into a state dict of :class:`InceptionV3`.

    Args:
        state: A state dict, possibly with the ``module.`` of ``DataParallel``.

    Returns:
        A state dict for strict loading. Files from before PyTorch 0.4.1 lack the counters of its
        normalisation, which inference does not read; they are set to zero.
    """
    state = strip_prefix(state)
    counters = {
        key.replace("running_mean", "num_batches_tracked"): torch.tensor(0)
        for key in state
        if key.endswith(".running_mean")
    }
    return {**counters, **state}


class ConvNorm(nn.Module):
    """A convolution, normalised over the batch and rectified.

    Args:
        inputs: Channels read.
        outputs: Channels written.
        kernel_size: Of the convolution, a side or rows and columns.
        stride: Of the convolution.
        is_padded: True for an output of the size of the input, over the stride.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: Kernel,
        *,
        stride: int = 1,
        is_padded: bool = True,
    ) -> None:
        super().__init__()
        rows, columns = (kernel_size,) * 2 if isinstance(kernel_size, int) else kernel_size
        padding = (rows // 2, columns // 2) if is_padded else (0, 0)
        self.conv = nn.Conv2d(inputs, outputs, (rows, columns), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=NORM_EPSILON)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` to ``(B, outputs, H', W')``."""
        return torch.relu(self.bn(self.conv(features)))


def _halving(inputs: int, outputs: int) -> ConvNorm:
    return ConvNorm(inputs, outputs, 3, stride=2, is_padded=False)


def _average_pool(features: Tensor) -> Tensor:
    """Departure from torchvision: at the border the mean is over what lies within."""
    return F.avg_pool2d(features, 3, stride=1, padding=1, count_include_pad=False)


class InceptionA(nn.Module):
    """Squares of one, three and five. Departure: 5x5 where figure 5 has 3x3.

    Args:
        inputs: Channels read.
        pool_width: Channels of the path that pools.
    """

    def __init__(self, inputs: int, *, pool_width: int) -> None:
        super().__init__()
        self.branch1x1 = ConvNorm(inputs, 64, 1)
        self.branch5x5_1 = ConvNorm(inputs, 48, 1)
        self.branch5x5_2 = ConvNorm(48, 64, 5)
        self.branch3x3dbl_1 = ConvNorm(inputs, 64, 1)
        self.branch3x3dbl_2 = ConvNorm(64, 96, 3)
        self.branch3x3dbl_3 = ConvNorm(96, 96, 3)
        self.branch_pool = ConvNorm(inputs, pool_width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` to ``(B, 224 + pool_width, H, W)``."""
        paths = (
            self.branch1x1(features),
            self.branch5x5_2(self.branch5x5_1(features)),
            self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(features))),
            self.branch_pool(_average_pool(features)),
        )
        return torch.cat(paths, dim=1)


class InceptionB(nn.Module):
    """Half the size (figure 10).

    Args:
        inputs: Channels read.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3 = _halving(inputs, 384)
        self.branch3x3dbl_1 = ConvNorm(inputs, 64, 1)
        self.branch3x3dbl_2 = ConvNorm(64, 96, 3)
        self.branch3x3dbl_3 = _halving(96, 96)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` to ``(B, 480 + inputs, ⌊(H-1)/2⌋, ⌊(W-1)/2⌋)``."""
        paths = (
            self.branch3x3(features),
            self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(features))),
            F.max_pool2d(features, 3, stride=2),
        )
        return torch.cat(paths, dim=1)


class InceptionC(nn.Module):
    """Squares of seven, as rows and columns one after the other (figure 6).

    Args:
        inputs: Channels read.
        width: Channels between the convolutions of a path.
    """

    def __init__(self, inputs: int, *, width: int) -> None:
        super().__init__()
        self.branch1x1 = ConvNorm(inputs, 192, 1)
        self.branch7x7_1 = ConvNorm(inputs, width, 1)
        self.branch7x7_2 = ConvNorm(width, width, (1, 7))
        self.branch7x7_3 = ConvNorm(width, 192, (7, 1))
        self.branch7x7dbl_1 = ConvNorm(inputs, width, 1)
        self.branch7x7dbl_2 = ConvNorm(width, width, (7, 1))
        self.branch7x7dbl_3 = ConvNorm(width, width, (1, 7))
        self.branch7x7dbl_4 = ConvNorm(width, width, (7, 1))
        self.branch7x7dbl_5 = ConvNorm(width, 192, (1, 7))
        self.branch_pool = ConvNorm(inputs, 192, 1)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` to ``(B, 768, H, W)``."""
        once = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(features)))
        twice = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(features)))
        twice = self.branch7x7dbl_5(self.branch7x7dbl_4(twice))
        pooled = self.branch_pool(_average_pool(features))
        return torch.cat((self.branch1x1(features), once, twice, pooled), dim=1)


class InceptionD(nn.Module):
    """Half the size, once more.

    Args:
        inputs: Channels read.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.branch3x3_1 = ConvNorm(inputs, 192, 1)
        self.branch3x3_2 = _halving(192, 320)
        self.branch7x7x3_1 = ConvNorm(inputs, 192, 1)
        self.branch7x7x3_2 = ConvNorm(192, 192, (1, 7))
        self.branch7x7x3_3 = ConvNorm(192, 192, (7, 1))
        self.branch7x7x3_4 = _halving(192, 192)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` to ``(B, 512 + inputs, ⌊(H-1)/2⌋, ⌊(W-1)/2⌋)``."""
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(features)))
        paths = (
            self.branch3x3_2(self.branch3x3_1(features)),
            self.branch7x7x3_4(seven),
            F.max_pool2d(features, 3, stride=2),
        )
        return torch.cat(paths, dim=1)


class InceptionE(nn.Module):
    """A row beside a column (figure 7).

    Args:
        inputs: Channels read.
        is_max_pooled: True if the path that pools takes the largest value rather than the mean.
            Departure from the paper and from torchvision: the network behind the FID does so in
            its last block.
    """

    def __init__(self, inputs: int, *, is_max_pooled: bool) -> None:
        super().__init__()
        self.is_max_pooled = is_max_pooled
        self.branch1x1 = ConvNorm(inputs, 320, 1)
        self.branch3x3_1 = ConvNorm(inputs, 384, 1)
        self.branch3x3_2a = ConvNorm(384, 384, (1, 3))
        self.branch3x3_2b = ConvNorm(384, 384, (3, 1))
        self.branch3x3dbl_1 = ConvNorm(inputs, 448, 1)
        self.branch3x3dbl_2 = ConvNorm(448, 384, 3)
        self.branch3x3dbl_3a = ConvNorm(384, 384, (1, 3))
        self.branch3x3dbl_3b = ConvNorm(384, 384, (3, 1))
        self.branch_pool = ConvNorm(inputs, 192, 1)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` to ``(B, 2048, H, W)``."""
        once = self.branch3x3_1(features)
        twice = self.branch3x3dbl_2(self.branch3x3dbl_1(features))
        if self.is_max_pooled:
            pooled = F.max_pool2d(features, 3, stride=1, padding=1)
        else:
            pooled = _average_pool(features)
        paths = (
            self.branch1x1(features),
            self.branch3x3_2a(once),
            self.branch3x3_2b(once),
            self.branch3x3dbl_3a(twice),
            self.branch3x3dbl_3b(twice),
            self.branch_pool(pooled),
        )
        return torch.cat(paths, dim=1)


class InceptionV3(nn.Module):
    """The 2048 features of a picture that the FID compares: 23 850 960 parameters.

    Of these 2 065 392 are the classifier ``fc``, which is loaded and never run.
    """

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _halving(3, 32)
        self.Conv2d_2a_3x3 = ConvNorm(32, 32, 3, is_padded=False)
        self.Conv2d_2b_3x3 = ConvNorm(32, 64, 3)
        self.Conv2d_3b_1x1 = ConvNorm(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvNorm(80, 192, 3, is_padded=False)
        self.Mixed_5b = InceptionA(192, pool_width=32)
        self.Mixed_5c = InceptionA(256, pool_width=64)
        self.Mixed_5d = InceptionA(288, pool_width=64)
        self.Mixed_6a = InceptionB(288)
        self.Mixed_6b = InceptionC(768, width=128)
        self.Mixed_6c = InceptionC(768, width=160)
        self.Mixed_6d = InceptionC(768, width=160)
        self.Mixed_6e = InceptionC(768, width=192)
        self.Mixed_7a = InceptionD(768)
        self.Mixed_7b = InceptionE(1280, is_max_pooled=False)
        self.Mixed_7c = InceptionE(2048, is_max_pooled=True)
        self.fc = nn.Linear(NUM_FEATURES, NUM_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Features of each image.

        Args:
            images: ``(B, 3, H, W)`` RGB in ``[0, 1]``, any size; resized to a square of 299
                without antialiasing and whatever its proportions, as the published FID does.

        Returns:
            ``(B, 2048)``.

        Raises:
            ValueError: If the shape is another.
        """
        require_images("images", images, channels=3)
        square = F.interpolate(images, (SIDE_PX, SIDE_PX), mode="bilinear", align_corners=False)
        features = self.Conv2d_1a_3x3(2.0 * square - 1.0)
        features = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(features))
        features = self.Conv2d_3b_1x1(F.max_pool2d(features, 3, stride=2))
        features = F.max_pool2d(self.Conv2d_4a_3x3(features), 3, stride=2)
        features = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(features)))
        features = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(features)))
        features = self.Mixed_6e(self.Mixed_6d(features))
        features = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(features)))
        pooled: Tensor = features.mean(dim=(2, 3))
        return pooled
