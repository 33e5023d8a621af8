"""What the scopes of an access token let its bearer use.

`shell`, `files`, `files:read`, `database`, `database:read`; `root:/abs/path`, percent-encoded where
a scope may not hold a character (RFC 6749, 3.3: no blank, quote or backslash), confines to folders.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

from surefoot_server.access import Access
from surefoot_tools.tool import Group

READ = ":read"
ROOT = "root:"
SCOPES = ("shell", "files", "files:read", "database", "database:read")
"""The scopes there are, but for roots, of which there are as many as folders."""

_GRANTS = {scope: (Group(scope.removesuffix(READ)), not scope.endswith(READ)) for scope in SCOPES}
"""By scope: a group of tools, and whether those with effects, too."""
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def granted(principal: str, scopes: Iterable[str]) -> Access | None:
    """The access that scopes grant; None if they grant no tool. Unknown ones grant nothing.

    Roots take away from what the others grant: without one, all of the server's are allowed. So
    where there are some and none of them can be read, nothing is granted.
    """
    given = list(scopes)
    grants = [_GRANTS[scope] for scope in given if scope in _GRANTS]
    named = [scope.removeprefix(ROOT) for scope in given if scope.startswith(ROOT)]
    # In an order of their own: the roots are part of what a key is held to.
    roots = sorted({root for root in map(_folder, named) if root is not None})
    if not grants or (named and not roots):
        return None
    return Access(
        principal=principal,
        groups=frozenset(group for group, _ in grants) | {Group.ACCOUNTING},
        writes=frozenset(group for group, writes in grants if writes),
        roots=tuple(roots) if named else None,
    )


def _folder(encoded: str) -> Path | None:
    """The absolute path of a root's scope, or None if it is none."""
    try:
        path = unquote(encoded, errors="strict")
    except UnicodeDecodeError:
        return None
    if _BAD_ESCAPE.search(encoded) or not path.startswith("/") or "\0" in path:
        return None
    # '..' may mean another folder than it seems to, behind a symbolic link.
    return None if ".." in path.split("/") else Path("/" + path.lstrip("/"))
