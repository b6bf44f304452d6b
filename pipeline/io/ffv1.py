"""Whether packets of FFV1 are what was encoded: decoders log a wrong checksum, and go on.

Source:
    RFC 9043: range coding in section 3.8, the configuration record in 4.3, slices in 4.5 to 4.9.
"""

from typing import Any
from zlib import crc32

from av.packet import Packet
from av.video.stream import VideoStream

_VERSION = 3
_WITH_CHECKSUMS = 1
# At the end of a slice: its size; with checksums also a status and the checksum.
_SIZE_BYTES = 3
_FOOTER_BYTES = _SIZE_BYTES + 1 + 4
_CHECKSUM_BYTES = 4

_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
_ALL_ONES = 0xFFFFFFFF

_NEUTRAL = 128
_NUM_STATES = 32
_LONGEST_SYMBOL = 31
_QUANTISED = 128
# What each state becomes after a one (the default of section 3.8.1.4).
_AFTER_ONE = bytes.fromhex(
    "00000000000000001415161718191a1b1c1d1e1f20212223242525262728292a"
    "2b2c2d2e2f30313233343536373838393a3b3c3d3e3f40414243444546474849"
    "4a4b4b4c4d4e4f505152535455565758595a5b5c5d5e5e5f6061626364656667"
    "68696a6b6c6d6e6f70717272737475767778797a7b7c7d7e7f80818283848585"
    "868788898a8b8c8d8e8f90919293949596979898999a9b9c9d9e9fa0a1a2a3a4"
    "a5a6a7a8a9aaababacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebebfc0c2c2"
    "c3c4c5c6c7c8c9cacacccdcecfd0d1d1d2d3d4d5d7d7d8d9dadbdcdcdedfe0e1"
    "e2e3e3e5e5e6e7e8eaeaebecedeeeff0f1f2f3f4f5f6f7f8f800000000000000"
)


def has_checksums(stream: VideoStream) -> bool:
    """Whether a stream is FFV1 whose slices have checksums."""
    context = stream.codec_context
    return context.name == "ffv1" and _has_checksums(bytes(context.extradata or b""))


def damage(packet: bytes) -> str | None:
    """What is wrong with a packet of a stream with checksums, in words; None if nothing is.

    Args:
        packet: All slices of a picture. They are found from the last to the first, since each
            ends in its size.
    """
    end = len(packet)
    wrong = []
    while end > 0:
        size = packet[max(0, end - _FOOTER_BYTES) :][:_SIZE_BYTES]
        start = end - _FOOTER_BYTES - int.from_bytes(size, "big")
        if start < 0:
            return "a slice has a wrong size"
        if _remainder(packet[start:end]) != 0:
            wrong.append(f"bytes {start} to {end}")
        end = start
    return f"a slice has a wrong checksum ({', '.join(reversed(wrong))})" if wrong else None


class SpoiltPictures:
    """Watches packets go by of which a decoder makes pictures that only look like pictures.

    Args:
        stream: Nothing is found in one without checksums.

    Attributes:
        stamps: Timestamps of these pictures.
    """

    def __init__(self, stream: VideoStream) -> None:
        self.stamps: set[int | None] = set()
        self._index = stream.index if has_checksums(stream) else None
        self._is_spoilt = False

    def watch(self, packet: "Packet[Any]") -> None:
        """Take notice of a packet of the file."""
        if packet.stream.index != self._index:
            return
        # Up to the next key frame all begin with what the coder has learnt from those before.
        self._is_spoilt = self._is_spoilt and not packet.is_keyframe
        self._is_spoilt = self._is_spoilt or damage(bytes(packet)) is not None
        if self._is_spoilt:
            self.stamps.add(packet.pts)


def _remainder(data: bytes) -> int:
    """CRC-32 of data by the polynomial 0x04C11DB7, highest bit first, beginning with zero.

    Zero for data that ends in its own checksum. zlib goes by the same polynomial, but lowest bit
    first, and inverts both ends; of the result all is turned back but the order of its bits.
    """
    return crc32(data.translate(_REVERSED), _ALL_ONES) ^ _ALL_ONES


