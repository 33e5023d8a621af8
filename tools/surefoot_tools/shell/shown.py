"""Output as it is shown: text in which nothing is hidden, line by line.

What a terminal would obey or not show is spelled out, such as `\\x1b`: escape sequences, control
characters, characters without width, and those that change the direction of writing. A progress bar
that returns to the beginning of its line is folded to what it said last.
"""

import re
from itertools import accumulate

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and newline, DEL, C1
    "\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\u115f\u1160\u3164\uffa0\ud800-\udfff"  # fillers; lone surrogates
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"  # tags, variation selectors
)
_SEQUENCE = re.compile(
    "\x1b\\[[0-?]*[ -/]*[@-~]"  # CSI
    "|\x1b[\\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\\\|$)"  # OSC, DCS, SOS, PM, APC up to their end
    "|\x1b[ -/]*[0-~]"
)
"""What a terminal obeys: ECMA-48, sections 5.4 and 5.6, and xterm's control sequences."""


_PLAIN = bytes(range(0x20, 0x7F)) + b"\t\n"


def text_of(data: bytes, *, terminal: bool = False) -> str:
    """A piece of output, made visible line by line.

    Args:
        data: The piece.
        terminal: Whether a terminal was written to: what that obeys is left out.
    """
    if not data.translate(None, _PLAIN):  # what most programs print; line by line costs 100 times
        return data.decode("ascii")
    text = data.decode("utf-8", "replace")
    if not terminal and "\r" not in text:
        return _HIDDEN.sub(_spelled, text)
    return "\n".join(shown(line, terminal=terminal) for line in text.split("\n"))


def ends_of(data: bytes, start: int) -> list[int]:
    """Where the lines of a piece of output end; the last may lack its end.

    Args:
        data: The piece.
        start: Its offset.
    """
    lengths = (len(line) + 1 for line in data.split(b"\n"))
    return list(accumulate(lengths, initial=start))[1:]


def shown(line: str, *, terminal: bool = False) -> str:
    """One line without its end, made visible."""
    if line.isascii() and line.isprintable():
        return line
    if terminal:
        line = _SEQUENCE.sub("", line)
    if "\r" in line:
        line = next((state for state in reversed(line.split("\r")) if state), "")
    return _HIDDEN.sub(_spelled, line)


def _spelled(found: re.Match[str]) -> str:
    number = ord(found.group())
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def invalid(data: bytes) -> int:
    """How many times something in it is no UTF-8 and is shown as U+FFFD."""
    if data.isascii():
        return 0
    return data.decode("utf-8", "replace").count("\ufffd") - data.count("\ufffd".encode())


def whole_characters(data: bytes, *, head: bool) -> bytes:
    """The data without the parts of a UTF-8 character at its end, or at its beginning.

    Args:
        data: Cut somewhere.
        head: Whether it was cut at its end.
    """
    if head:
        for back in range(1, min(4, len(data)) + 1):
            byte = data[-back]
            if byte & 0xC0 == 0x80:
                continue
            needed = 2 if byte >> 5 == 0b110 else 3 if byte >> 4 == 0b1110 else 4
            return data[:-back] if byte >= 0xC0 and back < needed else data
        return data
    cut = next((at for at in range(min(4, len(data))) if data[at] & 0xC0 != 0x80), None)
    if cut is None:  # a lone rest of one, or no text at all
        return b"" if len(data) < 4 else data
    return data[cut:]
