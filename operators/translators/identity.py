"""The translator that changes nothing: what a pipeline does to pictures by itself."""

import torch
from torch import Tensor

from operators.base import TranslatorTraits


class IdentityTranslator:
    """Returns its input."""

    name = "identity"
    traits = TranslatorTraits()

    def setup(self, device: torch.device) -> None:
        """Nothing to load."""

    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:  # noqa: ARG002 - the protocol
        """The images as they came."""
        return images
