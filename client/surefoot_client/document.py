"""A YAML file as JSON data that remembers the line of every value, so that mistakes can name it.

Before it: nothing. After it: `suite.py`, whose models say what the data should be.

Only what JSON has is understood, as of YAML 1.2's JSON schema and not YAML 1.1: `no` is text and
not false, a date is text, `1:30` is text. Aliases are refused: the data is a tree.
"""

import difflib
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

_PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml, where PyYAML was built with it: ten times as fast."""

MAX_INTEGER = 2**53 - 1
"""Largest magnitude of an integer: beyond it, JSON's readers disagree (RFC 7493, section 2.2)."""

Where = tuple[str | int, ...]
"""Path of a value: keys and indexes from the root."""


class SuiteError(Exception):
    """A suite's file is not right; str is `FILE:LINE: what is wrong, what is expected`."""

    def __init__(self, file: Path, line: int | None, message: str) -> None:
        super().__init__(f"{file}: {message}" if line is None else f"{file}:{line}: {message}")
        self.file = file
        self.line = line
        """From 1; None if there is no file that could have one."""
        self.message = message


@dataclass(frozen=True, slots=True)
class Document:
    """The data of a file and where in it each value is."""

    path: Path
    data: Any
    lines: dict[Where, int]
    """Line of each key of a mapping and of each item of a list, from 1."""

    def line(self, where: Where) -> int:
        """The line of a value; of the nearest thing around it where it is not there itself."""
        while where not in self.lines and where:
            where = where[:-1]
        return self.lines.get(where, 1)

    def error(self, where: Where, message: str) -> SuiteError:
        """The mistake `message` about the value at `where`."""
        return SuiteError(self.path, self.line(where), message)


