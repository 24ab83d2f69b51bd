"""Read and write numbers of any count of bits, the least significant first, as JPEG XL has them."""

from __future__ import annotations


class BitReader:
    """Read bits of bytes; behind their end there is nothing.

    Raises
    ------
    EOFError
        A number would reach behind the end.
    """

    def __init__(self, data: bytes) -> None:
        self._value, self._count, self.position = int.from_bytes(data, "little"), 8 * len(data), 0

    def bits(self, count: int) -> int:
        """Return the next number of ``count`` bits."""
        if self.position + count > self._count:
            raise EOFError("its header ends early")
        value = (self._value >> self.position) & ((1 << count) - 1)
        self.position += count
        return value

    def flag(self) -> bool:
        """Return the next bit."""
        return bool(self.bits(1))

    def between(self, start: int, stop: int) -> tuple[int, int]:
        """Return the bits from ``start`` to ``stop`` as a number, and their count."""
        return (self._value >> start) & ((1 << (stop - start)) - 1), stop - start


class BitWriter:
    """Collect numbers of any count of bits."""

    def __init__(self) -> None:
        self._value, self._count = 0, 0

    def add(self, *numbers: tuple[int, int]) -> None:
        """Add numbers, each with its count of bits."""
        for value, count in numbers:
            self._value |= value << self._count
            self._count += count

    def to_bytes(self) -> bytes:
        """Return what was added, filled up with zeros to whole bytes."""
        return self._value.to_bytes(-(-self._count // 8), "little")
