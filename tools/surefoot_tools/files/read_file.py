"""The tool `read_file`: lines of a text file, in constant memory however large it is."""

import codecs
import hashlib
import os
from typing import Literal

from pydantic import Field

from surefoot_tools import tool
from surefoot_tools.errors import Code, ToolError
from surefoot_tools.files.atomic import LARGEST, read_chunks
from surefoot_tools.files.os_errors import translating
from surefoot_tools.files.rooted import Rooted
from surefoot_tools.files.roots import Roots
from surefoot_tools.files.text import (
    TEXT_LIMIT,
    bounded,
    codec_of,
    kind_of,
    visible,
    visible_name,
)
from surefoot_tools.files.threads import in_thread, stop_if_cancelled
from surefoot_tools.files.window import Window
from surefoot_tools.tool import Context, Effect, Evidence, Group, Tool

SCANNED = 1024 * 1024 * 1024
"""Bytes read in search of `start_line` at most."""


class ReadFileArguments(tool.Arguments):
    """Arguments of `read_file`."""

    path: str = Field(description="Relative to, or inside, a root.")
    start_line: int = Field(1, ge=1, description="First line wanted, from 1.")
    line_count: int = Field(2000, ge=1, le=1_000_000, description="Lines wanted at most.")
    max_bytes: int = Field(
        256 * 1024, ge=1, le=16 * 1024 * 1024, description="Bytes of text wanted at most."
    )
    encoding: Literal["auto", "utf-8", "utf-16", "latin-1"] = Field(
        "auto",
        description="auto: by the byte order mark, else utf-8, and binary files are refused; with "
        "the others, bytes that are not valid become U+FFFD.",
    )


class ReadFileResult(tool.Result):
    """Lines of a file."""

    path: str
    """As the caller wrote it."""
    text: str
    """The lines, exact, with their line endings; without the file's byte order mark."""
    start_line: int
    """Number of the first line, from 1."""
    line_count: int
    """Lines in the text."""
    total_lines: int | None
    """Lines in the file; None above 64 MiB unless the end was reached."""
    size: int
    """Bytes in the file."""
    sha256: str | None
    """Of the whole file, hexadecimal; None above 64 MiB."""
    encoding: str
    """How the text was decoded: utf-8, utf-8-sig (with a mark), utf-16 or latin-1."""
    truncated: bool
    """Whether the file goes on after the text."""
    shown_lines: int
    """Lines that the text content shows: up to 32 KiB unless `max_bytes` was given."""

    def as_text(self) -> str:
        """A head line with what this is and how to get the rest, then the lines."""
        lines = "".join(f"{line}\n" for line in self.text.split("\n")[: self.shown_lines])
        return f"{self._head()}\n{visible(lines)}".removesuffix("\n")

    def _head(self) -> str:
        total = "an unknown number" if self.total_lines is None else str(self.total_lines)
        last = self.start_line + self.shown_lines - 1
        extent = f"lines {self.start_line}-{last} of {total}" if self.line_count else "no lines"
        parts = [visible_name(self.path), extent, f"{self.size} bytes", self.encoding]
        if "\r\n" in self.text:
            parts.append("CRLF line endings")
        if "\ufffd" in self.text:
            count = self.text.count("\ufffd")
            parts.append(f"{count} U+FFFD, for bytes that are not valid {self.encoding}")
        if self.truncated or self.shown_lines < self.line_count:
            parts.append(self._rest(last))
        return ", ".join(parts)

    def _rest(self, last: int) -> str:
        whole = self.text.endswith("\n") or self.shown_lines < self.line_count
        if whole:
            return f"the rest: start_line={last + 1}"
        return f"line {last} is cut: a larger max_bytes shows more of it"


class ReadFile(Rooted, Tool[ReadFileArguments, ReadFileResult]):
    """Reads lines of a text file; binary files are refused, unless an encoding is named."""

    name = "read_file"
    title = "Read file"
    description = (
        "Read lines of a text file. The first line of the answer says which lines these are, of "
        "how many, and how to get the rest (start_line). Binary files are refused with their size "
        "and hash. Characters that cannot be seen are shown as escapes such as \\x1b."
    )
    group = Group.FILES
    effect = Effect.SAFE
    repeatable = True
    Arguments = ReadFileArguments
    Result = ReadFileResult

    def __init__(self, roots: Roots) -> None:
        self._roots = roots

    async def run(
        self, arguments: ReadFileArguments, evidence: Evidence, context: Context
    ) -> ReadFileResult:
        """Read in a worker thread; stops between two pieces when cancelled."""
        return await in_thread(lambda: _read(self._roots, arguments))


