"""Commands that are known to only read, so that the accounts can tell probes from effects.

Read without a parser, so that it says the same on every server: what has quotes and words alone is
understood, with `|`, `&&`, `||` and `;` between commands. Anything else counts as no probe.
"""

import re
import shlex
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

LONGEST = 4096
"""Characters of a command that is looked at."""

_NOT_PLAIN = re.compile(r"[`$<>(){}~#!\\&]|[^\S \t]")
"""What means more than words; `&&` is looked at apart."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_IN_QUOTES = re.compile(r"'[^']*'|\"[^\"$`\\!]*\"")
"""Text in which nothing means more than it is."""
_GLOB = re.compile(r"(?:^|[\s|;])(?:[*?]|\[\S)")
"""A glob at the beginning of a word: a file may be called as an option is."""
_TO_NOWHERE = re.compile(r"(?<=\s)(?:[12&]?>\s?/dev/null|2>&1)(?=\s|$|[|;])")
_BETWEEN = frozenset({"|", "||", "&&", ";"})
_PLACES = frozenset({"/bin", "/usr/bin"})

_READS = frozenset(
    (
        *("ls", "pwd", "cat", "head", "tail", "wc", "stat", "du", "df", "basename", "dirname"),
        *("realpath", "readlink", "whoami", "id", "groups", "uname", "which", "type", "true"),
        *("false", "echo", "test", "[", "nl", "cut", "tr", "diff", "cmp", "comm", "ps", "uptime"),
        *("free", "printenv", "jq", "md5sum", "sha1sum", "sha256sum", "sha512sum", "cksum", "od"),
        *("strings", "seq", "tac", "rev", "fold", "column", "paste", "nproc", "lscpu", "arch"),
        *("grep", "egrep", "fgrep", "cd", "pgrep", "lsof", "hexdump", "getconf"),
    )
)
"""Programs that only read, whatever their arguments."""
_READS_BUT: dict[str, tuple[str, ...]] = {
    "find": ("-exec*", "-ok*", "-delete", "-fprint*", "-fls"),
    "file": ("-C*", "--compile"),
    "rg": ("--pre*", "--hostname-bin*"),
    "sort": ("-*o*", "--out*", "--comp*", "-*T*", "--temp*"),
    "tree": ("-*o*",),
}
"""Programs that only read, unless an argument is one of these."""
_TELLS_VERSION = frozenset(
    (
        *("python", "python3", "node", "npm", "npx", "pip", "pip3", "uv", "cargo", "rustc", "go"),
        *("java", "javac", "gcc", "g++", "clang", "make", "cmake", "git", "docker", "bash", "ruby"),
        *("perl", "php", "ruff", "mypy", "pytest", "gh", "curl", "psql", "sqlite3", "rg", "jq"),
    )
)
_VERSION = frozenset({"--version", "-V", "version"})

_GIT_READS = frozenset(
    (
        *("status", "log", "show", "rev-parse", "ls-files", "ls-tree", "blame", "describe"),
        *("shortlog", "cat-file", "rev-list", "for-each-ref", "diff", "diff-tree", "merge-base"),
        *("name-rev", "count-objects", "grep", "whatchanged", "check-ignore"),
    )
)
_GIT_WRITES = (
    "--output*",
    "--ext-diff",
    "--textconv",
    "-O*",
    "--open-files-in-pager*",
    "--filters",
)
"""Options by which even those write, or run another program."""
_GIT_LISTS: dict[str, tuple[frozenset[str], ...]] = {
    "branch": tuple(
        frozenset(words.split())
        for words in ("", "-a", "-r", "-v", "-vv", "-a -v", "-a -vv", "--list", "--show-current")
    ),
    "remote": tuple(frozenset(words.split()) for words in ("", "-v", "--verbose")),
    "tag": tuple(frozenset(words.split()) for words in ("", "-l", "--list")),
    "stash": (frozenset({"list"}), frozenset({"show"})),
    "worktree": (frozenset({"list"}),),
    "reflog": (frozenset(), frozenset({"show"})),
    "config": (frozenset({"--list"}), frozenset({"-l"}), frozenset({"list"})),
}
"""Whole lists of arguments with which others only list."""


def is_probe(command: str | Sequence[str]) -> bool:
    """Whether a command is known to only read."""
    if isinstance(command, str):
        commands = _split(command)
        return commands is not None and all(map(_only_reads, commands))
    return _only_reads(command)


def _split(line: str) -> list[list[str]] | None:
    """The commands of a plain line; None if it is not plain."""
    line = _TO_NOWHERE.sub("", line).strip()
    if not line or len(line) > LONGEST or _CONTROL.search(line):
        return None
    bare = _IN_QUOTES.sub("''", line)
    if _NOT_PLAIN.search(bare.replace("&&", "  ")) or _GLOB.search(bare):
        return None
    reader = shlex.shlex(line, posix=True, punctuation_chars="|;&")
    reader.whitespace_split = True
    reader.commenters = ""
    commands: list[list[str]] = [[]]
    try:
        for word in reader:
            if word and not word.strip("|;&"):
                if word not in _BETWEEN:
                    return None
                commands.append([])
            else:
                commands[-1].append(word)
    except ValueError:
        return None
    return commands


def _only_reads(words: Sequence[str]) -> bool:
    if not words:
        return False
    folder, slash, name = words[0].rpartition("/")
    if slash and folder not in _PLACES:
        return False
    arguments = words[1:]
    if name in _READS:
        return True
    if len(arguments) == 1 and arguments[0] in _VERSION and name in _TELLS_VERSION:
        return True
    writes = _READS_BUT.get(name)
    if writes is not None:
        return not any(fnmatchcase(word, each) for word in arguments for each in writes)
    special = _SPECIAL.get(name)
    return special is not None and special(arguments)


def _git(arguments: Sequence[str]) -> bool:
    at = 0
    while at < len(arguments) and arguments[at].startswith("-"):
        if arguments[at] not in ("-C", "--no-pager", "-P"):
            return False
        at += 2 if arguments[at] == "-C" else 1
    if at >= len(arguments):
        return False
    name, rest = arguments[at], arguments[at + 1 :]
    if name in _GIT_READS:
        return not any(fnmatchcase(word, each) for word in rest for each in _GIT_WRITES)
    if name == "config" and len(rest) == 2:
        return rest[0] in ("--get", "--get-all", "get")
    return len(set(rest)) == len(rest) and frozenset(rest) in _GIT_LISTS.get(name, ())


def _sed(arguments: Sequence[str]) -> bool:
    """`sed -n '1,20p' FILE`; other scripts may write."""
    plain = len(arguments) >= 2 and arguments[0] == "-n"
    return (
        plain
        and re.fullmatch(r"(?:\d+|\$)(?:,(?:\d+|\$))?p", arguments[1]) is not None
        and not any(word.startswith("-") for word in arguments[2:])
    )


def _date(arguments: Sequence[str]) -> bool:
    return all(word.startswith("+") or word in ("-u", "-R", "-I") for word in arguments)


def _pip(arguments: Sequence[str]) -> bool:
    return bool(arguments) and arguments[0] in ("list", "show", "freeze")


_SPECIAL: dict[str, Callable[[Sequence[str]], bool]] = {
    "git": _git,
    "sed": _sed,
    "date": _date,
    "pip": _pip,
    "pip3": _pip,
    "env": lambda arguments: not arguments,
    "hostname": lambda arguments: not arguments,
}
