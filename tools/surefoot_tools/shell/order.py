"""The order in which the output of both streams came, and a way through it: the cursor.

A cursor counts the bytes of both streams in that order.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from surefoot_tools.shell.pieces import Pieces
from surefoot_tools.shell.record import Record
from surefoot_tools.supervisor.stream import TURN


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of one stream that came one after the other."""

    stream: int
    """0 for stdout, 1 for stderr."""
    start: int
    end: int


class Order:
    """Reads whose turn it was, once.

    Args:
        record: Of the job.
    """

    def __init__(self, record: Record) -> None:
        turns = Pieces(record.folder / "turns")
        listed = turns.read(0, turns.size())
        listed = listed[: len(listed) // TURN.size * TURN.size]
        self._at = [0]
        self._turns = [(0, 0)]
        for at, place in TURN.iter_unpack(listed):
            self._at.append(at)
            self._turns.append((place & 1, place >> 1))

    def places(self, stream: int, offsets: list[int]) -> list[int]:
        """Where in the order bytes of a stream came; offsets ascend."""
        mine = [each for each, (whose, _) in enumerate(self._turns) if whose == stream]
        starts = [self._turns[each][1] for each in mine]
        places: list[int] = []
        for offset in offsets:
            found = bisect_right(starts, offset) - 1
            at = self._at[mine[found]] if found >= 0 else 0
            places.append(at + offset - (starts[found] if found >= 0 else 0))
        return places

    def parts(self, start: int, end: int) -> Iterator[Part]:
        """What came between two cursors."""
        index = bisect_right(self._at, start) - 1
        while index < len(self._at) and self._at[index] < end:
            at = self._at[index]
            until = min(end, self._at[index + 1]) if index + 1 < len(self._at) else end
            stream, begin = self._turns[index]
            first = begin + max(0, start - at)
            if until > max(at, start):
                yield Part(stream, first, begin + until - at)
            index += 1