MAX_DEPTH = 100
"""Deepest nesting: recursion without a bound ends in a crash of the interpreter."""

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_PLAIN_TAGS = (None, "!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


def read(path: Path) -> Document:
    """Read a YAML file.

    Raises:
        SuiteError: it cannot be read, is no YAML, or holds what JSON has not.
    """
    raw = b""
    text = ""
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8-sig")
        return _Reader(path, text).document
    except OSError as error:
        raise SuiteError(path, 1, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SuiteError(path, line, "not UTF-8; a suite's files are") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = ", ".join(part for part in (error.context, error.problem) if part)
        raise SuiteError(path, mark.line + 1 if mark else 1, f"not YAML: {said}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SuiteError(path, line, "a control character, which YAML has not") from error


class _Reader:
    """Turns the parser's events into data, noting lines on the way.

    Events and not nodes: the parser takes any depth, its composer overflows the stack.
    """

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._lines: dict[Where, int] = {}
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=_PARSER)
        next(self._events)  # the start of the stream
        if isinstance(next(self._events), yaml.StreamEndEvent):
            raise SuiteError(path, 1, "empty; expected a mapping that starts with 'surefoot: 1'")
        data = self._value(next(self._events), ())
        next(self._events)  # the end of the document
        another = next(self._events)
        if not isinstance(another, yaml.StreamEndEvent):
            raise self._error(another, "a second document; expected one a file")
        self.document = Document(path, data, self._lines)

    def _error(self, event: yaml.Event, message: str) -> SuiteError:
        return SuiteError(self._path, _line(event), message)

    def _value(self, event: yaml.Event, where: Where) -> Any:
        self._lines.setdefault(where, _line(event))
        if len(where) > MAX_DEPTH:
            raise self._error(event, f"nested more than {MAX_DEPTH} deep")
        if isinstance(event, yaml.AliasEvent):
            raise self._error(event, f"alias *{event.anchor}: expected the value written out")
        tag = cast("str | None", getattr(event, "tag", None))
        if tag not in _PLAIN_TAGS:
            raise self._error(event, f"a value of kind {tag!r}; expected what JSON has")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(where)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(where)
        assert isinstance(event, yaml.ScalarEvent)  # noqa: S101 - there is nothing else
        return self._scalar(event)

    def _list(self, where: Where) -> list[Any]:
        data: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            data.append(self._value(event, (*where, len(data))))
        return data

    def _mapping(self, where: Where) -> dict[str, Any]:
        data: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._scalar(event) if isinstance(event, yaml.ScalarEvent) else None
            if not isinstance(key, str):
                raise self._error(event, "a key is text; put it in quotes")
            if key in data:
                first = self._lines[(*where, key)]
                raise self._error(event, f"key {key!r} is there twice, first on line {first}")
            self._lines[(*where, key)] = _line(event)
            data[key] = self._value(next(self._events), (*where, key))
        return data

    def _scalar(self, event: yaml.ScalarEvent) -> str | int | float | bool | None:
        text: str = event.value
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise self._error(event, "half of a surrogate pair, which is no character")
        plain: bool = event.implicit[0]
        if not plain:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            if len(text) > 17 or abs(int(text)) > MAX_INTEGER:
                raise self._error(event, f"{text[:40]} is beyond 2**53 - 1; put it in quotes")
            return int(text)
        if _FLOAT.fullmatch(text):
            if math.isinf(float(text)):
                raise self._error(event, f"{text[:40]} is too large; put it in quotes")
            return float(text)
        return text


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


M = TypeVar("M", bound=BaseModel)


def parse(model: type[M], document: Document) -> M:
    """The data as a `model`, whose fields are named by their aliases.

    Raises:
        SuiteError: about the first mistake; what is missing comes last, since a misspelt name, or
            an item that is wrong itself, is the likelier reason.
    """
    try:
        # as JSON, since strict models take a list for a tuple from there alone
        return model.model_validate_json(json.dumps(document.data), by_alias=True, by_name=False)
    except ValidationError as error:
        first = first_of(error, document.line)
        raise document.error(_where(first), say(model, first)) from error


def first_of(error: ValidationError, line: Callable[[Where], int]) -> ErrorDetails:
    """The mistake to tell: the first by its line, what is missing last."""
    return min(error.errors(), key=lambda found: (found["type"] in _LAST, line(_where(found))))


def _where(error: ErrorDetails) -> Where:
    """The place of a mistake in the data; pydantic adds `[key]` where the key is the mistake."""
    loc = error["loc"]
    return loc[:-1] if loc and loc[-1] == "[key]" else loc


_LAST = ("missing", "too_short")

_EXPECTED = {
    "string_type": "text (in quotes, where it looks like something else)",
    "int_type": "an integer",
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "tuple_type": "a list",
}


def say(model: type[BaseModel], error: ErrorDetails) -> str:
    """What is wrong and what is expected, in one line."""
    where = _where(error)
    name = ".".join(str(part) for part in where) or "the file"
    match error["type"]:
        case "missing":
            return f"field {name!r} is missing"
        case "extra_forbidden":
            known = _fields(model, where[:-1])
            near = difflib.get_close_matches(str(where[-1]), known, 1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            return f"unknown field {name!r}; expected one of: {', '.join(known)}{meant}"
        case kind if kind in _EXPECTED:
            return f"{name} is {_shown(error['input'])}; expected {_EXPECTED[kind]}"
        case "value_error":
            # of a validator of ours, which says all there is to say
            said = error["msg"].removeprefix("Value error, ")
            return f"{name}: {said}" if where else said
        case "workspace_path":
            return f"{name}: {error['msg']}"
        case _:
            said = error["msg"][:1].lower() + error["msg"][1:]
            return f"{name} is {_shown(error['input'])}; {said}"


def _shown(value: Any) -> str:
    """The value as it would be written, cut."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def _fields(model: type[BaseModel], where: Where) -> list[str]:
    """The fields that the mapping at `where` may have."""
    kind: Any = model
    for part in where:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            fields = {field.alias or name: field for name, field in kind.model_fields.items()}
            kind = fields[str(part)].annotation
        else:
            kind = _inner(kind)
        while not isinstance(kind, type) and type(None) in get_args(kind):
            kind = _inner(kind)
    found = cast(type[BaseModel], kind)
    return [field.alias or name for name, field in found.model_fields.items()]


def _inner(kind: Any) -> Any:
    """What a tuple's items, a dict's values or an optional value are."""
    inner = [item for item in get_args(kind) if item not in (Ellipsis, type(None))]
    return inner[-1]
