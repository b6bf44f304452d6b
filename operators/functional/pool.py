"""Pooling over time: many aligned pictures to one, paper equation (5).

Every function takes ``stack``, ``(T, C, H, W)`` floating point, and ``valid``, ``(T, 1, H, W)``
bool, true where a sample may vote. At least one sample of each pixel must be valid; the
aggregation operator guarantees it by always counting the reference.
"""

import torch
from torch import Tensor


def mean(stack: Tensor, valid: Tensor) -> Tensor:
    """The mean of the valid samples.

    Args:
        stack: ``(T, C, H, W)`` floating point.
        valid: ``(T, 1, H, W)`` bool.

    Returns:
        ``(C, H, W)``.
    """
    # Not a product with zero: what is invalid may be infinite.
    votes = torch.where(valid, stack, 0.0)
    return votes.sum(dim=0) / valid.sum(dim=0)


def median(stack: Tensor, valid: Tensor) -> Tensor:
    """The median of the valid samples; of an even number, the mean of the two middle ones.

    ``torch.median`` would return the lower middle value and darken every picture at the ends of
    a shot, where windows are truncated to even counts.

    Args:
        stack: ``(T, C, H, W)`` floating point.
        valid: ``(T, 1, H, W)`` bool.

    Returns:
        ``(C, H, W)``.
    """
    ordered = stack.masked_fill(~valid, torch.inf).sort(dim=0).values
    count = valid.sum(dim=0, keepdim=True)
    lower = ((count - 1) // 2).expand(1, *stack.shape[1:])
    upper = (count // 2).expand(1, *stack.shape[1:])
    return (0.5 * (ordered.gather(0, lower) + ordered.gather(0, upper)))[0]
