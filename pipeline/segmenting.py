"""The segments of a run: which there are, and where they are kept; the same for every runner."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from operators.timeline import segment_length, shots
from pipeline.io.endpoint import SegmentedSink
from pipeline.io.segments import SegmentStore, segment_folder
from pipeline.stage import Pipeline


def frames_of_segment(num_frames: int, halo: int | None, segment_frames: int | None) -> int:
    """Frames of a segment.

    Args:
        num_frames: Frames of the video.
        halo: Frames on each side that outputs depend on; None keeps the video whole.
        segment_frames: What the user wants, or None.
    """
    if halo is None:
        return max(1, num_frames)
    return segment_frames or segment_length(halo)


def find_cuts(pipeline: Pipeline) -> list[int]:
    """Look for the first frame of each new shot; may take as long as decoding the video.

    Raises:
        InputError: If the source cannot be read, or does not have the cuts that it is told to.
    """
    return [] if pipeline.cuts is None else pipeline.cuts.find(pipeline.source)


def shots_of(
    store: SegmentStore, num_frames: int, find: Callable[[], Sequence[int]]
) -> list[range]:
    """The shots of a video; what an interrupted run found is not looked for again.

    Args:
        store: The segments, opened. It remembers the cuts.
        num_frames: Frames of the video.
        find: Looks for the cuts, as :func:`find_cuts` does.
    """
    cuts = store.cuts()
    if cuts is None:
        cuts = tuple(find())
        store.keep_cuts(cuts)
    return shots(num_frames, cuts)


def store_of(
    sink: SegmentedSink, key: str | None, segment_frames: int, run: str = ""
) -> SegmentStore:
    """Where the segments of an output are kept while it is made.

    Args:
        sink: The output.
        key: Names settings and input; None for a name that no other run will have.
        segment_frames: Frames of a segment: segments of another length are other segments.
        run: Names the run among those that resume one another, whoever of it opens the store; empty
            for a name that no other will have.
    """
    run = run or secrets.token_hex(8)
    folder = segment_folder(Path(sink.name))
    store_key = f"{key or f'once-{run}'}-{segment_frames}"
    return SegmentStore(folder, store_key, sink.segment_suffix, name=sink.name, run=run)


@contextmanager
def opened(store: SegmentStore, *, keep: bool) -> Iterator[None]:
    """Hold a store open; if the run fails, leave only what a later run can use.

    Args:
        store: The segments.
        keep: Whether a later run may ask for them.
    """
    with store:
        store.discard_others()
        try:
            yield
        except BaseException:
            if not keep or not store.has_claims():
                store.remove()
            raise
