"""Real clips, masks and images, read as they are."""

import pytest
import torch
from shared import shared_path

from pipeline.errors import InputError
from pipeline.io.images import ImageFolderSource
from pipeline.io.masks import MaskedSource
from pipeline.io.video_source import VideoSource

pytestmark = pytest.mark.shared


def test_a_clip_without_its_index_is_refused():
    with pytest.raises(InputError, match=r"bbb_truncated.mp4 must be a readable video"):
        VideoSource(shared_path("clips/derived/bbb_truncated.mp4")).info()


@pytest.mark.parametrize("first", [1, 130, 389])
def test_a_seek_into_a_real_clip_finds_the_frame_of_that_number(first: int):
    source = VideoSource(shared_path("clips/torchcodec/nasa_13013.mp4"), size=(90, 160))
    (sought,) = source.frames(first, first + 1)

    for frame in source.frames(0, first + 1):
        slow = frame
    assert sought.pts == slow.pts
    assert torch.equal(sought.image, slow.image)


def test_davis_frames_and_their_masks_are_joined():
    frames = ImageFolderSource(shared_path("clips/davis-bmx-trees/frames"), frames=4)
    masked = MaskedSource(frames, shared_path("clips/davis-bmx-trees/masks"))

    shares = [frame.mask.float().mean().item() for frame in masked.frames()]

    assert len(shares) == 4
    assert all(0.001 < share < 0.5 for share in shares)
