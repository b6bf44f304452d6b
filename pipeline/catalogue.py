"""The list of models: what there is, under which licence, and where its weights are."""

from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from operators.models import registry, weights
from operators.models.entry import Entry
from operators.translators.load import ENTRY_POINTS
from pipeline.table import aligned

# Where the built-in translators are not networks of the registry.
BUILT_IN_TRANSLATORS = (
    ("styles:0..25", "26 built-in styles; styles:3=0.5,12=0.5 blends them"),
    ("inpaint:telea", "OpenCV inpainting after Telea, for masked videos"),
    ("inpaint:ns", "OpenCV inpainting by Navier-Stokes, for masked videos"),
    ("identity", "nothing is changed"),
    ("PATH.onnx, PATH.pt, PATH.pt2", "a model of yours: ONNX, TorchScript, torch.export"),
    ("module:attr, file.py:attr", "a model of yours: Python"),
)


@dataclass(frozen=True, slots=True)
class Listed:
    """A model that can be asked for.

    Attributes:
        kind: ``flow``, ``interpolator``, ``translator``, ``recurrent`` or ``evaluation``.
        name: As options have it.
        summary: What it is.
        licence: Of its weights, or of its code where it has none; empty where that is the user's.
        files: Names under which its weights are looked for.
        source: Where they are published.
        found: The weight file on this machine, or None.
        parameters: Of the network; 0 where it has none of its own.
        convention: What the network reads; HyperCon provides it.
    """

    kind: str
    name: str
    summary: str
    licence: str = ""
    files: tuple[str, ...] = ()
    source: str = ""
    found: Path | None = None
    parameters: int = 0
    convention: str = ""

    @property
    def state(self) -> str:
        """What matters to somebody who wants to use it now."""
        if not self.files:
            return "needs no weights"
        if self.found is not None:
            return f"found {self.found}"
        return f"missing {self.files[0]}, from {self.source}"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All models, and the folders that are searched for weights.

    Attributes:
        models: In the order of flow, interpolation, translation, recurrence.
        search_path: First to last.
    """

    models: tuple[Listed, ...]
    search_path: tuple[Path, ...]

    def lines(self) -> list[str]:
        """The list for people."""
        rows = [("kind", "name", "licence", "weights", "what")]
        rows += [(m.kind, m.name, m.licence, m.state, m.summary) for m in self.models]
        folders = ", ".join(str(folder) for folder in self.search_path)
        hint = (
            f"weights are looked for in: {folders} ({weights.SEARCH_VARIABLE} names more); "
            f"hypercon models get NAME fetches them"
        )
        return [*aligned(rows), "", hint]


def catalogue(given: Path | None = None) -> Catalogue:
    """List what can be asked for by name on this machine.

    Args:
        given: A folder that is searched for weights instead of the usual ones.
    """
    networks = [_listed(entry, given) for entry in registry.entries()]
    built_in = [Listed("translator", name, summary) for name, summary in BUILT_IN_TRANSLATORS]
    plugins = [
        Listed("translator", point.name, f"entry point {point.value}")
        for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name)
    ]
    folders = [given] if given is not None else weights.search_folders()
    # What users bring are translators, and stand among them.
    later = [model for model in networks if model.kind in {"recurrent", "evaluation"}]
    others = [model for model in networks if model not in later]
    return Catalogue((*others, *built_in, *plugins, *later), tuple(folders))


def _listed(entry: Entry, given: Path | None) -> Listed:
    # Of weights in two files, the one that is missing is what the user must know of.
    halves = [half for half in (entry, entry.beside) if half is not None and half.needs_weights]
    shown = next((half for half in halves if half.found(given) is None), entry)
    return Listed(
        kind=entry.kind,
        name=entry.name,
        summary=entry.summary,
        licence=entry.licence,
        files=shown.files,
        source=shown.source,
        found=shown.found(given) if shown.needs_weights else None,
        parameters=entry.parameters,
        convention=entry.convention,
    )
