"""The one place that holds a translator to its promise: padding, batches, shapes and values."""

import torch
import torch.nn.functional as F
from torch import Tensor

from operators.base import Translator, TranslatorTraits
from operators.check import require_images
from operators.errors import ModelError


def call_translator(
    translator: Translator,
    images: Tensor,
    masks: Tensor | None = None,
    *,
    batch: int | None = None,
    frame: int = 0,
) -> Tensor:
    """Translate images of any number and size with a model that may insist on both.

    Height and width are extended at the bottom and at the right to the declared multiple, and
    the result is cropped, so pixel ``(0, 0)`` never moves. The model sees batches of exactly
    ``batch`` images, the last one filled up by repeating its last image: a fixed shape is what
    compiled models need, and it keeps the arithmetic of an image independent of how many others
    there are. A batch equal to the one before it, as a static scene gives, is not translated
    again if the model is deterministic.

    Args:
        translator: The model, set up.
        images: ``(B, 3, H, W)`` float32 RGB in ``[0, 1]``.
        masks: ``(B, 1, H, W)`` bool or floating point, 1 where missing. Passed on only if the
            translator declares ``takes_mask``.
        batch: Images in one call; None for all of them. A batch that the model declares wins.
        frame: Number of the original frame that the images belong to, for messages.

    Returns:
        ``(B, channels, H * scale, W * scale)`` float32 on the device of ``images``; in
        ``[0, 1]`` if the model declares pictures.

    Raises:
        ValueError: If ``images`` or ``masks`` have another shape.
        ModelError: If the model raises, or returns something else than it declared.
        torch.OutOfMemoryError: Unchanged, so that a runner can halve the batch.
    """
    require_images("images", images, channels=3)
    traits = translator.traits
    num_images, _, height, width = images.shape
    if not traits.takes_mask:
        masks = None
    elif masks is None:
        msg = f"translator {translator.name!r} must be given masks, got a video without"
        raise ModelError(msg)
    elif masks.shape != (num_images, 1, height, width):
        msg = f"masks must be ({num_images}, 1, {height}, {width}), got {tuple(masks.shape)}"
        raise ValueError(msg)
    size = traits.batch or batch or num_images

    results: list[Tensor] = []
    for start in range(0, num_images, size):
        taken = [min(position, num_images - 1) for position in range(start, start + size)]
        if start and traits.is_deterministic and _repeats(images, masks, taken):
            results.append(results[-1][: num_images - start])
            continue
        # Indexing copies, so a model that writes into its input harms nobody.
        padded = _extend(images[taken], traits.multiple)
        padded_masks = None if masks is None else _extend(masks[taken].float(), traits.multiple)
        result = _call(translator, padded, padded_masks, frame)
        result = _checked(translator, result, padded, frame)
        kept = result[: num_images - start].to(images.device, torch.float32)
        results.append(kept[..., : height * traits.scale, : width * traits.scale])
    # Outside inference mode this makes an ordinary tensor, which later code may write into.
    translated = torch.cat(results)
    return translated.clamp_(0.0, 1.0) if traits.is_picture else translated


def _repeats(images: Tensor, masks: Tensor | None, taken: list[int]) -> bool:
    """Whether a batch, given by its positions, is equal to the one just before it."""
    before = slice(taken[0] - len(taken), taken[0])
    tensors = [images] if masks is None else [images, masks]
    return all(torch.equal(tensor[taken], tensor[before]) for tensor in tensors)


def _extend(images: Tensor, multiple: int) -> Tensor:
    """Extend the bottom and the right edge to a multiple.

    Reflection continues texture and keeps the statistics that instance normalisation reads;
    repeating the edge, which draws streaks, is left for sides too short to be reflected.
    """
    height, width = images.shape[-2:]
    right, bottom = -width % multiple, -height % multiple
    if right:
        images = F.pad(images, (0, right, 0, 0), "reflect" if right < width else "replicate")
    if bottom:
        images = F.pad(images, (0, 0, 0, bottom), "reflect" if bottom < height else "replicate")
    return images


def _call(translator: Translator, images: Tensor, masks: Tensor | None, frame: int) -> object:
    try:
        with torch.inference_mode():
            return translator(images) if masks is None else translator(images, masks)
    except (ModelError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        msg = (
            f"translator {translator.name!r} failed on frame {frame}: "
            f"{type(error).__name__}: {reason[:300]}"
        )
        raise ModelError(msg) from error


def _checked(translator: Translator, result: object, images: Tensor, frame: int) -> Tensor:
    name, traits = translator.name, translator.traits
    wanted = _expected_shape(images, traits)
    if not isinstance(result, Tensor):
        msg = (
            f"translator {name!r} must return a torch tensor {wanted}, got {type(result).__name__}"
        )
        raise ModelError(msg)
    if tuple(result.shape) != wanted:
        msg = (
            f"translator {name!r} must return {wanted} for {tuple(images.shape)}, "
            f"got {tuple(result.shape)}"
        )
        raise ModelError(msg)
    if not result.is_floating_point():
        msg = f"translator {name!r} must return floating point, got {result.dtype}"
        raise ModelError(msg)
    # NaN is passed on to both. On a CPU that takes a tenth of looking at each value by itself.
    ends = torch.stack(result.aminmax())
    if not bool(torch.isfinite(ends).all()):
        num_bad = int((~torch.isfinite(result)).sum())
        msg = (
            f"translator {name!r} must return finite values, "
            f"got {num_bad} NaN or infinite of {result.numel()} on frame {frame}"
        )
        raise ModelError(msg)
    return result


def _expected_shape(images: Tensor, traits: TranslatorTraits) -> tuple[int, int, int, int]:
    batch, _, height, width = images.shape
    return (batch, traits.channels, height * traits.scale, width * traits.scale)
