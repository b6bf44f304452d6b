"""Published weight files in miniature: their keys and shapes, filled by a repeatable rule."""

import json

import numpy as np
import torch
from shared import golden, shared_path, weight_rule
from torch import Tensor

# Where a golden is 0 everywhere.
ABSOLUTE = 1e-7

Layout = dict[str, tuple[tuple[int, ...], torch.dtype]]


def published_layout(name: str, section: str | None = None) -> Layout:
    """Shape and type of every entry of ``golden/keys/<name>.txt``, or of one section of it."""
    layout: Layout = {}
    current = None
    for line in shared_path(f"golden/keys/{name}.txt").read_text().splitlines():
        if line.startswith("# "):
            current = line.removeprefix("# ")
        elif current == section:
            key, shape, dtype = line.split("\t")
            layout[key] = (tuple(json.loads(shape)), getattr(torch, dtype))
    assert layout, f"{name}.txt has nothing under {section}"
    return layout


def published_names(name: str) -> dict[str, str]:
    """The two columns of ``golden/keys/<name>.txt``."""
    lines = shared_path(f"golden/keys/{name}.txt").read_text().splitlines()
    return dict(line.split("\t") for line in lines if not line.startswith("#"))


def published_weights(
    name: str, section: str | None = None, *, keys: str | None = None
) -> dict[str, Tensor]:
    """The weights that a golden was made with, under their published keys.

    Args:
        name: Of the golden.
        section: Of its list of keys, which has its own salt and gains, if any.
        keys: The list of keys, where two goldens share one.
    """
    _, meta = golden(name)
    salt, gains = meta["salt"], meta["gains"]
    if section is not None:
        salt = salt[section] if isinstance(salt, dict) else salt
        gains = gains.get(section, gains) if isinstance(gains, dict) else gains
    rule = weight_rule()
    weights = {}
    for key, (shape, dtype) in published_layout(keys or name, section).items():
        if dtype.is_floating_point:
            weights[key] = rule.tensor(key, shape, rule.pick(gains, key), salt)
        else:
            weights[key] = torch.zeros(shape, dtype=dtype)
    return weights


def assert_sums_match(weights: dict[str, Tensor], name: str, section: str | None = None) -> None:
    """Require the sums that the golden recorded of the weights it was made with."""
    arrays, _ = golden(name)
    suffix = "" if section is None else f"_{section}"
    tensors = [tensor.double() for tensor in weights.values() if tensor.is_floating_point()]
    total = sum(tensor.sum().item() for tensor in tensors)
    total_abs = sum(tensor.abs().sum().item() for tensor in tensors)
    np.testing.assert_allclose(total, arrays[f"weights_sum{suffix}"], rtol=1e-9)
    np.testing.assert_allclose(total_abs, arrays[f"weights_abs_sum{suffix}"], rtol=1e-9)


def assert_near_golden(actual: Tensor, expected: np.ndarray, tolerance: float) -> None:
    """Require the same shape, and nowhere more than ``tolerance`` of the largest golden value."""
    assert tuple(actual.shape) == expected.shape
    error = np.abs(actual.detach().numpy() - expected).max()
    assert error <= (tolerance * np.abs(expected).max() or ABSOLUTE)
