"""Keys of a terminal, by name: `<enter>`, `<ctrl-c>`, `<up>`.

What they send is what xterm sends (ctlseqs, 'PC-Style Function Keys' and 'VT220-Style Function
Keys').
"""

import re

_NAMED = {
    "enter": "\r",
    "return": "\r",
    "tab": "\t",
    "escape": "\x1b",
    "esc": "\x1b",
    "space": " ",
    "backspace": "\x7f",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "right": "\x1b[C",
    "left": "\x1b[D",
    "home": "\x1b[H",
    "end": "\x1b[F",
    "insert": "\x1b[2~",
    "delete": "\x1b[3~",
    "page-up": "\x1b[5~",
    "page-down": "\x1b[6~",
    "shift-tab": "\x1b[Z",
    "lt": "<",
    **{f"f{number}": f"\x1bO{letter}" for number, letter in enumerate("PQRS", 1)},
    **{
        f"f{number}": f"\x1b[{code}~"
        for number, code in zip(range(5, 13), (15, 17, 18, 19, 20, 21, 23, 24), strict=True)
    },
    **{f"ctrl-{chr(letter)}": chr(letter & 0x1F) for letter in range(ord("a"), ord("z") + 1)},
    "ctrl-space": "\0",
    "ctrl-[": "\x1b",
    "ctrl-\\": "\x1c",
    "ctrl-]": "\x1d",
    "ctrl-_": "\x1f",
}
_KEY = re.compile(r"<([a-z0-9]+(?:-[a-z0-9\[\]\\_]+)*)>", re.IGNORECASE)


def typed(text: str) -> str:
    """What a terminal sends when this is typed: named keys as such, an end of line as Enter.

    A name that is no key's stays as it is; `<lt>` is a `<`.
    """
    lines = text.replace("\r\n", "\r").replace("\n", "\r")
    return _KEY.sub(lambda found: _send(found[1].lower()) or found[0], lines)


def _send(name: str) -> str | None:
    """What a key sends; Alt puts an escape before it."""
    if name.startswith("alt-"):
        key = name[4:]
        rest = key if len(key) == 1 else _NAMED.get(key)
        return None if rest is None else f"\x1b{rest}"
    return _NAMED.get(name)


def keys_alone(text: str) -> bool:
    """Whether a text is nothing but names of keys."""
    rest = _KEY.sub(lambda found: "" if _send(found[1].lower()) else found[0], text)
    return bool(text) and not rest.strip()
