"""The tool `search_files`: lines that match a pattern, below a directory or in a file."""

import os
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import anyio
from pydantic import BaseModel, ConfigDict, Field

from surefoot_tools import tool
from surefoot_tools.errors import Code, ToolError
from surefoot_tools.files.beneath import canonical
from surefoot_tools.files.engine import (
    TIME_LIMIT,
    Line,
    Query,
    output,
    parse_python,
    parse_ripgrep,
    python_command,
    ripgrep_command,
)
from surefoot_tools.files.path_text import join_shown
from surefoot_tools.files.rooted import Rooted
from surefoot_tools.files.roots import Roots
from surefoot_tools.files.text import TEXT_LIMIT, bounded, exact_name, visible, visible_name
from surefoot_tools.files.threads import in_thread
from surefoot_tools.tool import Context, Effect, Evidence, Group, Tool


class SearchFilesArguments(tool.Arguments):
    """Arguments of `search_files`."""

    pattern: str = Field(
        min_length=1,
        max_length=4096,
        description="Regular expression for a line, or plain text with regex false.",
    )
    path: str = Field(".", description="Directory or file; relative to, or inside, a root.")
    glob: str | None = Field(
        None, max_length=1000, description="Only these files: *.py, or src/**/*.py."
    )
    regex: bool = Field(True, description="Whether pattern is a regular expression.")
    case: Literal["smart", "sensitive", "insensitive"] = Field(
        "smart", description="smart: letter case counts if the pattern has a capital."
    )
    context: int = Field(0, ge=0, le=20, description="Lines shown before and after a match.")
    limit: int = Field(200, ge=1, le=10_000, description="Matching lines at most.")


