"""High dynamic range: what it is, and what says how bright the screen was that it was made on."""

import struct
from collections.abc import Sequence
from fractions import Fraction
from typing import cast

import av
from av.sidedata.sidedata import SideDataContainer, Type

from pipeline.errors import InputError
from pipeline.io.endpoint import ColorTags, LightLevels

# AVColorTransferCharacteristic of the two curves of ITU-R BT.2100.
HDR_TRANSFERS = {16: "PQ (SMPTE ST 2084)", 18: "HLG (ARIB STD-B67)"}

# AVMasteringDisplayMetadata: eight chromaticities, two luminances, and which of them are set.
_MASTERING = struct.Struct("=20i2i")
# AVContentLightMetadata.
_CONTENT = struct.Struct("=2I")


def require_standard_range(name: str, color: ColorTags) -> None:
    """Refuse a stream of high dynamic range.

    Raises:
        InputError: If it is one: models have seen none, and would take its numbers for others.
    """
    kind = HDR_TRANSFERS.get(color.transfer)
    if kind is not None:
        msg = (
            f"{name} must have the standard dynamic range that models are made for, got {kind}; "
            f"--hdr keep hands its numbers to the model as they are, and keeps its tags"
        )
        raise InputError(msg)


def light_levels(frame: av.VideoFrame) -> LightLevels | None:
    """What a decoded picture says of screen and content; None if it says nothing."""
    display = _side_data(frame, Type.MASTERING_DISPLAY_METADATA)
    content = _side_data(frame, Type.CONTENT_LIGHT_LEVEL)
    chromaticities: tuple[Fraction, ...] = ()
    luminances: tuple[Fraction, ...] = ()
    if display is not None:
        numbers = _MASTERING.unpack(display[: _MASTERING.size])
        ratios = [_ratio(numbers[at : at + 2]) for at in range(0, 20, 2)]
        has_chromaticities, has_luminances = numbers[20:]
        chromaticities = tuple(ratios[:8]) if has_chromaticities else ()
        luminances = tuple(ratios[8:]) if has_luminances else ()
    most, average = _CONTENT.unpack(content[: _CONTENT.size]) if content else (0, 0)
    if not (chromaticities and luminances) and not most:
        return None
    return LightLevels(chromaticities, luminances, most, average)


def light_parameters(codec: str, light: LightLevels) -> tuple[str, str] | None:
    """How an encoder is told of screen and content.

    Args:
        codec: Name of the encoder in FFmpeg.
        light: What is to be said.

    Returns:
        The option that hands parameters through to the library, and the parameters; None for an
        encoder that cannot be told.
    """
    content = f"{light.max_content},{light.max_average}"
    match codec:
        case "libx264":
            parts = {"mastering-display": _display(light, 50_000, 10_000), "cll": content}
        case "libx265":
            parts = {"master-display": _display(light, 50_000, 10_000), "max-cll": content}
        case "libsvtav1":
            parts = {"mastering-display": _display(light, 1, 1), "content-light": content}
        case _:
            return None
    said = ":".join(f"{name}={value}" for name, value in parts.items() if value)
    option = {"libx264": "x264-params", "libx265": "x265-params", "libsvtav1": "svtav1-params"}
    return option[codec], said


def _side_data(frame: av.VideoFrame, kind: Type) -> bytes | None:
    try:
        return bytes(cast("SideDataContainer", frame.side_data)[kind])
    except KeyError:
        return None


def _display(light: LightLevels, per_chromaticity: int, per_nit: int) -> str:
    """The screen as encoders read it, in their units; empty if nothing is known of it."""
    if not (light.chromaticities and light.luminances):
        return ""
    shares = [_number(value, per_chromaticity) for value in light.chromaticities]
    least, most = (_number(value, per_nit) for value in light.luminances)
    red, green, blue, white = (f"({x},{y})" for x, y in zip(shares[::2], shares[1::2], strict=True))
    return f"G{green}B{blue}R{red}WP{white}L({most},{least})"


def _number(value: Fraction, units: int) -> str:
    return str(round(value * units)) if units > 1 else f"{float(value):.5f}"


def _ratio(numbers: Sequence[int]) -> Fraction:
    return Fraction(numbers[0], numbers[1] or 1)
