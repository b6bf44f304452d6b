"""Turns what a user names or hands over into a translator."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from operators.accelerate import PLAIN, Acceleration
from operators.base import Translator
from operators.errors import ModelError
from operators.models import registry
from operators.translators.identity import IdentityTranslator
from operators.translators.inpaint import ClassicalInpainting
from operators.translators.onnx_model import OnnxTranslator
from operators.translators.python_object import PythonObject
from operators.translators.styles import styles_translator
from operators.translators.torch_model import CallableTranslator, TorchFileTranslator
from operators.translators.traits import TraitOverrides

__all__ = ["ENTRY_POINTS", "TraitOverrides", "load_translator"]

ENTRY_POINTS = "hypercon.translators"

_SUFFIXES = (".onnx", ".pt", ".pth", ".ts", ".pt2")
_EXAMPLES = ("styles:19", "inpaint:telea", "inpaint:ns", "identity")


@dataclass(frozen=True, slots=True)
class _Options:
    overrides: TraitOverrides
    value_range: float | None
    threads: int | None
    providers: tuple[str, ...] | None
    constants: Mapping[str, NDArray[Any]] | None
    weights: Path | None
    acceleration: Acceleration

    @property
    def white(self) -> float:
        """The value of white that the model reads."""
        return 1.0 if self.value_range is None else self.value_range

    def refuse(self, spec: str, *names: str) -> None:
        """Refuse options that would be ignored."""
        for name in names:
            if getattr(self, name) not in (None, TraitOverrides()):
                msg = f"{name} must not be given for {spec!r}, got {getattr(self, name)!r}"
                raise ModelError(msg)


def load_translator(  # noqa: PLR0913 - the options of every kind of model, by name
    spec: str | Callable[..., Any] | Translator,
    overrides: TraitOverrides | None = None,
    *,
    value_range: float | None = None,
    threads: int | None = None,
    providers: Sequence[str] | None = None,
    constants: Mapping[str, NDArray[Any]] | None = None,
    weights: Path | None = None,
    acceleration: Acceleration = PLAIN,
) -> Translator:
    """Find a model and make it a translator, loading no weights: that is for its ``setup``.

    ===========================  ===========================================================
    ``spec``                     Model
    ===========================  ===========================================================
    ``styles:19``                One of the 26 built-in styles, 0 to 25.
    ``styles:3=0.5,12=0.5``      A blend of them.
    ``inpaint:telea``            OpenCV inpainting of masked frames; ``inpaint:ns`` likewise;
                                 ``inpaint:telea,radius=5`` reads farther than 3 pixels.
    ``identity``                 Nothing is changed.
    ``mosaic``, ``deepfill``...  A network of the table of models, with published weights.
    ``PATH.onnx``                An ONNX file.
    ``PATH.pt .pth .ts``         A TorchScript file. Loading it runs its code.
    ``PATH.pt2``                 A torch.export file.
    ``module:attr``              A function, ``nn.Module``, class or object of a module.
    ``PATH.py:attr``             The same of a Python file.
    ``NAME``                     An entry point of the group ``hypercon.translators``.
    a callable or a module       Itself; see `CallableTranslator`.
    a ``Translator``             Itself.
    ===========================  ===========================================================

    Args:
        spec: The model.
        overrides: Traits that the model declares wrongly or not at all.
        value_range: The value of white for models that do not read ``[0, 1]``, such as 255.
        threads: Threads of one call of an ONNX model; other kinds follow ``torch``.
        providers: onnxruntime providers to demand; only ONNX models read them.
        constants: Further inputs of an ONNX model, by name.
        weights: A weight file, or a folder to search for it, instead of the usual places; only
            networks of the table read it.
        acceleration: How a network of the table is made faster; other kinds of model are the
            user's own, and run as they are.

    Raises:
        ModelError: If nothing of that name exists, the file is missing, or an option does not
            apply to this kind of model.
    """
    if value_range is not None and not 0 < value_range < float("inf"):
        msg = f"value_range must be positive, got {value_range:g}"
        raise ModelError(msg)
    options = _Options(
        overrides or TraitOverrides(),
        value_range,
        threads,
        None if providers is None else tuple(providers),
        constants,
        weights,
        acceleration,
    )
    if isinstance(spec, str):
        return _load_named(spec, options)
    plain = options.overrides == TraitOverrides() and value_range is None
    if plain and not isinstance(spec, type) and isinstance(spec, Translator):
        return spec
    return _from_python(spec, None, options)


def _load_named(spec: str, options: _Options) -> Translator:
    kind, _, words = spec.partition(":")
    if kind == "styles":
        options.refuse(spec, "value_range", "constants")
        return styles_translator(
            words,
            overrides=options.overrides,
            threads=options.threads,
            providers=options.providers,
        )
    if spec == "identity" or kind == "inpaint":
        options.refuse(spec, "overrides", "value_range", "constants")
        return IdentityTranslator() if spec == "identity" else _load_inpainting(spec, words)
    if spec in _registered():
        options.refuse(spec, "overrides", "value_range", "constants")
        return registry.translator(spec, options.weights, options.acceleration)
    if Path(spec).suffix.lower() in _SUFFIXES:
        return _load_file(Path(spec), options)
    named = _python_object(spec)
    if named is not None and not named.is_there():
        # More often a slip in one of the built-in names than a module that got lost.
        raise _unknown(spec, f" (no module {named.place!r})", ())
    found = named or _entry_point(spec)
    if found is None:
        raise _unknown(spec, "", entry_points(group=ENTRY_POINTS).names)
    return _from_python(found, spec, options)


def model_file(spec: str) -> Path | None:
    """The file of one's own that a model is read from, whose change makes it another model.

    Args:
        spec: As :func:`load_translator` takes it.

    Returns:
        A file of a network or of Python, that of a module or an entry point included, though not
        what it imports; None for a model that is built in.
    """
    if Path(spec).is_file():
        return Path(spec)
    words = _python_object(spec) or _entry_point(spec)
    return None if words is None else words.source()


def _registered() -> list[str]:
    return [entry.name for entry in registry.entries("translator")]


def _load_file(path: Path, options: _Options) -> Translator:
    if path.suffix.lower() == ".onnx":
        return OnnxTranslator(
            path,
            overrides=options.overrides,
            constants=options.constants,
            value_range=options.white,
            threads=options.threads,
            providers=options.providers,
        )
    options.refuse(str(path), "constants")
    return TorchFileTranslator(path, overrides=options.overrides, value_range=options.white)


def _load_inpainting(spec: str, words: str) -> ClassicalInpainting:
    method, _, option = words.partition(",")
    key, _, value = option.partition("=")
    if method not in ("telea", "ns") or (option and key != "radius"):
        msg = f"inpainting must be inpaint:telea or inpaint:ns, also with ',radius=5', got {spec!r}"
        raise ModelError(msg)
    try:
        radius = float(value) if option else 3.0
    except ValueError as error:
        msg = f"inpainting radius must be a number, got {value!r} in {spec!r}"
        raise ModelError(msg) from error
    return ClassicalInpainting("telea" if method == "telea" else "ns", radius=radius)


def _python_object(spec: str) -> PythonObject | None:
    """What ``module:attr`` or ``file.py:attr`` names; None for other words."""
    place, _, attribute = spec.rpartition(":")
    if place and attribute.replace(".", "").isidentifier():
        return PythonObject(place, attribute)
    return None


def _entry_point(name: str) -> PythonObject | None:
    """What an entry point of that name leads to; None if there is none."""
    for entry_point in entry_points(group=ENTRY_POINTS):
        if entry_point.name == name:
            return PythonObject(entry_point.module, entry_point.attr)
    return None


def _unknown(spec: str, why: str, registered: Iterable[str]) -> ModelError:
    close = get_close_matches(
        spec, (*_EXAMPLES, *_registered(), *sorted(registered)), n=1, cutoff=0.5
    )
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return ModelError(
        f"model must be styles:N, inpaint:telea, inpaint:ns, identity, a registered name, "
        f"module:attr, file.py:attr, or a file {' '.join(_SUFFIXES)}, got {spec!r}{why}{hint}"
    )


def _from_python(model: object, name: str | None, options: _Options) -> CallableTranslator:
    options.refuse(name or "a Python object", "constants")
    return CallableTranslator(
        model, name=name, overrides=options.overrides, value_range=options.white
    )
