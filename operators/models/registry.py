"""Models by name: the table is ``operators.models.table``, here it is asked."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from operators.accelerate import PLAIN, Acceleration
from operators.base import FlowEstimator, Interpolator, Operator, Translator
from operators.errors import ModelError
from operators.models.entry import Entry, Kind, resolve
from operators.models.table import ENTRIES

__all__ = [
    "Entry",
    "Kind",
    "entries",
    "entry",
    "flow_estimator",
    "interpolator",
    "recurrent",
    "translator",
]


def entries(kind: Kind | None = None) -> Sequence[Entry]:
    """All models, or those of one kind, in the order of the table."""
    return [entry for entry in ENTRIES if kind in (None, entry.kind)]


def entry(kind: Kind, name: str) -> Entry:
    """The model of a name.

    Raises:
        ModelError: If there is none; names the nearest one.
    """
    known = {candidate.name: candidate for candidate in entries(kind)}
    if name in known:
        return known[name]
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    msg = f"{kind} must be one of {', '.join(known)}, got {name!r}{hint}"
    raise ModelError(msg)


def flow_estimator(
    name: str, weights: Path | None = None, acceleration: Acceleration = PLAIN
) -> FlowEstimator:
    """An estimator of optical flow, not yet set up.

    Args:
        name: One of ``entries("flow")``.
        weights: A weight file, or a folder to search for it, instead of the usual places.
        acceleration: How a network is made faster.

    Raises:
        ModelError: If the name is unknown. Missing weights are reported by ``setup``, on the
            machine where the model is to run.
    """
    found: FlowEstimator = _adapted(entry("flow", name), weights, acceleration)
    return found


def interpolator(
    name: str, weights: Path | None = None, acceleration: Acceleration = PLAIN
) -> Interpolator:
    """An interpolator, not yet set up; as :func:`flow_estimator`."""
    found: Interpolator = _adapted(entry("interpolator", name), weights, acceleration)
    return found


def translator(
    name: str, weights: Path | None = None, acceleration: Acceleration = PLAIN
) -> Translator:
    """A translator, not yet set up; as :func:`flow_estimator`."""
    found: Translator = _adapted(entry("translator", name), weights, acceleration)
    return found


def recurrent(
    name: str, weights: Path | None = None, acceleration: Acceleration = PLAIN
) -> Operator:
    """A recurrent operator, not yet set up; as :func:`flow_estimator`."""
    found: Operator = _adapted(entry("recurrent", name), weights, acceleration)
    return found


def _adapted(model: Entry, weights: Path | None, acceleration: Acceleration) -> Any:
    adapter = resolve(model.adapter)
    return adapter() if model.network is None else adapter(model, weights, acceleration)
