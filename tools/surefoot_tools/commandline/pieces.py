"""A node of a command's tree as the word that a program gets. Part of `grammar`."""

import re
from collections.abc import Iterator
from typing import Protocol

from surefoot_tools.commandline.words import ANY, Piece, Word

_GLOB = re.compile(r"[*?\[]")


class Node(Protocol):
    """What is used of tree-sitter's node."""

    type: str
    text: bytes | None
    start_byte: int
    end_byte: int
    children: list["Node"]
    is_named: bool
    is_missing: bool
    has_error: bool
    descendant_count: int

    def child_by_field_name(self, name: str) -> "Node | None":
        """The child that has this role."""
        ...

    def children_by_field_name(self, name: str) -> list["Node"]:
        """The children that have this role."""
        ...


def text_of(node: Node) -> str:
    """Its text, as it is written."""
    return (node.text or b"").decode()


def word_of(node: Node) -> Word:
    """The word that a program gets for a node."""
    pieces: list[Piece] = []
    many = False
    for piece, split in _pieces(node):
        pieces.append(piece)
        many = many or split
    if pieces and isinstance(pieces[0], str) and pieces[0].startswith("~") and not many:
        _, slash, rest = pieces[0].partition("/")
        pieces[:1] = [ANY, slash + rest]
    return Word(tuple(pieces), many)


def _pieces(node: Node) -> Iterator[tuple[Piece, bool]]:
    """What a node stands for, piece by piece, and whether that may be more than one word."""
    raw = text_of(node)
    match node.type:
        case "word" | "number" | "variable_name" | "extglob_pattern" | "test_operator":
            yield from _unquoted(raw)
        case "raw_string":
            yield raw[1:-1], False
        case "string":
            yield from _quoted(node)
        case "concatenation":
            whole = text_of(node) == "".join(text_of(child) for child in node.children)
            # What stands between braces is several words; which, is for the shell to say.
            if not whole or any(map(_has_brace, node.children)):
                yield ANY, True
                return
            for child in node.children:
                yield from _pieces(child)
        case "ansi_c_string":
            plain = "\\" not in raw
            yield (raw[2:-1] if plain else ANY), False
        case _ if not node.is_named and "$" not in raw and "`" not in raw:
            yield from _unquoted(raw)
        case _:
            yield ANY, True


def _has_brace(node: Node) -> bool:
    """Whether a part of a word has a brace that no quotes take the meaning from."""
    if node.type in ("string", "raw_string", "ansi_c_string", "expansion"):
        return False
    bare = re.sub(r"\\(?:\n|.)", "", text_of(node))
    return bare != "{}" and ("{" in bare or "}" in bare)


def _unquoted(raw: str) -> Iterator[tuple[Piece, bool]]:
    text = re.sub(r"\\(\n|.)", lambda found: "" if found[1] == "\n" else found[1], raw)
    bare = re.sub(r"\\(?:\n|.)", "", raw)
    if bare == "{}":
        yield text, False
    elif "{" in bare or "}" in bare:
        yield ANY, True
    elif _GLOB.search(bare):
        for index, piece in enumerate(_GLOB.split(text)):
            if index:
                yield ANY, True
            yield piece, True
    else:
        yield text, False


def _quoted(node: Node) -> Iterator[tuple[Piece, bool]]:
    """What is between double quotes: `"$@"` alone may be more than one word."""
    inner = (node.text or b"")[1:-1]
    at = node.start_byte + 1
    for child in node.children:
        if child.type in ("string_content", '"'):
            continue
        yield _unescaped(inner[at - node.start_byte - 1 : child.start_byte - node.start_byte - 1])
        text = child.text or b""
        yield ANY, b"@" in text
        at = child.end_byte
    yield _unescaped(inner[at - node.start_byte - 1 :])


def _unescaped(raw: bytes) -> tuple[Piece, bool]:
    text = raw.decode()
    return re.sub(r'\\(["\\$`\n])', lambda f: "" if f[1] == "\n" else f[1], text), False
