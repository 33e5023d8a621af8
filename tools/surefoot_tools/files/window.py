"""The wanted lines of a text that arrives in pieces, and how many lines there are in all."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Window:
    r"""Takes lines `start` to `start + count - 1`, at most `room` bytes; a line ends with `\n`."""

    start: int
    count: int
    room: int
    """Bytes of UTF-8 that still fit."""
    line: int = 1
    """Number of the line that the next character belongs to."""
    lines: list[str] = field(default_factory=list[str])
    """Whole lines taken; the last may lack its end where the text ends or `cut` is set."""
    cut: bool = False
    """Whether the one line taken is longer than fits."""
    full: bool = False
    """Whether no more is taken."""
    _open: list[str] = field(default_factory=list[str])
    _ended: bool = True

    def feed(self, text: str) -> None:
        """The next piece of the text."""
        if not text:
            return
        at = self._skip(text) if self.line < self.start else 0
        if not self.full and at < len(text):
            at = self._take(text, at)
        self.line += text.count("\n", at)
        self._ended = text.endswith("\n")

    def close(self) -> None:
        """The text has ended."""
        if self._open and not self.full:
            self.lines.append("".join(self._open))
            self._open.clear()

    @property
    def total(self) -> int:
        """Lines in the text fed so far."""
        return self.line - 1 if self._ended else self.line

    def _skip(self, text: str) -> int:
        """Where the first wanted line begins, or the end of the piece."""
        missing = self.start - self.line
        newlines = text.count("\n")
        if newlines < missing:
            self.line += newlines
            return len(text)
        at = 0
        for _ in range(missing):
            at = text.index("\n", at) + 1
        self.line = self.start
        return at

    def _take(self, text: str, at: int) -> int:
        while at < len(text):
            if len(self.lines) == self.count:
                self.full = True
                break
            end = text.find("\n", at) + 1 or len(text)
            piece = text[at:end].encode(errors="replace")
            if len(piece) > self.room:
                self._overflow(piece)
                break
            self.room -= len(piece)
            self._open.append(text[at:end])
            if piece.endswith(b"\n"):
                self.lines.append("".join(self._open))
                self._open.clear()
                self.line += 1
            at = end
        return at

    def _overflow(self, piece: bytes) -> None:
        """No line is given in part, except one that does not fit by itself."""
        self.full = True
        if not self.lines:
            self.cut = True
            self.lines.append("".join(self._open) + piece[: self.room].decode(errors="ignore"))
        self._open.clear()
