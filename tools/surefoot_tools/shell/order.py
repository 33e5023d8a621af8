"""The order in which the output of both streams came, and a way through it: the cursor.

A cursor counts the bytes of both streams in that order. Where the streams changed so often that the
middle of the list of turns was dropped, each counts once there too, one stream after the other.
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
    """Reads whose turn it was, once; of a long list only what is asked for is looked at.

    Args:
        record: Of the job.
    """

    def __init__(self, record: Record) -> None:
        turns = Pieces(record.folder / "turns")
        gone, back = turns.gap()
        head = TURN.pack(0, 0) + _whole(turns.read(0, gone))
        tail = _whole(turns.read(back, turns.size()))
        self._turns = head + (_between(head, tail) if back > gone and tail else b"") + tail
        self._count = len(self._turns) // TURN.size

    def _turn(self, index: int) -> tuple[int, int, int]:
        """How much of both streams came before a turn, whose it is, and how much of that stream."""
        at, place = TURN.unpack_from(self._turns, index * TURN.size)
        return at, place & 1, place >> 1

    def _at(self, index: int) -> int:
        return self._turn(index)[0]

    def _come(self, index: int, stream: int) -> int:
        """How much of a stream had come before a turn."""
        at, whose, begin = self._turn(index)
        return begin if whose == stream else at - begin

    def places(self, stream: int, offsets: list[int]) -> list[int]:
        """Where in the order bytes of a stream came; offsets ascend."""
        places: list[int] = []
        index = 0
        for offset in offsets:
            known = range(index, self._count)
            index += max(0, bisect_right(known, offset, key=lambda i: self._come(i, stream)) - 1)
            places.append(self._at(index) + offset - self._come(index, stream))
        return places

    def parts(self, start: int, end: int) -> Iterator[Part]:
        """What came between two cursors."""
        index = bisect_right(range(self._count), start, key=self._at) - 1
        while index < self._count and (turn := self._turn(index))[0] < end:
            at, stream, begin = turn
            index += 1
            until = min(end, self._at(index)) if index < self._count else end
            if until > max(at, start):
                yield Part(stream, begin + max(0, start - at), begin + until - at)


def _whole(listed: bytes) -> bytes:
    """Without the part of a turn at the end, which is being written."""
    return listed[: len(listed) // TURN.size * TURN.size]


def _between(head: bytes, tail: bytes) -> bytes:
    """A turn in the place of those that were dropped.

    The last turn that is known before them takes what came of its stream, and this one the rest.
    """
    at, place = TURN.unpack_from(head, len(head) - TURN.size)
    whose, begin = place & 1, place >> 1
    later_at, later = TURN.unpack_from(tail, 0)
    later_whose, later_begin = later & 1, later >> 1
    come = later_begin if later_whose == whose else later_at - later_begin
    other = at - begin
    return TURN.pack(at + come - begin, other * 2 + (1 - whose))
