"""DeepFill v1: fills holes in two stages, a guess and a refinement that borrows patches.

In the order of Yu et al., "Generative image inpainting with contextual attention", CVPR 2018,
sections 3 and 4 and the appendix. It is the "Cxtattn" inpainting network of the paper. Layers
are named as in daa233's PyTorch port; :func:`from_published` reads the other namings.
"""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from operators.check import require_images, require_same_grid
from operators.models.contextual_attention import (
    DAA233,
    NBEI,
    OFFICIAL,
    ContextualAttention,
    Conventions,
)
from operators.models.weights import strip_prefix

MULTIPLE = 8

Activation = Callable[[Tensor], Tensor]


class Conv(nn.Module):
    """A convolution that keeps the size or halves it, then an activation.

    Args:
        inputs: Channels read.
        outputs: Channels written.
        kernel_size: Side of the kernel, odd.
        stride: 1, or 2 to halve.
        dilation: Spacing of the kernel.
        activation: What follows; None for nothing.
        pads_symmetrically: See :class:`Conventions`.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        dilation: int = 1,
        activation: Activation | None = F.elu,
        pads_symmetrically: bool = False,
    ) -> None:
        super().__init__()
        extent = dilation * (kernel_size - 1) + 1
        total = extent - 1 if pads_symmetrically else extent - stride
        before = total // 2
        self.padding = (before, total - before, before, total - before)
        self.activation = activation
        self.conv = nn.Conv2d(inputs, outputs, kernel_size, stride, dilation=dilation)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` to ``(B, outputs, H/stride, W/stride)``."""
        output: Tensor = self.conv(F.pad(features, self.padding))
        return output if self.activation is None else self.activation(output)