def _read(roots: Roots, arguments: ReadFileArguments) -> ReadFileResult:
    descriptor = roots.open_file(arguments.path)
    try:
        with translating(arguments.path):
            return _Reading(descriptor, arguments).result()
    finally:
        os.close(descriptor)


class _Reading:
    """One pass over a file, as long as it was when opened."""

    def __init__(self, descriptor: int, arguments: ReadFileArguments) -> None:
        self._descriptor = descriptor
        self._arguments = arguments
        self._size = os.fstat(descriptor).st_size
        self._strict = arguments.encoding == "auto"
        head = os.pread(descriptor, 16, 0)
        self._kind = kind_of(head)
        self.encoding, codec = _codec(arguments.encoding, head)
        errors = "strict" if self._strict else "replace"
        self._decoder = codecs.getincrementaldecoder(codec)(errors)
        self._digest = hashlib.sha256()
        self._seen = 0

    def result(self) -> ReadFileResult:
        """Read, and say what was found.

        Raises:
            ToolError: the file is binary, or has no such line.
        """
        arguments = self._arguments
        window = Window(arguments.start_line, arguments.line_count, arguments.max_bytes)
        try:
            self._feed(window)
        except UnicodeDecodeError as error:
            raise self._binary() from error
        ended = self._seen >= self._size
        total = window.total if ended else None
        if not window.lines and (arguments.start_line > 1 or not ended):
            raise self._beyond(total)
        taken = len(window.lines)
        text = "".join(window.lines)
        limit = arguments.max_bytes if "max_bytes" in arguments.model_fields_set else TEXT_LIMIT
        _, shown = bounded(text.split("\n")[:taken], limit + 1)
        last = arguments.start_line + taken - 1
        return ReadFileResult(
            path=arguments.path,
            text=text,
            start_line=arguments.start_line,
            line_count=taken,
            total_lines=total,
            size=self._size,
            sha256=self._digest.hexdigest() if self._size <= LARGEST else None,
            encoding=self.encoding,
            truncated=window.cut or total is None or last < total,
            shown_lines=min(taken, max(shown, 1)),
        )

    def _feed(self, window: Window) -> None:
        for chunk in read_chunks(self._descriptor, self._size):
            stop_if_cancelled()
            self._seen += len(chunk)
            self._digest.update(chunk)
            if self._strict and b"\0" in chunk and self.encoding != "utf-16":
                raise self._binary()
            window.feed(self._decoder.decode(chunk))
            if self._size > LARGEST and (window.full or self._seen >= SCANNED):
                return
        self._seen = self._size
        # A file that grows meanwhile may have been left in the middle of a character.
        if os.fstat(self._descriptor).st_size == self._size:
            window.feed(self._decoder.decode(b"", final=True))
        window.close()

    def _binary(self) -> ToolError:
        digest = "not taken above 64 MiB"
        if self._size <= LARGEST:
            whole = hashlib.sha256()
            for chunk in read_chunks(self._descriptor, self._size):
                whole.update(chunk)
            digest = whole.hexdigest()
        return ToolError(
            Code.FAILED_PRECONDITION,
            f"'{visible_name(self._arguments.path)}' is not text but {self._kind}, "
            f"{self._size} bytes, sha256 {digest}",
            hint='pass encoding="latin-1" to read every byte as a character, or "utf-8" to replace '
            "the bytes that are not valid",
        )

    def _beyond(self, total: int | None) -> ToolError:
        shown, start = visible_name(self._arguments.path), self._arguments.start_line
        if total is None:
            return ToolError(
                Code.FAILED_PRECONDITION,
                f"'{shown}': line {start} is not within the first {SCANNED} bytes (1 GiB)",
                hint="use run_command with sed or tail",
            )
        return ToolError(
            Code.OUT_OF_RANGE, f"'{shown}' has {total} lines, start_line {start} is after the last"
        )


def _codec(encoding: str, head: bytes) -> tuple[str, str]:
    """The encoding as the result names it, and the codec that leaves the mark out."""
    marked = codec_of(head)
    codec = marked[0] if marked is not None else "utf-8"
    if encoding == "latin-1":
        return encoding, encoding
    if encoding == "utf-16" or (encoding == "auto" and codec != "utf-8"):
        # Without a mark Python takes this machine's byte order; files without one are little.
        return "utf-16", "utf-16" if codec.startswith("utf-16") else "utf-16-le"
    return ("utf-8-sig" if marked is not None and codec == "utf-8" else "utf-8"), "utf-8-sig"
