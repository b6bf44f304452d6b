"""The table of models: what each name means, and where its weights come from.

To add a network: write its file, in which a module-level ``from_published(state)`` turns the keys
of its published files into its own, then add an :class:`Entry` to ``ENTRIES``. Modules are named
by strings and imported only when a model is built, so that this table costs nothing to read.
"""

import difflib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import nn

from operators.base import FlowEstimator, Interpolator
from operators.errors import ModelError
from operators.models import weights as weight_files

Kind = Literal["flow", "interpolator", "translator"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A model that can be asked for by name.

    Attributes:
        kind: What the model does.
        name: What users call it.
        summary: One line for a list of models.
        adapter: ``module:attribute`` of what serves the contract of the kind. It is called with
            the entry and the given weights if the model is a network, else with nothing.
        network: ``module:attribute`` of what builds the network, called with nothing; or None.
        multiple: Height and width that the network reads must be multiples of this.
        files: Names of its weight file, relative to a folder of weights, best first.
        source: Where the weights are officially published.
        licence: Of the weights.
        sha256: Of the weight file that the project's numbers were measured with, where there is
            one. Other files of the same keys and shapes are accepted as well.
        parameters: Number of parameters.
        convention: What the network reads; the adapter provides it.
    """

    kind: Kind
    name: str
    summary: str
    adapter: str
    network: str | None = None
    multiple: int = 1
    files: tuple[str, ...] = ()
    source: str = ""
    licence: str = ""
    sha256: str | None = None
    parameters: int = 0
    convention: str = "RGB in [0, 1]"

    @property
    def needs_weights(self) -> bool:
        """True if the model cannot run without a weight file."""
        return bool(self.files)

    def found(self, given: Path | None = None) -> Path | None:
        """The weight file on this machine, or None.

        Args:
            given: A file, or a folder to search, instead of the usual folders.
        """
        return weight_files.find(self.files, given)

    def load(self, given: Path | None = None) -> nn.Module:
        """Build the network and fill it, on the CPU, for inference only.

        Args:
            given: A file, or a folder to search, instead of the usual folders.

        Raises:
            ModelError: If the entry has no network, or its weights are missing or wrong.
        """
        if self.network is None:
            msg = f"model {self.name!r} has no network to load"
            raise ModelError(msg)
        path = self.found(given)
        if path is None:
            raise weight_files.missing(self.name, self.files, self.source, given)
        module = importlib.import_module(self.network.partition(":")[0])
        network: nn.Module = _resolve(self.network)()
        state = module.from_published(weight_files.read_state(path))
        weight_files.fill(network, state, name=self.name, path=path)
        return network.eval().requires_grad_(requires_grad=False)


def _rife(
    version: str,
    network: str,
    *,
    multiple: int,
    parameters: int,
    sha256: str | None = None,
    also: tuple[str, ...] = (),
) -> Entry:
    # Every version is published under the same file name, so folders or prefixes tell them apart.
    names = (
        f"rife-{version}-flownet.pkl",
        f"rife-{version}/flownet.pkl",
        f"flownet_v{version}.pkl",
    )
    return Entry(
        kind="interpolator",
        name=f"rife-{version}",
        summary=f"RIFE {version}, learned intermediate flow and occlusion",
        adapter="operators.interpolators:RifeInterpolator",
        network=f"operators.models.{network}",
        multiple=multiple,
        files=(*names, *also),
        source="https://github.com/hzwer/Practical-RIFE",
        licence="MIT",
        sha256=sha256,
        parameters=parameters,
    )


ENTRIES: tuple[Entry, ...] = (
    Entry(
        kind="flow",
        name="dis",
        summary="Dense inverse search, on the CPU, without weights",
        adapter="operators.estimators:DisFlow",
        source="https://docs.opencv.org (DISOpticalFlow)",
        licence="Apache-2.0",
        convention="8-bit grey",
    ),
    Entry(
        kind="flow",
        name="gmflow",
        summary="GMFlow, global matching at two scales",
        adapter="operators.estimators:NetworkFlow",
        network="operators.models.gmflow:GMFlow",
        multiple=32,
        files=(
            "gmflow-flownet.pkl",
            "gmflow_with_refine_sintel-3ed1cf48.pth",
            "gmflow/flownet.pkl",
        ),
        source="https://github.com/haofeixu/gmflow",
        licence="Apache-2.0",
        sha256="31fa34960d6326f231c35db9070728419dbad78b463567601dfb6b34049789ef",
        parameters=4_716_720,
    ),
    Entry(
        kind="interpolator",
        name="linear",
        summary="Linear motion along the flow of the pair, occlusions weighed; without weights",
        adapter="operators.interpolators:LinearInterpolator",
        licence="Apache-2.0",
    ),
    _rife(
        "3.9",
        "rife39:IFNet",
        multiple=64,
        parameters=5_160_980,
        sha256="b234ad8d0acfcb6d9eaf2791eb7ddebdaab58bd862b229c703f8073e56d99c29",
    ),
    _rife(
        "4.6",
        "rife4:rife_4_6",
        multiple=32,
        parameters=5_306_256,
        sha256="a222360fa1b3e794d2d5236a3b8513f4c9c09960b0742733546888930f383e56",
        also=("rife-4.x-flownet.pkl",),
    ),
    _rife("4.9", "rife4:rife_4_7", multiple=32, parameters=5_325_012),
    _rife("4.15", "rife4:rife_4_10", multiple=32, parameters=5_364_312),
    _rife("4.22", "rife4:rife_4_21", multiple=32, parameters=9_322_416),
    _rife("4.25", "rife4:rife_4_25", multiple=64, parameters=5_664_776),
    _rife("4.26", "rife4:rife_4_25", multiple=64, parameters=5_664_776),
)


def entries(kind: Kind | None = None) -> Sequence[Entry]:
    """All models, or those of one kind, in the order of the table."""
    return [entry for entry in ENTRIES if kind in (None, entry.kind)]


def entry(kind: Kind, name: str) -> Entry:
    """The model of a name.

    Raises:
        ModelError: If there is none; names the nearest one.
    """
    known = {candidate.name: candidate for candidate in entries(kind)}
    if name in known:
        return known[name]
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    msg = f"{kind} must be one of {', '.join(known)}, got {name!r}{hint}"
    raise ModelError(msg)


def flow_estimator(name: str, weights: Path | None = None) -> FlowEstimator:
    """An estimator of optical flow, not yet set up.

    Args:
        name: One of ``entries("flow")``.
        weights: A weight file, or a folder to search for it, instead of the usual folders.

    Raises:
        ModelError: If the name is unknown. Missing weights are reported by ``setup``, on the
            machine where the model is to run.
    """
    estimator: FlowEstimator = _adapted(entry("flow", name), weights)
    return estimator


def interpolator(name: str, weights: Path | None = None) -> Interpolator:
    """An interpolator, not yet set up.

    Args:
        name: One of ``entries("interpolator")``.
        weights: A weight file, or a folder to search for it, instead of the usual folders.

    Raises:
        ModelError: If the name is unknown. Missing weights are reported by ``setup``, on the
            machine where the model is to run.
    """
    found: Interpolator = _adapted(entry("interpolator", name), weights)
    return found


def _adapted(model: Entry, weights: Path | None) -> Any:
    adapter = _resolve(model.adapter)
    return adapter() if model.network is None else adapter(model, weights)


def _resolve(reference: str) -> Any:
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)
