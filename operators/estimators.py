"""Estimators of optical flow: dense inverse search, and any flow network of the registry."""

from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from operators.check import require_pair
from operators.functional.color import to_levels
from operators.weighted import Weighted

DisPreset = Literal["ultrafast", "fast", "medium"]

DIS_PRESETS: dict[DisPreset, int] = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}


class DisFlow:
    """Dense inverse search, on the CPU whatever the device of the images.

    The result depends neither on the number of threads nor on the batch.

    Args:
        preset: Effort; ``medium`` is the most careful.

    Source:
        Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016, as in OpenCV.
    """

    def __init__(self, preset: DisPreset = "medium") -> None:
        if preset not in DIS_PRESETS:
            msg = f"preset must be one of {', '.join(DIS_PRESETS)}, got {preset!r}"
            raise ValueError(msg)
        self.preset = preset

    def setup(self, device: torch.device) -> None:
        """Nothing to load; ``device`` is not used."""

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Flow from ``first`` to ``second``.

        Args:
            first: ``(B, 3, H, W)`` float RGB in ``[0, 1]``, any size.
            second: The same.

        Returns:
            ``(B, 2, H, W)`` float32 on the grid of ``first``, pixels, on the device of ``first``.
        """
        require_pair(first, second)
        return self._flow(_grey(first), _grey(second)).to(first.device)

    def pair(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Flow both ways: from ``first`` to ``second``, then back."""
        require_pair(first, second)
        first_grey, second_grey = _grey(first), _grey(second)
        forward = self._flow(first_grey, second_grey)
        backward = self._flow(second_grey, first_grey)
        return forward.to(first.device), backward.to(first.device)

    def _flow(self, first: list[np.ndarray], second: list[np.ndarray]) -> Tensor:
        height, width = first[0].shape
        flows = []
        for a, b in zip(first, second, strict=True):
            # A small picture changes the settings of the object for good: a new one each time.
            search = cv2.DISOpticalFlow.create(DIS_PRESETS[self.preset])
            # OpenCV crashes where the finest picture that it searches does not hold one patch.
            minimum = search.getPatchSize() << search.getFinestScale()
            border = ((0, max(0, minimum - height)), (0, max(0, minimum - width)))
            padded_a, padded_b = np.pad(a, border, mode="edge"), np.pad(b, border, mode="edge")
            # OpenCV's type hints do not know that the initial flow is optional.
            flow = search.calc(padded_a, padded_b, None)  # type: ignore[call-overload]
            flows.append(flow[:height, :width])
        return torch.from_numpy(np.stack(flows)).permute(0, 3, 1, 2).contiguous()


class NetworkFlow(Weighted):
    """A flow network of the registry, which reads two images and returns the flow in pixels.

    Images are extended at the right and at the bottom, by repeating the border, to the multiple
    that the network needs; the flow is cut back.

    Args:
        entry: Which network.
        weights: A weight file, or a folder to search for it, instead of the usual folders.
    """

    @torch.no_grad()
    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Flow from ``first`` to ``second``.

        Args:
            first: ``(B, 3, H, W)`` float32 RGB in ``[0, 1]``, any size.
            second: The same.

        Returns:
            ``(B, 2, H, W)`` float32 on the grid of ``first``, pixels.
        """
        require_pair(first, second)
        network = self._loaded()
        height, width = first.shape[-2:]
        padding = (0, -width % self.entry.multiple, 0, -height % self.entry.multiple)
        flow: Tensor = network(
            F.pad(first, padding, mode="replicate"), F.pad(second, padding, mode="replicate")
        )
        return flow[..., :height, :width].contiguous()

    def pair(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Flow both ways in one pass of the network: ``first`` to ``second``, then back."""
        require_pair(first, second)
        both = self(torch.cat((first, second)), torch.cat((second, first)))
        forward, backward = both.chunk(2)
        return forward, backward


class RifeFlow(Weighted):
    """The motion that a RIFE network of the registry finds, taken at the ends of the pair.

    At the first frame's own instant the grid into the second frame is the forward flow, and at
    the second's the grid into the first frame is the backward flow; one network gives both.

    Args:
        entry: Which network.
        weights: A weight file, or a folder to search for it, instead of the usual places.

    Source:
        Huang et al., ECCV 2022, equation (1), at t = 0 and t = 1.
    """

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Flow from ``first`` to ``second``.

        Args:
            first: ``(B, 3, H, W)`` float32 RGB in ``[0, 1]``, any size.
            second: The same.

        Returns:
            ``(B, 2, H, W)`` float32 on the grid of ``first``, pixels.
        """
        return self._grids(first, second, 0.0)[1]

    def pair(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Flow both ways: from ``first`` to ``second``, then back."""
        return self(first, second), self._grids(first, second, 1.0)[0]

    @torch.no_grad()
    def _grids(self, first: Tensor, second: Tensor, t: float) -> tuple[Tensor, Tensor]:
        """Flow from the instant ``t`` into either frame."""
        require_pair(first, second)
        network = self._loaded()
        height, width = first.shape[-2:]
        padding = (0, -width % self.entry.multiple, 0, -height % self.entry.multiple)
        first, second = F.pad(first, padding), F.pad(second, padding)
        # One pair at a time: a version looks at the whole batch to choose how far it searches.
        found = [
            network(a, b, t)[:2]
            for a, b in zip(torch.split(first, 1), torch.split(second, 1), strict=True)
        ]
        to_first, to_second = (torch.cat(flows) for flows in zip(*found, strict=True))
        return (
            to_first[..., :height, :width].contiguous(),
            to_second[..., :height, :width].contiguous(),
        )


def _grey(images: Tensor) -> list[np.ndarray]:
    """BT.601 luma of each image in 8-bit levels, ``(H, W)`` uint8."""
    levels = to_levels(images).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    # Integer arithmetic on purpose: in floating point the halves would round by machine.
    return [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in levels]
