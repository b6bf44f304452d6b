"""Runs PyTorch models as translators: TorchScript and torch.export files, modules, functions."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.export.passes import move_to_device_pass

from operators.base import TranslatorTraits
from operators.errors import ModelError
from operators.translators.file_kind import require_file, require_kind
from operators.translators.python_object import PythonObject
from operators.translators.traits import (
    InputSize,
    TraitOverrides,
    declared_traits,
    from_range,
    probe,
)

Model = Callable[..., Any]


class TorchFileTranslator:
    """A TorchScript archive (``.pt .pth .ts``) or a torch.export archive (``.pt2``).

    The file is a program and loading it runs it, so it must come from somebody you trust. A
    checkpoint with weights only is refused, never unpickled. Undeclared channels, scale and
    multiple are found by a dry run at ``setup``; a model that takes masks as a second argument
    must be said to by ``overrides``.

    Args:
        path: The file.
        overrides: Traits that the user knows.
        value_range: The value of white. 255 for models that read 0 to 255; what they return is
            divided by it again if it is a picture.

    Raises:
        ModelError: If the file does not exist.
    """

    def __init__(
        self,
        path: Path,
        *,
        overrides: TraitOverrides | None = None,
        value_range: float = 1.0,
    ) -> None:
        require_file(path)
        self.name = path.name
        self.traits = TranslatorTraits()
        self._path = path
        self._overrides = overrides or TraitOverrides()
        self._value_range = value_range
        self._size = InputSize()
        self._model: Model | None = None
        self._dtype = torch.float32
        self._device = torch.device("cpu")

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the model, which ``setup`` loads again."""
        return {**self.__dict__, "_model": None}

    def setup(self, device: torch.device) -> None:
        """Load the file on ``device`` and learn the traits.

        Raises:
            ModelError: If the file is of another kind or broken, or the dry run fails.
        """
        if self._path.suffix.lower() == ".pt2":
            module, self._size = _load_export(self._path, device)
        else:
            module = _load_torchscript(self._path, device)
        self._model, self._dtype, self._device = module, _floating_dtype(module), device
        stated = self._size.with_batch(self.name, self._overrides)
        with torch.inference_mode():
            self.traits = probe(self.name, self._run, stated, self._size).traits(self.name)

    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Translate a batch; see `operators.base.Translator`."""
        result = self._run(images, masks)
        return from_range(result, self._value_range) if self.traits.is_picture else result

    def _run(self, images: Tensor, masks: Tensor | None) -> Tensor:
        if self._model is None:
            msg = f"model {self.name!r} must be set up before it is called"
            raise ModelError(msg)
        self._size.require(self.name, images)
        scaled = (images * self._value_range).to(self._device, self._dtype)
        if masks is None:
            return cast("Tensor", self._model(scaled))
        return cast("Tensor", self._model(scaled, masks.to(self._device, self._dtype)))


class CallableTranslator:
    """A function, a module, or an object or class of the user's own.

    - A function is called as ``f(images)``, or ``f(images, masks)`` if it takes masks.
    - A class is instantiated without arguments, in ``setup``.
    - ``setup(device)``, where there is one, is called once.
    - An ``nn.Module`` is put into evaluation mode and moved to the device.
    - Traits are declared by an attribute ``traits`` or ``hypercon``: a ``TranslatorTraits``, a
      mapping, or a method that returns one; read after ``setup``.

    A ``Translator`` is such an object already, and is taken as it is.

    To travel to a Ray worker the model is pickled by value; name it ``module:attr`` or
    ``file.py:attr`` where it cannot be, and it is looked up there instead.

    Args:
        model: The object, or the words to find it by.
        name: What messages call the model; the object's own name if not given.
        overrides: Traits that the object declares wrongly or not at all.
        value_range: The value of white, as in `TorchFileTranslator`.

    Raises:
        ModelError: If the words lead nowhere, or what they lead to cannot be called.
    """

    def __init__(
        self,
        model: object,
        *,
        name: str | None = None,
        overrides: TraitOverrides | None = None,
        value_range: float = 1.0,
    ) -> None:
        found = model.resolve() if isinstance(model, PythonObject) else model
        self.name = name or _name_of(found)
        if not callable(found):
            msg = f"model {self.name!r} must be a function, a module or a class, got {found!r}"
            raise ModelError(msg)
        self.traits = TranslatorTraits()
        self._origin = model
        self._overrides = overrides or TraitOverrides()
        self._value_range = value_range
        self._model: Model | None = None
        self._dtype = torch.float32
        self._device = torch.device("cpu")

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what ``setup`` made."""
        return {**self.__dict__, "_model": None}

    def setup(self, device: torch.device) -> None:
        """Make the object, set it up on ``device`` and read its traits.

        Raises:
            ModelError: If the class needs arguments, ``setup`` fails, or traits are wrong.
        """
        origin = self._origin
        found = origin.resolve() if isinstance(origin, PythonObject) else origin
        try:
            model: object = found() if isinstance(found, type) else found
            if isinstance(model, nn.Module):
                model = model.eval().to(device)
                self._dtype = _floating_dtype(model)
            if callable(getattr(model, "setup", None)):
                cast("Any", model).setup(device)
            declaration = getattr(model, "traits", getattr(model, "hypercon", {}))
            declaration = declaration() if callable(declaration) else declaration
        except (ModelError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            msg = (
                f"model {self.name!r} must be made and set up without further arguments, got "
                f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            )
            raise ModelError(msg) from error
        if not callable(model):
            msg = f"model {self.name!r} must be callable with images, got {_name_of(model)}"
            raise ModelError(msg)
        stated = self._overrides.over(declared_traits(self.name, declaration))
        self.traits = stated.traits(self.name)
        self._model, self._device = model, device

    def __call__(self, images: Tensor, masks: Tensor | None = None) -> Tensor:
        """Translate a batch; see `operators.base.Translator`."""
        if self._model is None:
            msg = f"model {self.name!r} must be set up before it is called"
            raise ModelError(msg)
        scaled = (images * self._value_range).to(self._device, self._dtype)
        if masks is None:
            result = self._model(scaled)
        else:
            result = self._model(scaled, masks.to(self._device, self._dtype))
        return from_range(result, self._value_range) if self.traits.is_picture else result


def _name_of(model: object) -> str:
    for name in (getattr(model, "name", None), getattr(model, "__name__", None)):
        if isinstance(name, str):
            return name
    return type(model).__name__


def _floating_dtype(module: nn.Module) -> torch.dtype:
    """The type of the weights: a half precision model wants half precision images."""
    dtypes = (weight.dtype for weight in module.parameters() if weight.is_floating_point())
    return next(dtypes, torch.float32)


def _load_torchscript(path: Path, device: torch.device) -> nn.Module:
    require_kind(
        path,
        "a TorchScript archive",
        "save the whole network with torch.jit.script(model).save(path), or name it file.py:attr",
    )
    with warnings.catch_warnings():
        # TorchScript is deprecated; the owner of an old file can do nothing about it.
        warnings.filterwarnings("ignore", r".*torch\.jit\.load", DeprecationWarning)
        try:
            load = cast("Callable[..., nn.Module]", torch.jit.load)
            module = load(str(path), map_location=device)
        except RuntimeError as error:
            msg = f"model {str(path)!r} must be a readable TorchScript archive, got a broken one"
            raise ModelError(msg) from error
    return module.eval()


def _load_export(path: Path, device: torch.device) -> tuple[nn.Module, InputSize]:
    require_kind(
        path, "a torch.export archive", "save it with torch.export.save(torch.export.export(...))"
    )
    try:
        program = torch.export.load(path)
    except Exception as error:
        msg = (
            f"model {str(path)!r} must be a torch.export archive of this PyTorch, got a broken one"
        )
        raise ModelError(msg) from error
    return move_to_device_pass(program, device).module(), _exported_size(program)


def _exported_size(program: torch.export.ExportedProgram) -> InputSize:
    first = program.graph_signature.user_inputs[0]
    node = next(node for node in program.graph.nodes if node.name == first)
    batch, _, height, width = node.meta["val"].shape
    return InputSize(*(side if isinstance(side, int) else None for side in (batch, height, width)))
