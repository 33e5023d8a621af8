"""Takes secrets out of what is logged or stored: by field name, in URLs, and by known shapes."""

import hashlib
import re
from typing import Any, cast

from surefoot_tools.secrets import MASK, NAMES, redact_text

__all__ = ["LONGEST", "MASK", "redact", "redact_text"]

LONGEST = 2048
"""Characters of a string that are stored; of a longer one its head, size and hash."""

_SECRET_NAME = re.compile(rf"{NAMES}|authorization|cookie", re.IGNORECASE)


def redact(value: Any, name: str = "") -> Any:
    """The JSON value without secrets, long strings cut; for the journal's `arguments`.

    Values of `env` are all taken out: what a variable holds cannot be told from its name.
    """
    if name and _SECRET_NAME.search(name):
        return MASK
    if isinstance(value, dict):
        items = cast(dict[str, Any], value)
        if name == "env":
            return dict.fromkeys(items, MASK)
        return {key: redact(item, key) for key, item in items.items()}
    if isinstance(value, list):
        return [redact(item) for item in cast(list[Any], value)]
    return _shorten(value) if isinstance(value, str) else value


def _shorten(text: str) -> str:
    if len(text) <= LONGEST:
        return redact_text(text)
    # Twice what is kept is looked at, so that a secret across the cut is seen whole.
    head = redact_text(text[: 2 * LONGEST])[:LONGEST]
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{head}[... {len(text)} characters in all, sha256 {digest}]"
