"""What all adapters of a network share: its entry in the table, and its weights once set up."""

from pathlib import Path

import torch
from torch import nn

from operators.accelerate import PLAIN, Acceleration, accelerated, fitted
from operators.models.entry import Entry


class Weighted:
    """Holds a network of the table of models, which is loaded by ``setup`` and not before.

    Args:
        entry: Which network.
        weights: A weight file, or a folder to search for it, instead of the usual places.
        acceleration: How the network is made faster, as far as that pays for it.
    """

    def __init__(
        self, entry: Entry, weights: Path | None = None, acceleration: Acceleration = PLAIN
    ) -> None:
        self.entry = entry
        self.weights = weights
        self.acceleration = acceleration
        self._network: nn.Module | None = None

    def setup(self, device: torch.device) -> None:
        """Load the weights on ``device``.

        Raises:
            ModelError: If the weights are missing or wrong, or the device cannot do what is asked.
        """
        self._network = loaded(self.entry, self.weights, device, self.acceleration)

    def _loaded(self) -> nn.Module:
        if self._network is None:
            msg = f"{self.entry.kind} {self.entry.name!r} must be set up before it is called"
            raise RuntimeError(msg)
        return self._network


def loaded(
    entry: Entry, weights: Path | None, device: torch.device, acceleration: Acceleration
) -> nn.Module:
    """The network of an entry on a device, as it is called for frames.

    Raises:
        ModelError: If the weights are missing or wrong, or the device cannot do what is asked.
    """
    how = fitted(acceleration, entry, device)
    return accelerated(entry.load(weights), device, how, entry.parts)
