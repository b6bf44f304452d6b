"""What the table of models says of each model, and how a network is built from it."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from operators.errors import ModelError
from operators.models import weights as weight_files

Kind = Literal["flow", "interpolator", "translator", "recurrent", "evaluation"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A model that can be asked for by name.

    Attributes:
        kind: What the model does.
        name: What users call it.
        summary: One line for a list of models.
        adapter: ``module:attribute`` of what serves the contract of the kind. It is called with
            the entry and the given weights if the model is a network, else with nothing. Empty
            for networks that only metrics read.
        network: ``module:attribute`` of what builds the network, called with nothing; or None.
        multiple: Height and width that the network reads must be multiples of this.
        takes_mask: True if the network is called with masks as a second argument.
        files: Names of its weight file, relative to a folder of weights, best first.
        source: The page where the weights are officially published.
        licence: Of the weights; says where it is not free for every use.
        address: From where the first of ``files``, or an archive that holds it, can be fetched
            without a person; empty where there is only a page to visit.
        package: ``NAME==VERSION`` of a Python package that holds the file; or empty.
        member: Path of the file inside the package.
        sha256: Of the file at ``address`` or in ``package``, where it is known. Other files of
            the same keys and shapes can be used as well.
        beside: Where the weights are published in two files: the second, as an entry without a
            network. A single file that holds the keys of both will do as well.
        parameters: Number of parameters.
        convention: What the network reads; the adapter provides it.
        parts: Attributes of the network that do its work, where the adapter calls more of it than
            its ``forward``: these are what is accelerated.
        channels_last_on: Kinds of device on which this memory layout was measured to be faster.
        compiles_on: Kinds of device but those on which compiling was measured to gain nothing.
        is_recordable: True if a pass neither waits for the device nor reads memory of the host,
            so that CUDA can record it.
    """

    kind: Kind
    name: str
    summary: str
    adapter: str = ""
    network: str | None = None
    multiple: int = 1
    takes_mask: bool = False
    files: tuple[str, ...] = ()
    source: str = ""
    licence: str = ""
    address: str = ""
    package: str = ""
    member: str = ""
    sha256: str | None = None
    beside: "Entry | None" = None
    parameters: int = 0
    convention: str = "RGB in [0, 1]"
    parts: tuple[str, ...] = ()
    channels_last_on: tuple[str, ...] = ()
    compiles_on: tuple[str, ...] = ("cpu", "cuda")
    is_recordable: bool = False

    @property
    def needs_weights(self) -> bool:
        """True if the model cannot run without a weight file."""
        return bool(self.files)

    def found(self, given: Path | None = None) -> Path | None:
        """The weight file on this machine, or None.

        Args:
            given: A file, or a folder to search, instead of the usual folders and of the
                installed package.
        """
        found = weight_files.find(self.files, given)
        if found is None and given is None and self.package:
            return weight_files.installed(self.package, self.member)
        return found

    def load(self, given: Path | None = None) -> nn.Module:
        """Build the network and fill it, on the CPU, for inference only.

        Args:
            given: A file, or a folder to search, instead of the usual places.

        Raises:
            ModelError: If the entry has no network, or its weights are missing or wrong.
        """
        if self.network is None:
            msg = f"model {self.name!r} has no network to load"
            raise ModelError(msg)
        path = self._required(given)
        module = importlib.import_module(self.network.partition(":")[0])
        published = weight_files.read_state(path)
        network: nn.Module = resolve(self.network)()
        state = module.from_published(published)
        place = str(path)
        wanted = network.state_dict().keys()
        # Of a file that has nothing of the network no second one is asked for: it is a wrong one.
        if self.beside is not None and wanted & state.keys() and not wanted <= state.keys():
            second = self.beside.required_beside(path, given)
            published |= weight_files.read_state(second)
            state = module.from_published(published)
            place = f"{path} with {second}"
        weight_files.fill(network, state, name=self.name, place=place, published=published)
        return network.eval().requires_grad_(requires_grad=False)

    def required_beside(self, first: Path, given: Path | None) -> Path:
        """The second of two weight files: where the first is, or in the places of the first.

        Args:
            first: The first file.
            given: The file or folder that the user named for the first, or None.

        Raises:
            ModelError: If it is not on this machine.
        """
        found = weight_files.find(self.files, first.parent)
        return found or self._required(None if given == first else given)

    def _required(self, given: Path | None) -> Path:
        path = self.found(given)
        if path is None:
            by_hand = not (self.address or self.package)
            raise weight_files.missing(self.name, self.files, self.source, given, by_hand=by_hand)
        return path


def resolve(reference: str) -> Any:
    """The object that ``module:attribute`` names."""
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)
