"""Every method of the paper's tables runs on Ray as it does in one process, also over cuts."""

from collections.abc import Callable
from pathlib import Path

import pytest
from agreement import assert_same
from parts import Wavy
from seeded import save_seeded
from streams import ArraySink, ListSource, frames_of, moving, moving_masks, read_arrays

from operators.models import registry
from pipeline.local_runner import LocalRunner
from pipeline.ray_runner import RayRunner
from pipeline.ray_settings import RaySettings
from pipeline.recipes import blind_consistency, framewise, hypercon, vinet
from pipeline.stage import Pipeline, Stage

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300), pytest.mark.usefixtures("cluster")]

METHODS: dict[str, Callable[[Path], tuple[Stage, ...]]] = {
    "framewise": lambda _: framewise(Wavy()),
    "blind-consistency": lambda weights: blind_consistency(Wavy(), weights=weights),
    "vinet": lambda weights: vinet("vinet-256", weights=weights),
    "hypercon-mean": lambda _: hypercon(Wavy(), insert=2, radius=2),
    "hypercon-median": lambda _: hypercon(Wavy(), insert=1, radius=1, pool="median", masked=True),
}


class CutAt:
    """Knows one cut."""

    def __init__(self, frame: int) -> None:
        self._frame = frame

    def find(self, source: object) -> list[int]:
        """The cut."""
        return [self._frame]


@pytest.mark.parametrize("method", METHODS)
def test_a_method_gives_on_ray_what_it_gives_in_one_process(tmp_path: Path, method: str) -> None:
    weights = tmp_path / "weights"
    weights.mkdir()
    save_seeded(registry.entry("recurrent", "lai"), weights)
    if method == "vinet":
        save_seeded(registry.entry("recurrent", "vinet-256"), weights)
    images, masks = moving(9, 64, 64), moving_masks(9, 64, 64)
    needs_masks = method in {"vinet", "hypercon-median"}
    frames = frames_of(images, masks if needs_masks else None)
    paths = [tmp_path / name for name in ("local.npz", "ray.npz")]
    pipelines = [
        Pipeline(ListSource(frames), METHODS[method](weights), ArraySink(path), cuts=CutAt(4))
        for path in paths
    ]

    LocalRunner("cpu", segment_frames=3).run(pipelines[0])
    RayRunner(RaySettings(segment_frames=3, chunk_frames=2, device="cpu")).run(pipelines[1])

    assert_same(paths[1], read_arrays(paths[0]))
