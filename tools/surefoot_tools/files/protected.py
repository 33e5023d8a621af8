"""Files that other programs run or obey by themselves: writing one runs code unasked."""

from collections.abc import Sequence

from surefoot_tools.errors import Code, ToolError
from surefoot_tools.files.text import visible_name

FOLDER = ".surefoot"
"""In each root: where what was deleted is kept. No tool looks into it or writes it."""
_DIRECTORIES = frozenset({".vscode", ".idea"})
_NAMES = frozenset(
    {
        ".mcp.json",
        ".envrc",
        ".git",
        ".profile",
        ".login",
        ".logout",
        ".bashrc",
        ".bash_profile",
        ".bash_login",
        ".bash_logout",
        ".bash_aliases",
        ".zshrc",
        ".zshenv",
        ".zprofile",
        ".zlogin",
        ".zlogout",
        ".kshrc",
        ".cshrc",
        ".tcshrc",
        ".inputrc",
    }
)
_GIT_FILES = frozenset({"config", "config.worktree"})
"""In `.git`, of submodules and worktrees too: keys such as core.fsmonitor run commands."""


def rule_against(parts: Sequence[str]) -> str | None:
    """Which rule protects a path from writes, or None.

    Args:
        parts: The components of the path below its root; letter case does not count, because on
            some file systems it makes no difference.
    """
    folded = [part.casefold() for part in parts]
    for name in folded:
        if name in _DIRECTORIES:
            return f"{name}/**"
    if ".git" in folded[:-1]:
        inside = folded[folded.index(".git") + 1 :]
        if "hooks" in inside:
            return ".git/hooks/**"
        if inside[-1] in _GIT_FILES:
            return f".git/{inside[-1]}"
    if folded[-2:] == ["fish", "config.fish"]:
        return "fish/config.fish"
    return folded[-1] if folded and folded[-1] in _NAMES else None


def refuse_protected(parts: Sequence[str], path: str) -> None:
    """Let only paths through that may be written.

    Raises:
        ToolError: PERMISSION_DENIED, naming the rule.
    """
    rule = rule_against(parts)
    if rule is not None:
        raise protected(path, rule)


def protected(path: str, rule: str) -> ToolError:
    """The error of a path that a rule protects."""
    return ToolError(
        Code.PERMISSION_DENIED,
        f"'{visible_name(path)}' is protected by the rule '{rule}': programs run or obey such "
        "a file by themselves",
        hint="ask the person to make this change",
    )


def rule_against_tree(parts: Sequence[str], names: Sequence[str]) -> str | None:
    """Which rule protects a path from becoming the name of a whole directory, or None.

    Args:
        parts: The components of the new path below its root, which itself is not protected.
        names: What lies in the directory, which is protected or not by where it lies.
    """
    folded = [part.casefold() for part in parts]
    if ".git" in folded:
        return ".git/**"
    config = {name.casefold() for name in names} & {"config.fish"}
    return "fish/config.fish" if config and folded[-1:] == ["fish"] else None


def refuse_kept(parts: Sequence[str], path: str) -> None:
    """Let nobody into the folder that is surefoot's own.

    Args:
        parts: The components of the canonical path below its root.
        path: As the caller wrote it.

    Raises:
        ToolError: PERMISSION_DENIED.
    """
    if any(part.casefold() == FOLDER for part in parts):
        raise ToolError(
            Code.PERMISSION_DENIED,
            f"'{visible_name(path)}' lies in {FOLDER}, where what was deleted is kept",
            hint="the person brings it back with `surefoot restore`",
        )


def refuse_reserved(what: str | None, path: str) -> None:
    """Let no file tool write what another tool keeps.

    Args:
        what: Whose file it is, or None for nobody's.
        path: As the caller wrote it.

    Raises:
        ToolError: PERMISSION_DENIED, when it is somebody's.
    """
    if what is not None:
        raise ToolError(
            Code.PERMISSION_DENIED,
            f"'{visible_name(path)}' is {what}",
            hint="change a database with execute_sql, never its file",
        )
