"""LPIPS 0.1: how different two pictures look, learned from people's judgements of patches.

Source:
    Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR
    2018, section 3 and equation (1).

The published weights come in two files: a trunk trained to classify ImageNet, as torchvision
publishes it, and the few numbers of the heads. :func:`from_published` reads the keys of both, and
those of the whole network as the package ``lpips`` saves it.
"""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from operators.check import require_images, require_same_grid
from operators.models.weights import strip_prefix, without

# Mean and deviation of ImageNet, of pictures in [-1, 1], as the heads were trained with.
MEAN = (-0.030, -0.088, -0.188)
DEVIATION = (0.458, 0.448, 0.450)

NORM_EPSILON = 1e-10

# Of the trunk what follows the last tap; of the heads a second name of the same tensors; and
# constants, which are above.
UNUSED = ("classifier.", "lins.", "scaling_layer.")
PUBLISHED_NAMES = (
    (re.compile(r"^(features|net\.slice\d)\."), "trunk."),
    (re.compile(r"^lin(\d)\.model\.1\."), r"heads.\1."),
)


def from_published(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn the contents of published files into a state dict of :class:`LPIPS`.

    Args:
        state: The keys of the trunk (``features.``) and of the heads (``lin0.`` and so on)
            together, or of the whole network (``net.slice1.`` and so on).

    Returns:
        A state dict for strict loading: heads without a trunk are refused, which the authors'
        code once left at random values.
    """
    return {_own_name(key): tensor for key, tensor in without(strip_prefix(state), UNUSED).items()}


def _own_name(key: str) -> str:
    for pattern, replacement in PUBLISHED_NAMES:
        key = pattern.sub(replacement, key)
    return key


class LPIPS(nn.Module):
    """The distance of two pictures: of their features at several depths of a trunk, weighed.

    Args:
        trunk: The layers, in order.
        taps: For each head the index of the layer whose output it weighs, ascending.
        channels: For each head the number of channels of that output.
        min_side: The shortest side of a picture that reaches the last tap, in pixels.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, *, trunk: nn.Sequential, taps: Sequence[int], channels: Sequence[int], min_side: int
    ) -> None:
        super().__init__()
        self.trunk = trunk
        # Departure: the authors' dropout before each head served only in training.
        self.heads = nn.ModuleList(nn.Conv2d(size, 1, 1, bias=False) for size in channels)
        self.taps = tuple(taps)
        self.min_side = min_side
        for name, values in (("mean", MEAN), ("deviation", DEVIATION)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor, references: Tensor) -> Tensor:
        """The distance of each image from its reference.

        Args:
            images: ``(B, 3, H, W)`` RGB in ``[0, 1]``, at its native size.
            references: The same.

        Returns:
            ``(B,)``, never negative with the published heads, zero for equal pictures.

        Raises:
            ValueError: If the shapes disagree or a side is too short for the trunk.
        """
        return self.layer_distances(images, references).sum(dim=1)

    def layer_distances(self, images: Tensor, references: Tensor) -> Tensor:
        """What each depth adds to the distance.

        Args:
            images: As for :meth:`forward`.
            references: The same.

        Returns:
            ``(B, L)``, one number for each head.

        Raises:
            ValueError: If the shapes disagree or a side is too short for the trunk.
        """
        require_images("images", images, channels=3)
        require_images("references", references, channels=3)
        require_same_grid("references", references, "images", images)
        height, width = images.shape[-2:]
        if min(height, width) < self.min_side:
            msg = f"images must be at least {self.min_side} pixels a side, got {height}x{width}"
            raise ValueError(msg)
        both = torch.cat((images, references))
        features = (2.0 * both - 1.0 - self.mean) / self.deviation
        distances: list[Tensor] = []
        for index, layer in enumerate(self.trunk):
            features = layer(features)
            if index in self.taps:
                head = self.heads[len(distances)]
                of_images, of_references = unit_normalize(features).chunk(2)
                distances.append(head((of_images - of_references).square()).mean(dim=(1, 2, 3)))
        return torch.stack(distances, dim=1)


def unit_normalize(features: Tensor) -> Tensor:
    """Scale the vector of channels at each position to length one; a zero vector stays zero.

    Args:
        features: ``(B, C, ...)``, any number of spatial dimensions.
    """
    lengths: Tensor = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return features / (lengths + NORM_EPSILON)


class Fire(nn.Module):
    """SqueezeNet's block: few channels, then many, of which half see their neighbours.

    Source: Iandola et al., "SqueezeNet", 2016, section 3.2.

    Args:
        inputs: Channels read.
        squeezed: Channels in between.
        expanded: Channels of either half of the output.
    """

    def __init__(self, inputs: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` to ``(B, 2 * expanded, H, W)``."""
        squeezed = torch.relu(self.squeeze(features))
        return torch.relu(torch.cat((self.expand1x1(squeezed), self.expand3x3(squeezed)), dim=1))


def lpips_alex() -> LPIPS:
    """LPIPS on AlexNet, which the authors recommend as a metric: 2 470 848 parameters.

    The trunk is that of Krizhevsky, "One weird trick for parallelizing convolutional neural
    networks", 2014, without its normalisation layers.
    """
    trunk = nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(64, 192, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(192, 384, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1),
        nn.ReLU(),
    )
    return LPIPS(trunk=trunk, taps=(1, 4, 7, 9, 11), channels=(64, 192, 384, 256, 256), min_side=31)


def lpips_vgg() -> LPIPS:
    """LPIPS on the sixteen layers of Simonyan and Zisserman, 2015: 14 716 160 parameters."""
    layers: list[nn.Module] = []
    taps = []
    inputs = 3
    for stage, (width, num_convolutions) in enumerate(
        ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
    ):
        if stage > 0:
            layers.append(nn.MaxPool2d(2))
        for _ in range(num_convolutions):
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
            inputs = width
        taps.append(len(layers) - 1)
    return LPIPS(
        trunk=nn.Sequential(*layers), taps=taps, channels=(64, 128, 256, 512, 512), min_side=16
    )


def lpips_squeeze() -> LPIPS:
    """LPIPS on SqueezeNet 1.1, the smallest: 724 736 parameters."""
    trunk = nn.Sequential(
        nn.Conv2d(3, 64, 3, stride=2),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Fire(64, 16, 64),
        Fire(128, 16, 64),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Fire(128, 32, 128),
        Fire(256, 32, 128),
        nn.MaxPool2d(3, stride=2, ceil_mode=True),
        Fire(256, 48, 192),
        Fire(384, 48, 192),
        Fire(384, 64, 256),
        Fire(512, 64, 256),
    )
    return LPIPS(
        trunk=trunk,
        taps=(1, 4, 7, 9, 10, 11, 12),
        channels=(64, 128, 256, 384, 384, 512, 512),
        min_side=17,
    )
