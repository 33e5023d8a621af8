"""A table as text for a model to read: aligned, compact, bounded, nothing invisible in it."""

import unicodedata
from collections.abc import Sequence

from surefoot_tools.database.values import Json

TEXT_BYTES = 32 * 1024
"""Most bytes of text of one result."""

CELL = 2000
"""Characters of one value that are shown."""

ALIGNED = 40
"""A column is padded to this many characters at most; a longer value pushes the rest."""

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that a reader cannot see: controls, direction marks, tags, separators."""

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str) -> str:
    """The text with all that cannot be seen written as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _escape(character) if unicodedata.category(character) in _INVISIBLE else character
        for character in text
    )


def _escape(character: str) -> str:
    short = _SHORT.get(character)
    if short is not None:
        return short
    number = ord(character)
    if number <= 0xFF:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


def cell(value: Json) -> str:
    """One value: NULL, a number, text as it is, bytes as `base64:...`; cut past `CELL`."""
    if value is None:
        return "NULL"
    text = f"base64:{value['base64']}" if isinstance(value, dict) else str(value)
    cut = f"…(+{len(text) - CELL} characters)" if len(text) > CELL else ""
    return visible(text[:CELL]) + cut


def render(columns: Sequence[str], rows: Sequence[Sequence[Json]], size: int = TEXT_BYTES) -> str:
    """The table in at most `size` bytes; rows that do not fit are counted in a last line."""
    if not columns:
        return "(no columns)"
    names = [visible(name) for name in columns]
    table = [names, *([cell(value) for value in row] for row in rows)]
    widths = [min(ALIGNED, max(map(len, column))) for column in zip(*table, strict=True)]
    table.insert(1, ["-" * width for width in widths])
    lines: list[str] = []
    left = size - 100  # room for the last line
    for number, row in enumerate(table):
        padded = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        line = " | ".join(padded).rstrip()
        left -= len(line.encode()) + 1
        if left < 0:
            missing = len(rows) - max(0, number - 2)
            lines.append(f"… {missing} of {len(rows)} rows do not fit here; select less")
            break
        lines.append(line)
    return "\n".join(lines)


def cut(text: str, size: int = TEXT_BYTES) -> str:
    """The text in at most `size` bytes, with what is cut shown."""
    encoded = text.encode()
    if len(encoded) <= size:
        return text
    kept = encoded[: size - 100].decode(errors="ignore")
    return f"{kept}\n… {len(encoded) - len(kept.encode())} more bytes do not fit here; ask for less"
