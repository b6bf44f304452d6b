"""What all adapters of a network share: its entry in the table, and its weights once set up."""

from pathlib import Path

import torch
from torch import nn

from operators.models.entry import Entry


class Weighted:
    """Holds a network of the table of models, which is loaded by ``setup`` and not before.

    Args:
        entry: Which network.
        weights: A weight file, or a folder to search for it, instead of the usual places.
    """

    def __init__(self, entry: Entry, weights: Path | None = None) -> None:
        self.entry = entry
        self.weights = weights
        self._network: nn.Module | None = None

    def setup(self, device: torch.device) -> None:
        """Load the weights on ``device``.

        Raises:
            ModelError: If the weights are missing or wrong.
        """
        self._network = self.entry.load(self.weights).to(device)

    def _loaded(self) -> nn.Module:
        if self._network is None:
            msg = f"{self.entry.kind} {self.entry.name!r} must be set up before it is called"
            raise RuntimeError(msg)
        return self._network
