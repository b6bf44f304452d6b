"""What is remembered of every frame is a few bytes: a day of video has millions of frames."""

import tracemalloc
from bisect import bisect_right
from collections.abc import Callable

import pytest

from pipeline.io.clock import Stamps, repaired_stamps
from pipeline.io.frame_index import FrameIndex, ShownPackets, index_of_packets

NUM_FRAMES = 200_000


def peak_bytes_a_frame(work: Callable[[], object]) -> float:
    """The most memory that Python held during some work, per frame."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        work()
        return (tracemalloc.get_traced_memory()[1] - before) / NUM_FRAMES
    finally:
        tracemalloc.stop()


def shown(num_frames: int, gop: int) -> ShownPackets:
    """Packets of a film in which frames between key frames are decoded in changed pairs."""
    packets = ShownPackets()
    for number in range(num_frames):
        place = number % gop
        has_pair = 0 < place < gop - (gop % 2 == 0) and number + 1 < num_frames
        moved = (1 if place % 2 else -1) if has_pair else 0
        packets.append(3000 * (number + moved), is_key=place == 0)
    return packets


@pytest.mark.parametrize("gop", [1, 12, 250])
def test_the_index_of_a_long_film_takes_few_bytes_for_each_frame(gop: int):
    kept: list[FrameIndex | None] = []

    used = peak_bytes_a_frame(lambda: kept.append(index_of_packets("h264", shown(NUM_FRAMES, gop))))

    (index,) = kept
    assert index is not None
    assert len(index.pts) == NUM_FRAMES
    assert used <= 24


def test_stamps_of_a_decoded_film_take_few_bytes_for_each_frame():
    stamps = Stamps(3000 * number for number in range(NUM_FRAMES))
    broken = Stamps(None if number % 7 == 3 else 3000 * number for number in range(NUM_FRAMES))

    assert peak_bytes_a_frame(lambda: repaired_stamps(stamps, 3000)) <= 24
    assert peak_bytes_a_frame(lambda: repaired_stamps(broken, 3000)) <= 40


def test_the_index_is_that_of_a_plain_sort():
    packets = shown(100, 10)
    by_hand = sorted(zip(packets.stamps, packets.are_keys, strict=True))
    keys = [number for number, (_, is_key) in enumerate(by_hand) if is_key]

    index = index_of_packets("h264", packets)

    assert index is not None
    assert list(index.pts) == [stamp for stamp, _ in by_hand]
    assert list(index.key_frames) == keys == list(range(0, 100, 10))
    for number in range(100):
        assert index.key_frame_before(number) == keys[bisect_right(keys, number) - 1]


@pytest.mark.parametrize(
    ("codec", "packets"),
    [
        ("h264", []),
        ("vp8", [(0, True), (1, False)]),
        ("h264", [(0, True), (None, False)]),
        ("h264", [(0, True), (1, False), (1, False)]),
        ("h264", [(0, False), (1, True)]),
        ("h264", [(1, True), (0, False)]),
    ],
    ids=["none", "codec", "missing", "repeated", "no-key", "before-the-key"],
)
def test_packets_that_do_not_tell_give_no_index(codec: str, packets: list[tuple[int | None, bool]]):
    given = ShownPackets()
    for pts, is_key in packets:
        given.append(pts, is_key=is_key)

    assert index_of_packets(codec, given) is None


def test_stamps_remember_which_are_missing():
    stamps = Stamps([5, None, -7])

    assert list(stamps) == [stamps[0], stamps[1], stamps[2]] == [5, None, -7]
    assert list(stamps.sorted()) == [None, -7, 5]
    assert not stamps.are_ascending
    assert Stamps([None, None]).are_missing
    assert not stamps.are_missing


def test_times_beyond_what_can_be_counted_are_an_error():
    with pytest.raises(OverflowError):
        repaired_stamps(Stamps([2**63 - 2, None, None]), 40)
