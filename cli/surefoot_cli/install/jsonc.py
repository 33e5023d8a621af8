"""Finds the parts of a JSON or JSONC text, by position, so that one of them can be edited in place.

No value is built but where one is asked for: the rest of a host's file is not ours to understand.
Read by `edit.py`. (jsonc-edit does the like through a Node process; json-five, json5 and
json-with-comments parse well, and write a whole file anew.)
"""

import bisect
import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

DEEPEST = 200
"""Objects and arrays inside one another that are followed."""


class Dialect(StrEnum):
    """What a host's parser takes."""

    JSON = "JSON"
    """RFC 8259 alone."""
    JSONC = "JSON with comments"
    """And comments, and a comma after the last member or item, as VS Code's parser does."""


class Malformed(ValueError):
    """The text is not what its host can read; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value, from `start` up to and without `end`."""

    start: int
    end: int
    members: "tuple[Member, ...] | None" = None
    """Of an object, in their order, also those of one name; None of anything else."""
    items: "tuple[Value, ...] | None" = None
    """Of an array; None of anything else."""

    def member(self, key: str) -> "Member | None":
        """The member of that name that counts: parsers of JSON take the last of several."""
        named = [member for member in self.members or () if member.key == key]
        return named[-1] if named else None


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an object, from the quote of its key to the end of its value."""

    key: str
    start: int
    value: Value
    comma: int | None
    """Where the comma behind it stands; None where there is none."""

    @property
    def end(self) -> int:
        """Where its value ends."""
        return self.value.end


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment; one of a line ends before its line break."""

    start: int
    end: int
    line: bool


@dataclass(frozen=True, slots=True)
class Document:
    """A text and where its parts are."""

    text: str
    root: Value
    comments: tuple[Comment, ...]
    """In the order of the text."""

    def comment_before(self, at: int) -> Comment | None:
        """The last comment that ends at or before a position."""
        n = bisect.bisect_right(self.comments, at, key=lambda comment: comment.end)
        return self.comments[n - 1] if n else None

    def plain(self, value: Value) -> Any:
        """What a value says, as `json.loads` would give it."""
        if value.members is not None:
            return {member.key: self.plain(member.value) for member in value.members}
        if value.items is not None:
            return [self.plain(item) for item in value.items]
        return json.loads(self.text[value.start : value.end])


def parse(text: str, dialect: Dialect) -> Document:
    """Find the parts of a text.

    Raises:
        Malformed: it is not of that dialect, or deeper than `DEEPEST`.
    """
    scan = _Scan(text, dialect)
    root = scan.value(0)
    scan.space()
    if scan.at != len(text):
        raise scan.fault("the file should end here")
    return Document(text, root, tuple(scan.comments))


_SPACE = re.compile(r"[ \t\r\n]*+")
_COMMENT = re.compile(r"(?P<line>//[^\r\n]*+)|/\*(?s:.*?)\*/")
_STRING = re.compile(r'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"')
_SCALAR = re.compile(r"(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)", re.ASCII)


class _Scan:
    """One pass over a text; `at` is where it stands."""

    def __init__(self, text: str, dialect: Dialect) -> None:
        self.text = text
        self.at = 0
        self.comments: list[Comment] = []
        self._lenient = dialect is Dialect.JSONC

    def fault(self, reason: str) -> Malformed:
        before = re.split(r"\r\n|\r|\n", self.text[: self.at])
        return Malformed(f"line {len(before)}, column {len(before[-1]) + 1}: {reason}")

    def space(self) -> None:
        """Go past white space and comments."""
        while True:
            self._match(_SPACE)
            if self._next() != "/":
                return
            began = self.at
            found = _COMMENT.match(self.text, self.at)
            if found is None:
                raise self.fault("a comment that does not end, or a stray '/'")
            if not self._lenient:
                raise self.fault("a comment, which its host does not read")
            self.at = found.end()
            self.comments.append(Comment(began, self.at, line=found["line"] is not None))

    def value(self, depth: int) -> Value:
        self.space()
        if depth > DEEPEST:
            raise self.fault(f"deeper than {DEEPEST} objects and arrays")
        match self._next():
            case "{":
                return self._object(depth)
            case "[":
                return self._array(depth)
            case '"':
                began = self.at
                self._string()
                return Value(began, self.at)
            case _:
                began = self.at
                if not self._match(_SCALAR):
                    raise self.fault("a value is missing, or is none of JSON")
                return Value(began, self.at)

    def _object(self, depth: int) -> Value:
        began, members = self.at, list[Member]()
        self.at += 1
        while not self._closes("}", bool(members)):
            start = self.at
            key: str = json.loads(self._string())
            self.space()
            self._take(":")
            value = self.value(depth + 1)
            members.append(Member(key, start, value, self._comma("}")))
        return Value(began, self.at, members=tuple(members))

    def _array(self, depth: int) -> Value:
        began, items = self.at, list[Value]()
        self.at += 1
        while not self._closes("]", bool(items)):
            items.append(self.value(depth + 1))
            self._comma("]")
        return Value(began, self.at, items=tuple(items))

    def _closes(self, bracket: str, some: bool) -> bool:
        """Whether the bracket is here, which it may not be right after a comma of strict JSON."""
        self.space()
        if self._next() != bracket:
            return False
        if some and self._after_comma and not self._lenient:
            raise self.fault("a comma before this, which its host does not read")
        self.at += 1
        return True

    def _comma(self, bracket: str) -> int | None:
        """Take the comma behind a member or an item; without one the bracket must follow."""
        self.space()
        self._after_comma = self._next() == ","
        if self._after_comma:
            self.at += 1
            return self.at - 1
        if self._next() != bracket:
            raise self.fault(f"',' or '{bracket}' is missing")
        return None

    _after_comma = False

    def _string(self) -> str:
        began = self.at
        if not self._match(_STRING):
            raise self.fault("a string in double quotes should be here")
        return self.text[began : self.at]

    def _take(self, sign: str) -> None:
        if self._next() != sign:
            raise self.fault(f"'{sign}' is missing")
        self.at += 1

    def _next(self) -> str:
        return self.text[self.at : self.at + 1]

    def _match(self, pattern: re.Pattern[str]) -> bool:
        found = pattern.match(self.text, self.at)
        if found is None:
            return False
        self.at = found.end()
        return True
