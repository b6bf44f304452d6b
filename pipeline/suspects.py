"""Whom work is kept from for a while: who failed lately is chosen last."""

import time
from collections import Counter

FIRST_S = 60.0
MOST_DOUBLED = 4


class Suspects:
    """Processes that failed lately, by name.

    The fault may be that of the work and not theirs. So they are only chosen last, for a minute at
    first, twice as long each time that they fail again, and not once they have done something.
    """

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._times: Counter[str] = Counter()

    def blame(self, name: str) -> int:
        """It failed; how often it has, with nothing done in between."""
        # A power of many failures would be no number any more.
        doubled = min(self._times[name], MOST_DOUBLED)
        self._until[name] = time.monotonic() + FIRST_S * 2**doubled
        self._times[name] += 1
        return self._times[name]

    def clear(self, name: str) -> None:
        """It has done something."""
        self._until.pop(name, None)
        del self._times[name]

    def __contains__(self, name: str) -> bool:
        return self._until.get(name, 0.0) > time.monotonic()
