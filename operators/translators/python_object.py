"""Finds an object of the user's own code from a few words, and can find it again elsewhere."""

import hashlib
import importlib
import importlib.util
import sys
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType

from operators.errors import ModelError


@dataclass(frozen=True, slots=True)
class PythonObject:
    """An object as ``module:attribute`` or ``file.py:attribute``; the attribute may have dots.

    It travels to other processes as these words, so what a file defines need not be importable
    there; the file itself has to be.

    Attributes:
        place: Name of a module, or path of a Python file.
        attribute: Name in it.
    """

    place: str
    attribute: str

    def __str__(self) -> str:
        return f"{self.place}:{self.attribute}"

    def is_there(self) -> bool:
        """Whether the file, or the outermost package of the module, exists; imports nothing.

        A file always counts as there: `resolve` names the one that is missing.
        """
        if self.place.endswith(".py"):
            return True
        _append_to_path(Path.cwd())
        package = self.place.partition(".")[0]
        if package in sys.modules:
            return True
        return package.isidentifier() and importlib.util.find_spec(package) is not None

    def source(self) -> Path | None:
        """The file that defines it, of a module without running it; None if there is none."""
        path = self.place if self.place.endswith(".py") else _origin(self.place)
        return Path(path) if path is not None and Path(path).is_file() else None

    def resolve(self) -> object:
        """Import the module, or run the file once per process, and return the object.

        The folder of a file, or for a module the working directory, is appended to ``sys.path``:
        a file can import its neighbours, and an installed command sees what ``python`` would.

        Raises:
            ModelError: If there is no such module, file or attribute, or importing fails.
        """
        found: object = (
            _load_file(Path(self.place)) if self.place.endswith(".py") else _load_module(self.place)
        )
        for name in self.attribute.split("."):
            if not hasattr(found, name):
                close = get_close_matches(name, dir(found), n=1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                msg = f"model {str(self)!r} must exist, got no {name!r} in {self.place!r}{hint}"
                raise ModelError(msg)
            found = getattr(found, name)
        return found


def _append_to_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _origin(name: str) -> str | None:
    """Where a module would be loaded from; the packages around it are imported for that."""
    _append_to_path(Path.cwd())
    try:
        spec = importlib.util.find_spec(name)
    except (Exception, SystemExit):  # noqa: BLE001 - what is imported may fail in any way
        return None
    return None if spec is None else spec.origin


def _load_module(name: str) -> ModuleType:
    _append_to_path(Path.cwd())
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # a script may end by sys.exit
        msg = f"module {name!r} must be importable, got {_in_one_line(error)}"
        raise ModelError(msg) from error


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        msg = f"model file {str(path)!r} must be a Python file, got no such file"
        raise ModelError(msg)
    path = path.resolve()
    name = f"hypercon_user_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    _append_to_path(path.parent)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        msg = f"model file {str(path)!r} must be a Python file, got something else"
        raise ModelError(msg)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickling look a module up by its name while it is being run.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a script may end by sys.exit
        del sys.modules[name]
        msg = f"model file {str(path)!r} must run, got {_in_one_line(error)}"
        raise ModelError(msg) from error
    return module


def _in_one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
