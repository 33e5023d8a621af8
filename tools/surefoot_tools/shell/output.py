"""What a command printed, as it is told: head and tail of each stream, and one page of both."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise

from surefoot_tools.shell.order import Order, Part
from surefoot_tools.shell.pieces import Pieces
from surefoot_tools.shell.record import Ended, Record
from surefoot_tools.shell.shown import ends_of, invalid, text_of, whole_characters

RUNS = 256
"""Changes between the streams that a result tells of; beyond them `read_job` does."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The first and the last bytes of a stream, as text."""

    text: str
    """Its lines; between head and tail one that says how much is missing."""
    pieces: tuple[tuple[int, bytes], ...]
    """What it was made of: head and tail, or the whole, each with its offset."""
    size: int
    """Bytes of the stream in all."""
    truncated: bool
    """Whether anything was left out."""
    invalid: int
    """How many times something was no UTF-8."""

    def ends(self) -> list[int]:
        """Of each line that has something or an end, the offset at which it ends."""
        found: list[int] = []
        for start, data in self.pieces:
            found += [*([found[-1] - 1] if found else []), *ends_of(data, start)]
        return found[:-1] if not self.text or self.text.endswith("\n") else found


def excerpt(stream: Pieces, size: int, limit: int, *, terminal: bool = False) -> Excerpt:
    """The first and the last half of `limit` bytes of a stream.

    Args:
        stream: Where it is read from.
        size: Bytes of it in all.
        limit: Bytes in all.
        terminal: Whether a terminal was written to.
    """
    if size <= limit:
        data = stream.read(0, size) if size else b""
        text = text_of(data, terminal=terminal)
        return Excerpt(text, ((0, data),), size, len(data) < size, invalid(data))
    head = whole_characters(stream.read(0, limit - limit // 2), head=True)
    tail = whole_characters(stream.read(size - limit // 2, size), head=False)
    missing = size - len(head) - len(tail)
    lines = (
        text_of(head, terminal=terminal),
        f"[... {missing} bytes left out ...]",
        text_of(tail, terminal=terminal),
    )
    pieces = ((0, head), (size - len(tail), tail))
    return Excerpt("\n".join(lines), pieces, size, True, invalid(head) + invalid(tail))


def both(
    record: Record, limit: int, ended: Ended | None, *, terminal: bool = False
) -> tuple[Excerpt, Excerpt]:
    """Both streams, stdout first, as far as they have come.

    Args:
        record: Of the command.
        limit: Bytes of each.
        ended: How it ended, if it did.
        terminal: Whether it has a terminal.
    """
    sizes = (
        (record.stdout.size(), record.stderr.size())
        if ended is None
        else (ended.stdout.size, ended.stderr.size)
    )
    return (
        excerpt(record.stdout, sizes[0], limit, terminal=terminal),
        excerpt(record.stderr, sizes[1], limit, terminal=terminal),
    )


def runs(record: Record, stdout: Excerpt, stderr: Excerpt) -> list[int]:
    """How many lines of stdout came, then of stderr, then of stdout again, and so on.

    Empty where one stream tells it all, or where they change too often to be told so.
    """
    if not stdout.size or not stderr.size:
        return []
    order = Order(record)
    came: list[tuple[int, int]] = []
    for number, stream in enumerate((stdout, stderr)):
        ends = [min(end, stream.size) - 1 for end in stream.ends()]
        came += [(at, number) for at in order.places(number, ends)]
    came.sort()
    lengths = [(whose, len(list(group))) for whose, group in groupby(who for _, who in came)]
    if len(lengths) > RUNS:
        return []
    return ([0] if lengths and lengths[0][0] else []) + [length for _, length in lengths]


def in_order(stdout: str, stderr: str, lengths: list[int]) -> str:
    """Both streams as text, each part under the name of its stream."""
    names = ("stdout", "stderr")
    parts: list[str] = []
    if not lengths:
        streams = zip(names, (stdout, stderr), strict=True)
        parts = [f"--- {name}\n" + text.rstrip("\n") for name, text in streams if text]
    texts = [stdout.split("\n"), stderr.split("\n")] if lengths else []
    at = [0, 0]
    for index, length in enumerate(lengths):
        whose = index % 2
        lines = texts[whose][at[whose] : at[whose] + length]
        at[whose] += length
        if lines:
            parts.append(f"--- {names[whose]}\n" + "\n".join(lines).rstrip("\n"))
    return "\n".join(parts)


@dataclass(frozen=True, slots=True)
class Page:
    """What came of both streams from a cursor on."""

    text: str
    cursor: int
    """Where the next page begins."""
    missing: int
    """Bytes in between that are no longer kept."""
    rest: int
    """Bytes that came after this page."""
    invalid: int


def come(record: Record, ended: Ended | None) -> int:
    """Bytes that came of both streams: the cursor of the end."""
    if ended is not None:
        return ended.stdout.size + ended.stderr.size
    return record.stdout.size() + record.stderr.size()


def page(
    record: Record, cursor: int, limit: int, ended: Ended | None, *, terminal: bool = False
) -> Page:
    """At most `limit` bytes from a cursor on; one below 0 counts from the end.

    A page ends with a line where it can, and never within a character.
    """
    size = come(record, ended)
    start = max(0, size + cursor) if cursor < 0 else min(cursor, size)
    data, at, missing = _collect(record, start, size, limit, final=ended is not None)
    if at < size or ended is None:
        whole = whole_characters(data, head=True)
        if at < size and (line := data.rfind(b"\n") + 1) > 0:
            whole = data[:line]
        at -= len(data) - len(whole)
        data = whole
    if cursor < 0:
        data = whole_characters(data, head=False)
    text = text_of(data, terminal=terminal)
    return Page(text, at, missing, size - at, invalid(data))


def _collect(
    record: Record, start: int, end: int, limit: int, *, final: bool
) -> tuple[bytes, int, int]:
    """The next bytes from a cursor on, the cursor behind them, and how many in between are gone.

    Args:
        record: Of the job.
        start: The cursor.
        end: What is there ends here.
        limit: Bytes; what is gone does not count.
        final: Whether it has ended: what is not there will not come.
    """
    found = bytearray()
    at, missing = start, 0
    windows = (_Window(record.stdout, limit), _Window(record.stderr, limit))
    for part in Order(record).parts(start, end) if end > start else ():
        window = windows[part.stream]
        for first, last, kept in _split(part, *window.gap):
            if len(found) >= limit:
                return bytes(found), at, missing
            if not kept:
                missing += last - first
                at += last - first
                continue
            wanted = min(last - first, limit - len(found))
            data = window.read(first, first + wanted)
            found += data
            at += len(data)
            if len(data) < wanted:  # its turn has come, but not yet all of it
                return bytes(found), end if final else at, missing + (end - at if final else 0)
    return bytes(found), at, missing


class _Window:
    """Reads a stream forwards, a page at once: its parts may be a line each.

    Args:
        stream: Where it is read from.
        limit: Bytes of a page.
    """

    def __init__(self, stream: Pieces, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self.gap = stream.gap()
        """From where to where bytes are gone."""
        self._start = 0
        self._data = b""

    def read(self, start: int, end: int) -> bytes:
        """The bytes between two offsets, on one side of the gap and at most a page apart."""
        if not self._start <= start <= end <= self._start + len(self._data):
            bound = self.gap[0] if start < self.gap[0] else start + self._limit
            self._start = start
            self._data = self._stream.read(start, max(end, min(start + self._limit, bound)))
        return self._data[start - self._start : end - self._start]


def _split(part: Part, gone: int, back: int) -> Iterator[tuple[int, int, bool]]:
    """What is kept of a part, and what is gone between two offsets of its stream."""
    bounds = sorted({part.start, part.end, *(x for x in (gone, back) if part.start < x < part.end)})
    for first, last in pairwise(bounds):
        yield first, last, not gone <= first < back
