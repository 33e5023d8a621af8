"""The file of `surefoot serve --config`: options of `serve` by their names, and rules on commands.

    root = ["."]
    sandbox = "strict"

    [commands]
    default = "allow"

    [[commands.rules]]
    action = "deny"
    run = "git push --force*"
    reason = "rewrites what others have"

The command line wins over the file. A name or a value that is not known is refused, with its place.
"""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, NoReturn, cast

import click
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from surefoot_cli.root import beside
from surefoot_tools.commandline.grammar import ParserMissing
from surefoot_tools.commandline.rules import Action, Rule, Rules

COMMANDS = "commands"
"""The table of the rules; every other name is an option of `serve`."""
NOT_HERE = frozenset({"config", "help"})
"""Options that make no sense in the file."""
FILES = frozenset({"root", "journal", "tokens"})
"""Options that name a file or a folder; relative to the folder of the file that names them."""

Words = Annotated[str, Field(pattern=r"\S")] | Annotated[list[str], Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _Rule(_Strict):
    action: Action
    run: Words
    reason: str = ""

    def rule(self) -> Rule:
        words = self.run.split() if isinstance(self.run, str) else self.run
        return Rule(self.action, tuple(words), self.reason)


class _Commands(_Strict):
    default: Action = Action.ALLOW
    rules: list[_Rule] = []


class _Problem(click.UsageError):
    """Something in the file is not what it should be."""


class Settings(click.ParamType[Rules | None]):
    """The type of `--config`: a file, whose options become defaults, and whose rules are its value.

    The option must be eager, so that it is read before the others.
    """

    name = "FILE"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Rules | None:
        """Read the file.

        Raises:
            UsageError: there is none, or something in it is not what it should be.
        """
        assert ctx is not None  # noqa: S101 - click gives one to every option of a command
        file = Path(str(value))
        try:
            text = file.read_text(encoding="utf-8")
            found = tomllib.loads(text)
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
            raise _Problem(f"--config {file}: {getattr(e, 'strerror', None) or e}") from e
        given = _File(file, text)
        rules = given.rules(found.pop(COMMANDS, {}))
        ctx.default_map = {**(ctx.default_map or {}), **given.options(found, ctx)}
        ctx.meta[COMMANDS] = file
        return rules


SETTINGS = Settings()


def check_outside(ctx: click.Context, roots: tuple[Path, ...]) -> None:
    """See that no tool can write the file, and so change the rules.

    Raises:
        UsageError: it lies inside a root.
    """
    file: Path | None = ctx.meta.get(COMMANDS)
    for root in roots:
        if file is not None and file.resolve().is_relative_to(root):
            raise _Problem(
                f"--config {file} lies inside the root {root}, where tools could change it; keep it"
                " outside of every root"
            )


class _File:
    """What was read.

    Args:
        file: Where it is.
        text: All of it.
    """

    def __init__(self, file: Path, text: str) -> None:
        self._file = file
        self._lines = text.splitlines()

    def rules(self, found: object) -> Rules | None:
        """The rules on commands; None if there are none."""
        try:
            commands = _Commands.model_validate(found)
        except ValidationError as e:
            problem = e.errors(include_url=False, include_input=False)[0]
            # What comes behind the name of a field is pydantic's own.
            place = (COMMANDS, *problem["loc"][:3])
            self._refuse(place, _said(place[-1], problem["type"], problem["msg"]))
        if not commands.rules and commands.default is Action.ALLOW:
            return None
        try:
            return Rules([each.rule() for each in commands.rules], commands.default)
        except ParserMissing as e:
            self._refuse((COMMANDS,), f"{e}; without it no rule can be kept")

    def options(self, found: dict[str, Any], ctx: click.Context) -> dict[str, Any]:
        """Values for options of the command, by their parameters' names."""
        known = {
            name.removeprefix("--"): each
            for each in ctx.command.params
            if isinstance(each, click.Option)
            for name in each.opts
            if name.startswith("--")
        }
        values: dict[str, Any] = {}
        for name, value in found.items():
            option = known.get(name)
            if option is None or name in NOT_HERE:
                allowed = ", ".join(sorted({COMMANDS, *known} - NOT_HERE))
                self._refuse((name,), f"unknown name; allowed are: {allowed}")
            value = self._shaped(name, option, value)
            try:
                option.type_cast_value(ctx, value)
            except click.BadParameter as e:
                self._refuse((name,), e.message)
            values[option.name or name] = value
        return values

    def _shaped(self, name: str, option: click.Option, value: Any) -> Any:
        """A value as the command line would bring it."""
        if option.is_flag:
            if not isinstance(value, bool):
                self._refuse((name,), "true or false is expected")
            return value
        if option.multiple:
            if not isinstance(value, list) or not all(
                isinstance(each, str) for each in cast("list[Any]", value)
            ):
                self._refuse((name,), "a list of texts is expected")
            return [self._placed(name, each) for each in cast("list[str]", value)]
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            self._refuse((name,), "a text or a number is expected")
        return self._placed(name, str(value))

    def _placed(self, name: str, value: str) -> str:
        if name not in FILES or "://" in value:
            return value
        if name == "root":
            return beside(self._file.parent.resolve(), value)
        return str(self._file.parent.resolve() / value)

    def _refuse(self, place: tuple[int | str, ...], message: str) -> NoReturn:
        shown = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
        raise _Problem(f"--config {self._file}:{self._line(place)}: {shown[1:]}: {message}")

    def _named(self, name: int | str, start: int, end: int) -> int | None:
        """The line that gives a field of a rule, between two lines."""
        given = re.compile(rf"\s*['\"]?{re.escape(str(name))}\b['\"]?\s*=")
        return next((at for at in range(start, end) if given.match(self._lines[at - 1])), None)

    def _line(self, place: tuple[int | str, ...]) -> int:
        """The line where it is, or where the table begins that it is in."""
        number = next((part for part in place if isinstance(part, int)), None)
        if number is not None:
            header = re.compile(r"\s*\[\[\s*commands\s*\.\s*rules\s*\]\]")
            starts = [at for at, line in enumerate(self._lines, 1) if header.match(line)]
            if number < len(starts):
                ends = [*starts[number + 1 :], len(self._lines) + 1][0]
                return self._named(place[-1], starts[number], ends) or starts[number]
        for name in reversed([part for part in place if isinstance(part, str)]):
            named = re.compile(rf"\s*(\[\s*)?(commands\s*\.\s*)?['\"]?{re.escape(name)}\b")
            for at, line in enumerate(self._lines, 1):
                if named.match(line):
                    return at
        return 1


def _said(field: int | str, kind: str, message: str) -> str:
    if field == "run" and kind != "missing":
        return "a text is expected, or a list of texts: a program and words of its arguments"
    if kind != "extra_forbidden":
        return message[:1].lower() + message[1:]
    rule, commands = ", ".join(_Rule.model_fields), ", ".join(_Commands.model_fields)
    return f"unknown name; allowed are: {commands}; of a rule: {rule}"
