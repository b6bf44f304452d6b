"""The wire form: what it keeps exactly, what it rounds, and that twice is once."""

import pickle
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from streams import frames_of, textured

from operators.frame import Frame, FramePair, Interval, PairFlow, unread, with_changes
from pipeline.wire import Packed, Wire, pack, unpack

CPU = torch.device("cpu")


def interval() -> Interval:
    generator = torch.Generator().manual_seed(3)
    return Interval(
        index=7,
        stride=4,
        residues=(0, 1, 3),
        images=torch.rand(3, 3, 4, 5, generator=generator),
        num_present=2,
        pts=123456789,
        time_base=Fraction(1001, 30000),
        masks=torch.rand(3, 1, 4, 5, generator=generator) > 0.5,
        flow=PairFlow(
            40 * torch.randn(2, 4, 5, generator=generator),
            torch.randn(2, 4, 5, generator=generator),
        ),
        sources=torch.rand(1, 3, 4, 5, generator=generator),
        is_halo=True,
    )


def test_pictures_are_rounded_to_levels_and_everything_else_is_kept() -> None:
    item = interval()

    crossed = unpack(pack(item, Wire(flow="float32")), CPU)

    assert isinstance(crossed, Interval)
    for name in ("index", "stride", "residues", "num_present", "pts", "time_base", "is_halo"):
        assert getattr(crossed, name) == getattr(item, name)
    levels = np.rint(item.images.numpy() * 255)
    np.testing.assert_allclose(crossed.images.numpy(), levels / 255, atol=1e-7)
    assert torch.equal(crossed.masks, item.masks)
    assert torch.equal(crossed.flow.forward, item.flow.forward)
    assert torch.equal(crossed.flow.backward, item.flow.backward)


@pytest.mark.parametrize("wire", [Wire(), Wire(picture="float16"), Wire(picture="float32")])
def test_crossing_twice_is_crossing_once(wire: Wire) -> None:
    once = unpack(pack(interval(), wire), CPU)
    twice = unpack(pack(once, wire), CPU)

    for name in ("images", "sources", "masks"):
        assert torch.equal(getattr(once, name), getattr(twice, name))
    assert torch.equal(once.flow.forward, twice.flow.forward)


def test_half_float_flow_is_within_a_thousandth_of_its_size() -> None:
    item = interval()

    crossed = unpack(pack(item, Wire()), CPU)

    torch.testing.assert_close(crossed.flow.forward, item.flow.forward, rtol=1e-3, atol=1e-6)


def test_what_is_no_picture_is_neither_clamped_nor_rounded() -> None:
    depth = replace(interval(), images=torch.full((3, 1, 4, 5), 41.7), is_picture=False)

    crossed = unpack(pack(depth, Wire()), CPU)

    assert torch.equal(crossed.images, depth.images)
    assert not crossed.is_picture


def test_a_packed_item_is_contiguous_and_survives_pickling() -> None:
    packed = pack(interval(), Wire())

    copied: Packed = pickle.loads(pickle.dumps(packed))  # noqa: S301 - our own bytes

    assert all(array.flags.c_contiguous for array in packed.arrays.values())
    assert copied.facts == packed.facts
    for name, array in packed.arrays.items():
        np.testing.assert_array_equal(copied.arrays[name], array)


@pytest.mark.parametrize("wire", [Wire(), Wire("float32", "float32", "float32")])
def test_read_only_arrays_are_left_alone(wire: Wire) -> None:
    packed = pack(interval(), wire)
    for array in packed.arrays.values():
        array.flags.writeable = False
    before = {name: array.copy() for name, array in packed.arrays.items()}

    item = unpack(packed, CPU)
    item.masks.logical_not_()
    item.images.add_(1)
    item.flow.forward.add_(1)

    for name, array in packed.arrays.items():
        np.testing.assert_array_equal(array, before[name])


def test_bytes_are_counted() -> None:
    frame = frames_of([textured(4, 5)])[0]

    assert pack(frame, Wire()).num_bytes == 3 * 4 * 5
    assert pack(interval(), Wire()).num_bytes == 3 * 60 + 3 * 20 + 60 + 2 * 2 * 20 * 2


def test_a_frame_keeps_its_exact_time() -> None:
    frame = Frame(3, textured(2, 2), pts=2**40 + 1, time_base=Fraction(1, 90000))

    crossed = unpack(pack(frame, Wire()), CPU)

    assert crossed.pts * crossed.time_base == Fraction(2**40 + 1, 90000)


def test_pairs_are_made_where_they_are_read() -> None:
    frame = frames_of([textured(2, 2)])[0]

    with pytest.raises(TypeError, match="got a FramePair"):
        pack(FramePair(frame, None), Wire())


def test_sixteen_bit_levels_keep_what_ten_bits_say() -> None:
    ten_bits = torch.arange(1024, dtype=torch.float32).reshape(1, 32, 32).expand(3, -1, -1) / 1023
    frame = replace(frames_of([textured(2, 2)])[0], image=ten_bits)

    crossed = unpack(pack(frame, Wire(picture="uint16")), CPU)

    assert isinstance(crossed, Frame)
    assert pack(frame, Wire(picture="uint16")).num_bytes == 2 * 3 * 1024
    assert torch.equal((crossed.image * 1023).round(), ten_bits * 1023)


def test_what_nobody_reads_is_passed_on_as_the_array_that_came() -> None:
    packed = pack(interval(), Wire())
    item = unpack(packed, CPU)
    assert isinstance(item, Interval)

    changed = with_changes(item, images=torch.zeros(3, 1, 4, 5), sources=unread(item, "images")[:1])
    again = pack(changed, Wire())

    assert again.arrays["flow"] is packed.arrays["flow"]
    assert again.arrays["masks"] is packed.arrays["masks"]
    assert np.shares_memory(again.arrays["sources"], packed.arrays["images"])
    np.testing.assert_array_equal(again.arrays["sources"], packed.arrays["images"][:1])
    assert not again.arrays["images"].any()


def test_what_was_read_and_changed_in_place_is_packed_anew() -> None:
    packed = pack(interval(), Wire())
    item = unpack(packed, CPU)
    assert isinstance(item, Interval)

    item.images.zero_()

    assert not pack(item, Wire()).arrays["images"].any()
    assert packed.arrays["images"].any()
