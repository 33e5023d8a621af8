"""The attacks on SQLite of `attacks-sqlite.jsonl`, each through the tool it names."""

import json
import math
import os
import re
import unicodedata
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import apsw
import pytest

from surefoot_tools.database import database_tools
from surefoot_tools.database.databases import Database, Databases
from surefoot_tools.database.sqlite_guard import Guard
from surefoot_tools.errors import Applied, Code, ToolError
from surefoot_tools.tool import Context, Result

pytestmark = pytest.mark.anyio

CASES: list[dict[str, Any]] = [
    json.loads(line)
    for line in Path(__file__).with_name("attacks-sqlite.jsonl").read_text("utf-8").splitlines()
]
CANARY = "CANARY-7f3a"

REFUSED_BY_NAME = {"sqlite-035": Code.NOT_FOUND}
"""Denied because a database is found by its name only: a path or URI is no name."""

NUL_IN_SQL = "sqlite-026"
"""SQLite ends SQL at a NUL, so the statement itself cannot run; it is refused in words, and
`test_nul_in_a_value...` of test_database_query.py shows the value through a parameter."""


@dataclass(frozen=True)
class Place:
    """A workspace with the database `main`, and a folder outside with a secret."""

    workspace: Path
    outside: Path

    @property
    def database(self) -> Path:
        return self.workspace / "main.db"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(tmp_path / "ws", tmp_path / "out")
    place.workspace.mkdir()
    place.outside.mkdir()
    (place.outside / "secret").write_text(CANARY + "\n")
    connection = apsw.Connection(str(place.database))
    connection.pragma("synchronous", "off")
    connection.execute("create table t(a)")
    connection.execute(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000)"
        " insert into t select i from n"
    )
    connection.close()
    (place.workspace / "garbage.db").write_bytes(os.urandom(8192))
    return place


def expand(value: Any, place: Place) -> Any:
    """The arguments of a case with its placeholders and repetitions filled in."""
    if isinstance(value, str):
        values = {"{DB}": "main", "{OUT}": str(place.outside), "{WS}": str(place.workspace)}
        return re.sub(r"\{(?:DB|OUT|WS)\}", lambda match: values[match[0]], value)
    if isinstance(value, list):
        return [expand(entry, place) for entry in cast(list[Any], value)]
    if isinstance(value, dict):
        named = cast(dict[str, Any], value)
        if "$concat" in named:
            return "".join(expand(part, place) for part in named["$concat"])
        if "$repeat" in named:
            return expand(named["$repeat"][0], place) * named["$repeat"][1]
        return {name: expand(entry, place) for name, entry in named.items()}
    return value


async def run(case: dict[str, Any], place: Place) -> Result:
    databases = Databases(
        [
            Database("main", f"sqlite:///{place.database}", writable=True),
            Database("garbage.db", f"sqlite:///{place.workspace / 'garbage.db'}"),
        ]
    )
    tool = {tool.name: tool for tool in database_tools(databases)}[case["tool"]]
    arguments = expand(case["arguments"], place)
    if case["expect"] == "timeout":
        arguments["timeout"] = 0.2
    context = Context(call_id="0" * 32, effect_key="key", deadline=math.inf)
    return await tool.run(tool.Arguments.model_validate(arguments), {}, context)


def contents(place: Place) -> list[Any]:
    connection = apsw.Connection(str(place.database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.execute(
            "select name, sql, (select count(*) from t), (select sum(a) from t) from sqlite_schema"
        ).fetchall()
    finally:
        connection.close()


@contextmanager
def locked_if(setup: str | None, place: Place) -> Generator[None]:
    """The set-up of the one case that locks the file, without a second program and its timing."""
    if setup is None or "begin exclusive" not in setup:
        yield
        return
    connection = apsw.Connection(str(place.database))
    connection.execute("begin exclusive")
    try:
        yield
    finally:
        connection.close()


def check_outcome(case: dict[str, Any], outcome: Result | ToolError) -> None:
    expected = case["expect"]
    if isinstance(outcome, ToolError):
        assert outcome.applied is Applied.NO
        assert outcome.code is not Code.INTERNAL
    if expected == "denied":
        wanted = REFUSED_BY_NAME.get(case["id"], Code.PERMISSION_DENIED)
        assert isinstance(outcome, ToolError) and outcome.code is wanted
    elif expected == "timeout":
        assert isinstance(outcome, ToolError) and outcome.code is Code.DEADLINE_EXCEEDED
    elif expected == "error" or case["id"] == NUL_IN_SQL:
        assert isinstance(outcome, ToolError) and outcome.code is not Code.PERMISSION_DENIED
    else:
        assert not isinstance(outcome, ToolError), outcome
        assert outcome.model_dump().get("truncated") is (expected == "truncated")
        json.dumps(outcome.model_dump(mode="json"), allow_nan=False)
        unseen = {c for c in outcome.as_text() if unicodedata.category(c) in ("Cc", "Cf")} - {"\n"}
        assert not unseen


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
async def test_an_attack_comes_out_as_expected_and_harms_nothing(
    case: dict[str, Any], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surefoot_tools.database.sqlite_connection.BUSY_TIMEOUT", 0.05)
    before = contents(place)
    outcome: Result | ToolError
    with locked_if(case["setup"], place):
        try:
            outcome = await run(case, place)
        except ToolError as error:
            outcome = error
    check_outcome(case, outcome)
    assert contents(place) == before
    assert sorted(path.name for path in place.outside.iterdir()) == ["secret"]
    assert (place.outside / "secret").read_text() == CANARY + "\n"


def allow(*_question: object) -> int:
    return apsw.SQLITE_OK


def see_nothing(*_hook: object) -> bool:
    return True


async def ran_though_denied(place: Place) -> set[str]:
    ran: set[str] = set()
    for case in CASES:
        if case["expect"] == "denied":
            try:
                await run(case, place)
            except ToolError:
                continue
            ran.add(case["id"])
    return ran


async def test_without_the_authorizer_attacks_run_that_must_be_denied(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: fails if something else than `Guard` is what refuses the cases above."""
    monkeypatch.setattr(Guard, "__call__", allow)
    assert len(await ran_though_denied(place)) >= 3


async def test_without_authorizer_limits_and_look_a_query_writes_a_file_outside(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: `mode=ro` alone lets VACUUM INTO write."""
    connection = "surefoot_tools.database.sqlite_connection"
    monkeypatch.setattr(Guard, "__call__", allow)
    monkeypatch.setattr(f"{connection}._Look.__call__", see_nothing)
    monkeypatch.setattr(f"{connection}._LIMITS", {})
    assert "sqlite-007" in await ran_though_denied(place)
    assert (place.outside / "pwn").exists()


async def test_without_the_authorizer_a_write_is_still_refused_before_it_begins(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: the look at `is_readonly`, behind the authorizer and before the read-only file."""
    monkeypatch.setattr(Guard, "__call__", allow)
    case = next(case for case in CASES if case["id"] == "sqlite-001")
    with pytest.raises(ToolError, match="only reads"):
        await run(case, place)
