"""Exact replacements in a text, and what they changed as a diff. Pure: no file is touched here."""

import difflib
import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from surefoot_tools.errors import Code, ToolError
from surefoot_tools.files.text import visible

DIFF_LIMIT = 16 * 1024
"""Bytes of a diff."""
_CONTEXT = 3
"""Equal lines shown around a change."""
_EXAMINED = 4000
"""Lines compared one by one: of a diff's changed region, and of a file in search of a passage."""
_PASSAGES = 3
"""Closest passages shown when a text is not found."""
_WIDTH = 200
"""Characters of a line that an error shows."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """One exact replacement."""

    old: str
    new: str
    everywhere: bool = False


def apply(text: str, edits: Sequence[Replacement]) -> tuple[str, int]:
    r"""The text after all replacements, one after another, and how many places were replaced.

    `\r\n` and `\n` count as the same line ending when looking for a text; the line endings that are
    not replaced stay as they are, new ones are those that most lines of the file have.

    Raises:
        ToolError: a text is not there, is there more than once, or nothing would change.
    """
    ending = _dominant_ending(text)
    replaced = 0
    before = text
    for number, edit in enumerate(edits, 1):
        old, new = _normal(edit.old), _normal(edit.new)
        if not old:
            raise ToolError(
                Code.INVALID_ARGUMENT,
                f"edit {number}: old_text is empty",
                hint="give the text to replace; write_file with mode append adds at the end",
            )
        if old == new:
            raise ToolError(
                Code.INVALID_ARGUMENT, f"edit {number}: old_text and new_text are the same"
            )
        starts = _find(text, old, number, everywhere=edit.everywhere)
        text = _replace(text, starts, len(old), new.replace("\n", ending))
        replaced += len(starts)
    if text == before:
        raise ToolError(
            Code.INVALID_ARGUMENT, "the edits undo each other: nothing would change in the file"
        )
    return text, replaced


def _normal(text: str) -> str:
    return text.replace("\r\n", "\n")


def _dominant_ending(text: str) -> str:
    windows = text.count("\r\n")
    return "\r\n" if windows > text.count("\n") - windows else "\n"


def _find(text: str, old: str, number: int, *, everywhere: bool) -> list[int]:
    """Where `old` begins in the normal form of the text.

    Raises:
        ToolError: nowhere, or at more than one place without being told so.
    """
    normal = _normal(text)
    starts: list[int] = []
    at = normal.find(old)
    while at >= 0:
        starts.append(at)
        # Two places may overlap: for 'exactly once' both count, replaced are those apart.
        at = normal.find(old, at + (len(old) if everywhere else 1))
        if not everywhere and len(starts) > 20:
            break
    if not starts:
        raise _not_found(normal, old, number)
    if not everywhere and len(starts) > 1:
        lines = ", ".join(str(normal.count("\n", 0, start) + 1) for start in starts[:10])
        more = " and more" if len(starts) > 10 else ""
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"edit {number}: old_text occurs more than once, at lines {lines}{more}; nothing was "
            "changed",
            hint="take in more of the lines around it, or set replace_all to true",
        )
    return starts


def _replace(text: str, starts: list[int], length: int, new: str) -> str:
    r"""Replace stretches given by their place in the normal form, where `\r\n` is one character."""
    pairs = [pair.start() - number for number, pair in enumerate(re.finditer("\r\n", text))]
    parts: list[str] = []
    at = 0
    for start in starts:
        # Each pair before a place in the normal form puts it one further on in the text.
        begin = start + bisect_left(pairs, start)
        end = start + length + bisect_left(pairs, start + length)
        parts += (text[at:begin], new)
        at = end
    return "".join((*parts, text[at:]))


def _not_found(normal: str, old: str, number: int) -> ToolError:
    passages = _closest(normal.split("\n"), old.split("\n"))
    shown = "\n".join(passages)
    message = f"edit {number}: old_text was not found; nothing was changed"
    if shown:
        message += f". The closest passages:\n{shown}"
    return ToolError(
        Code.NOT_FOUND,
        message,
        hint="copy the text exactly, with its spaces; escapes such as \\x1b in what read_file "
        "shows stand for one character",
    )


def _closest(lines: list[str], wanted: list[str]) -> list[str]:
    """The passages most like the one wanted, best first, with line numbers."""
    anchor = max(range(len(wanted)), key=lambda index: len(wanted[index].strip()))
    target = wanted[anchor].strip()[:_WIDTH]
    if not target:
        return []
    matcher = difflib.SequenceMatcher(b=target, autojunk=False)
    scored: list[tuple[float, int]] = []
    for index, line in enumerate(islice(lines, _EXAMINED)):
        matcher.set_seq1(line.strip()[:_WIDTH])
        if matcher.real_quick_ratio() >= 0.6 and matcher.quick_ratio() >= 0.6:
            ratio = matcher.ratio()
            if ratio >= 0.6:
                scored.append((-ratio, index))
    return [
        _passage(lines, max(0, index - anchor), len(wanted))
        for _, index in sorted(scored)[:_PASSAGES]
    ]


def _passage(lines: list[str], start: int, count: int) -> str:
    shown = [
        f"  line {number}: {visible(line[:_WIDTH])}"
        for number, line in enumerate(lines[start : start + min(count, 6)], start + 1)
    ]
    return "\n".join(shown)


def diff(old: str, new: str, path: str) -> str:
    """A unified diff of at most 16 KiB; one that was cut says so in its last line."""
    before, after = _lines(old), _lines(new)
    body = [f"--- {path}", f"+++ {path}"]
    room = DIFF_LIMIT - sum(len(line.encode(errors="replace")) + 1 for line in body) - 80
    for number, line in enumerate(lines := _hunks(before, after)):
        room -= len(line.encode(errors="replace")) + 1
        if room < 0:
            return "\n".join((*body, f"... diff cut here: {len(lines) - number} more lines"))
        body.append(line)
    return "\n".join(body)


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    end = lines.pop()
    if end:
        lines.append(end + "\n\\ No newline at end of file")
    return [line.removesuffix("\r") for line in lines]


Opcode = tuple[int, int, int, int]
"""Lines `a[0:1]` became `b[2:3]`."""


def _changes(before: list[str], after: list[str]) -> list[Opcode]:
    """The stretches of lines that differ; fast for large files, then coarser."""
    head = 0
    shorter = min(len(before), len(after))
    while head < shorter and before[head] == after[head]:
        head += 1
    tail = 0
    while tail < shorter - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    if max(len(old), len(new)) <= _EXAMINED:
        matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
        return [
            (a + head, b + head, c + head, d + head)
            for kind, a, b, c, d in matcher.get_opcodes()
            if kind != "equal"
        ]
    if len(old) != len(new):
        return [(head, head + len(old), head, head + len(new))]
    return [
        (index + head, index + head + 1, index + head, index + head + 1)
        for index in range(len(old))
        if old[index] != new[index]
    ]


def _hunks(before: list[str], after: list[str]) -> list[str]:
    """The lines of a unified diff without its head (POSIX diff, 'Diff -u Output Format')."""
    groups: list[list[Opcode]] = []
    for change in _changes(before, after):
        if groups and change[0] - groups[-1][-1][1] <= 2 * _CONTEXT:
            groups[-1].append(change)
        else:
            groups.append([change])
    lines: list[str] = []
    for group in groups:
        first, last = group[0], group[-1]
        lead = min(_CONTEXT, first[0])
        end = min(len(before), last[1] + _CONTEXT)
        old_start, new_start = first[0] - lead, first[2] - lead
        old_count, new_count = end - old_start, last[3] + end - last[1] - new_start
        lines.append(f"@@ -{_range(old_start, old_count)} +{_range(new_start, new_count)} @@")
        at = old_start
        for a, b, c, d in group:
            lines += (f" {line}" for line in before[at:a])
            lines += (f"-{line}" for line in before[a:b])
            lines += (f"+{line}" for line in after[c:d])
            at = b
        lines += (f" {line}" for line in before[at:end])
    return lines


def _range(start: int, count: int) -> str:
    return f"{start + 1 if count else start},{count}"
