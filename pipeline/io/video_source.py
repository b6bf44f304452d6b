"""Frames of a video file, in presentation order, at their exact times."""

import logging
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer

from operators.frame import Frame
from pipeline.errors import InputError
from pipeline.io.decoding import DamagedPictureError, kept_pictures, pictures, reason
from pipeline.io.endpoint import StreamInfo, require_range
from pipeline.io.extent import Extent
from pipeline.io.frame_index import FrameIndex
from pipeline.io.hardware import OFF, accelerator, require_device
from pipeline.io.hdr import require_standard_range
from pipeline.io.kept import Kept
from pipeline.io.pixels import ImageReader
from pipeline.io.probe import VideoProbe, open_input
from pipeline.io.survey import Survey, survey_damage, survey_strictly
from pipeline.io.thumbnails import Thumbnail, Thumbnailer

log = logging.getLogger(__name__)

# Timestamps, in ticks, and what was decoded.
_Pictures = Iterator[tuple[int, av.VideoFrame]]


class VideoSource:
    """Decodes the best video stream of a file (cover art is not video).

    Pictures are converted to RGB with the matrix and the range of the stream; unspecified means
    BT.709 from 720 lines and BT.601 below, limited range. What the file says of turning and
    mirroring is done, so that frames are upright. Timestamps are those of the file; where one is
    missing or does not ascend see :func:`pipeline.io.clock.repaired_stamps`.

    Args:
        path: The file.
        start: Number of the first frame to yield.
        frames: How many frames to yield at most; None for all.
        size: Height and width to scale to, bicubic; None for the size of the stream.
        keep_damaged: True to yield every frame that can be decoded and to say in ``notes`` what
            is missing; otherwise damage raises. Frames that cannot be decoded have no number.
        keep_hdr: True to yield the numbers of a high dynamic range as they are; otherwise it is
            refused.
        hwaccel: ``cuda`` or ``cuda:N`` to decode on that device, ``auto`` to do so where there is
            one. Damage does not show there, so it decodes only what software has seen to be
            whole: after ``thumbnails()`` was read to its end. Frames are the same.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        start: int = 0,
        frames: int | None = None,
        size: tuple[int, int] | None = None,
        keep_damaged: bool = False,
        keep_hdr: bool = False,
        hwaccel: str = OFF,
    ) -> None:
        require_range(start, frames, size)
        self.path = Path(path)
        self.name = str(path)
        self._start = start
        self._limit = frames
        self._size = size
        self._keeps_damaged = keep_damaged
        self._keeps_hdr = keep_hdr
        self._hwaccel = hwaccel
        self._is_tail_whole = False
        self._is_seen_whole = False

    def info(self) -> StreamInfo:
        """Look at the container and at the first picture, which alone knows rotation and colour.

        Raises:
            InputError: If there is nothing there that can be read as video, or its dynamic range
                is high and is not to be kept.
            UsageError: If a device is asked for by name that is not there.
        """
        require_device(self._hwaccel)
        if not self._keeps_hdr:
            require_standard_range(self.name, self._probe.color)
        return self._info

    def count(self) -> int:
        """Exactly how many frames ``frames()`` yields: packets are counted, not what is claimed.

        The file is decoded only where packets do not tell how many frames they hold, or to see
        what can be kept of it.

        Raises:
            InputError: If the file has no frame of number ``start``; unless damage is kept, also
                if it cannot be read to its end, lacks a stretch, ends clearly before the end
                that it claims, or cannot be decoded from its last key frame on.
        """
        survey = self._survey
        found = len(survey.index.pts)
        if found <= self._start:
            if not self._keeps_damaged:
                self._require_complete(survey.extent, found)
            msg = f"{self.name} must have more than {self._start} frames, got {found}"
            raise InputError(msg)
        end = found if self._limit is None else min(found, self._start + self._limit)
        if not self._keeps_damaged:
            if end == found:
                self._require_complete(survey.extent, found)
            last = None if end == found else survey.index.pts[end - 1]
            self._require_whole(survey.extent, last)
            if last is None:
                self._require_whole_tail()
        return end - self._start

    def notes(self) -> tuple[str, ...]:
        """What was repaired or is missing in the whole file, a line each.

        Complete after ``count()``, or after ``frames()`` was read to its end.
        """
        return self._survey.notes if self._is_surveyed else ()

    def missing_before(self, index: int) -> int:
        """Frames known to be missing from the file before a frame of this source."""
        places = self._survey.places if self._keeps_damaged else ()
        number = self._start + index
        return places[number] - number if places else 0

    def frames(self, first: int = 0, stop: int | None = None) -> Iterator[Frame]:
        """Decode frames ``first`` up to but not including ``stop``.

        Fewer frames are yielded where the video has fewer. Timestamps are those of the whole
        file: the first frame of a later ``start`` keeps its own.

        Args:
            first: Number of the first frame, from zero at the ``start`` of this source.
            stop: Number after the last frame, or None for all.

        Yields:
            Frames in presentation order, each ``image`` ``(3, H, W)`` float32 RGB in ``[0, 1]``.

        Raises:
            InputError: Naming the file, the frame and the time, where decoding fails; naming
                both counts, where the file ends clearly before the end that it claims.
        """
        info = self.info()
        bounds = [bound for bound in (stop, self._limit) if bound is not None]
        end = min(bounds, default=None)
        if end is not None and end <= first:
            return
        orientation = self._probe.orientation
        reader = ImageReader(info.color, self._size, orientation.quarter_turns)
        length = None if end is None else end - first
        number = first
        for pts, picture in islice(self._decode(self._start + first, self._device), length):
            self._require_size(picture, self._start + number, pts * info.time_base)
            yield Frame(number, orientation.mirror(reader(picture)), pts, info.time_base)
            number += 1
        if number == first == 0:
            msg = f"{self.name} must have more than {self._start} frames to start at that number"
            raise InputError(msg)

    def thumbnails(self, height: int, width: int) -> Iterator[Thumbnail]:
        """Every frame of this source, in order, small, and as it is stored: not turned.

        Raises:
            InputError: As ``frames`` does.
        """
        shrink = Thumbnailer(height, width)
        for _, picture in islice(self._decode(self._start), self._limit):
            yield shrink(picture)
        self._is_seen_whole = not (self._keeps_damaged and self._survey.is_damaged)

    @property
    def _device(self) -> HWAccel | None:
        probe = self._probe
        is_sure = self._is_seen_whole and self._index.is_exact
        return accelerator(self._hwaccel, probe.codec, probe.pix_fmt) if is_sure else None

    @Kept
    def _probe(self) -> VideoProbe:
        return VideoProbe(self.path, self.name, keep_damaged=self._keeps_damaged)

    @Kept
    def _survey(self) -> Survey:
        survey = survey_damage if self._keeps_damaged else survey_strictly
        return survey(self.path, self.name, self._probe)

    @property
    def _is_surveyed(self) -> bool:
        return "_survey" in self.__dict__

    @property
    def _index(self) -> FrameIndex:
        return self._survey.index

    @Kept
    def _info(self) -> StreamInfo:
        probe = self._probe
        height, width = self._size or probe.upright_size
        span_s = self._span_s()
        return StreamInfo(
            width=width,
            height=height,
            time_base=probe.time_base,
            rate=probe.rate,
            num_frames=self._num_frames(probe.num_frames),
            origin=self.path,
            start=self._start,
            span_s=span_s,
            end_s=(span_s and span_s[1]) or probe.end_s,
            color=probe.color,
            tags=probe.tags,
            depth=probe.depth,
            pix_fmt=probe.pix_fmt,
            light=probe.light,
            display_aspect=probe.display_aspect,
            keep_damaged=self._keeps_damaged,
        )

    def _num_frames(self, claimed: int | None) -> int | None:
        if claimed is None:
            return None
        left = max(0, claimed - self._start)
        return left if self._limit is None else min(left, self._limit)

    def _span_s(self) -> tuple[Fraction, Fraction | None] | None:
        if self._start == 0 and self._limit is None:
            return None
        pts = self._index.pts
        if self._start >= len(pts):
            msg = f"{self.name} must have more than {self._start} frames, got {len(pts)}"
            raise InputError(msg)
        end = len(pts) if self._limit is None else self._start + self._limit
        time_base = self._probe.time_base
        return pts[self._start] * time_base, pts[end] * time_base if end < len(pts) else None

    def _decode(self, first: int, device: HWAccel | None = None) -> _Pictures:
        """Timestamps and pictures from frame ``first`` on; software does what no device does."""
        if self._keeps_damaged:
            # What is missing must be known before anything is numbered.
            _ = self._survey
        number = first
        for item in () if device is None else self._decode_on(device, first):
            number += 1
            yield item
        if number > 0 and self._index.is_exact and number < len(self._index.pts):
            for item in self._decode_after_seek(number):
                number += 1
                yield item
        if number > first and number == len(self._index.pts):
            return
        with open_input(self.path, self.name) as container:
            yield from islice(self._decode_all(container), number, None)

    def _decode_on(self, device: HWAccel, first: int) -> _Pictures:
        """The same by a device, as long as it gives what the index lists, in its size."""
        try:
            for stamp, picture in self._decode_after_seek(first, device):
                if not self._probe.has_size_of(picture):
                    return
                yield stamp, picture
        except InputError as error:
            # Software has decoded the same: this is not the fault of the file.
            self._hwaccel = OFF
            log.warning("decoding on a device failed, software goes on: %s", error)

    def _decode_after_seek(self, first: int, device: HWAccel | None = None) -> _Pictures:
        """The same from the key frame before, as long as what comes is what the index lists.

        A container that cannot seek there, or that begins to give other frames, ends it.
        """
        pts = self._index.pts
        number = key_frame = self._index.key_frame_before(first)
        with open_input(self.path, self.name, device) as container:
            try:
                container.seek(pts[key_frame], stream=self._probe.stream_of(container))
            except av.FFmpegError:
                return
            is_alone = device is not None
            for stamp, picture in self._stamped(container, key_frame, with_one_thread=is_alone):
                if number == len(pts) or stamp != pts[number]:
                    return
                if number >= first:
                    yield pts[number], picture
                number += 1

    def _decode_all(self, container: InputContainer) -> _Pictures:
        """Timestamp and picture of all frames of the file."""
        index = self._index if self._is_surveyed else None
        extent = Extent(container, self.path)
        number = 0
        previous: int | None = None
        for stamp, picture in self._stamped(container, 0, extent):
            if index is None and (stamp is None or (previous is not None and stamp <= previous)):
                # The rule by which timestamps are repaired looks ahead.
                index = self._index
            if index is not None:
                self._require_listed(index, number, stamp)
            previous = stamp if index is None else index.pts[number]
            yield previous or 0, picture
            number += 1
        if self._keeps_damaged:
            return
        if index is not None:
            self._require_listed(index, number, None)
        self._require_complete(extent, number)
        self._require_whole(extent, None)
        self._require_whole_tail()

    def _stamped(
        self,
        container: InputContainer,
        number: int,
        extent: Extent | None = None,
        *,
        with_one_thread: bool = False,
    ) -> Iterator[tuple[int | None, av.VideoFrame]]:
        """Timestamps as they are, and pictures, from where the container stands.

        Args:
            container: Opened and perhaps moved.
            number: What to call the first frame in messages.
            extent: Told of every packet.
            with_one_thread: As for ``pictures``.
        """
        probe = self._probe
        stream = probe.stream_of(container)
        watch = (extent or Extent(container)).watch
        if self._keeps_damaged and self._survey.is_damaged:
            decoded = kept_pictures(container, stream, watch)
        else:
            decoded = pictures(container, stream, watch, with_one_thread=with_one_thread)
        moment_s = float(self._index.pts[number - 1] * probe.time_base) if number > 0 else 0.0
        try:
            for stamp, picture in decoded:
                yield stamp, picture
                moment_s = moment_s if stamp is None else float(stamp * probe.time_base)
                number += 1
        except (av.FFmpegError, DamagedPictureError) as error:
            raise InputError(self._cannot_decode(number, moment_s, reason(error))) from error

    def _cannot_decode(self, number: int, moment_s: float, why: str) -> str:
        return f"{self.name} cannot be decoded at frame {number}, after {moment_s:.3f} s: {why}"

    def _require_listed(self, index: FrameIndex, number: int, stamp: int | None) -> None:
        """Require that a decoded frame is the one of that number; None for the end."""
        wanted = index.pts[number] if number < len(index.pts) else None
        is_listed = stamp == wanted if index.is_exact else stamp is None or wanted is not None
        if not is_listed:
            moment_s = float(index.pts[max(0, number - 1)] * self._probe.time_base)
            raise InputError(self._cannot_decode(number, moment_s, "the decoder gave no picture"))

    def _require_complete(self, extent: Extent, num_frames: int) -> None:
        if not extent.is_complete:
            claimed = self._probe.claimed_frames(extent.length_s)
            raise InputError(extent.claim(self.name, num_frames, claimed))

    def _require_whole(self, extent: Extent, last: int | None) -> None:
        """Require that nothing is missing up to the frame with this timestamp; None for all."""
        time_base = self._probe.time_base
        until_s = (extent.reached_s or Fraction(0)) if last is None else last * time_base
        breach = extent.breach(self.name, until_s)
        if breach is not None:
            raise InputError(breach)

    def _require_whole_tail(self) -> None:
        """Require that one thread can decode all from the last key frame on.

        Several can miss damage of the last pictures. Where packets did not tell which frames there
        are, one has decoded everything already.
        """
        index = self._index
        if self._is_tail_whole or not index.is_exact or not index.key_frames:
            return
        number = index.key_frames[-1]
        with open_input(self.path, self.name) as container:
            try:
                container.seek(index.pts[number], stream=self._probe.stream_of(container))
            except av.FFmpegError:
                number = 0
            for _ in self._stamped(container, number, with_one_thread=True):
                pass
        self._is_tail_whole = True

    def _require_size(self, picture: av.VideoFrame, number: int, moment_s: Fraction) -> None:
        probe = self._probe
        if self._size is None and not probe.has_size_of(picture):
            msg = (
                f"{self.name} must keep its size of {probe.width}x{probe.height}, got "
                f"{picture.width}x{picture.height} at frame {number} ({float(moment_s):.3f} s); "
                f"choose a size to scale all frames to"
            )
            raise InputError(msg)
