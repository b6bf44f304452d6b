"""Image-to-image networks of the table of models as translators."""

from pathlib import Path

import torch
from torch import Tensor, nn

from operators.base import TranslatorTraits
from operators.models.entry import Entry


class RegistryTranslator:
    """A network of the table, filled with published weights.

    Args:
        entry: Which network.
        weights: A weight file, or a folder to search for it, instead of the usual places.
    """

    def __init__(self, entry: Entry, weights: Path | None = None) -> None:
        self.entry = entry
        self.weights = weights
        self.name = entry.name
        self.traits = TranslatorTraits(multiple=entry.multiple, takes_mask=entry.takes_mask)
        self._network: nn.Module | None = None

    def setup(self, device: torch.device) -> None:
        """Load the weights on ``device``.

        Raises:
            ModelError: If the weights are missing or wrong.
        """
        self._network = self.entry.load(self.weights).to(device)

    @torch.no_grad()
    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Translate a batch; see `operators.base.Translator`."""
        if self._network is None:
            msg = f"model {self.name!r} must be set up before it is called"
            raise RuntimeError(msg)
        translated: Tensor = (
            self._network(images) if masks is None else self._network(images, masks)
        )
        return translated
