"""Words of a command, of which only a part may be known before it runs, and patterns of words."""

import re
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final


class Any(Enum):
    """Stands for text of any length that is only known when the command runs."""

    TEXT = "..."


ANY: Final = Any.TEXT
Piece = str | Any
"""Text as it is, or `ANY`."""


@dataclass(frozen=True, slots=True)
class Word:
    """One word as the program gets it."""

    pieces: tuple[Piece, ...]
    many: bool = False
    """Whether the shell may make any number of words of it, or none."""

    @classmethod
    def of(cls, text: str) -> "Word":
        """A word that is known."""
        return cls((text,))

    @property
    def text(self) -> str | None:
        """The word, if all of it is known."""
        if self.many or ANY in self.pieces:
            return None
        return "".join(piece for piece in self.pieces if isinstance(piece, str))

    @property
    def shown(self) -> str:
        """For people."""
        return "".join(piece if isinstance(piece, str) else piece.value for piece in self.pieces)

    def begins(self, start: str) -> bool:
        """Whether it is known to begin so."""
        first = self.pieces[0] if self.pieces else ""
        return not self.many and isinstance(first, str) and first.startswith(start)


UNKNOWN = Word((ANY,), many=True)
"""Any number of words of which nothing is known."""


_TOKEN = re.compile(r"\*|\?|\[!?+(?:\][^\]]*|[^\]]+)\]|.", re.DOTALL)


@lru_cache(maxsize=1024)
def _tokens(pattern: str) -> tuple[str, ...]:
    """A pattern in pieces that each stand for one character, and stars."""
    return tuple(_TOKEN.findall(pattern))


def must_match(pattern: str, word: Word) -> bool:
    """Whether a word is known, and matches a pattern as `fnmatch` has them."""
    text = word.text
    return text is not None and fnmatchcase(text, pattern)


def may_match(pattern: str, word: Word) -> bool:
    """Whether a word may turn out to match a pattern when it runs."""
    text = word.text
    if text is not None:
        return fnmatchcase(text, pattern)
    tokens = _tokens(pattern)
    states = _closed({0}, tokens)
    for piece in word.pieces:
        if not isinstance(piece, str):
            # Whatever the pattern wants next, the unknown text may have it.
            states = set(range(min(states), len(tokens) + 1))
            continue
        for character in piece:
            states = _closed(_after(states, tokens, character), tokens)
            if not states:
                return False
    return len(tokens) in states


def _after(states: set[int], tokens: tuple[str, ...], character: str) -> set[int]:
    """Where in a pattern one more character leads."""
    reached: set[int] = set()
    for at in states:
        if at == len(tokens):
            continue
        if tokens[at] == "*":
            reached.add(at)
        elif fnmatchcase(character, tokens[at]):
            reached.add(at + 1)
    return reached


def _closed(states: set[int], tokens: tuple[str, ...]) -> set[int]:
    """The same places, and those behind stars that stand for nothing."""
    closed = set(states)
    for at in states:
        while at < len(tokens) and tokens[at] == "*":
            at += 1
            closed.add(at)
    return closed
