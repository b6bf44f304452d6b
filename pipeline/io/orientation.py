"""How a stored picture is turned and mirrored to be seen as it was meant."""

import math
from dataclasses import dataclass
from typing import Self

import av
import numpy as np
from av.sidedata.sidedata import SideData
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Orientation:
    """Turn, then mirror: together all eight ways in which a rectangle lies on its sides.

    Attributes:
        quarter_turns: Turns of 90 degrees, counter-clockwise, from 0 to 3.
        is_mirrored: True to exchange left and right after turning.
    """

    quarter_turns: int = 0
    is_mirrored: bool = False

    @classmethod
    def of(cls, picture: av.VideoFrame) -> Self:
        """The orientation that a decoded picture asks for; the nearest quarter turn.

        Source:
            ISO/IEC 14496-12, section 6.2.2: a stored point ``(p, q)``, ``q`` downwards, is shown
            at ``(a p + c q, b p + d q)``; the matrix is stored as ``a b u c d v x y w``.
        """
        data = picture.side_data.get("DISPLAYMATRIX")
        if not isinstance(data, SideData):
            return cls()
        a, b, _, c, d = (float(value) for value in np.frombuffer(bytes(data), np.int32)[:5])
        is_mirrored = a * d - b * c < 0
        if is_mirrored:
            # The mirror comes last and changes the sign of what is shown across.
            a, c = -a, -c
        degrees = -math.degrees(math.atan2(b - c, a + d))
        return cls(round(degrees / 90) % 4, is_mirrored)

    @property
    def is_sideways(self) -> bool:
        """True if width and height change places."""
        return self.quarter_turns % 2 == 1

    def mirror(self, image: Tensor) -> Tensor:
        """Exchange left and right if that is asked for.

        Args:
            image: ``(C, H, W)``, already turned.
        """
        return image.flip(-1) if self.is_mirrored else image
