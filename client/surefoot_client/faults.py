"""The faults file: what goes wrong between driver and server on purpose, and on which send.

Read by `run.py`, asked by `send.py` once for every send. A rule is either drawn (`rate`) or placed
(`call`, `every`), for one sequence or tool or for all:

```toml
[[fault]]
kind = "drop_answer"      # drop_answer, cut_pipe, kill_server, delay
rate = 0.1                # of all sends, drawn from the run's seed

[[fault]]
kind = "kill_server"
point = "after_effect"    # before_intent, after_intent, after_effect, before_answer
tool = "write_file"       # optional; `sequence` too
call = 2                  # the second call of that tool in each trial; or: every = 10
```

A placed fault strikes the first send of a call only, so that a retry meets a healthy server; so
does `kill_server` at a rate.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from surefoot_client.connection import OnSend
from surefoot_client.document import first_of, say
from surefoot_client.record import Record, Sent
from surefoot_client.suite import Suite


class FaultsError(ValueError):
    """A faults file has a mistake; str is `FILE:LINE: what is wrong, what is expected`.

    Without the line where no line is to blame.
    """


class Kind(StrEnum):
    """What goes wrong."""

    DROP_ANSWER = "drop_answer"
    """The answer comes and is thrown away."""
    CUT_PIPE = "cut_pipe"
    """The connection is closed right after the request was written."""
    KILL_SERVER = "kill_server"
    """The server kills itself, as by `kill -9`, at `point`."""
    DELAY = "delay"
    """The server waits `seconds` before the answer."""


class Point(StrEnum):
    """Where in the way of a call the server dies, named by what lies before it."""

    BEFORE_INTENT = "before_intent"
    AFTER_INTENT = "after_intent"
    AFTER_EFFECT = "after_effect"
    BEFORE_ANSWER = "before_answer"


class Fault(BaseModel):
    """One rule of a faults file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    rate: float | None = Field(default=None, ge=0, le=1, strict=True)
    """Share of the sends that it strikes."""
    call: int | None = Field(default=None, ge=1, strict=True)
    """The n-th call of a trial that `sequence` and `tool` let through, from 1."""
    every: int | None = Field(default=None, ge=1, strict=True)
    """Every n-th such call."""
    point: Point | None = None
    seconds: float | None = Field(default=None, ge=0, le=600, strict=True)
    sequence: str | None = None
    tool: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if sum(part is not None for part in (self.rate, self.call, self.every)) != 1:
            raise ValueError("expected exactly one of rate, call and every")
        if self.kind is Kind.KILL_SERVER and self.point is None:
            raise ValueError(f"kind kill_server needs a point, one of: {', '.join(Point)}")
        if self.kind is not Kind.KILL_SERVER and self.point is not None:
            raise ValueError("expected point for kind kill_server, and for no other")
        if (self.seconds is not None) != (self.kind is Kind.DELAY):
            raise ValueError("expected seconds for kind delay, and for no other")
        return self

    @property
    def label(self) -> str:
        """The fault as a record names it."""
        if self.kind is Kind.KILL_SERVER:
            return f"kill_server:{self.point}"
        return f"delay:{self.seconds:g}" if self.kind is Kind.DELAY else self.kind.value

    def __str__(self) -> str:
        """The rule in one line, as it would be told from the others of its file."""
        narrowed = [
            f"{name} {value}"
            for name, value in self.model_dump(exclude={"kind", "point", "seconds"}).items()
            if value is not None
        ]
        return ", ".join([self.label, *narrowed])

    @property
    def on_send(self) -> OnSend:
        """What the connection does about it."""
        match self.kind:
            case Kind.DROP_ANSWER:
                return OnSend(drop=True)
            case Kind.CUT_PIPE:
                return OnSend(cut=True)
            case Kind.KILL_SERVER:
                return OnSend(server_fault=f"kill:{self.point}")
            case Kind.DELAY:
                return OnSend(server_fault=f"delay:{self.seconds:f}")


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    fault: tuple[Fault, ...] = ()


def parse(text: str, name: str) -> tuple[Fault, ...]:
    """The rules of a faults file.

    Args:
        text: Its content.
        name: What messages call it.

    Raises:
        FaultsError: it has a mistake.
    """
    try:
        rules = _File.model_validate(tomllib.loads(text)).fault
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found.group(1)) if found else len(text.splitlines())
        raise FaultsError(f"{name}:{line}: not TOML: {error}") from error
    except ValidationError as error:
        first = first_of(error, lambda where: _line(text, where))
        raise FaultsError(f"{name}:{_line(text, first['loc'])}: {_say(first)}") from error
    if not rules:
        raise FaultsError(f"{name}: no fault in it; expected at least one [[fault]]")
    return rules


