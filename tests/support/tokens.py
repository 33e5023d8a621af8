"""Tokens for tests."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from surefoot_server.http.tokens import SHOWN, Stored, TokenFile, hashed, new_token
from surefoot_tools.tool import Group


def give(
    tokens: TokenFile,
    name: str,
    *,
    groups: frozenset[Group],
    writes: frozenset[Group],
    roots: tuple[Path, ...] | None = None,
    lasting: float | None = None,
    now: datetime | None = None,
) -> str:
    """Put a new token into a file; its text. `lasting`: seconds from `now` on."""
    text, created = new_token(), now or datetime.now(UTC)
    tokens.add(
        Stored(
            name=name,
            id=text[:SHOWN],
            sha256=hashed(text),
            groups=groups,
            writes=writes,
            roots=roots,
            created=created,
            expires=None if lasting is None else created + timedelta(seconds=lasting),
        )
    )
    return text
