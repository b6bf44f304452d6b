"""How many processes a stage may have."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many replicas a pool has: it starts with the least and may grow to the most.

    Attributes:
        least: At least 1.
        most: At least ``least``.
    """

    least: int
    most: int

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            msg = f"bounds must be at least 1 and in ascending order, got {self.least}:{self.most}"
            raise ValueError(msg)

    def __str__(self) -> str:
        return str(self.least) if self.least == self.most else f"{self.least}:{self.most}"
