"""What a model declares, what its user corrects, and what a dry run finds out."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from operators.base import TranslatorTraits
from operators.errors import ModelError

# The sides of the dry run. Most models run on 64; those built on large windows need more.
_PROBED_SIDES = (64, 256)
_PROBED_MULTIPLES = (1, 2, 4, 8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class TraitOverrides:
    """Traits that are known, field by field; None where nobody has said anything.

    The fields mean what they mean in `operators.base.TranslatorTraits`. Used for what a user
    says about a model, for what the file of a model says about itself, and to put one over the
    other.
    """

    channels: int | None = None
    scale: int | None = None
    multiple: int | None = None
    batch: int | None = None
    takes_mask: bool | None = None
    is_picture: bool | None = None
    is_deterministic: bool | None = None

    def over(self, other: "TraitOverrides") -> "TraitOverrides":
        """These fields, and where they are None those of ``other``."""
        return replace(other, **self._said())

    def traits(self, name: str) -> TranslatorTraits:
        """Full traits; what nobody said is the default of ``TranslatorTraits``.

        An output of other than three channels is taken for no picture unless somebody said so:
        clamping a depth map to ``[0, 1]`` would destroy it without a word.

        Raises:
            ModelError: If a field has an impossible value; ``name`` is the model in the message.
        """
        said = self._said()
        said.setdefault("is_picture", said.get("channels", 3) == 3)
        try:
            return TranslatorTraits(**said)
        except ValueError as error:
            msg = f"model {name!r}: {error}"
            raise ModelError(msg) from error

    def _said(self) -> dict[str, Any]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {key: value for key, value in values.items() if value is not None}


def declared_traits(name: str, declaration: object) -> TraitOverrides:
    """The traits that a model declares in its own words.

    Args:
        name: What messages call the model.
        declaration: A ``TranslatorTraits``, or a mapping from some of its fields to values.

    Raises:
        ModelError: If it is neither, has an unknown key, or a value of the wrong type.
    """
    if isinstance(declaration, TranslatorTraits):
        known = {field.name: getattr(declaration, field.name) for field in fields(declaration)}
        return TraitOverrides(**known)
    if not isinstance(declaration, Mapping):
        msg = (
            f"model {name!r}: traits must be TranslatorTraits or a mapping, "
            f"got {type(declaration).__name__}"
        )
        raise ModelError(msg)
    flags = {"takes_mask", "is_picture", "is_deterministic"}
    names = [field.name for field in fields(TranslatorTraits)]
    for key, value in declaration.items():
        if key not in names:
            msg = f"model {name!r}: traits must be among {', '.join(names)}, got {key!r}"
            raise ModelError(msg)
        if isinstance(value, bool) != (key in flags):
            rule = "true or false" if key in flags else "a whole number"
            msg = f"model {name!r}: trait {key} must be {rule}, got {value!r}"
            raise ModelError(msg)
    overrides = TraitOverrides(**declaration)
    overrides.traits(name)
    return overrides


def from_range(result: Tensor, value_range: float) -> Tensor:
    """Scale a picture back to white at 1; what is no picture is left for the contract to refuse.

    Args:
        result: What the model returned, in truth anything.
        value_range: The value of white of the model.
    """
    is_picture = isinstance(result, Tensor) and result.is_floating_point()
    return result.float() / value_range if is_picture else result


@dataclass(frozen=True, slots=True)
class InputSize:
    """The input shape that a model was exported for; None where it takes any.

    Attributes:
        batch: Images in one call.
        height: Pixels.
        width: Pixels.
    """

    batch: int | None = None
    height: int | None = None
    width: int | None = None

    def with_batch(self, name: str, known: TraitOverrides) -> TraitOverrides:
        """``known`` with the batch that the model insists on.

        Raises:
            ModelError: If ``known`` has another one.
        """
        if self.batch is not None and known.batch not in (None, self.batch):
            msg = f"model {name!r} must run in batches of {self.batch}, got {known.batch}"
            raise ModelError(msg)
        return known.over(TraitOverrides(batch=self.batch))

    def require(self, name: str, images: Tensor) -> None:
        """Refuse images of another size, and say what to do.

        Raises:
            ModelError: If a fixed height or width differs.
        """
        height, width = images.shape[-2:]
        wanted = (self.height or height, self.width or width)
        if (height, width) != wanted:
            msg = (
                f"model {name!r} must be given frames {wanted[1]} wide and {wanted[0]} high, "
                f"got {width} wide and {height} high; resize with --size {wanted[0]}x{wanted[1]}"
            )
            raise ModelError(msg)


def probe(
    name: str,
    call: Callable[[Tensor, Tensor | None], Tensor],
    known: TraitOverrides,
    size: InputSize,
) -> TraitOverrides:
    """Find by running the model what nobody declared: channels, scale and multiple.

    A model that halves and doubles its input returns another size, or fails, where a side is
    not a multiple of what it needs; the smallest power of two that works is taken. Nothing is
    run if all three are known.

    Args:
        name: What messages call the model.
        call: The model as a translator, before any padding.
        known: What is declared; never changed by what is found.
        size: The height and width that the model insists on.

    Returns:
        ``known`` with the three filled in.

    Raises:
        ModelError: If no tried size can be run, or the output is not a whole multiple of it.
    """
    if None not in (known.channels, known.scale, known.multiple):
        return known
    takes_mask = bool(known.takes_mask)
    batch = known.batch or 1

    def run(height: int, width: int) -> tuple[int, int]:
        images = torch.full((batch, 3, size.height or height, size.width or width), 0.5)
        result = call(images, torch.zeros_like(images[:, :1]) if takes_mask else None)
        return _channels_and_scale(name, images, result)

    channels, scale, side = _first_that_runs(name, run, _probed_sides(known.multiple))
    multiple = known.multiple
    if multiple is None:
        multiple = 1 if size.height and size.width else _smallest_multiple(run, side, scale)
    return known.over(TraitOverrides(channels=channels, scale=scale, multiple=multiple))


def _probed_sides(multiple: int | None) -> tuple[int, ...]:
    if multiple is None:
        return _PROBED_SIDES
    return tuple(-(-side // multiple) * multiple for side in _PROBED_SIDES)


def _first_that_runs(
    name: str, run: Callable[[int, int], tuple[int, int]], sides: Iterable[int]
) -> tuple[int, int, int]:
    reasons = []
    for side in sides:
        try:
            return (*run(side, side), side)
        except torch.OutOfMemoryError:
            raise
        except ModelError as error:
            reasons.append(str(error))
        except Exception as error:  # noqa: BLE001 - a user's model may raise anything
            reasons.append(" ".join(str(error).split())[:300])
    msg = (
        f"model {name!r} must run on a small frame or declare channels, scale and multiple, "
        f"got: {reasons[0]}"
    )
    raise ModelError(msg)


def _smallest_multiple(run: Callable[[int, int], tuple[int, int]], side: int, scale: int) -> int:
    for multiple in _PROBED_MULTIPLES:
        try:
            # Odd numbers of multiples, and different ones, so that no larger multiple fits.
            _, found = run(side + multiple, side + 3 * multiple)
        except torch.OutOfMemoryError:
            raise
        except Exception:  # noqa: BLE001, S112 - failing here is how a model says "not this size"
            continue
        if found == scale:
            return multiple
    return side


def _channels_and_scale(name: str, images: Tensor, result: object) -> tuple[int, int]:
    shape = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
    batch, _, height, width = images.shape
    if isinstance(result, Tensor) and result.ndim == 4 and result.shape[0] == batch:
        scale = result.shape[2] // height
        if scale >= 1 and tuple(result.shape[2:]) == (height * scale, width * scale):
            return result.shape[1], scale
    msg = (
        f"model {name!r} must return (B, C, H, W) a whole multiple of the size of its input, "
        f"got {shape} for {tuple(images.shape)}"
    )
    raise ModelError(msg)