def _say(error: ErrorDetails) -> str:
    """What is wrong and what is expected."""
    where = error["loc"]
    if where[0] != "fault":
        return f"unknown table {where[0]}; expected [[fault]]"
    if len(where) < 2:
        return "fault is no list of tables; expected [[fault]]"
    return say(Fault, {**error, "loc": where[2:]})


def load(path: Path) -> tuple[str, tuple[Fault, ...]]:
    """The text of a file and what `parse` makes of it.

    Raises:
        FaultsError: it has a mistake, or cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise FaultsError(f"{path}: there is no such file") from error
    except OSError as error:
        raise FaultsError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise FaultsError(f"{path}: not UTF-8; a faults file is") from error
    return text, parse(text, str(path))


def check(text: str, name: str, suite: Suite) -> None:
    """Refuse rules for what the suite does not have: they would silently strike nothing.

    Args:
        text: Content of a faults file that `parse` takes.
        name: What messages call it.
        suite: What will be played.

    Raises:
        FaultsError: a rule names a sequence that is not there, or a tool that no reference call of
            it uses.
    """
    tools = {
        sequence.id: {call.tool for turn in sequence.turns for call in turn.calls}
        for sequence in suite.sequences
    }
    for index, rule in enumerate(parse(text, name)):
        if rule.sequence is not None and rule.sequence not in tools:
            raise FaultsError(
                f"{name}:{_line(text, ('fault', index, 'sequence'))}: no sequence "
                f"{rule.sequence!r} in suite {suite.name!r}; there are: {', '.join(tools)}"
            )
        played = [rule.sequence] if rule.sequence is not None else list(tools)
        used = set[str]().union(*(tools[sequence] for sequence in played))
        if rule.tool is not None and rule.tool not in used:
            whose = f"sequence {rule.sequence!r}" if rule.sequence else f"suite {suite.name!r}"
            raise FaultsError(
                f"{name}:{_line(text, ('fault', index, 'tool'))}: no call of tool "
                f"{rule.tool!r} in {whose}; its calls use: {', '.join(sorted(used))}"
            )


def tally(rules: Sequence[Fault], records: Iterable[Record]) -> list[int]:
    """How many sends each rule struck, in the order of the rules."""
    struck = Counter(record.fault_rule for record in records if isinstance(record, Sent))
    return [struck[number] for number in range(1, len(rules) + 1)]


def _line(text: str, where: tuple[int | str, ...]) -> int:
    """Number of the line that holds the key at `where`, else of its table's head."""
    index = where[1] if len(where) > 1 else -1
    key = str(where[-1]) if where else ""
    table, head = -1, 1
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"\s*\[\[\s*fault\s*\]\]", line):
            table, head = table + 1, number if table + 1 == index else head
        elif table == index and re.match(rf"""\s*\[*\s*["']?{re.escape(key)}\b""", line):
            return number
    return head


@dataclass(slots=True)
class TrialFaults:
    """The faults of one trial; counts its calls."""

    rules: tuple[Fault, ...]
    sequence: str
    seed: str
    """What draws depend on; the same seed strikes the same sends."""
    _calls: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._calls = [0] * len(self.rules)

    def strike(self, tool: str, where: str, attempt: int) -> tuple[int, Fault] | None:
        """The fault that strikes this send, the first of the file if there are several.

        Args:
            tool: Of the call.
            where: `TURN:CALL`, the key without its run and trial.
            attempt: Of the send, from 1.

        Returns:
            The number of its rule, from 1, and the rule.
        """
        struck: tuple[int, Fault] | None = None
        for number, rule in enumerate(self.rules):
            if rule.sequence not in (None, self.sequence) or rule.tool not in (None, tool):
                continue
            if attempt == 1:
                self._calls[number] += 1
            if struck is None and self._hits(number, where, attempt):
                struck = number + 1, rule
        return struck

    def _hits(self, number: int, where: str, attempt: int) -> bool:
        rule, count = self.rules[number], self._calls[number]
        if rule.rate is not None:
            if rule.kind is Kind.KILL_SERVER and attempt > 1:
                return False
            draw = Random(f"{self.seed}/{number}/{where}/{attempt}")  # noqa: S311 - a simulation
            return draw.random() < rule.rate
        if attempt > 1:
            return False
        return count == rule.call if rule.call is not None else count % (rule.every or 1) == 0
