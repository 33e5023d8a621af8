"""Suites: what they are, how they are read and checked, and the workspace a sequence starts in.

A suite is a folder of YAML files: `suite.yaml` names the sequences, each of which has a file. They
are data; nothing in them runs when they are read. Before it: `document.py` (YAML with lines). After
it: `trial.py` plays a sequence, `check.py` looks at what came of it.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, cast

import apsw
import rfc8785
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from surefoot_client.document import Document, SuiteError, Where, parse, read

__all__ = [
    "CommandCheck",
    "DatabaseFixture",
    "Fixture",
    "FixtureError",
    "ReferenceCall",
    "RowsCheck",
    "Sequence",
    "Suite",
    "SuiteError",
    "TreeCheck",
    "Turn",
    "find",
    "lay_out",
    "load",
]

FILE_NAME = "suite.yaml"
"""Name of the file that makes a folder a suite."""

DRIVER = "{driver}"
"""In a suite of several drivers: stands for the number of the driver, from 0."""

MOST_DRIVERS = 100
"""That may share a workspace; each is a connection, and a model, of its own."""

SAFE_TOOLS = frozenset(
    {
        "describe_database",
        "failure_report",
        "file_info",
        "list_directory",
        "list_jobs",
        "query_database",
        "read_file",
        "read_job",
        "search_files",
    }
)
"""Tools that change nothing. A tool of another server, unknown here, counts as effectful."""


def _workspace_path(path: str) -> str:
    parts = path.split("/")
    if not path or "\0" in path or "\\" in path or any(part in ("", ".", "..") for part in parts):
        raise PydanticCustomError(
            "workspace_path",
            "{path} is not a path inside the workspace; expected a relative one with '/' between"
            " names, without '.' and '..'",
            {"path": repr(path)},
        )
    return path


WorkspacePath = Annotated[str, AfterValidator(_workspace_path)]
"""Relative, with `/` between names, inside the workspace."""

DatabaseName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    """Base of what a suite consists of: unknown fields are mistakes, types are not coerced."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, validate_by_name=True, allow_inf_nan=False
    )


class DatabaseFixture(_Part):
    """A SQLite database that a sequence starts with."""

    file: WorkspacePath
    sql: str
    """The script that makes it, run once on an empty database."""


class Fixture(_Part):
    """What is in the workspace before the first turn."""

    files: dict[WorkspacePath, str] = Field(default_factory=dict)
    """Path to text, written as UTF-8 with its line ends as they are."""
    databases: dict[DatabaseName, DatabaseFixture] = Field(default_factory=dict)
    """Name under which the server serves it (read and write) to its making."""


class ReferenceCall(_Part):
    """A tool call that carries the step out."""

    tool: Annotated[str, StringConstraints(min_length=1)]
    arguments: dict[str, Any]
    expect: dict[str, Any] | None = None
    """Postcondition: what the structured result must contain; see `check.matches`."""
    probe: bool = False
    """A call of an effectful tool that only looks: it changes nothing that a check sees."""
    once: bool = False
    """Doing it twice changes the final state: an append, an INSERT, a counter."""

    @property
    def effectful(self) -> bool:
        """Whether the final state depends on it."""
        return self.tool not in SAFE_TOOLS and not self.probe


class Turn(_Part):
    """One turn of the model: what it is asked, and the calls that would do."""

    prompt: Annotated[str, StringConstraints(min_length=1)]
    calls: Annotated[tuple[ReferenceCall, ...], Field(min_length=1)]


class TreeCheck(_Part):
    """Exactly these files are in the workspace, with these contents, and nothing else."""

    exclude: tuple[str, ...] = ()
    """Globs of paths that are not looked at; `**` stands for any folders, also for none."""
    files: dict[WorkspacePath, Sha256]
    """Path to SHA-256 of the content, in hexadecimal."""


class RowsCheck(_Part):
    """A query gives exactly these rows."""

    database: DatabaseName
    sql: str
    equals: tuple[tuple[Any, ...], ...]
    """Rows of JSON values, in order; bytes are `{"base64": "..."}`."""


class CommandCheck(_Part):
    """A command ends with this status; run in the workspace, without a shell."""

    argv: Annotated[tuple[str, ...], Field(min_length=1)]
    """Program and arguments; `python3` as the program stands for the interpreter of the driver."""
    exit_code: int = 0


