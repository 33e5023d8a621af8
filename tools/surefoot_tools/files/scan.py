"""Search files with Python's own `re`: a program of its own, started where ripgrep is not found.

Python's engine cannot be stopped and may take exponential time, so that it runs in a process which
`engine.py` kills. It imports nothing but the standard library, and starts fast. It searches the
directory it is started in, or its standard input, and prints a JSON object a line:
`{"path", "line", "column", "text"}`, `column` null for a line of context. The first argument is a
JSON object: `{"pattern", "ignore_case", "glob", "context", "largest", "stdin"}`.
"""

import json
import os
import re
import stat
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

IGNORE_FILES = (".gitignore", ".ignore")

DEEPEST = 100
"""Levels searched at most: each holds a descriptor open."""

Rule = tuple[str, str, bool, bool]
"""Of a .gitignore: where it was found, pattern, whether it takes back, whether for directories."""


def read_rules(directory: int, below: str) -> list[Rule]:
    """The rules of one directory (gitignore(5); character classes and `**` as fnmatch has them)."""
    rules: list[Rule] = []
    for name in IGNORE_FILES:
        text = (read(directory, name, 1024 * 1024) or b"").decode(errors="replace")
        for line in text.splitlines():
            pattern = line.strip()
            if not pattern or pattern.startswith("#"):
                continue
            back = pattern.startswith("!")
            pattern = pattern.removeprefix("!")
            rules.append((below, pattern.rstrip("/"), back, pattern.endswith("/")))
    return rules


def ignored(path: str, rules: list[Rule], *, is_directory: bool) -> bool:
    """Whether the last rule that matches excludes the path."""
    verdict = False
    for below, pattern, back, only_directories in rules:
        if only_directories and not is_directory:
            continue
        rest = path[len(below) :]
        if matches(rest, pattern):
            verdict = not back
    return verdict


def matches(path: str, pattern: str) -> bool:
    """Whether a path matches a pattern that, with a slash inside, begins where it was found."""
    if "/" not in pattern:
        return fnmatchcase(path.rsplit("/", 1)[-1], pattern)
    return _parts_match(path.split("/"), pattern.removeprefix("/").split("/"))


def _parts_match(parts: list[str], patterns: list[str]) -> bool:
    if not patterns:
        return not parts
    if patterns[0] == "**":
        nothing = _parts_match(parts, patterns[1:])
        return nothing or (bool(parts) and _parts_match(parts[1:], patterns))
    return (
        bool(parts) and fnmatchcase(parts[0], patterns[0]) and _parts_match(parts[1:], patterns[1:])
    )


def read(directory: int, name: str, largest: int) -> bytes | None:
    """A regular file with a single name, of at most so many bytes; None for anything else."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=directory)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or found.st_size > largest:
            return None
        return file.read(largest)


Level = tuple[int, str, list[Rule], Iterator[tuple[str, bool]]]
"""A directory on the way: descriptor, path with a slash at its end, rules, what is left in it."""


def enter(above: int | None, name: str, below: str, rules: list[Rule]) -> Level | None:
    """Open a directory, which must be no link; None if it cannot be looked into."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        directory = os.open(name, flags, dir_fd=above)
        with os.scandir(directory) as found:
            entries = sorted((each.name, each.is_dir(follow_symlinks=False)) for each in found)
    except OSError:
        return None
    return directory, below, rules + read_rules(directory, below), iter(entries)


def files(largest: int, glob: str | None) -> Iterator[tuple[str, bytes]]:
    """Path and content of each file below the directory we are in, in order of paths."""
    first = enter(None, ".", "", [])
    levels = [] if first is None else [first]
    while levels:
        directory, below, rules, entries = levels[-1]
        name, is_directory = next(entries, ("", False))
        path = below + name
        if not name:
            os.close(levels.pop()[0])
        elif name.startswith(".") or ignored(path, rules, is_directory=is_directory):
            continue
        elif is_directory:
            deeper = enter(directory, name, f"{path}/", rules) if len(levels) < DEEPEST else None
            if deeper is not None:
                levels.append(deeper)
        elif glob is None or matches(path, glob.removeprefix("!")) != glob.startswith("!"):
            content = read(directory, name, largest)
            if content is not None:
                yield path, content


def decoded(content: bytes) -> str | None:
    """The text of a file, None for a binary one."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    return None if b"\0" in content else content.decode("utf-8-sig", errors="replace")


def search(path: str, text: str, pattern: "re.Pattern[str]", context: int) -> None:
    """Print the lines that match, and those around them."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if lines[-1] == "":
        lines.pop()
    printed = -1
    due = -1
    for index, line in enumerate(lines):
        match = pattern.search(line)
        if match is None and index > due:
            continue
        if match is not None:
            for before in range(max(printed + 1, index - context), index):
                show(path, before, lines[before], None)
            due = index + context
        show(path, index, line, None if match is None else match.start() + 1)
        printed = index


def show(path: str, index: int, line: str, column: int | None) -> None:
    """Print one line of a file, cut around its match."""
    start = max(0, (column or 1) - 200)
    found = {"path": path, "line": index + 1, "column": column, "text": line[start : start + 500]}
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Search as the first argument says."""
    request: dict[str, Any] = json.loads(sys.argv[1])
    flags = re.IGNORECASE if request["ignore_case"] else 0
    pattern = re.compile(request["pattern"], flags)
    if request["stdin"]:
        found: Iterator[tuple[str, bytes]] = iter([("", sys.stdin.buffer.read())])
    else:
        found = files(request["largest"], request["glob"])
    for path, content in found:
        text = decoded(content)
        if text is not None:
            search(path, text, pattern, request["context"])


if __name__ == "__main__":
    main()
