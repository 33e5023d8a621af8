"""Text as files hold it and as a model reads it: decoding, and visible escapes."""

import codecs
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

TEXT_LIMIT = 32 * 1024
"""Bytes of text that a result shows a model unless the caller's own limit asks for more."""

_VARIATION_SELECTORS = range(0xE0100, 0xE01F0)
"""Supplementary variation selectors: invisible, and able to carry a hidden message."""


def _escaped(character: str) -> str:
    number = ord(character)
    if 0xDC80 <= number <= 0xDCFF:
        return f"\\x{number - 0xDC00:02x}"
    if character in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[character]
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def _hidden(character: str) -> bool:
    kind = unicodedata.category(character)
    return kind in ("Cc", "Cf", "Cs", "Zl", "Zp") or ord(character) in _VARIATION_SELECTORS


def _shown(text: str, kept: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _escaped(character) if character not in kept and _hidden(character) else character
        for character in text
    )


def visible(text: str) -> str:
    """The text with control, escape, bidirectional and zero-width characters as escapes.

    Line feeds and tabs stay, a carriage return before a line feed is dropped. Terminals obey some
    of these characters and people and models see none (Unicode Technical Report 36, section 2).
    """
    return _shown(text.replace("\r\n", "\n"), "\n\t")


def visible_name(name: str) -> str:
    """A file name on one line: as `visible`, and line feeds and tabs too are escapes."""
    return _shown(name, "")


def exact_name(name: str) -> str:
    r"""A file name for JSON: exact, but bytes that are not UTF-8 are shown as `\xNN`."""
    return "".join(
        _escaped(character) if 0xD800 <= ord(character) <= 0xDFFF else character
        for character in name
    )


def bounded(lines: Iterable[str], limit: int) -> tuple[str, int]:
    """As many whole lines as fit into `limit` bytes of UTF-8, and how many those are."""
    kept: list[str] = []
    room = limit
    for line in lines:
        room -= len(line.encode(errors="replace")) + 1
        if room < 0:
            break
        kept.append(line)
    return "\n".join(kept), len(kept)


_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "PNG image"),
    (b"\xff\xd8\xff", "JPEG image"),
    (b"GIF8", "GIF image"),
    (b"BM", "BMP image"),
    (b"%PDF-", "PDF document"),
    (b"PK\x03\x04", "ZIP archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"\x7fELF", "ELF program"),
    (b"SQLite format 3\x00", "SQLite database"),
)


def kind_of(head: bytes) -> str:
    """What the first bytes of a binary file say that it is; 'binary' when nothing is known."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP image"
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), "binary")


def codec_of(head: bytes) -> tuple[str, bytes] | None:
    """The codec that a byte order mark at the head of a file names, and that mark."""
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return None
    for mark, codec in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if head.startswith(mark):
            return codec, mark
    return None


@dataclass(frozen=True, slots=True)
class Decoded:
    """A file's text and how to turn it back into the same bytes."""

    text: str
    codec: str
    mark: bytes
    """The byte order mark, which is not part of `text`."""

    def encode(self, text: str) -> bytes:
        """Another text as this file would hold it.

        Raises:
            UnicodeEncodeError: the file's encoding has no such character.
        """
        return self.mark + text.encode(self.codec)


def decode(data: bytes) -> Decoded | None:
    """A whole file as text: by its byte order mark, else UTF-8, else Latin-1; None for binary.

    Encoding the text again gives the same bytes.
    """
    marked = codec_of(data[:4])
    if marked is None and b"\x00" in data:
        return None
    codec, mark = marked if marked is not None else ("utf-8", b"")
    try:
        return Decoded(data[len(mark) :].decode(codec), codec, mark)
    except UnicodeDecodeError:
        return None if mark else Decoded(data.decode("latin-1"), "latin-1", b"")
