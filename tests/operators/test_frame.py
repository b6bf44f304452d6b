"""Frames and intervals: what they refuse, and one as the other."""

import pickle
from fractions import Fraction

import pytest
import torch

from operators.errors import FrameError
from operators.frame import Frame, Interval, frame_of, interval_of, with_changes

TIME_BASE = Fraction(1001, 30000)


def an_interval(num_images: int, residues: tuple[int, ...], num_present: int) -> Interval:
    return Interval(
        index=0,
        stride=4,
        residues=residues,
        images=torch.zeros(num_images, 3, 4, 6),
        num_present=num_present,
        pts=0,
        time_base=TIME_BASE,
    )


@pytest.mark.parametrize("with_mask_and_guide", [False, True])
def test_a_frame_survives_as_an_interval_of_one_image(with_mask_and_guide: bool):
    image, guide = torch.rand(2, 3, 4, 6).unbind()
    mask = torch.rand(1, 4, 6) < 0.5
    frame = Frame(
        index=7,
        image=image,
        pts=-12,
        time_base=TIME_BASE,
        mask=mask if with_mask_and_guide else None,
        guide=guide if with_mask_and_guide else None,
        is_halo=True,
        is_picture=False,
    )
    interval = interval_of(frame)
    assert interval.images.shape == (1, 3, 4, 6)
    assert (interval.residues, interval.num_present, interval.stride) == ((0,), 1, 1)
    back = frame_of(interval)
    assert torch.equal(back.image, image)
    if with_mask_and_guide:
        assert torch.equal(back.mask, mask)
        assert torch.equal(back.guide, guide)
    else:
        assert back.mask is None
        assert back.guide is None
    assert (back.index, back.pts, back.time_base) == (7, -12, TIME_BASE)
    assert (back.is_halo, back.is_picture) == (True, False)


def test_the_frame_of_an_interval_is_its_original_one():
    images = torch.rand(3, 3, 4, 6)
    interval = Interval(
        index=2,
        stride=4,
        residues=(0, 1, 3),
        images=images,
        num_present=3,
        pts=5,
        time_base=TIME_BASE,
    )
    assert torch.equal(frame_of(interval).image, images[0])


@pytest.mark.parametrize("shape", [(4, 6), (1, 3, 4, 6)])
def test_a_frame_refuses_an_image_of_other_than_three_axes(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"Frame.image must be \(C, H, W\), got"):
        Frame(index=0, image=torch.zeros(shape), pts=0, time_base=TIME_BASE)


@pytest.mark.parametrize("time_base", [Fraction(0), Fraction(-1, 25)])
def test_a_frame_refuses_time_that_stands_still_or_runs_backwards(time_base: Fraction):
    with pytest.raises(ValueError, match=f"Frame.time_base must be positive, got {time_base}"):
        Frame(index=0, image=torch.zeros(3, 4, 6), pts=0, time_base=time_base)


def test_an_interval_refuses_more_or_fewer_images_than_residues():
    for num_images in (1, 3):
        with pytest.raises(ValueError, match="one image for each of 2 residues, got"):
            an_interval(num_images, residues=(0, 1), num_present=1)


@pytest.mark.parametrize("num_present", [0, 3])
def test_an_interval_refuses_to_hold_nothing_or_more_than_it_has(num_present: int):
    with pytest.raises(ValueError, match=f"num_present must be 1 to 2, got {num_present}"):
        an_interval(2, residues=(0, 1), num_present=num_present)


def test_an_interval_may_hold_only_its_original_frame():
    assert an_interval(2, residues=(0, 1), num_present=1).num_present == 1


def test_a_frame_error_names_the_frame_and_survives_pickling():
    error = pickle.loads(pickle.dumps(FrameError("output must be finite, got NaN", frame=118)))  # noqa: S301 - our own bytes
    assert str(error) == "frame 118: output must be finite, got NaN"
    assert error.frame == 118


def test_changes_leave_the_original_alone_and_are_held_to_the_same_rules():
    interval = an_interval(2, (0, 1), 2)

    changed = with_changes(interval, index=5, is_halo=True)

    assert (changed.index, changed.is_halo, interval.index, interval.is_halo) == (5, True, 0, False)
    assert changed.images is interval.images
    with pytest.raises(ValueError, match=r"must be \(K, C, H, W\)"):
        with_changes(interval, images=torch.zeros(3, 4, 6))
    with pytest.raises(TypeError, match=r"must have what is changed, got \['imgaes'\]"):
        with_changes(interval, imgaes=interval.images)
