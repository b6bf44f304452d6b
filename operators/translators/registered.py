"""Image-to-image networks of the table of models as translators."""

from pathlib import Path

import torch
from torch import Tensor

from operators.accelerate import PLAIN, Acceleration
from operators.base import TranslatorTraits
from operators.models.entry import Entry
from operators.weighted import Weighted


class RegistryTranslator(Weighted):
    """A network of the table, filled with published weights.

    Args:
        entry: Which network.
        weights: A weight file, or a folder to search for it, instead of the usual places.
        acceleration: How the network is made faster, as far as that pays for it.
    """

    def __init__(
        self, entry: Entry, weights: Path | None = None, acceleration: Acceleration = PLAIN
    ) -> None:
        super().__init__(entry, weights, acceleration)
        self.name = entry.name
        self.traits = TranslatorTraits(multiple=entry.multiple, takes_mask=entry.takes_mask)

    @torch.no_grad()
    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Translate a batch; see `operators.base.Translator`."""
        network = self._loaded()
        translated: Tensor = network(images) if masks is None else network(images, masks)
        return translated
