"""Puts an entry into a host's file, and takes it out, and touches no character beside it.

The rule that everything here serves: `take(put(text)) == text`, also where `put` had to make the
object that holds the entries. Two layouts of an object that holds nothing but our entry therefore
mean different things, and `take` reads them:

| the text had | `put` writes | `take` leaves |
|---|---|---|
| no object of entries | that object over several lines | no object of entries |
| an empty one, `{}` | `{"surefoot": {...}}`, brace at brace | `{}` |
| an empty one with white space in it | that white space around the entry | the same white space |

A comma that has to stand before our entry is put right behind the value before it, and our entry
behind the comments that follow that value: they stay with what they speak of.
"""

import json
import re
from typing import Any, cast

from surefoot_cli.install.jsonc import Dialect, Document, Malformed, Member, Value, parse

Entry = dict[str, Any]
REMOTE = ("url", "serverUrl")
"""Members of an entry that is no command; ours replaces such an entry as a whole."""
_BREAK = re.compile(r"\r\n|\r|\n")
_SPACES = " \t\r\n"
_Cut = tuple[int, int]


def put(text: str, holder: str, name: str, entry: Entry, dialect: Dialect) -> str:
    """The text with the entry in it; the same text if it says so already.

    Of an entry of that name only the members that we write are changed.

    Args:
        text: Without a byte order mark. An empty one becomes an object.
        holder: The member of the root that holds the entries.
        name: The entry's.
        entry: What it says.
        dialect: What the text is written in.

    Raises:
        Malformed: the text is not of that dialect, or what should be an object is none.
    """
    document = parse(text if text.strip(_SPACES) else "{}\n", dialect)
    held = _holder(document, holder)
    if held is None:
        return _add(document, document.root, holder, {name: entry}, made=True)
    ours = held.value.member(name)
    if ours is None:
        return _add(document, held.value, name, entry)
    there = ours.value
    if there.members is None or any(there.member(key) for key in REMOTE):
        return _change(document, ours, entry)
    for key, wanted in entry.items():
        document = parse(_merge(document, there, key, wanted), dialect)
        again = _holder(document, holder)
        ours = again.value.member(name) if again else None
        assert ours is not None  # noqa: S101 - for the type checker: only its inside was edited
        there = ours.value
    return document.text


def take(text: str, holder: str, name: str, dialect: Dialect) -> str:
    """The text without the entries of that name; the same text if there is none.

    Raises:
        Malformed: as `put`.
    """
    while True:
        if not text.strip(_SPACES):
            return text
        document = parse(text, dialect)
        held = _holder(document, holder)
        ours = held.value.member(name) if held else None
        if held is None or ours is None:
            return text
        if _is_made(document, held.value):
            text = _remove(document, document.root, held)
        else:
            text = _remove(document, held.value, ours)


def entries(text: str, holder: str, dialect: Dialect) -> dict[str, Any]:
    """The entries that a text holds, by name, as its host reads them.

    Raises:
        Malformed: as `put`.
    """
    if not text.strip(_SPACES):
        return {}
    document = parse(text, dialect)
    held = _holder(document, holder)
    return cast("dict[str, Any]", document.plain(held.value)) if held else {}


def _holder(document: Document, holder: str) -> Member | None:
    if document.root.members is None:
        raise Malformed("the file should hold an object, and holds something else")
    held = document.root.member(holder)
    if held is not None and held.value.members is None:
        raise Malformed(f'"{holder}" should be an object, and is something else')
    return held


def _merge(document: Document, there: Value, key: str, wanted: object) -> str:
    """The text with one member of our entry as it should be."""
    member = there.member(key)
    if member is None:
        return _add(document, there, key, wanted)
    if document.plain(member.value) == wanted:
        return document.text
    return _change(document, member, wanted)


def _change(document: Document, member: Member, wanted: object) -> str:
    indent = _line_indent(document.text, member.start)
    written = _written(document, wanted, indent)
    return _spliced(document.text, member.value.start, member.end, written)


