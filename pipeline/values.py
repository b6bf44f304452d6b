"""The kinds of value that settings have, and how each is read from what a user writes."""

import re
from fractions import Fraction
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from pipeline.bounds import Bounds


def _number(value: object) -> object:
    """Refuse booleans, which Python would take for 0 and 1."""
    if isinstance(value, bool):
        msg = "must be a number"
        raise ValueError(msg)  # noqa: TRY004 - pydantic turns only ValueError into its own error
    return value


def _size(value: object) -> object:
    """Read ``HxW``; a pair of numbers is left to pydantic."""
    if not isinstance(value, str):
        return value
    height, separator, width = value.partition("x")
    numbers_only = separator and height.isdecimal() and width.isdecimal()
    if not numbers_only or int(height) == 0 or int(width) == 0:
        msg = "must be HEIGHTxWIDTH in pixels, like 480x854"
        raise ValueError(msg)
    return int(height), int(width)


def _rate(value: object) -> object:
    """Read whole, decimal and rational numbers exactly."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Fraction):
        rate = Fraction(0)
    else:
        try:
            # A float is read as it is written: 23.976 means 2997/125, not its binary neighbour.
            rate = Fraction(str(value))
        except (ValueError, ZeroDivisionError):
            rate = Fraction(0)
    if rate <= 0:
        msg = "must be a positive number of frames per second, like 25 or 30000/1001"
        raise ValueError(msg)
    return rate


def _bounds(value: object) -> object:
    """Read ``N`` and ``MIN:MAX``."""
    if isinstance(value, Bounds):
        return value
    least, separator, most = str(value).partition(":")
    rule = "must be a whole number of at least 1, or MIN:MAX, like 1:8"
    if isinstance(value, bool) or not least.isdecimal() or (separator and not most.isdecimal()):
        raise ValueError(rule)
    numbers = int(least), int(most or least)
    if not 1 <= numbers[0] <= numbers[1]:
        raise ValueError(rule)
    return Bounds(*numbers)


def _device(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value, re.ASCII):
        msg = "must be auto, cpu, cuda or cuda:N"
        raise ValueError(msg)
    return value


def _hwaccel(value: str) -> str:
    if not re.fullmatch(r"off|auto|cuda(:\d+)?", value, re.ASCII):
        msg = "must be off, auto, cuda or cuda:N"
        raise ValueError(msg)
    return value


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


Count = Annotated[int, BeforeValidator(_number), Field(ge=0)]
Natural = Annotated[int, BeforeValidator(_number), Field(ge=1)]
Share = Annotated[float, BeforeValidator(_number), Field(ge=0, le=1, allow_inf_nan=False)]
Level = Annotated[float, BeforeValidator(_number), Field(gt=0, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1)]
Seconds = Annotated[float, BeforeValidator(_number), Field(gt=0, allow_inf_nan=False)]
Gpus = Annotated[float, BeforeValidator(_number), Field(ge=0, allow_inf_nan=False)]
Cpus = Annotated[float, BeforeValidator(_number), Field(gt=0, allow_inf_nan=False)]
Size = Annotated[
    tuple[Natural, Natural],
    BeforeValidator(_size),
    PlainSerializer(_pixels, return_type=str),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]+x[0-9]+$"}),
]
Device = Annotated[str, AfterValidator(_device)]
Hwaccel = Annotated[str, AfterValidator(_hwaccel)]
Rate = Annotated[
    Fraction,
    BeforeValidator(_rate),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": ["string", "number"]}),
]
Replicas = Annotated[
    Bounds,
    BeforeValidator(_bounds),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": ["integer", "string"], "pattern": "^[0-9]+(:[0-9]+)?$"}),
]


class Group(BaseModel):
    """Keys that belong together. Frozen; unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", coerce_numbers_to_str=True, validate_default=False
    )
