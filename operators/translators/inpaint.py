"""Classical inpainting by OpenCV as a translator of masked frames."""

from typing import Literal

import cv2
import numpy as np
import torch
from torch import Tensor

from operators.base import TranslatorTraits
from operators.errors import ModelError
from operators.functional.color import to_float, to_levels

Method = Literal["telea", "ns"]

_FLAGS = {"telea": cv2.INPAINT_TELEA, "ns": cv2.INPAINT_NS}
_MID_GREY = 0.5


class ClassicalInpainting:
    """Fills the holes of each frame from their borders, with no weights.

    Known pixels are returned bit for bit; filled ones are rounded to eight bits. A frame with no
    known pixel has nothing to fill from and becomes mid-grey.

    Args:
        method: ``telea``, or ``ns`` for Navier-Stokes.
        radius: Pixels around a missing one that are read.

    Raises:
        ModelError: If the method is unknown or the radius is not positive.

    Source:
        Telea, "An Image Inpainting Technique Based on the Fast Marching Method", 2004.
        Bertalmio et al., "Navier-Stokes, Fluid Dynamics, and Image and Video Inpainting", 2001.
    """

    traits = TranslatorTraits(takes_mask=True)

    def __init__(self, method: Method = "telea", *, radius: float = 3.0) -> None:
        if method not in _FLAGS:
            msg = f"inpainting method must be {' or '.join(_FLAGS)}, got {method!r}"
            raise ModelError(msg)
        if not 0 < radius < float("inf"):
            msg = f"inpainting radius must be positive, got {radius:g}"
            raise ModelError(msg)
        self.name = f"inpaint:{method}"
        self._method = method
        self._radius = radius

    def setup(self, device: torch.device) -> None:
        """Nothing to load; OpenCV runs on the CPU whatever the device."""

    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Fill the missing pixels of a batch.

        Args:
            images: ``(B, 3, H, W)`` float32 in ``[0, 1]``; what missing pixels hold is not read.
            masks: ``(B, 1, H, W)``, above zero where missing.

        Returns:
            ``(B, 3, H, W)`` float32 in ``[0, 1]``.
        """
        if masks is None:
            msg = f"translator {self.name!r} must be given masks, got none"
            raise ModelError(msg)
        missing = masks > 0
        filled = torch.stack(
            [self._fill(image, hole) for image, hole in zip(images, missing[:, 0], strict=True)]
        )
        return torch.where(missing, filled, images)

    def _fill(self, image: Tensor, hole: Tensor) -> Tensor:
        if not bool(hole.any()):
            return image
        if bool(hole.all()):
            return torch.full_like(image, _MID_GREY)
        levels = to_levels(image).permute(1, 2, 0).cpu().numpy()
        filled = cv2.inpaint(
            np.ascontiguousarray(levels),
            hole.to(torch.uint8).cpu().numpy(),
            self._radius,
            _FLAGS[self._method],
        )
        return to_float(torch.from_numpy(filled).permute(2, 0, 1)).to(image.device)
