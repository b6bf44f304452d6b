"""Blind video temporal consistency: makes frames that were translated one by one steadier.

In the order of Lai et al., "Learning blind video temporal consistency", ECCV 2018, section 3.1
and figure 2. It is the "-vcons" baseline of the paper.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from operators.check import require_images, require_same_grid
from operators.models.convlstm import ConvLSTM, State
from operators.models.fast_neural_style import PaddedConv
from operators.models.weights import strip_prefix

MULTIPLE = 4
# Of which a quarter, rounded up, still has a second pixel to reflect.
SMALLEST_SIDE = 5
SLOPE = 0.2


def _activate(features: Tensor) -> Tensor:
    return F.leaky_relu(features, SLOPE)


class ResidualBlock(nn.Module):
    """Two convolutions and a skip.

    Departure: the paper normalises every layer of the network. The published code builds
    instance normalisation and, by a slip in a condition, never runs it, so neither do we.

    Args:
        channels: Channels read and written.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = PaddedConv(channels, channels, 3)
        self.conv2 = PaddedConv(channels, channels, 3)

    def forward(self, features: Tensor) -> Tensor:
        """``(B, C, H, W)`` to the same shape."""
        residual: Tensor = self.conv2(_activate(self.conv1(features)))
        return features + residual


class BlindConsistency(nn.Module):
    """The image transformation network with its memory.

    Args:
        convlstm: The memory, reading and keeping ``4 * width`` channels.
        residual_blocks: What stands between the encoder and the memory, ``4 * width`` channels.
        width: Channels of the first layer of either encoder.
    """

    def __init__(self, *, convlstm: ConvLSTM, residual_blocks: nn.Sequential, width: int) -> None:
        super().__init__()
        self.conv1a = PaddedConv(6, width, 7)
        self.conv1b = PaddedConv(6, width, 7)
        self.conv2a = PaddedConv(width, 2 * width, 3, stride=2)
        self.conv2b = PaddedConv(width, 2 * width, 3, stride=2)
        self.conv3 = PaddedConv(4 * width, 4 * width, 3, stride=2)
        self.ResBlocks = residual_blocks
        self.convlstm = convlstm
        self.deconv1 = PaddedConv(4 * width, 2 * width, 3, is_upsampling=True)
        self.deconv2 = PaddedConv(4 * width, width, 3, is_upsampling=True)
        self.deconv3 = PaddedConv(2 * width, 3, 7)

    def _residual(
        self, outputs: Tensor, inputs: Tensor, state: State | None
    ) -> tuple[Tensor, State]:
        output_half = _activate(self.conv1a(outputs))
        input_half = _activate(self.conv1b(inputs))
        output_quarter = _activate(self.conv2a(output_half))
        input_quarter = _activate(self.conv2b(input_half))
        features = _activate(self.conv3(torch.cat((output_quarter, input_quarter), dim=1)))
        state = self.convlstm(self.ResBlocks(features), state)
        # Only the encoder of the outputs has skips: the untranslated frames must not leak in.
        features = _activate(self.deconv1(state[0]))
        features = _activate(self.deconv2(torch.cat((features, output_quarter), dim=1)))
        features = self.deconv3(torch.cat((features, output_half), dim=1))
        return features.tanh(), state

    def forward(
        self,
        translated: Tensor,
        previous_output: Tensor,
        frame: Tensor,
        previous_frame: Tensor,
        state: State | None,
    ) -> tuple[Tensor, State]:
        """Correct one frame.

        The first output of a shot is its first translated frame, unchanged; the network runs
        from the second on. Sides that are no multiple of four are resized up and the output
        back, bilinearly, as the published script does.

        Args:
            translated: ``(B, 3, H, W)`` RGB in ``[0, 1]``, this frame translated by itself.
            previous_output: ``(B, 3, H, W)``, what came out for the previous frame. The
                published script reads it back from an eight-bit file, that is clamped.
            frame: ``(B, 3, H, W)``, this frame untranslated.
            previous_frame: ``(B, 3, H, W)``, the previous frame untranslated.
            state: What the last call returned; None for the second frame of a shot.

        Returns:
            The output, ``(B, 3, H, W)``, not clamped, and the state for the next call.

        Raises:
            ValueError: If the shapes disagree or a side is below five pixels.

        Source:
            Section 3.1: ``O_t = P_t + F(P_t, O_{t-1}, I_t, I_{t-1})``.
        """
        require_images("translated", translated, channels=3)
        others = (previous_output, frame, previous_frame)
        for name, image in zip(("previous_output", "frame", "previous_frame"), others, strict=True):
            require_images(name, image, channels=3)
            require_same_grid(name, image, "translated", translated)
        height, width = translated.shape[-2:]
        if min(height, width) < SMALLEST_SIDE:
            msg = f"translated must be at least {SMALLEST_SIDE} pixels a side, got {height}x{width}"
            raise ValueError(msg)
        size = (-(-height // MULTIPLE) * MULTIPLE, -(-width // MULTIPLE) * MULTIPLE)
        target, last, guide, last_guide = (_resize(image, size) for image in (translated, *others))
        residual, state = self._residual(
            torch.cat((target, last), dim=1), torch.cat((guide, last_guide), dim=1), state
        )
        return _resize(target + residual, (height, width)), state


def _resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    if image.shape[-2:] == size:
        return image
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False)


def blind_consistency(*, width: int = 32, num_residual_blocks: int = 5) -> BlindConsistency:
    """The network of the published file.

    Args:
        width: Channels of the first layer.
        num_residual_blocks: Blocks between the encoder and the memory.
    """
    blocks = [ResidualBlock(4 * width) for _ in range(num_residual_blocks)]
    return BlindConsistency(
        convlstm=ConvLSTM(4 * width, 4 * width),
        residual_blocks=nn.Sequential(*blocks),
        width=width,
    )


def from_published(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Turn the contents of the published file into a state dict of :class:`BlindConsistency`.

    Args:
        checkpoint: A state dict, possibly under ``model`` and with the ``module.`` of
            ``DataParallel``.

    Returns:
        A state dict for strict loading. The statistics of the normalisation that never runs are
        left out. Convolutions of a file that was trained without normalisation layers have no
        bias, except the last: theirs is 0.
    """
    state_dict = strip_prefix(checkpoint.get("model", checkpoint))
    state = {key: tensor for key, tensor in state_dict.items() if ".norm_layer." not in key}
    weights = {key: value for key, value in state.items() if key.endswith(".conv2d.weight")}
    biases = {key.replace(".weight", ".bias"): value for key, value in weights.items()}
    # A file with some of them was meant to have them all.
    if biases.keys() & state.keys() <= {"deconv3.conv2d.bias"}:
        zeros = {key: value.new_zeros(len(value)) for key, value in biases.items() if value.ndim}
        return zeros | state
    return state