def _add(document: Document, into: Value, key: str, wanted: object, made: bool = False) -> str:
    """The text with a member more in an object, as its last."""
    text, members = document.text, into.members or ()
    if not members:
        return _fill(document, into, key, wanted)
    last = members[-1]
    tail = _token_before(document, into.end - 1)
    before = document.comment_before(tail)
    indent = _lead(text, last.start)
    name = json.dumps(key, ensure_ascii=False)
    if indent is None and before is not None and before.line and before.end == tail:
        indent = _line_indent(text, into.start) + _unit(document)
    if indent is not None:
        written = f"{_line_break(text)}{indent}{name}: {_written(document, wanted, indent)}"
    elif made:
        base = _line_indent(text, into.start)
        written = f" {name}: {_written(document, wanted, base)}"
    else:
        written = f" {name}: {json.dumps(wanted, ensure_ascii=False)}"
    if last.comma is not None:
        return _spliced(text, tail, tail, f"{written},")
    text = _spliced(text, tail, tail, written)
    return _spliced(text, last.end, last.end, ",")


def _fill(document: Document, into: Value, key: str, wanted: object) -> str:
    """The text with the first member of an empty object; the layouts are those of the head."""
    text = document.text
    inside, end = into.start + 1, into.end - 1
    tail = _token_before(document, end)
    space, base = text[tail:end], _line_indent(text, into.start)
    line, deeper = _line_break(text), base + _unit(document)
    name = json.dumps(key, ensure_ascii=False)
    if _BREAK.search(space):
        gap = line if tail == inside else ""
        written = f"{gap}{line}{deeper}{name}: {_written(document, wanted, deeper)}"
    elif tail == inside and not space:
        if into is document.root:
            value = _written(document, wanted, deeper)
            written = f"{line}{deeper}{name}: {value}{line}{base}"
        else:
            written = f"{name}: {_written(document, wanted, base)}"
    else:
        written = f"{space or ' '}{name}: {_written(document, wanted, base)}"
    return _spliced(text, tail, tail, written)


def _is_made(document: Document, value: Value) -> bool:
    """Whether an object holds one member alone, laid out as `put` makes it: take both away."""
    members = value.members or ()
    if len(members) != 1 or members[0].comma is not None:
        return False
    around = (
        document.text[value.start + 1 : members[0].start],
        document.text[members[0].end : value.end - 1],
    )
    return all(not part.strip(_SPACES) and len(_BREAK.findall(part)) == 1 for part in around)


def _remove(document: Document, out_of: Value, member: Member) -> str:
    """The text without one member of an object, its comma and the white space before it."""
    text, members = document.text, out_of.members or ()
    if out_of is document.root and _is_made(document, out_of):
        return _spliced(text, out_of.start + 1, out_of.end - 1, "")
    n = next(n for n, each in enumerate(members) if each is member)
    before = _token_before(document, member.start)
    cuts: list[_Cut] = [(before, member.start), (member.start, member.end)]
    comma = member.comma
    if comma is None and n:
        comma = members[n - 1].comma
    if comma is not None:
        cuts.append((comma, comma + 1))
    comment = document.comment_before(before)
    if comment is not None and comment.line and comment.end == before:
        # What follows must not slip into the comment.
        behind = member.end if member.comma != member.end else member.end + 1
        if not _BREAK.match(text, behind):
            cuts.remove((before, member.start))
    for start, end in sorted(cuts, reverse=True):
        text = _spliced(text, start, end, "")
    return text


def _token_before(document: Document, at: int) -> int:
    """Where the last thing before a position ends that is no white space."""
    comment = document.comment_before(at)
    bare = len(document.text[:at].rstrip(_SPACES))
    # A comment of a line owns the spaces at its end.
    return bare if comment is None else max(bare, comment.end)


def _written(document: Document, value: object, indent: str) -> str:
    """A value over several lines, in the text's own indentation and line breaks."""
    pretty = json.dumps(value, indent=_unit(document), ensure_ascii=False)
    return pretty.replace("\n", _line_break(document.text) + indent)


def _unit(document: Document) -> str:
    """What the text is indented by: the indentation of the root's first member."""
    members = document.root.members or ()
    return (_lead(document.text, members[0].start) if members else None) or "  "


def _line_break(text: str) -> str:
    found = _BREAK.search(text)
    return found.group() if found else "\n"


def _line_start(text: str, at: int) -> int:
    return max(text.rfind("\n", 0, at), text.rfind("\r", 0, at)) + 1


def _lead(text: str, at: int) -> str | None:
    """The indentation of what stands first on its line; None where something stands before it."""
    before = text[_line_start(text, at) : at]
    return None if before.strip(_SPACES) else before


def _line_indent(text: str, at: int) -> str:
    """The indentation of the line that a position is on."""
    before = text[_line_start(text, at) : at]
    return before[: len(before) - len(before.lstrip(_SPACES))]


def _spliced(text: str, start: int, end: int, instead: str) -> str:
    return text[:start] + instead + text[end:]
