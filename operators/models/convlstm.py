"""A convolutional LSTM, the memory of both recurrent baselines.

Shi et al., "Convolutional LSTM network: a machine learning approach for precipitation
nowcasting", NeurIPS 2015, equation (3).
"""

import torch
from torch import Tensor, nn

from operators.functional.precision import exact

State = tuple[Tensor, Tensor]


class ConvLSTM(nn.Module):
    """One step of memory on a grid.

    Departure: the paper lets the gates see the cell ("peepholes"); both published baselines
    leave that out.

    Args:
        inputs: Channels read.
        channels: Channels of the hidden state and of the cell.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.Gates = nn.Conv2d(inputs + channels, 4 * channels, 3, padding=1)

    def forward(self, features: Tensor, state: State | None = None) -> State:
        """Take one step.

        Args:
            features: ``(B, inputs, H, W)``.
            state: Hidden state and cell that the last step returned, each
                ``(B, channels, H, W)``; None at the start, for zeros.

        Returns:
            The new hidden state, which is also the output, and the new cell.

        Raises:
            ValueError: If the state belongs to another size.
        """
        shape = (features.shape[0], self.channels, *features.shape[-2:])
        if state is None:
            state = (features.new_zeros(shape), features.new_zeros(shape))
        hidden, cell = state
        if hidden.shape != shape or cell.shape != shape:
            msg = (
                f"state must be two tensors {shape}, "
                f"got {tuple(hidden.shape)} and {tuple(cell.shape)}"
            )
            raise ValueError(msg)
        # What is remembered from frame to frame must not lose digits at every one.
        gates = exact(self.Gates(torch.cat((features, hidden), dim=1)))
        entering, remembering, leaving, candidate = gates.chunk(4, dim=1)
        cell = remembering.sigmoid() * cell + entering.sigmoid() * candidate.tanh()
        return leaving.sigmoid() * cell.tanh(), cell
