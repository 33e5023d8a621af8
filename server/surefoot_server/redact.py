"""Takes secrets out of what is logged or stored: by field name, in URLs, and by known shapes."""

import hashlib
import re
from typing import Any, cast

MASK = "[redacted]"
LONGEST = 2048
"""Characters of a string that are stored; of a longer one its head, size and hash."""

_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)|secret|token|api[_-]?key|authorization|credential|private[_-]?key|cookie",
    re.IGNORECASE,
)
_SECRET_SHAPES = re.compile(
    "|".join(
        (
            r"(?:AKIA|ASIA)[0-9A-Z]{16}",  # AWS access key id
            r"gh[pousr]_[A-Za-z0-9]{20,}",  # GitHub tokens
            r"github_pat_[A-Za-z0-9_]{20,}",
            r"glpat-[A-Za-z0-9_-]{16,}",  # GitLab
            r"sk-[A-Za-z0-9_-]{16,}",  # OpenAI, Anthropic and others
            r"xox[abprs]-[A-Za-z0-9-]{10,}",  # Slack
            r"AIza[0-9A-Za-z_-]{30,}",  # Google
            r"sft_[A-Za-z0-9_-]{43}[0-9a-f]{8}",  # our own, see `http.tokens`
            # JSON Web Token; the look-behind keeps 'eyJeyJeyJ...' from being tried at each 'eyJ'.
            r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
        )
    )
)
_URL_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):([^/\s@]+)@")


def redact_text(text: str) -> str:
    """The text without passwords in URLs and without tokens of known shapes."""
    return _SECRET_SHAPES.sub(MASK, _URL_PASSWORD.sub(rf"\1:{MASK}@", text))


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