class Match(BaseModel):
    """A line that matches."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str
    r"""To be used as it is by other tools; bytes that are not UTF-8 are shown as \xNN."""
    line: int
    """From 1."""
    column: int
    """Of the first match in the line, in characters from 1."""
    text: str
    """The line, at most 500 characters around the match."""
    before: list[str]
    """Lines before it, as many as `context` asks for."""
    after: list[str]
    """Lines after it."""


class SearchFilesResult(tool.Result):
    """Lines that match."""

    matches: list[Match]
    """Sorted by path and line."""
    files: int
    """Files with a match among these."""
    truncated: bool
    """Whether there may be more: `limit` was reached, or the time was up."""
    engine: Literal["ripgrep", "python"]
    """What searched: python where ripgrep is not installed, slower and with another syntax."""

    def as_text(self) -> str:
        """A head line, then `path:line:column: text`; context lines as `path-line- text`."""
        rows = [row for match in self.matches for row in _rows(match)]
        shown, count = bounded(rows, TEXT_LIMIT)
        head = f"{len(self.matches)} matching lines in {self.files} files ({self.engine})"
        if self.truncated:
            head += ", and there may be more: narrow it by path, glob or pattern, or raise limit"
        if count < len(rows):
            head += f"; {count} of {len(rows)} lines are shown, narrow it by path or glob"
        return f"{head}\n{shown}" if shown else head


class SearchFiles(Rooted, Tool[SearchFilesArguments, SearchFilesResult]):
    """Searches text files with ripgrep, or with Python where there is none."""

    name = "search_files"
    title = "Search files"
    description = (
        "Search text files for lines that match a regular expression (or plain text with regex "
        "false). Files that .gitignore names, hidden and binary files and those above 16 MiB are "
        "left out. Says path, line and column of each match; read_file shows more around it."
    )
    group = Group.FILES
    effect = Effect.SAFE
    repeatable = True
    Arguments = SearchFilesArguments
    Result = SearchFilesResult

    def __init__(self, roots: Roots, ripgrep: Path | None) -> None:
        self._roots = roots
        self._ripgrep = ripgrep

    async def run(
        self, arguments: SearchFilesArguments, evidence: Evidence, context: Context
    ) -> SearchFilesResult:
        """Search in a process of its own, killed when the call is cancelled or the time is up."""
        path = arguments.path
        if not await in_thread(lambda: self._roots.is_directory(path)):
            file = await in_thread(lambda: self._roots.open_file(path))
            try:
                return await self._search(arguments, None, file)
            finally:
                os.close(file)
        directory = await in_thread(lambda: self._roots.open_directory(path))
        try:
            return await self._search(arguments, directory, None)
        finally:
            os.close(directory)

    async def _search(
        self, arguments: SearchFilesArguments, directory: int | None, file: int | None
    ) -> SearchFilesResult:
        query = Query(
            pattern=arguments.pattern,
            regex=arguments.regex,
            case=arguments.case,
            glob=None if file is not None else arguments.glob,
            context=arguments.context,
            stdin=file is not None,
        )
        if self._ripgrep is not None:
            command, parse = ripgrep_command(str(self._ripgrep), query), parse_ripgrep
        else:
            command, parse = python_command(query), parse_python
        start = None if directory is None else _start(directory)
        gathered = _Gathered(arguments, directory, self._roots)
        with anyio.move_on_after(TIME_LIMIT) as time:
            async with aclosing(output(command, start, file, parse)) as lines:
                await gathered.take(lines)
        if time.cancelled_caught:
            gathered.truncated = True
            if not gathered.matches:
                raise _too_slow(arguments.pattern)
        return SearchFilesResult(
            matches=sorted(gathered.matches, key=lambda match: (match.path, match.line)),
            files=len({match.path for match in gathered.matches}),
            truncated=gathered.truncated,
            engine="python" if self._ripgrep is None else "ripgrep",
        )


def _too_slow(pattern: str) -> ToolError:
    return ToolError(
        Code.DEADLINE_EXCEEDED,
        f"no match of '{visible_name(pattern[:200])}' in {TIME_LIMIT:g} s; the search was stopped",
        hint="narrow it by path or glob, or use a simpler pattern",
    )


def _start(directory: int) -> str:
    """A path to an open directory that no rename can lead elsewhere, where the system has one."""
    if sys.platform == "linux":
        return f"/proc/{os.getpid()}/fd/{directory}"
    return canonical(directory)


@dataclass(slots=True)
class _Gathered:
    """Matches with the lines around them, from the lines that a program printed in order."""

    arguments: SearchFilesArguments
    directory: int | None
    roots: Roots
    matches: list[Match] = field(default_factory=list[Match])
    truncated: bool = False
    _path: str | None = None
    _readable: bool = True
    _recent: deque[Line] = field(default_factory=deque[Line])

    async def take(self, lines: AsyncIterator[Line]) -> None:
        """Take lines until there are no more, or enough."""
        async for line in lines:
            if line.path != self._path:
                self._path = line.path
                self._readable = self._may_be_read(line.path)
                self._recent.clear()
            if not self._readable:
                continue
            for match in reversed(self.matches):
                if not self._follows(match, line):
                    break
                match.after.append(line.text)
            if line.column is not None:
                if len(self.matches) >= self.arguments.limit:
                    self.truncated = True
                    return
                self.matches.append(self._match(line, line.column))
            self._recent.append(line)
            if len(self._recent) > self.arguments.context:
                self._recent.popleft()

    def _may_be_read(self, path: str) -> bool:
        """What `read_file` refuses is not shown here: other names of a file, no regular file."""
        if self.directory is None:
            return True
        return self.roots.is_plain(self.directory, path)

    def _shown(self, path: str) -> str:
        below = "" if self.directory is None else path
        return exact_name(join_shown(self.arguments.path, below))

    def _follows(self, match: Match, line: Line) -> bool:
        near = 0 < line.line - match.line <= self.arguments.context
        return near and match.path == self._shown(line.path)

    def _match(self, line: Line, column: int) -> Match:
        near = [
            each.text for each in self._recent if line.line - each.line <= self.arguments.context
        ]
        return Match(
            path=self._shown(line.path),
            line=line.line,
            column=column,
            text=line.text,
            before=near,
            after=[],
        )


def _rows(match: Match) -> list[str]:
    path = visible_name(match.path)
    first = match.line - len(match.before)
    rows = [f"{path}-{number}- {visible(text)}" for number, text in enumerate(match.before, first)]
    rows.append(f"{path}:{match.line}:{match.column}: {visible(match.text)}")
    rows += [
        f"{path}-{number}- {visible(text)}"
        for number, text in enumerate(match.after, match.line + 1)
    ]
    return rows
