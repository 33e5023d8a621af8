"""A change of a host's file as it is shown: other servers' secrets stand in such files."""

import difflib
import re

from surefoot_server.redact import MASK, redact_text

_SECRET_MEMBER = re.compile(
    r'("[^"\r\n]*(?:pass|secret|token|key|auth|credential|cookie)[^"\r\n]*"\s*:\s*)'
    r'"(?:[^"\\\r\n]|\\.)*"',
    re.IGNORECASE,
)


_HUNK = re.compile(r"^@@ -(\d+)(.*) \+(\d+)(.*) @@$", re.MULTILINE)
_AROUND = 3
"""Lines shown around a change."""


def difference(name: str, before: str, after: str) -> str:
    """The unified diff of two texts, without what looks like a secret; empty if they are equal."""
    now, then = (re.findall(r"[^\n]*\n|[^\n]+", text) for text in (before, after))
    # difflib looks at every line of both: 5 s for the 4 MB that Claude Code's file can have.
    head = max(0, _common(now, then) - _AROUND)
    tail = max(0, _common(now[head:][::-1], then[head:][::-1]) - _AROUND)
    old, new = (lines[head : len(lines) - tail] for lines in (now, then))
    shown = "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
        for line in difflib.unified_diff(old, new, f"{name} (now)", f"{name} (then)", n=_AROUND)
    )
    shown = _HUNK.sub(
        lambda hunk: f"@@ -{int(hunk[1]) + head}{hunk[2]} +{int(hunk[3]) + head}{hunk[4]} @@", shown
    )
    return redact_text(_SECRET_MEMBER.sub(rf'\1"{MASK}"', shown))


def _common(now: list[str], then: list[str]) -> int:
    """How many lines two lists begin alike with."""
    pairs = zip(now, then, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(now), len(then)))