class UpConv(Conv):
    """Twofold nearest upsampling, then the convolution."""

    def forward(self, features: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` to ``(B, outputs, 2H, 2W)``."""
        return super().forward(F.interpolate(features, scale_factor=2.0, mode="nearest"))


class CoarseGenerator(nn.Module):
    """The first stage: dilated convolutions guess the hole from all of the picture.

    Args:
        width: Channels of the first layer.
        conventions: The details of a release.
    """

    def __init__(self, *, width: int, conventions: Conventions) -> None:
        super().__init__()
        symmetric = conventions.pads_symmetrically
        self.conv1 = Conv(5, width, 5)
        self.conv2_downsample = Conv(width, 2 * width, stride=2, pads_symmetrically=symmetric)
        self.conv3 = Conv(2 * width, 2 * width)
        self.conv4_downsample = Conv(2 * width, 4 * width, stride=2, pads_symmetrically=symmetric)
        self.conv5 = Conv(4 * width, 4 * width)
        self.conv6 = Conv(4 * width, 4 * width)
        self.conv7_atrous = Conv(4 * width, 4 * width, dilation=2)
        self.conv8_atrous = Conv(4 * width, 4 * width, dilation=4)
        self.conv9_atrous = Conv(4 * width, 4 * width, dilation=8)
        self.conv10_atrous = Conv(4 * width, 4 * width, dilation=16)
        self.conv11 = Conv(4 * width, 4 * width)
        self.conv12 = Conv(4 * width, 4 * width)
        self.conv13 = UpConv(4 * width, 2 * width)
        self.conv14 = Conv(2 * width, 2 * width)
        self.conv15 = UpConv(2 * width, width)
        self.conv16 = Conv(width, width // 2)
        self.conv17 = Conv(width // 2, 3, activation=None)

    def forward(self, inputs: Tensor) -> Tensor:
        """``(B, 5, H, W)`` picture, ones and hole to ``(B, 3, H, W)`` in ``[-1, 1]``."""
        features = inputs
        for layer in self.children():
            features = layer(features)
        return features.clamp(-1.0, 1.0)


class FineGenerator(nn.Module):
    """The second stage: one branch hallucinates, one attends, a decoder merges both.

    Args:
        attention: What the second branch attends with.
        width: Channels of the first layers.
        conventions: The details of a release.
    """

    def __init__(
        self, *, attention: ContextualAttention, width: int, conventions: Conventions
    ) -> None:
        super().__init__()
        symmetric = conventions.pads_symmetrically
        self.conv1 = Conv(5, width, 5)
        self.conv2_downsample = Conv(width, width, stride=2, pads_symmetrically=symmetric)
        self.conv3 = Conv(width, 2 * width)
        self.conv4_downsample = Conv(2 * width, 2 * width, stride=2, pads_symmetrically=symmetric)
        self.conv5 = Conv(2 * width, 4 * width)
        self.conv6 = Conv(4 * width, 4 * width)
        self.conv7_atrous = Conv(4 * width, 4 * width, dilation=2)
        self.conv8_atrous = Conv(4 * width, 4 * width, dilation=4)
        self.conv9_atrous = Conv(4 * width, 4 * width, dilation=8)
        self.conv10_atrous = Conv(4 * width, 4 * width, dilation=16)
        self.pmconv1 = Conv(5, width, 5)
        self.pmconv2_downsample = Conv(width, width, stride=2, pads_symmetrically=symmetric)
        self.pmconv3 = Conv(width, 2 * width)
        self.pmconv4_downsample = Conv(2 * width, 4 * width, stride=2, pads_symmetrically=symmetric)
        self.pmconv5 = Conv(4 * width, 4 * width)
        # Not ELU: scores of patches are cosines, and features that cannot be negative make
        # them positive.
        self.pmconv6 = Conv(4 * width, 4 * width, activation=F.relu)
        self.attention = attention
        self.pmconv9 = Conv(4 * width, 4 * width)
        self.pmconv10 = Conv(4 * width, 4 * width)
        self.allconv11 = Conv(8 * width, 4 * width)
        self.allconv12 = Conv(4 * width, 4 * width)
        self.allconv13 = UpConv(4 * width, 2 * width)
        self.allconv14 = Conv(2 * width, 2 * width)
        self.allconv15 = UpConv(2 * width, width)
        self.allconv16 = Conv(width, width // 2)
        self.allconv17 = Conv(width // 2, 3, activation=None)

    def forward(self, inputs: Tensor, hole: Tensor) -> Tensor:
        """Refine.

        Args:
            inputs: ``(B, 5, H, W)``: picture with the guess in the hole, ones, hole.
            hole: ``(B, 1, H, W)``, 1 where missing.

        Returns:
            ``(B, 3, H, W)`` in ``[-1, 1]``.
        """
        hallucinated = self.conv2_downsample(self.conv1(inputs))
        hallucinated = self.conv4_downsample(self.conv3(hallucinated))
        hallucinated = self.conv6(self.conv5(hallucinated))
        hallucinated = self.conv8_atrous(self.conv7_atrous(hallucinated))
        hallucinated = self.conv10_atrous(self.conv9_atrous(hallucinated))

        attended = self.pmconv2_downsample(self.pmconv1(inputs))
        attended = self.pmconv4_downsample(self.pmconv3(attended))
        attended = self.pmconv6(self.pmconv5(attended))
        attended = self.attention(attended, hole)
        attended = self.pmconv10(self.pmconv9(attended))

        merged = self.allconv11(torch.cat((hallucinated, attended), dim=1))
        merged = self.allconv13(self.allconv12(merged))
        merged = self.allconv15(self.allconv14(merged))
        merged = self.allconv17(self.allconv16(merged))
        output: Tensor = merged.clamp(-1.0, 1.0)
        return output


class DeepFill(nn.Module):
    """Both stages.

    Args:
        coarse_generator: The first stage.
        fine_generator: The second stage.
    """

    def __init__(self, *, coarse_generator: CoarseGenerator, fine_generator: FineGenerator) -> None:
        super().__init__()
        self.coarse_generator = coarse_generator
        self.fine_generator = fine_generator

    def forward(self, images: Tensor, masks: Tensor) -> Tensor:
        """Fill the holes.

        Args:
            images: ``(B, 3, H, W)`` RGB in ``[0, 1]``, sides multiples of eight (the released
                script crops to that); what lies in the hole is not read.
            masks: ``(B, 1, H, W)``, 1 where missing; above one half counts as missing.

        Returns:
            ``(B, 3, H, W)`` RGB in ``[0, 1]``; known pixels are those of ``images``, exactly.

        Raises:
            ValueError: If the shapes disagree or a side is no multiple of eight.
        """
        require_images("images", images, channels=3)
        require_images("masks", masks, channels=1)
        require_same_grid("masks", masks, "images", images)
        height, width = images.shape[-2:]
        if height % MULTIPLE or width % MULTIPLE:
            msg = f"images must have sides that are multiples of {MULTIPLE}, got {height}x{width}"
            raise ValueError(msg)
        missing = masks > 0.5
        hole = missing.to(images.dtype)
        # The released scripts read files as BGR, so that is what the weights know.
        known = (images.flip(1) * 2.0 - 1.0) * (1.0 - hole)
        ones = torch.ones_like(hole)
        coarse = self.coarse_generator(torch.cat((known, ones, hole), dim=1))
        guess = coarse * hole + known
        fine = self.fine_generator(torch.cat((guess, ones, hole), dim=1), hole)
        return torch.where(missing, (fine.flip(1) + 1.0) / 2.0, images)


def deepfill(*, width: int = 32, conventions: Conventions = OFFICIAL) -> DeepFill:
    """The network of the official release.

    Args:
        width: Channels of the first layers.
        conventions: The details of the release that the weights were trained in. Weights that
            were converted from TensorFlow want the official ones, whatever names they bear.
    """
    return DeepFill(
        coarse_generator=CoarseGenerator(width=width, conventions=conventions),
        fine_generator=FineGenerator(
            attention=ContextualAttention(conventions), width=width, conventions=conventions
        ),
    )


def deepfill_daa233() -> DeepFill:
    """The network for weights trained with daa233/generative-inpainting-pytorch."""
    return deepfill(conventions=DAA233)


def deepfill_nbei() -> DeepFill:
    """The network for the weights of nbei/Deep-Flow-Guided-Video-Inpainting."""
    return deepfill(conventions=NBEI)


_DOWN = ("1", "2_downsample", "3", "4_downsample", "5", "6")
_ATROUS = ("7_atrous", "8_atrous", "9_atrous", "10_atrous")
_UP = ("11", "12", "13", "14", "15", "16", "17")

# Our layers, in the order of computation, and the branch of nbei's port that they make up.
_BRANCHES = (
    ("coarse_generator.conv", _DOWN, "stage_1.down"),
    ("coarse_generator.conv", _ATROUS, "stage_1.atrous"),
    ("coarse_generator.conv", _UP, "stage_1.up"),
    ("fine_generator.conv", _DOWN, "stage_2.down_conv_branch"),
    ("fine_generator.conv", _ATROUS, "stage_2.atrous"),
    ("fine_generator.pmconv", _DOWN, "stage_2.down_attn_branch"),
    ("fine_generator.pmconv", ("9", "10"), "stage_2.CAttn"),
    ("fine_generator.allconv", _UP, "stage_2.up"),
)
# In nbei's port the upsamplings count as layers 2 and 5 of a decoder.
_UP_POSITIONS = (0, 1, 3, 4, 6, 7, 8)


def nbei_names() -> dict[str, str]:
    """Each layer of nbei's port and what it is called here, without ``.weight`` and ``.bias``."""
    names = {}
    for prefix, layers, branch in _BRANCHES:
        positions = _UP_POSITIONS if layers is _UP else tuple(range(len(layers)))
        for layer, position in zip(layers, positions, strict=True):
            # A convolution of stride two stands behind a padding layer.
            inner = 1 if layer.endswith("_downsample") else 0
            names[f"{branch}.out.{position}.conv.{inner}"] = f"{prefix}{layer}.conv"
    return names


def from_published(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn the contents of a file of either PyTorch port into a state dict of :class:`DeepFill`.

    Args:
        state_dict: A state dict named as in daa233's port (``coarse_generator.conv1.conv``) or as
            in nbei's (``stage_1.down.out.0.conv.0``), possibly with the ``module.`` of
            ``DataParallel``. Names that are neither are kept.

    Returns:
        A state dict for strict loading.
    """
    renamed = nbei_names()
    entries = {}
    for key, value in strip_prefix(state_dict).items():
        layer, _, leaf = key.rpartition(".")
        entries[f"{renamed.get(layer, layer)}.{leaf}"] = value
    return entries


def tensorflow_names() -> dict[str, str]:
    """Each layer of the TensorFlow release and what it is called here, as :func:`nbei_names`."""
    names = {}
    for prefix, layers, _ in _BRANCHES:
        # TensorFlow has one scope for both stages: there the layers of the second are "xconv".
        scope = prefix.rpartition(".")[2]
        scope = "xconv" if prefix == "fine_generator.conv" else scope
        for layer in layers:
            path = f"{scope}{layer}"
            if layer in ("13", "15"):
                path = f"{path}_upsample/{path}_upsample_conv"
            names[f"inpaint_net/{path}"] = f"{prefix}{layer}.conv"
    return names


def from_tensorflow(variables: Mapping[str, npt.NDArray[np.float32]]) -> dict[str, Tensor]:
    """Turn variables of the official TensorFlow checkpoint into a state dict of :class:`DeepFill`.

    Where TensorFlow is installed, ``tf.train.load_checkpoint(folder)`` reads a checkpoint; its
    ``get_variable_to_shape_map`` lists the names and ``get_tensor`` gives the arrays. What
    ``torch.save`` makes of the result is a file for the model ``deepfill``.

    Args:
        variables: Name to array; kernels are (height, width, inputs, outputs). Those of the
            discriminator and of the optimiser may be there and are ignored.

    Returns:
        A state dict for strict loading, which names the first variable that was not there.
    """
    entries = {}
    for path, layer in tensorflow_names().items():
        if f"{path}/kernel" in variables:
            kernel = np.transpose(variables[f"{path}/kernel"], (3, 2, 0, 1))
            entries[f"{layer}.weight"] = torch.from_numpy(np.ascontiguousarray(kernel))
        if f"{path}/bias" in variables:
            entries[f"{layer}.bias"] = torch.from_numpy(np.array(variables[f"{path}/bias"]))
    return entries
