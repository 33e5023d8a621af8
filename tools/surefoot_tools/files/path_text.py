"""What the text of a caller's path may be, before anything is opened."""

import os
import re

from surefoot_tools.errors import Code, ToolError
from surefoot_tools.files.beneath import split
from surefoot_tools.files.text import visible_name

PATH_MAX = 4096
"""Bytes in one path, with the end mark (limits.h of Linux)."""
_ELSEWHERE = (
    (re.compile(r"~[A-Za-z0-9_.-]*(/|$)"), "a home directory"),
    (re.compile(r"[\\/]{2}"), "a network or device path"),
    (re.compile(r"[A-Za-z]:[\\/]"), "a path with a drive letter"),
    (re.compile(r"[^/~.]{1,6}~[0-9](\.[^/]{0,3})?(/|$)"), "a short (8.3) name"),
)
"""Paths that mean another place on some system; nothing is expanded here."""


def check_text(path: str) -> None:
    """Let through what can be a path beneath a root, as far as its text tells.

    Raises:
        ToolError: INVALID_ARGUMENT for what is none, PERMISSION_DENIED for a form that means
            another place.
    """
    shown = visible_name(path[:200])
    if not path or "\0" in path:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            "the path is empty" if not path else f"'{shown}': a path holds no NUL",
            hint="'.' is the root",
        )
    try:
        length = len(os.fsencode(path))
    except UnicodeEncodeError as error:
        raise ToolError(
            Code.INVALID_ARGUMENT, f"'{shown}': a path holds no lone surrogates"
        ) from error
    if length >= PATH_MAX:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"'{shown}…': the path has {length} bytes, {PATH_MAX - 1} are possible",
        )
    for form, meaning in _ELSEWHERE:
        if form.match(path):
            raise ToolError(
                Code.PERMISSION_DENIED,
                f"'{shown}' has the form of {meaning}, and nothing is expanded here",
                hint="if a file below the root has this name, put './' before it",
            )


def join_shown(path: str, below: str) -> str:
    """A path below one that the caller wrote, in a form that the caller can use again."""
    start = "/".join(split(path))
    if path.startswith("/"):
        start = "/" + start
    if not below:
        return start or "."
    return f"{start.rstrip('/')}/{below}" if start else below


def leaves(rest: str) -> bool:
    """Whether the text of a relative path, links aside, climbs above its start."""
    depth = 0
    for part in split(rest):
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return False
