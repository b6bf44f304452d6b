"""HyperCon written out literally: the independent truth that the real implementation must match.

Slow and obvious on purpose. Every frame of the dense timeline is made, every dense frame is
translated, and every member of every window gets an optical flow of its own. numpy, OpenCV's
DIS flow and plain loops; nothing from ``operators`` or ``pipeline``, no torch.

Here a frame is ``(H, W, 3)`` RGB in ``[0, 1]``, a flow is ``(H, W, 2)`` in pixels, x before y,
and a mask is ``(H, W)`` bool, true where the picture is missing.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Mask = NDArray[np.bool_]
Translate = Callable[..., Array]

MISSING = 0.5  # mid-grey, what the published figure shows in holes
FULLY_KNOWN = 1.0 - 1e-3  # bilinear weights may sum to a little less than one


def literal_hypercon(
    frames: Sequence[Array],
    translate: Translate,
    insert: int,
    radius: int,
    dilation: int,
    *,
    pool: Literal["mean", "median"] = "mean",
    flow_on: Literal["translated", "source"] = "translated",
    masks: Sequence[Mask] | None = None,
    levels: bool = True,
) -> list[Array]:
    """The whole method, equations (1) to (5), for one shot.

    Args:
        frames: The original frames.
        translate: The image-to-image model, one frame at a time; with ``masks`` it is called as
            ``translate(frame, mask)``.
        insert: Frames inserted between each two original ones, ``i``.
        radius: Neighbours on each side of the reference, ``γ``.
        dilation: Dense steps between neighbours, ``d``.
        pool: How the aligned frames of a window become one.
        flow_on: Which dense frames the alignment flow is estimated on.
        masks: What is missing of each original frame; it is filled with mid-grey before
            everything else, and only there the output differs from the input.
        levels: Round what travels between the steps (dense frames, translated frames) to eight
            bits, as a real pipeline does.

    Returns:
        One frame for each original one, not rounded.
    """
    originals = [_as_frame(frame) for frame in frames]
    if masks is not None:
        originals = [
            np.where(mask[..., None], MISSING, frame)
            for frame, mask in zip(originals, masks, strict=True)
        ]
    dense, dense_masks = dense_timeline(originals, masks, insert)
    if levels:
        dense = [round_to_levels(frame) for frame in dense]
    translated = literal_framewise(dense, translate, dense_masks, levels=levels)
    looked_at = translated if flow_on == "translated" else dense

    outputs = []
    for a in range(len(originals)):
        reference = a * (insert + 1)
        aligned = []
        for k in range(-radius, radius + 1):
            neighbour = reference + dilation * k
            if neighbour < 0 or neighbour >= len(dense):
                continue  # windows are truncated at the ends of the shot
            if k == 0:
                aligned.append(translated[reference])
            else:  # equation (4)
                flow = dis_flow(looked_at[reference], looked_at[neighbour])
                aligned.append(warp(translated[neighbour], flow))
        # Equation (5).
        output = np.mean(aligned, axis=0) if pool == "mean" else np.median(aligned, axis=0)
        if masks is not None:
            output = np.where(masks[a][..., None], output, _as_frame(frames[a]))
        outputs.append(output)
    return outputs


def dense_timeline(
    originals: Sequence[Array], masks: Sequence[Mask] | None, insert: int
) -> tuple[list[Array], list[Mask] | None]:
    """The original frames with ``insert`` frames between each two, and their masks likewise."""
    dense: list[Array] = []
    dense_masks: list[Mask] = []
    for a in range(len(originals)):
        dense.append(originals[a])
        if masks is not None:
            dense_masks.append(masks[a])
        if a + 1 == len(originals):
            break
        for b in range(1, insert + 1):
            t = b / (insert + 1)
            flow_t0, flow_t1, weight = sampling_grids(originals[a], originals[a + 1], t)
            dense.append(blend(originals[a], originals[a + 1], flow_t0, flow_t1, weight))
            if masks is not None:
                dense_masks.append(blend_masks(masks[a], masks[a + 1], flow_t0, flow_t1, weight))
    return dense, None if masks is None else dense_masks


def literal_framewise(
    frames: Sequence[Array],
    translate: Translate,
    masks: Sequence[Mask] | None = None,
    levels: bool = True,
) -> list[Array]:
    """Each frame translated on its own, clamped, and rounded to eight-bit levels or not."""
    translated = []
    for a in range(len(frames)):
        frame = _as_frame(frames[a])
        given = frame.astype(np.float32)
        result = translate(given) if masks is None else translate(given, masks[a])
        result = np.clip(_as_frame(result), 0.0, 1.0)
        translated.append(round_to_levels(result) if levels else result)
    return translated


def sampling_grids(first: Array, second: Array, t: float) -> tuple[Array, Array, Array]:
    """Equation (1): where an instant reads from both frames, and the weight of the second.

    Motion is linear, as in Super SloMo before refinement. A pixel that the other frame does not
    confirm loses weight in proportion to how badly its round trip fails.
    """
    forward = dis_flow(first, second)
    backward = dis_flow(second, first)
    flow_t0 = -t * (1 - t) * forward + t * t * backward
    flow_t1 = (1 - t) * (1 - t) * forward - t * (1 - t) * backward
    visible_0 = warp(visibility(backward, forward), flow_t1)
    visible_1 = warp(visibility(forward, backward), flow_t0)
    weight = t * visible_1 / ((1 - t) * visible_0 + t * visible_1)
    return flow_t0, flow_t1, weight


def visibility(flow_ab: Array, flow_ba: Array) -> Array:
    """``(H, W, 1)``: 1 for a perfect round trip from a to b and back, towards 0 for a bad one."""
    returning = warp(flow_ba, flow_ab)
    missed = np.sum((flow_ab + returning) ** 2, axis=-1, keepdims=True)
    travelled = np.sum(flow_ab**2 + returning**2, axis=-1, keepdims=True)
    return np.asarray(1.0 / (1.0 + missed / (0.01 * travelled + 0.5)))


def blend(first: Array, second: Array, flow_t0: Array, flow_t1: Array, weight: Array) -> Array:
    """Equation (2)."""
    return (1 - weight) * warp(first, flow_t0) + weight * warp(second, flow_t1)


def blend_masks(first: Mask, second: Mask, flow_t0: Array, flow_t1: Array, weight: Array) -> Mask:
    """The mask of an inserted frame: missing where any sample was, or lay outside the picture."""
    known_0 = warp(1.0 - first[..., None], flow_t0, outside="zero")
    known_1 = warp(1.0 - second[..., None], flow_t1, outside="zero")
    known = (1 - weight) * known_0 + weight * known_1
    missing: Mask = known[..., 0] < FULLY_KNOWN
    return missing


def warp(image: Array, flow: Array, outside: Literal["border", "zero"] = "border") -> Array:
    """Backward bilinear warp: output pixel p is read at ``p + flow(p)``.

    Pixel centres are at whole coordinates. Outside the picture lies its border, or zero.
    """
    height, width = image.shape[:2]
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float64)
    x = columns + flow[..., 0]
    y = rows + flow[..., 1]
    if outside == "border":
        x = np.clip(x, 0, width - 1)
        y = np.clip(y, 0, height - 1)
    left = np.floor(x).astype(int)
    top = np.floor(y).astype(int)

    result = np.zeros(image.shape, dtype=np.float64)
    for column, row in (
        (left, top),
        (left + 1, top),
        (left, top + 1),
        (left + 1, top + 1),
    ):
        share = (1 - np.abs(x - column)) * (1 - np.abs(y - row))
        exists = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        pixel = image[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
        result += (share * exists)[..., None] * pixel
    return result


def dis_flow(first: Array, second: Array) -> Array:
    """Dense inverse search flow, preset MEDIUM, on eight-bit BT.601 grey."""
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    # OpenCV's stubs forget that there need not be a flow to start from.
    flow = estimator.calc(_grey(first), _grey(second), None)  # type: ignore[call-overload]
    return np.asarray(flow, dtype=np.float64)


def round_to_levels(frame: Array) -> Array:
    """What eight bits leave of a frame: the nearest level, halves to even."""
    return np.asarray(np.rint(np.clip(frame, 0.0, 1.0) * 255.0) / 255.0)


def _grey(frame: Array) -> NDArray[np.uint8]:
    levels = np.rint(np.clip(frame, 0.0, 1.0) * 255.0).astype(np.uint8)
    return np.asarray(cv2.cvtColor(levels, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _as_frame(frame: Array) -> Array:
    return np.asarray(frame, dtype=np.float64)
