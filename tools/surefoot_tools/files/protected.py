"""Files that other programs run or obey by themselves: writing one runs code unasked."""

from collections.abc import Sequence

from surefoot_tools.errors import Code, ToolError
from surefoot_tools.files.text import visible_name

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
        raise ToolError(
            Code.PERMISSION_DENIED,
            f"'{visible_name(path)}' is protected by the rule '{rule}': programs run or obey such "
            "a file by themselves",
            hint="ask the person to make this change",
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
