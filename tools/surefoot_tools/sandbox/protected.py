"""Paths in a root that other programs run or trust: which there are, and which came or changed.

In a room those that are there are read-only. What is not there yet has no place to be protected at:
a mount needs something below it, which would be litter in the root, and for some programs a broken
file. So what comes into being while a command runs is told in its result; the next command finds
it read-only. Landlock can't take anything out of a root, so with it changes are told, too.

The supervisor uses this as well, so that it imports the standard library alone.
"""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

NAMES = (
    ".mcp.json", "mcp.json", ".vscode", ".idea", ".cursor", ".claude", ".claude.json", ".gemini",
    ".codex", ".windsurf", ".continue", ".zed", ".roo", ".kiro", ".amazonq", ".github/workflows",
    ".husky", ".githooks", ".envrc", ".bashrc", ".bash_profile", ".bash_login", ".bash_logout",
    ".bash_aliases", ".profile", ".zshrc", ".zshenv", ".zprofile", ".zlogin", ".zlogout", ".kshrc",
    ".inputrc",
    ".config/fish", ".gitconfig", ".gitmodules", ".config/git", ".ssh", ".gnupg", ".netrc",
    ".npmrc", ".pypirc", ".docker", ".config/autostart", ".config/systemd", ".vimrc", ".exrc",
)  # fmt: skip
"""An agent has no business in these."""
_REPOSITORY = ("hooks", "config", "config.worktree", "commondir", "info/attributes")
_MANY = 500
"""Entries of a root that are looked at for repositories, and of a folder for changes."""
DEEP = 3
"""Slashes in the name of a submodule."""
MOST = 5
"""Paths that are told of one command."""
_ROOM = 300
"""Bytes that they may take in its record."""


def listed(roots: Iterable[str]) -> tuple[list[str], list[str]]:
    """What of the roots is to be held in its place, and what is to be read-only; what is there.

    Repositories are found at the top of a root and one level below. Whoever swaps one of them for a
    link meanwhile is met by `enter`, which looks again.

    Returns:
        Folders that must not be moved, those above others first; and what must not be changed.

    Raises:
        OSError: a root cannot be looked at.
    """
    roots = list(roots)
    closed: dict[str, str] = {}
    held: set[str] = set()
    for root in roots:
        for top in _tops(root):
            repositories, links = _repositories(top, roots)
            found = [each for each in links if os.path.lexists(each)]
            found += [f"{each}/{name}" for each in repositories for name in _REPOSITORY]
            found += [path for each in repositories for path in _hooks_of(each, top, roots)]
            if top == root or repositories or links:
                found += [f"{top}/{name}" for name in NAMES]
            for path in found:
                if os.path.lexists(path):
                    closed[path] = root
            held.update(each for each in repositories if each != root)
    for path, root in closed.items():
        # Whoever could move a folder above it could put another in its place.
        above = os.path.dirname(path)
        while above.startswith(f"{root}/"):
            held.add(above)
            above = os.path.dirname(above)
    return sorted(held, key=len), list(closed)


def _tops(root: str) -> list[str]:
    """A root, and the folders in it."""
    tops = [root]
    with os.scandir(root) as entries:
        for _, entry in zip(range(_MANY), entries, strict=False):
            if entry.is_dir(follow_symlinks=False) and entry.name != ".git":
                tops.append(entry.path)
    return tops


def _repositories(top: str, roots: list[str]) -> tuple[list[str], list[str]]:
    """Folders with the inside of a repository that a folder has, and files that lead to one."""
    git = f"{top}/.git"
    if os.path.isdir(git) and not os.path.islink(git):
        return [git, *_below_modules(git)], []
    if os.path.lexists(git):
        leads = _leads_to(git, top)
        return [each for each in leads if _inside(each, roots)], [git]
    bare = all(os.path.exists(f"{top}/{name}") for name in ("HEAD", "objects", "refs"))
    return [top] if bare else [], []


def _leads_to(git: str, top: str) -> list[str]:
    """Where a `.git` that is a file or a link leads: gitrepository-layout(5)."""
    if os.path.isdir(git):
        return [os.path.realpath(git)]
    text = _text(git)
    if not text.startswith("gitdir:"):
        return []
    folder = os.path.realpath(os.path.join(top, text[len("gitdir:") :].strip()))
    common = _text(f"{folder}/commondir").strip()
    return [folder, *([os.path.realpath(os.path.join(folder, common))] if common else [])]