def _has_checksums(record: bytes) -> bool:
    """Whether slices have checksums, by a configuration record; false if it cannot be read."""
    if len(record) <= _CHECKSUM_BYTES or _remainder(record) != 0:
        return False
    try:
        return _says_checksums(_Symbols(record[:-_CHECKSUM_BYTES]))
    except _EndOfRecordError:
        return False


def _says_checksums(symbols: "_Symbols") -> bool:
    """Read a record up to what it says of checksums."""
    states = _fresh()
    if symbols.natural(states) != _VERSION:
        return False
    _micro_version, coder = symbols.natural(states), symbols.natural(states)
    for _ in range(255 if coder > 1 else 0):
        symbols.integer(states)
    _color_space, _depth = symbols.natural(states), symbols.natural(states)
    _has_chroma = symbols.bit(states, 0)
    _subsampling = symbols.natural(states), symbols.natural(states)
    _has_alpha = symbols.bit(states, 0)
    _slices = symbols.natural(states), symbols.natural(states)
    counts = [_num_contexts(symbols) for _ in range(symbols.natural(states))]
    of_initial = [_fresh() for _ in range(_NUM_STATES)]
    for count in counts:
        if symbols.bit(states, 0):
            for _ in range(count):
                for own_states in of_initial:
                    symbols.integer(own_states)
    return symbols.natural(states) == _WITH_CHECKSUMS


def _num_contexts(symbols: "_Symbols") -> int:
    """Read a set of five tables, and multiply the numbers of values that they tell apart."""
    product = 1
    for _ in range(5):
        states = _fresh()
        filled = num_steps = 0
        while filled < _QUANTISED:
            filled += symbols.natural(states) + 1
            num_steps += 1
        product *= 2 * num_steps - 1
    return (product + 1) // 2


class _EndOfRecordError(Exception):
    """More was read than a record can hold."""


class _Symbols:
    """Numbers from range coded bytes. A state is the probability of a one, in 256ths."""

    def __init__(self, data: bytes) -> None:
        self._data = data[2:]
        self._position = 0
        self._low = int.from_bytes(data[:2], "big")
        self._range = 0xFF00

    def bit(self, states: bytearray, number: int) -> bool:
        """One bit, by one of the states, which learns from it."""
        state = states[number]
        share = self._range * state >> 8
        self._range -= share
        is_one = self._low >= self._range
        if is_one:
            self._low -= self._range
            self._range = share
        states[number] = _AFTER_ONE[state] if is_one else 256 - _AFTER_ONE[256 - state]
        while self._range < 0x100:
            self._range <<= 8
            self._low = (self._low << 8) + self._next_byte()
        return is_one

    def natural(self, states: bytearray) -> int:
        """A number without a sign."""
        return self._magnitude(states)[0]

    def integer(self, states: bytearray) -> int:
        """A number with a sign."""
        magnitude, num_bits = self._magnitude(states)
        is_negative = magnitude > 0 and self.bit(states, 11 + min(num_bits, 10))
        return -magnitude if is_negative else magnitude

    def _magnitude(self, states: bytearray) -> tuple[int, int]:
        """A number, and how many bits follow its highest."""
        if self.bit(states, 0):
            return 0, 0
        num_bits = 0
        while self.bit(states, 1 + min(num_bits, 9)):
            num_bits += 1
            if num_bits > _LONGEST_SYMBOL:
                raise _EndOfRecordError
        magnitude = 1
        for place in reversed(range(num_bits)):
            magnitude = 2 * magnitude + self.bit(states, 22 + min(place, 9))
        return magnitude, num_bits

    def _next_byte(self) -> int:
        self._position += 1
        if self._position > len(self._data) + _NUM_STATES:
            raise _EndOfRecordError
        byte = self._data[self._position - 1 : self._position]
        return byte[0] if byte else 0


def _fresh() -> bytearray:
    return bytearray([_NEUTRAL]) * _NUM_STATES
