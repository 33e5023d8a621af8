"""Rules about commands: allow, ask and deny, by program and arguments.

Advice, and no boundary: what a program does once it runs, its command line need not tell. The
boundary is the sandbox.

A rule that allows looks narrowly: the words of the command must be known, and begin as the rule
says. A rule that asks or denies looks widely: its words come in that order, with anything between
them, and a word that is not known until the command runs counts as one that matches. Of all that
speaks about a command, in all of its parts, the strictest action holds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from surefoot_tools.commandline.carriers import followed, name_of
from surefoot_tools.commandline.grammar import Part, Simple, load, parts_of
from surefoot_tools.commandline.words import Word, may_match, must_match

PLACES = frozenset({"/bin", "/usr/bin", "/sbin", "/usr/sbin"})
"""Folders in which a program is what its name says."""


class Action(StrEnum):
    """What is done about a command."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"

    @property
    def strictness(self) -> int:
        """More is stricter."""
        return list(Action).index(self)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule."""

    action: Action
    run: tuple[str, ...]
    """Patterns as `fnmatch` has them: of the program's name, then of words among its arguments."""
    reason: str = ""
    """For the model, and for the person who is asked."""

    def speaks_of(self, command: Simple) -> bool:
        """Whether this rule is about a simple command."""
        if self.action is Action.ALLOW:
            return self._surely(command)
        return self._perhaps(command)

    def _surely(self, command: Simple) -> bool:
        program, *arguments = command.words
        text = program.text or ""
        folder, slash, name = text.rpartition("/")
        if slash and folder in PLACES and "/" not in self.run[0]:
            program = Word.of(name)
        elif slash and "/" not in self.run[0]:
            return False  # a program of that name, but who knows which
        wanted = self.run[1:]
        return (
            must_match(self.run[0], program)
            and len(arguments) >= len(wanted)
            and all(must_match(each, word) for each, word in zip(wanted, arguments, strict=False))
        )

    def _perhaps(self, command: Simple) -> bool:
        program, *arguments = command.words
        name = name_of(program)
        if name is None:
            return True
        # Some file systems take both cases for one name.
        wanted = self.run[0].rpartition("/")[2].casefold()
        if not must_match(wanted, Word.of(name.casefold())):
            return False
        rest = list(self.run[1:])
        for word in arguments:
            while rest and may_match(rest[0], word):
                del rest[0]
                if not word.many:
                    break
        return not rest


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the rules say of a command."""

    action: Action
    about: str = ""
    """The part of the command that it is about."""
    why: str = ""
    """In words."""
    unclear: bool = False
    """Whether that is because the text does not tell what would run."""

    @property
    def told(self) -> str:
        """All of it, for messages: short, and without what is known for a secret."""
        # Here, since it loads all of the shell tools, which a server of others may not have.
        from surefoot_tools.shell.secrets import without_secrets

        return f"{without_secrets(self.about)} ({self.why})" if self.about else self.why


class Rules:
    """All rules of a server.

    Args:
        rules: In any order.
        default: For what no rule speaks of.

    Raises:
        ParserMissing: the parser of commands is not installed.
    """

    def __init__(self, rules: Iterable[Rule], default: Action = Action.ALLOW) -> None:
        load()
        self._rules = tuple(rules)
        self.default = default
        """For what no rule speaks of."""
        actions = [default, *(rule.action for rule in self._rules)]
        self.strictest = max(actions, key=lambda action: action.strictness)
        """For what cannot be read: what a rule says of it, nobody knows."""

    def judge(self, command: str | Sequence[str]) -> Judgement:
        """What is done about a command: a string for a shell, or a program and its arguments."""
        if isinstance(command, str):
            parts = parts_of(command)
        else:
            parts = [Simple(tuple(Word.of(word) for word in command))]
        found = Judgement(Action.ALLOW)
        for part in followed(parts):
            said = self._of(part)
            if said.action.strictness > found.action.strictness:
                found = said
                if found.action is Action.DENY:
                    break
        return found

    def _of(self, part: Part) -> Judgement:
        if not isinstance(part, Simple):
            why = f"{part.why}, so that the strictest rule holds"
            return Judgement(self.strictest, why=why, unclear=True)
        about = " ".join(word.shown for word in part.words)
        speaking = [rule for rule in self._rules if rule.speaks_of(part)]
        if not speaking:
            return Judgement(self.default, about, "no rule speaks of it")
        rule = max(speaking, key=lambda each: each.action.strictness)
        told = f"the rule '{' '.join(rule.run)}'"
        if part.words[0].text is None:
            why = f"{told} may be about it: its text does not tell which program runs"
            return Judgement(rule.action, about, why, unclear=True)
        return Judgement(rule.action, about, f"{told}: {rule.reason}" if rule.reason else told)