def _hooks_of(repository: str, top: str, roots: list[str]) -> list[str]:
    """Where the hooks of a repository lie that has them elsewhere: core.hooksPath."""
    found: list[str] = []
    for line in _text(f"{repository}/config").splitlines():
        name, _, value = line.partition("=")
        if name.strip().lower() == "hookspath":
            path = os.path.realpath(os.path.join(top, value.strip().strip('"')))
            found += [path] if _inside(path, roots) and path not in roots else []
    return found


def _text(path: str) -> str:
    """The beginning of a file; empty if there is none to be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, 65536).decode("utf-8", "surrogateescape")
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _inside(path: str, roots: list[str]) -> bool:
    return any(path == root or path.startswith(f"{root}/") for root in roots)


def _below_modules(git: str) -> list[str]:
    """The repositories of submodules and of worktrees."""
    found: list[str] = []
    for name in ("modules", "worktrees"):
        folder = os.path.join(git, name)
        if os.path.isdir(folder) and not os.path.islink(folder):
            found += _inner(folder, DEEP)
    return found


def _inner(folder: str, deep: int) -> list[str]:
    """The folders in one; and in those that are no repositories: a name may have slashes."""
    with os.scandir(folder) as entries:
        found = [each.path for each in entries if each.is_dir(follow_symlinks=False)]
    if deep:
        for path in [each for each in found if not os.path.lexists(f"{each}/HEAD")]:
            found += _inner(path, deep - 1)
    return found


def marks(held: Iterable[str], closed: Iterable[str], *, changes: bool) -> dict[str, str]:
    """How paths look now, so that it shows when they come to be others.

    Args:
        held: Folders; what is in them may change.
        closed: Paths that must not change.
        changes: Whether they may, for nothing keeps anybody from that.
    """
    found = {path: _number(path) for path in held}
    return found | {path: _mark(path) if changes else _number(path) for path in closed}


def touched(plan: Mapping[str, Any] | None) -> list[str]:
    """Protected paths that came into being, or look otherwise than before; relative to their root.

    Args:
        plan: Of the command. Its `before` are the `marks` of those that were there.
    """
    if plan is None:
        return []
    roots: list[str] = plan["roots"]
    before: dict[str, str] = plan["before"]
    found: list[str] = []
    with suppress(OSError):
        held, closed = listed(roots)
        new = [*(path for path in held if path.endswith("/.git")), *closed]
        # A new repository is told once, not by all that is in it.
        new = [_git_of(path) if _git_of(path) not in before else path for path in new]
        found += dict.fromkeys(path for path in new if path not in before)
        found += [
            path for path, mark in before.items() if mark != _number(path) and mark != _mark(path)
        ]
    return _few(_short(path, roots) for path in found)


def _git_of(path: str) -> str:
    """The repository's folder that a path lies in; the path itself if it lies in none."""
    above, git, _ = path.partition("/.git/")
    return above + "/.git" if git else path


def _few(paths: Iterable[str]) -> list[str]:
    """As many as the record has room for: it must not need more disk than is reserved for it."""
    told: list[str] = []
    for path in paths:
        if len(told) == MOST or sum(map(len, (*told, path))) > _ROOM:
            break
        told.append(path)
    return told


def _short(path: str, roots: list[str]) -> str:
    root = next((each for each in roots if path.startswith(f"{each}/")), "")
    return path[len(root) + 1 :].encode("ascii", "backslashreplace").decode()[-150:]


def _number(path: str) -> str:
    """What stays as long as it is the same file or folder."""
    try:
        return str(os.lstat(path).st_ino)
    except OSError:
        return "gone"


def _mark(path: str) -> str:
    """What changes with it: of a folder also its entries."""
    try:
        own = _line(os.lstat(path))
        if os.path.isdir(path) and not os.path.islink(path):
            with os.scandir(path) as entries:
                some = [entry for _, entry in zip(range(_MANY), entries, strict=False)]
            inside = [f"{each.name} {_line(each.stat(follow_symlinks=False))}" for each in some]
            return "\n".join([own, *sorted(inside)])
    except OSError:
        return "gone"
    return own


def _line(status: os.stat_result) -> str:
    return f"{status.st_ino} {status.st_mode} {status.st_size} {status.st_ctime_ns}"
