"""Commands that run another command that their arguments name: `env`, `sudo`, `sh -c`, `xargs`.

Before it: `grammar`, which finds the simple commands of a line. What is found here counts beside
the command that carries it. Of a carrier with an option that is not listed here, or of a kind that
is not followed, it is `Unclear` what it runs.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from surefoot_tools.commandline.grammar import Part, Simple, Unclear, assignment, parts_of
from surefoot_tools.commandline.words import ANY, UNKNOWN, Word, may_match

DEEPEST = 8
"""How many commands may carry each other."""


@dataclass(frozen=True, slots=True)
class Options:
    """What stands before the command that a carrier runs."""

    flags: str = ""
    """Letters of options without an argument."""
    takes: str = ""
    """Letters of options with one."""
    long_flags: str = ""
    """Long options without an argument, or with one behind `=`; separated by spaces."""
    long_takes: str = ""
    """Long options whose argument may be the next word."""
    operands: int = 0
    """Words between the options and the command."""
    assigns: bool = False
    """Whether `NAME=value` may stand before the command."""
    numbers: bool = False
    """Whether `-5` is an option."""


CARRIERS: dict[str, Options] = {
    "env": Options(
        "iv0",
        "uC",
        "ignore-environment null debug block-signal default-signal ignore-signal",
        "unset chdir",
        assigns=True,
    ),
    "sudo": Options(
        "AbEHknPSB",
        "CDgpRTu",
        "askpass background preserve-env set-home non-interactive preserve-groups stdin bell",
        "close-from chdir group host prompt chroot command-timeout user",
        assigns=True,
    ),
    "doas": Options("nL", "aCu"),
    "nohup": Options(),
    "setsid": Options("cfw", "", "ctty fork wait"),
    "nice": Options("", "n", "", "adjustment", numbers=True),
    "ionice": Options("t", "cn", "ignore", "class classdata"),
    "timeout": Options(
        "fpv", "ks", "foreground preserve-status verbose", "kill-after signal", operands=1
    ),
    "gtimeout": Options(
        "fpv", "ks", "foreground preserve-status verbose", "kill-after signal", operands=1
    ),
    "stdbuf": Options("", "ioe", "", "input output error"),
    "time": Options(
        "pvaq", "fo", "portability verbose append quiet", "format output", assigns=True
    ),
    "!": Options(assigns=True),
    "command": Options("p"),
    "builtin": Options(),
    "exec": Options("cl", "a"),
    "coproc": Options(assigns=True),
    "caffeinate": Options("dimsu", "tw"),
    "xargs": Options(
        "0oprtx",
        "adEILnPs",
        "null open-tty interactive no-run-if-empty verbose exit show-limits",
        "arg-file delimiter max-lines max-args max-procs max-chars process-slot-var",
    ),
}
"""Carriers that are followed, by name."""

SHELLS = frozenset({"sh", "bash", "dash", "ksh", "ash", "mksh", "rbash"})
"""Shells whose command lines the grammar reads."""
NOT_FOLLOWED = (
    *("zsh", "fish", "csh", "tcsh", "yash", "nu", "pwsh", "xonsh", "elvish"),
    *("parallel", "watch", "script", "scriptreplay", "su", "runuser", "pkexec", "run0"),
    *("systemd-run", "at", "batch", "expect", "screen", "tmux", "entr", "strace", "ltrace"),
    *("gdb", "unshare", "nsenter", "chroot", "fakeroot", "firejail", "bwrap", "setpriv", "runcon"),
    *("valgrind", "perf", "rlwrap", "unbuffer", "chrt", "taskset", "flock", "prlimit", "setarch"),
    *("dbus-run-session", "start-stop-daemon", "daemonize", "ld.so", "ld-*.so*", "ld-musl*"),
    *("compgen", "complete", "enable", "bind", "mapfile", "readarray", "alias", "fc"),
)
"""Carriers of other kinds."""
QUOTED = (
    *("let", "test", "[", "printf", "declare", "typeset", "local", "export", "readonly", "read"),
    *("unset", "wait", "shift"),
)
"""Builtins that calculate what they are given, quoted or not."""


def name_of(word: Word) -> str | None:
    """The name of a program without its folder, if it is known; the folder need not be."""
    if word.many or not word.pieces or word.pieces[-1] is ANY:
        return None
    tail = ""
    for piece in reversed(word.pieces):
        if not isinstance(piece, str):
            return None
        _, slash, rest = piece.rpartition("/")
        tail = rest + tail
        if slash:
            return tail
    return tail


def followed(parts: Sequence[Part], depth: int = 0) -> Iterator[Part]:
    """Parts, and what they carry, all the way down."""
    for part in parts:
        yield part
        if isinstance(part, Simple):
            carried = _carried(part)
            if carried and depth >= DEEPEST:
                yield Unclear("it is too deep")
            else:
                yield from followed(carried, depth + 1)


def _carried(part: Simple) -> list[Part]:
    """What a simple command runs besides itself."""
    program, arguments = part.words[0], part.words[1:]
    name = name_of(program)
    if name is None:
        return [Unclear(f"which program '{program.shown}' is, only shows when it runs")]
    name = name.casefold()
    if name in SHELLS:
        return _shell(name, arguments)
    if any(fnmatchcase(name, pattern) for pattern in NOT_FOLLOWED):
        return [Unclear(f"what {name} runs is not looked into")]
    if name in QUOTED and any(_quotes_command(word) for word in arguments):
        return [Unclear(f"{name} may run what it is given in quotes")]
    special = _SPECIAL.get(name)
    if special is not None:
        return special(arguments)
    options = CARRIERS.get(name)
    return [] if options is None else _inner(name, options, arguments)


def _quotes_command(word: Word) -> bool:
    return any(isinstance(piece, str) and ("`" in piece or "$(" in piece) for piece in word.pieces)


def _inner(name: str, options: Options, arguments: Sequence[Word]) -> list[Part]:
    """The command behind the options of a carrier."""
    rest = _behind_options(name, options, arguments)
    if isinstance(rest, Unclear):
        return [rest]
    rest = rest[options.operands :]
    parts: list[Part] = []
    while options.assigns and rest and _assigns(rest[0]):
        parts += assignment(rest[0])
        rest = rest[1:]
    return [*parts, Simple(tuple(rest))] if rest else parts


def _assigns(word: Word) -> bool:
    first = word.pieces[0] if word.pieces else ""
    return not word.many and isinstance(first, str) and "=" in first


def _behind_options(
    name: str, options: Options, arguments: Sequence[Word]
) -> Sequence[Word] | Unclear:
    unclear = Unclear(f"{name} has an option of which it is not known what follows it")
    at = 0
    while at < len(arguments):
        text = arguments[at].text
        if text is None:
            return arguments[at:] if _is_operand(arguments[at]) else unclear
        if text == "--":
            return arguments[at + 1 :]
        if text == "-" and name == "env":
            return arguments[at + 1 :]
        if not text.startswith("-") or text == "-":
            return arguments[at:]
        width = _width(options, text)
        if width is None:
            return unclear
        at += width
    return []


def _is_operand(word: Word) -> bool:
    """Whether a word of which a part is not known is one word, and no option."""
    first = word.pieces[0] if word.pieces else ANY
    return not word.many and isinstance(first, str) and first[:1] not in ("", "-")


def _width(options: Options, text: str) -> int | None:
    """How many words an option takes; None: nobody knows."""
    if text.startswith("--"):
        long, equals, _ = text[2:].partition("=")
        if long in options.long_flags.split():
            return 1
        if long in options.long_takes.split():
            return 1 if equals else 2
        return None
    if options.numbers and text[1:].isdigit():
        return 1
    for index, letter in enumerate(text[1:], 2):
        if letter in options.takes:
            return 2 if index == len(text) else 1
        if letter not in options.flags:
            return None
    return 1


def _shell(name: str, arguments: Sequence[Word]) -> list[Part]:
    """A shell: a command line behind `-c`, else a script, else what it reads."""
    at, line = 0, False
    while at < len(arguments):
        text = arguments[at].text
        if text is None:
            return [Unclear(f"what {name} runs only shows when it runs")]
        if text in ("-", "--"):
            at += 1
            break
        if text[:1] not in ("-", "+"):
            break
        if text.startswith("--"):
            if text[2:] not in ("norc", "noprofile", "login", "posix", "verbose", "restricted"):
                return [Unclear(f"{name} has an option that is not looked into")]
        else:
            line = line or (text[0] == "-" and "c" in text)
            if "s" in text[1:]:
                return [Unclear(f"{name} runs what it reads")]
            at += len(text) - len(text.replace("o", "").replace("O", ""))
        at += 1
    if at >= len(arguments):
        return [Unclear(f"{name} runs what it reads")]
    given = arguments[at].text
    if given is None:
        return [Unclear(f"what {name} runs only shows when it runs")]
    if line:
        return parts_of(given)
    return _script(name, arguments[at:])


def _script(name: str, words: Sequence[Word]) -> list[Part]:
    """A shell reads a script: it counts as the program that is run."""
    text = words[0].text if words else None
    if text is None or text.startswith(("/dev/", "/proc/")):
        return [Unclear(f"what {name} runs only shows when it runs")]
    return [Simple(tuple(words))]


def _eval(arguments: Sequence[Word]) -> list[Part]:
    texts = [word.text for word in arguments]
    if None in texts:
        return [Unclear("what eval runs only shows when it runs")]
    return parts_of(" ".join(text for text in texts if text is not None))


def _trap(arguments: Sequence[Word]) -> list[Part]:
    if arguments and arguments[0].text == "--":
        arguments = arguments[1:]
    if len(arguments) < 2:
        return []
    text = arguments[0].text
    if text is None:
        return [Unclear("what trap runs only shows when it runs")]
    return [] if text in ("-", "", "-l", "-p") else parts_of(text)


def _source(arguments: Sequence[Word]) -> list[Part]:
    plain = arguments[1:] if arguments and arguments[0].text == "--" else arguments
    return _script("source", plain)


def _find(arguments: Sequence[Word]) -> list[Part]:
    """`find ... -exec COMMAND {} ;`."""
    parts: list[Part] = []
    at = 0
    while at < len(arguments):
        word = arguments[at]
        at += 1
        if word.text is None and _may_run(word, arguments[at:]):
            parts.append(Unclear("what find runs only shows when it runs"))
        if word.text not in ("-exec", "-execdir", "-ok", "-okdir"):
            continue
        carried: list[Word] = []
        while at < len(arguments) and arguments[at].text not in (";", "+"):
            carried.append(_filled(arguments[at], "{}"))
            at += 1
        parts.append(Simple(tuple(carried)) if carried else Unclear("find is not complete"))
    return parts


def _may_run(word: Word, after: Sequence[Word]) -> bool:
    """Whether a word of `find` that is not known may be an `-exec` with an end."""
    if not (may_match("-exec*", word) or may_match("-ok*", word)):
        return False
    return word.many or any(may_match(";", each) or may_match("+", each) for each in after)


def _filled(word: Word, hole: str) -> Word:
    """A word in which the carrier puts what it has found in place of something."""
    text = word.text
    if text is None or hole not in text:
        return word
    before, _, after = text.partition(hole)
    return Word(tuple(piece for piece in (before, ANY, after) if piece))


def _xargs(arguments: Sequence[Word]) -> list[Part]:
    """`xargs COMMAND`, to which what it reads is added, or filled in."""
    rest = _behind_options("xargs", CARRIERS["xargs"], arguments)
    if isinstance(rest, Unclear):
        return [rest]
    if not rest:
        return []
    options = [word.text or "" for word in arguments[: len(arguments) - len(rest)]]
    fills = [index for index, text in enumerate(options) if re.match("-[a-zA-Z0]*I", text)]
    if not fills:
        return [Simple((*rest, UNKNOWN))]
    hole = options[fills[-1]].partition("I")[2] or "".join(options[fills[-1] + 1 :][:1])
    if len(fills) > 1 or not hole:
        return [Unclear("what xargs runs only shows when it runs")]
    return [Simple(tuple(_filled(word, hole) for word in rest))]


def _command(arguments: Sequence[Word]) -> list[Part]:
    if arguments and arguments[0].text in ("-v", "-V"):
        return []
    return _inner("command", CARRIERS["command"], arguments)


def _sudo(arguments: Sequence[Word]) -> list[Part]:
    inner = _inner("sudo", CARRIERS["sudo"], arguments)
    return inner or [Unclear("sudo runs what is not looked into")]


def _applet(arguments: Sequence[Word]) -> list[Part]:
    """`busybox NAME ARGUMENTS`."""
    if not arguments or arguments[0].begins("-"):
        return []
    return [Simple(tuple(arguments))]


def _hash(arguments: Sequence[Word]) -> list[Part]:
    plain = all(word.text is not None and not word.begins("-") for word in arguments)
    return [] if plain else [Unclear("hash may give a name to another program")]


_SPECIAL: dict[str, Callable[[Sequence[Word]], list[Part]]] = {
    "eval": _eval,
    "trap": _trap,
    "source": _source,
    ".": _source,
    "find": _find,
    "gfind": _find,
    "xargs": _xargs,
    "gxargs": _xargs,
    "command": _command,
    "hash": _hash,
    "sudo": _sudo,
    "busybox": _applet,
    "toybox": _applet,
}
