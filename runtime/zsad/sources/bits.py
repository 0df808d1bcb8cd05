"""Bits of a header, as video codecs write them."""

from __future__ import annotations

_LONGEST_PREFIX = 32


class BitReader:
    """Reads numbers from bytes, the highest bit first."""

    def __init__(self, data: bytes) -> None:
        """Begin at the first bit."""
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def bits(self, count: int) -> int:
        """Return a number of `count` bits.

        Raises:
            EOFError: There are not so many.
        """
        self._left -= count
        if self._left < 0:
            raise EOFError("the header is cut short")
        return (self._value >> self._left) & ((1 << count) - 1)

    def flag(self) -> bool:
        """Return the next bit; see `bits`."""
        return bool(self.bits(1))

    def golomb(self) -> int:
        """Return a number in Exp-Golomb code, which both H.264 and H.265 call ue(v).

        Raises:
            EOFError: It is cut short.
            ValueError: No standard has one so large.
        """
        zeros = 0
        while not self.flag():
            zeros += 1
            if zeros > _LONGEST_PREFIX:
                raise ValueError("not an Exp-Golomb code")
        return (1 << zeros) - 1 + self.bits(zeros)

    def signed_golomb(self) -> int:
        """Return a number in the signed code, se(v); see `golomb`."""
        code = self.golomb()
        return (code + 1) // 2 if code % 2 else -(code // 2)