class Check(_Part):
    """One look at the final state: exactly one of the three."""

    tree: TreeCheck | None = None
    rows: RowsCheck | None = None
    command: CommandCheck | None = None


class Sequence(_Part):
    """A piece of work of many turns, in a workspace of its own, with checks of what came of it."""

    surefoot: Literal[1]
    id: Id
    title: Annotated[str, StringConstraints(min_length=1)]
    kind: Literal["scan", "scaffold", "refactor", "data", "operate"] = Field(alias="class")
    difficulty: Annotated[int, Field(ge=1, le=3)]
    goal: Annotated[str, StringConstraints(min_length=1)]
    """What an agent would be told."""
    fixture: Fixture = Fixture()
    turns: Annotated[tuple[Turn, ...], Field(min_length=1)]
    checks: Annotated[tuple[Check, ...], Field(min_length=1)]

    def for_driver(self, driver: int) -> "Sequence":
        """The part of one of several drivers that share a workspace.

        Args:
            driver: Its number, from 0. Takes the place of `{driver}` in prompts, in the values of
                arguments, and in what is expected; goal, fixture and checks are common to all.
        """
        turns = tuple(
            turn.model_copy(
                update={
                    "prompt": turn.prompt.replace(DRIVER, str(driver)),
                    "calls": tuple(_for_driver(call, driver) for call in turn.calls),
                }
            )
            for turn in self.turns
        )
        return self.model_copy(update={"turns": turns})


