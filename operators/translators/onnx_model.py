"""Runs an ONNX file as a translator."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from operators.base import TranslatorTraits
from operators.errors import ModelError
from operators.translators.file_kind import file_kind, require_file
from operators.translators.traits import (
    InputSize,
    TraitOverrides,
    declared_traits,
    from_range,
    probe,
)

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_LOG = logging.getLogger(__name__)
_FLOAT_TYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}
_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_METADATA_KEY = "hypercon"


class OnnxTranslator:
    """An ONNX file, run by onnxruntime.

    The first input with three channels takes the images, ``(B, 3, H, W)`` or ``(B, H, W, 3)``; a
    further one with one channel takes the masks; every other input must be named in
    ``constants``. The first output is the result, in the layout of the images; ``(B, H, W)``
    counts as one channel.

    Traits come, first to last, from ``overrides``, from the file's metadata property
    ``hypercon`` (a JSON object of traits), from the shapes in the file, and from a dry run at
    ``setup`` for channels, scale and multiple.

    Args:
        source: The file, or a function that finds it on the machine where the model is set up.
        name: What messages call the model; the file's name if not given.
        overrides: Traits that the file states wrongly or not at all.
        constants: Arrays for further inputs, the same in every call.
        value_range: The value of white. 255 for models that read 0 to 255; what they return is
            divided by it again if it is a picture.
        threads: Threads of one call; None for onnxruntime's own choice, all cores. Set it where
            several models share a machine.
        providers: onnxruntime execution providers to demand, first choice first. None takes CUDA
            on a CUDA device if this onnxruntime has it, and else the CPU, with a warning.

    Raises:
        ModelError: If the file does not exist.
    """

    def __init__(
        self,
        source: Path | Callable[[], Path],
        *,
        name: str | None = None,
        overrides: TraitOverrides | None = None,
        constants: Mapping[str, NDArray[Any]] | None = None,
        value_range: float = 1.0,
        threads: int | None = None,
        providers: Sequence[str] | None = None,
    ) -> None:
        path = source() if callable(source) else source
        require_file(path)
        self.name = name or path.name
        self.traits = TranslatorTraits()
        self._source = source
        self._overrides = overrides or TraitOverrides()
        self._constants = dict(constants or {})
        self._value_range = value_range
        self._threads = threads
        self._providers = None if providers is None else tuple(providers)
        self._session: InferenceSession | None = None
        self._inputs: _Inputs | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the session, which is made again by ``setup``."""
        return {**self.__dict__, "_session": None, "_inputs": None}

    def setup(self, device: torch.device) -> None:
        """Load the file on ``device`` and learn the traits.

        Raises:
            ModelError: If the file is no ONNX model, its inputs are not understood, a demanded
                provider is missing, or the dry run fails.
        """
        path = self._source() if callable(self._source) else self._source
        self._session = self._open(path, device)
        metadata = self._session.get_modelmeta().custom_metadata_map.get(_METADATA_KEY)
        stated = self._overrides.over(_metadata_traits(self.name, metadata))
        self._inputs = _read_inputs(self.name, self._session.get_inputs(), self._constants)
        size = self._inputs.size
        stated = size.with_batch(self.name, stated)
        # Whether masks are fed is a matter of the inputs, not of anybody's word.
        stated = TraitOverrides(takes_mask=self._inputs.mask is not None).over(stated)
        self.traits = probe(self.name, self._run, stated, size).traits(self.name)

    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Translate a batch; see `operators.base.Translator`.

        Raises:
            ModelError: If the file insists on another height or width.
            torch.OutOfMemoryError: If the device has no memory left.
        """
        result = self._run(images, masks)
        return from_range(result, self._value_range) if self.traits.is_picture else result

    def _run(self, images: Tensor, masks: Tensor | None) -> Tensor:
        if self._session is None or self._inputs is None:
            msg = f"model {self.name!r} must be set up before it is called"
            raise ModelError(msg)
        self._inputs.size.require(self.name, images)
        feed = self._inputs.feed(images * self._value_range, masks) | self._constants
        try:
            result = self._session.run([self._session.get_outputs()[0].name], feed)[0]
        except Exception as error:
            # onnxruntime has no type for this; the words are those of its allocators.
            if "Failed to allocate memory" in str(error):
                raise torch.OutOfMemoryError(str(error)) from error
            raise
        result = torch.from_numpy(np.ascontiguousarray(result)).to(images.device)
        if result.ndim == 3:
            return result[:, None]
        return result.permute(0, 3, 1, 2) if self._inputs.channels_last else result

    def _open(self, path: Path, device: torch.device) -> "InferenceSession":
        import onnxruntime  # noqa: PLC0415 - heavy, and only models of this kind need it

        options = onnxruntime.SessionOptions()
        # Failures arrive as exceptions; printing them too would put noise around the dry run.
        options.log_severity_level = 4
        # Its threads must not keep the processors busy while the operators around it work.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if self._threads is not None:
            options.intra_op_num_threads = self._threads
        available = onnxruntime.get_available_providers()
        wanted = self._wanted_providers(device, available)
        numbered = [
            (provider, {"device_id": device.index or 0}) if provider == _CUDA else provider
            for provider in wanted
        ]
        require_file(path)
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=numbered)
        except Exception as error:
            kind = file_kind(path)
            # The reason follows the path in onnxruntime's message.
            reason = " ".join(str(error).rpartition(" failed:")[2].split())[:300]
            got = f"{kind}: {reason}" if kind == "a binary file of no known kind" else kind
            msg = f"model {str(path)!r} must be an ONNX file, got {got}"
            raise ModelError(msg) from error
        self._require_first_provider(session.get_providers(), wanted[0])
        return session

    def _wanted_providers(self, device: torch.device, available: list[str]) -> tuple[str, ...]:
        if self._providers is not None:
            missing = [provider for provider in self._providers if provider not in available]
            if missing:
                msg = (
                    f"model {self.name!r} must run on {missing[0]}, but this onnxruntime has only "
                    f"{', '.join(available)}; for CUDA install onnxruntime-gpu"
                )
                raise ModelError(msg)
            return self._providers
        if device.type == "cuda" and _CUDA in available:
            return (_CUDA, _CPU)
        if device.type == "cuda":
            _LOG.warning(
                "model %r runs on the CPU: this onnxruntime has no CUDA; install onnxruntime-gpu",
                self.name,
            )
        return (_CPU,)

    def _require_first_provider(self, active: Sequence[str], wanted: str) -> None:
        if active[0] == wanted:
            return
        # onnxruntime falls back by itself when CUDA cannot be started.
        if self._providers is not None:
            msg = f"model {self.name!r} must run on {wanted}, but onnxruntime started {active[0]}"
            raise ModelError(msg)
        _LOG.warning("model %r runs on %s: %s did not start", self.name, active[0], wanted)


@dataclass(frozen=True, slots=True)
class _Inputs:
    """How the inputs of one model are fed."""

    images: str
    mask: str | None
    dtypes: dict[str, Any]
    channels_last: bool
    size: InputSize

    def feed(self, images: Tensor, masks: Tensor | None) -> dict[str, NDArray[Any]]:
        arrays = {self.images: images}
        if self.mask is not None and masks is not None:
            arrays[self.mask] = masks
        if self.channels_last:
            arrays = {name: array.permute(0, 2, 3, 1) for name, array in arrays.items()}
        return {
            name: np.ascontiguousarray(array.cpu().numpy(), dtype=self.dtypes[name])
            for name, array in arrays.items()
        }


def _read_inputs(name: str, inputs: Sequence[Any], constants: Mapping[str, object]) -> _Inputs:
    listing = ", ".join(f"{item.name} {item.type} {item.shape}" for item in inputs)
    unknown = sorted(set(constants) - {item.name for item in inputs})
    if unknown:
        msg = f"model {name!r}: constants must name inputs, got {unknown[0]!r}; it has: {listing}"
        raise ModelError(msg)
    free = [item for item in inputs if item.name not in constants]
    images = next((item for item in free if _is_image_like(item, 3)), None)
    if images is None:
        msg = f"model {name!r} must have a float input (B, 3, H, W) or (B, H, W, 3), got: {listing}"
        raise ModelError(msg)
    channels_last = _is_channels_last(images.shape, 3)
    free.remove(images)
    mask = next((item for item in free if _is_image_like(item, 1)), None)
    if mask is not None:
        free.remove(mask)
    if free:
        msg = (
            f"model {name!r} must have an image input, perhaps a mask input, and a constant for "
            f"every other one, got nothing for {free[0].name!r}; it has: {listing}"
        )
        raise ModelError(msg)
    batch, *sides = images.shape
    height, width = sides[:2] if channels_last else sides[1:]
    return _Inputs(
        images=images.name,
        mask=None if mask is None else mask.name,
        dtypes={item.name: _FLOAT_TYPES[item.type] for item in (images, mask) if item is not None},
        channels_last=channels_last,
        size=InputSize(
            *(side if isinstance(side, int) else None for side in (batch, height, width))
        ),
    )


def _is_channels_last(shape: Sequence[object], channels: int) -> bool:
    return shape[3] == channels and shape[1] != channels


def _is_image_like(item: Any, channels: int) -> bool:
    """Whether an input has the right type and, in either place, the right number of channels.

    A second dimension without a number may be three channels, but not in front of a single one.
    """
    if item.type not in _FLOAT_TYPES or len(item.shape) != 4:
        return False
    second, last = item.shape[1], item.shape[3]
    is_open = channels == 3 and not isinstance(second, int) and last != 1
    return channels in (second, last) or is_open


def _metadata_traits(name: str, metadata: str | None) -> TraitOverrides:
    if metadata is None:
        return TraitOverrides()
    try:
        declaration = json.loads(metadata)
    except json.JSONDecodeError as error:
        msg = f"model {name!r}: metadata property {_METADATA_KEY} must be JSON, got {metadata!r}"
        raise ModelError(msg) from error
    return declared_traits(name, declaration)