def _for_driver(call: ReferenceCall, driver: int) -> ReferenceCall:
    def filled(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace(DRIVER, str(driver))
        if isinstance(value, Mapping):
            return {name: filled(each) for name, each in cast(Mapping[str, Any], value).items()}
        if isinstance(value, list | tuple):
            return [filled(each) for each in cast("list[Any]", value)]
        return value

    parts = {"arguments": filled(call.arguments), "expect": filled(call.expect)}
    return call.model_copy(update=parts)


class _Head(_Part):
    """The content of `suite.yaml`."""

    surefoot: Literal[1]
    name: Id
    version: Annotated[str, StringConstraints(pattern=r"^[0-9]+\.[0-9]+\.[0-9]+$")]
    drivers: Annotated[int, Field(ge=1, le=MOST_DRIVERS)] = 1
    sequences: Annotated[tuple[WorkspacePath, ...], Field(min_length=1)]


class Suite(BaseModel):
    """Sequences that belong together."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    drivers: int = 1
    """How many play each sequence at the same time, sharing its workspace; each plays
    `Sequence.for_driver`, and the checks are for when the last has ended."""
    sequences: tuple[Sequence, ...]
    hash: str
    """SHA-256, in hexadecimal, of the canonical JSON (RFC 8785) of name, version, sequences and,
    if there are several, the number of drivers."""
    path: Path
    """The folder."""


class FixtureError(ValueError):
    """A fixture cannot be laid out."""


def find(name_or_path: str) -> Path:
    """The folder of a suite: of a shipped one by its name, else the path itself.

    Raises:
        SuiteError: there is no such suite.
    """
    shipped = _shipped()
    if name_or_path in shipped:
        return shipped[name_or_path]
    path = Path(name_or_path)
    folder = path.parent if path.is_file() else path
    is_suite = (folder / FILE_NAME).is_file()
    if is_suite and (path == folder or path.name == FILE_NAME):
        return folder
    if path.is_file():
        meant = f"; did you mean {folder}?" if is_suite else f" that holds {FILE_NAME}"
        raise SuiteError(path, None, f"a suite is a folder{meant}")
    there = f"the folder has no {FILE_NAME}" if path.is_dir() else "there is no such suite"
    names = ", ".join(shipped) or "none"
    raise SuiteError(path, None, f"{there}; shipped are: {names}; or give a suite's folder")


def _shipped() -> dict[str, Path]:
    """Name to folder of the suites that come with surefoot, in a wheel or in a checkout."""
    here = Path(__file__).parent
    return {
        file.parent.name: file.parent
        for above in (here.parents[1] / "suites", here / "suites")
        for file in sorted(above.glob(f"*/{FILE_NAME}"))
    }


def load(path: Path) -> Suite:
    """Read the suite in the folder `path`.

    Raises:
        SuiteError: with file, line, what is wrong and what is expected.
    """
    document = read(path / FILE_NAME)
    head = parse(_Head, document)
    sequences: dict[str, tuple[str, Sequence]] = {}
    for index, file in enumerate(head.sequences):
        where = ("sequences", index)
        if file in head.sequences[:index]:
            raise document.error(where, f"{file!r} is listed twice")
        if not (path / file).is_file():
            raise document.error(where, f"there is no file {file!r} beside {FILE_NAME}")
        of_sequence = read(path / file)
        sequence = parse(Sequence, of_sequence)
        _check_sense(sequence, of_sequence)
        if sequence.id in sequences:
            other = sequences[sequence.id][0]
            raise of_sequence.error(("id",), f"id {sequence.id!r} is also that of {other}")
        sequences[sequence.id] = (file, sequence)
    loaded = tuple(sequence for _, sequence in sequences.values())
    return Suite(
        name=head.name,
        version=head.version,
        drivers=head.drivers,
        sequences=loaded,
        hash=_hash(head, loaded),
        path=path,
    )


def _hash(head: _Head, sequences: tuple[Sequence, ...]) -> str:
    data: dict[str, Any] = {
        "name": head.name,
        "version": head.version,
        "sequences": [item.model_dump(mode="json", by_alias=True) for item in sequences],
    }
    # left out where it is one, so that a suite from before there were drivers keeps its hash
    if head.drivers > 1:
        data["drivers"] = head.drivers
    return hashlib.sha256(rfc8785.dumps(data)).hexdigest()


def _check_sense(sequence: Sequence, document: Document) -> None:
    """Mistakes that take more than one field to see."""
    for turn_at, turn in enumerate(sequence.turns):
        for call_at, call in enumerate(turn.calls):
            where: Where = ("turns", turn_at, "calls", call_at)
            if call.probe and call.tool in SAFE_TOOLS:
                message = f"{call.tool} never changes anything; expected no 'probe' here"
                raise document.error((*where, "probe"), message)
            if call.once and not call.effectful:
                message = "this call has no effect to be done once; expected no 'once' here"
                raise document.error((*where, "once"), message)
    for at, check in enumerate(sequence.checks):
        if len(check.model_fields_set) != 1:
            raise document.error(("checks", at), "expected one of: tree, rows, command")
        if check.rows is not None and check.rows.database not in sequence.fixture.databases:
            known = ", ".join(sequence.fixture.databases) or "none"
            message = f"there is no database {check.rows.database!r}; the fixture has: {known}"
            raise document.error(("checks", at, "rows", "database"), message)
    _check_paths(sequence.fixture, document)


def _check_paths(fixture: Fixture, document: Document) -> None:
    """No two things at one path, and nothing below a file."""
    places: dict[str, Where] = {path: ("fixture", "files", path) for path in fixture.files}
    for name, database in fixture.databases.items():
        where: Where = ("fixture", "databases", name, "file")
        if database.file in places:
            raise document.error(where, f"something else is at {database.file!r} already")
        places[database.file] = where
    for path, where in places.items():
        for parent in PurePosixPath(path).parents:
            if str(parent) in places:
                raise document.error(where, f"{path!r} is below {str(parent)!r}, which is a file")


def lay_out(fixture: Fixture, workspace: Path) -> None:
    """Write the fixture's files and make its databases in `workspace`, which is made if missing.

    Raises:
        FixtureError: a database's script has a mistake, or reaches for another file.
        FileExistsError: something is there already.
    """
    workspace.mkdir(parents=True, exist_ok=True)
    for path, text in fixture.files.items():
        target = workspace / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            file.write(text.encode())
    for name, database in fixture.databases.items():
        target = workspace / database.file
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb"):
            pass
        _make_database(name, database.sql, target)


def _make_database(name: str, sql: str, target: Path) -> None:
    connection = apsw.Connection(str(target))
    try:
        # a suite may come from anywhere: its SQL writes this file and, by ATTACH, no other
        connection.limit(apsw.SQLITE_LIMIT_ATTACHED, 0)
        connection.pragma("synchronous", "OFF")
        connection.execute(sql)
    except apsw.Error as error:
        raise FixtureError(f"the script of database {name!r} fails: {error}") from error
    finally:
        connection.close()
