"""`query_database`: what it gives, what it refuses, and when it stops."""

import base64
import json
import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.execute import ENDLESS

from surefoot_tools.database.databases import Database, Databases
from surefoot_tools.database.engine import RESULT_BYTES
from surefoot_tools.database.query_database import QueryArguments, QueryDatabase, QueryResult
from surefoot_tools.database.text_table import TEXT_BYTES
from surefoot_tools.database.values import Blob, Parameter
from surefoot_tools.errors import Applied, Code, Origin, ToolError
from surefoot_tools.tool import Context

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "main.db"
    connection = apsw.Connection(str(path))
    connection.pragma("synchronous", "off")
    connection.execute(
        "begin; create table t(id integer primary key, name text);"
        "create table surefoot_inbox(key text primary key, fingerprint, result, at);"
        "create view peek as select key from surefoot_inbox;"
        "insert into surefoot_inbox values('secret', '', '', '')"
    )
    connection.executemany("insert into t values(?, ?)", [(i, f"n{i}") for i in range(1, 301)])
    connection.execute("commit")
    connection.close()
    return path


def a_context(deadline: float = math.inf) -> Context:
    return Context(call_id="0" * 32, effect_key="key", deadline=deadline)


def a_tool(path: Path) -> QueryDatabase:
    return QueryDatabase(Databases([Database("main", f"sqlite:///{path}")]))


async def query(
    path: Path, sql: str, parameters: object = None, context: Context | None = None, **more: Any
) -> QueryResult:
    arguments = QueryArguments.model_validate({"sql": sql, "parameters": parameters, **more})
    return await a_tool(path).run(arguments, {}, context or a_context())


async def failure(path: Path, sql: str, parameters: object = None, **more: Any) -> ToolError:
    with pytest.raises(ToolError) as caught:
        await query(path, sql, parameters, **more)
    assert caught.value.applied is Applied.NO
    return caught.value


async def test_rows_come_back_with_columns_and_count(path: Path) -> None:
    result = await query(path, "select id, name from t where id < 3 order by id")
    assert result.columns == ["id", "name"]
    assert result.rows == [[1, "n1"], [2, "n2"]]
    assert (result.row_count, result.truncated) == (2, False)


async def test_no_rows_still_tell_the_columns(path: Path) -> None:
    result = await query(path, "select id, name as title from t where 0")
    assert (result.columns, result.rows) == (["id", "title"], [])


@pytest.mark.parametrize(("max_rows", "truncated"), [(299, True), (300, False), (301, False)])
async def test_rows_are_cut_at_max_rows_and_only_then(
    path: Path, max_rows: int, truncated: bool
) -> None:
    result = await query(path, "select id from t", max_rows=max_rows)
    assert (result.row_count, result.truncated) == (min(max_rows, 300), truncated)


@pytest.mark.parametrize(("extra", "rows"), [(0, 1), (1, 0)])
async def test_rows_are_cut_at_the_bytes_of_a_result(path: Path, extra: int, rows: int) -> None:
    size = RESULT_BYTES - len('[""]') + extra
    result = await query(path, "select printf('%.*c', ?, 'x')", [size])
    assert (result.row_count, result.truncated) == (rows, rows == 0)
    assert len(result.columns[0]) < 250
    assert len(result.as_text().encode()) <= TEXT_BYTES + 200


async def test_text_shows_control_characters_and_how_many_rows_do_not_fit(path: Path) -> None:
    result = await query(path, "select ? || printf('%.*c', 300, 'x') from t", ["\x1b[2J\u202e\n"])
    text = result.as_text()
    assert "\\x1b[2J\\u202e\\n" in text
    assert "\x1b" not in text and "\u202e" not in text
    assert "of 200 rows do not fit here" in text
    assert len(text.encode()) <= TEXT_BYTES + 200


SCALARS = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.binary().map(lambda data: {"base64": base64.b64encode(data).decode()}),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(values=st.lists(SCALARS, min_size=1, max_size=5))
async def test_parameters_come_back_as_they_went_in(path: Path, values: list[Any]) -> None:
    marks = ", ".join("?" for _ in values)
    by_position = await query(path, f"select {marks}", values)
    assert json.loads(by_position.model_dump_json())["rows"] == [values]
    names = [f"p{number}" for number in range(len(values))]
    sql = "select " + ", ".join(f":{name}" for name in names)
    by_name = await query(path, sql, dict(zip(names, values, strict=True)))
    assert by_name.rows == [values]


async def test_nul_in_a_value_survives_json_and_shows_in_text(path: Path) -> None:
    result = await query(path, "select ?, 'a' || char(0) || 'b'", ["x\0y"])
    assert json.loads(result.model_dump_json())["rows"] == [["x\0y", "a\0b"]]
    assert "x\\x00y" in result.as_text()


async def test_infinity_comes_back_as_text_and_a_boolean_goes_in_as_a_number(path: Path) -> None:
    result = await query(path, "select 1e999, -1e999, ?", [True])
    assert result.rows == [["inf", "-inf", 1]]


WRONG_PARAMETERS: list[tuple[str, object, str]] = [
    ("select ?", [], "bindings"),
    ("select ?", [1, 2], "bindings"),
    ("select ?", None, "bindings"),
    ("select :a", {}, "'a'"),
    ("select :a", {"a": 1, "b": 2}, "'b'"),
    ("select :a", {":a": 1}, "'a'"),
    ("select ?", [2**63], "64 bits"),
    ("select ?", [-(2**63) - 1], "64 bits"),
    ("select ?", [{"base64": "?"}], "base64"),
]


@pytest.mark.parametrize(("sql", "parameters", "word"), WRONG_PARAMETERS)
async def test_parameters_that_do_not_fit_are_refused_in_words(
    path: Path, sql: str, parameters: object, word: str
) -> None:
    error = await failure(path, sql, parameters)
    assert error.code is Code.INVALID_ARGUMENT
    assert word in error.message


@pytest.mark.parametrize("sql", ["", " ;; ", "-- nothing", "/* nothing"])
async def test_empty_sql_is_refused(path: Path, sql: str) -> None:
    error = await failure(path, sql)
    assert (error.code, "empty" in error.message) == (Code.INVALID_ARGUMENT, True)


@pytest.mark.parametrize("sql", ["select 1; select 2", "select 'ü;'; x", "select 1;/**/drop"])
async def test_a_second_statement_is_refused(path: Path, sql: str) -> None:
    error = await failure(path, sql)
    assert (error.code, "one statement a call" in error.message) == (Code.INVALID_ARGUMENT, True)


@pytest.mark.parametrize("sql", ["select 1;", "select 1 ; -- end", ";select 1;;/* end */\n"])
async def test_semicolons_and_comments_around_one_statement_are_fine(path: Path, sql: str) -> None:
    assert (await query(path, sql)).rows == [[1]]


async def test_values_bind_to_a_statement_with_a_comment_after_it(path: Path) -> None:
    assert (await query(path, "select ?; -- end", [1])).rows == [[1]]
    assert (await query(path, "select :a; -- end", {"a": 1})).columns == [":a"]


@pytest.mark.parametrize(
    "sql",
    [
        "insert into t values(1000, 'x')",
        "with a as (select 1) delete from t",
        "update t set name = 1 returning *",
        "create table u(a)",
        "create temp table u(a)",
        "drop table t",
        "reindex",
        "analyze",
        "vacuum",
        "begin",
        "savepoint s",
        "pragma user_version = 3",
        "pragma query_only",
        "explain delete from t",
    ],
)
async def test_a_write_is_denied_with_the_tool_to_use(path: Path, sql: str) -> None:
    error = await failure(path, sql)
    assert (error.code, error.origin) == (Code.PERMISSION_DENIED, Origin.POLICY)
    assert error.hint is not None and "execute_sql" in error.hint


@pytest.mark.parametrize(
    "sql",
    [
        "select * from surefoot_inbox",
        "select count(*) from main.SUREFOOT_inbox",
        "select rowid from surefoot_inbox",
        "select * from peek",
        "select (select key from surefoot_inbox)",
        "pragma table_info(surefoot_inbox)",
        "select * from pragma_table_info('surefoot_inbox')",
    ],
)
async def test_the_inbox_is_hidden(path: Path, sql: str) -> None:
    assert (await failure(path, sql)).code is Code.PERMISSION_DENIED


@pytest.mark.parametrize(
    "sql",
    ["pragma table_info(t)", "pragma index_list('t')", "select * from pragma_table_xinfo('t')"],
)
async def test_pragmas_that_show_the_schema_are_allowed(path: Path, sql: str) -> None:
    assert not (await query(path, sql)).truncated


async def test_what_is_not_there_is_told_with_what_is(path: Path) -> None:
    error = await failure(path, "select * from users")
    assert error.code is Code.INVALID_ARGUMENT
    assert "no such table: users" in error.message
    assert error.hint == "the tables are: peek, t"
    error = await failure(path, "select missing from t")
    assert "no such column" in error.message
    assert error.hint == "the tables are: peek, t"
    assert "syntax error" in (await failure(path, "selec 1")).message


async def test_text_that_is_not_utf8_is_told_with_the_way_to_read_it(path: Path) -> None:
    error = await failure(path, "select cast(x'ff' as text)")
    assert error.code is Code.FAILED_PRECONDITION
    assert error.hint is not None and "CAST" in error.hint


@pytest.mark.parametrize(("size", "fits"), [(16 * 2**20, True), (16 * 2**20 + 1, False)])
async def test_a_value_may_take_16_mib(path: Path, size: int, fits: bool) -> None:
    sql = "select length(zeroblob(?))"
    if fits:
        assert (await query(path, sql, [size])).rows == [[size]]
    else:
        assert (await failure(path, sql, [size])).code is Code.INVALID_ARGUMENT


async def test_a_file_in_wal_mode_is_read_with_its_latest_commits(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.execute("delete from t where id > 1")
    assert (await query(path, "select count(*) from t")).rows == [[1]]
    connection.close()
    assert (await query(path, "select count(*) from t")).rows == [[1]]


async def test_a_missing_file_is_not_found_and_not_created(tmp_path: Path) -> None:
    error = await failure(tmp_path / "none.db", "select 1")
    assert (error.code, error.origin) == (Code.NOT_FOUND, Origin.ENVIRONMENT)
    assert str(tmp_path) not in error.message
    assert not list(tmp_path.iterdir())


async def test_a_path_cannot_smuggle_uri_parameters(tmp_path: Path) -> None:
    """Guard: the quoting in `connect`."""
    path = tmp_path / "a%3Fmode=rwc&b#c.db"
    connection = apsw.Connection(str(path))
    connection.execute("create table here(a)")
    connection.close()
    result = await query(path, "select name from sqlite_schema")
    assert result.rows == [["here"]]
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


async def test_a_statement_over_its_timeout_is_stopped(path: Path) -> None:
    error = await failure(path, ENDLESS, timeout=0.05)
    assert error.code is Code.DEADLINE_EXCEEDED


async def test_the_callers_deadline_stops_a_statement_before_its_timeout(path: Path) -> None:
    with pytest.raises(ToolError) as caught:
        await query(path, ENDLESS, context=a_context(anyio.current_time() + 0.05))
    assert caught.value.code is Code.DEADLINE_EXCEEDED


async def test_a_deadline_already_over_runs_nothing(path: Path) -> None:
    with pytest.raises(ToolError) as caught:
        await query(path, "select 1", context=a_context(anyio.current_time() - 1))
    assert caught.value.code is Code.DEADLINE_EXCEEDED


async def test_cancelling_the_caller_interrupts_the_statement_in_the_database(
    path: Path, hook: Callable[[Callable[[apsw.Connection], None]], None]
) -> None:
    """Guard: `Interruption.ask`; without it the statement runs until its timeout."""
    begun = threading.Event()

    def mark(*_: object) -> int:
        begun.set()
        return 1

    hook(lambda connection: connection.create_scalar_function("mark", mark, 0))
    context = a_context()
    async with anyio.create_task_group() as group:
        group.start_soon(
            lambda: query(path, f"select mark(), ({ENDLESS})", context=context, timeout=600.0)
        )
        assert await anyio.to_thread.run_sync(begun.wait, 30)
        group.cancel_scope.cancel()
    assert context.interrupted is not None
    assert (context.interrupted.code, context.interrupted.applied) == (Code.CANCELLED, Applied.NO)


async def test_a_locked_database_is_unavailable_with_a_time_to_retry(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surefoot_tools.database.sqlite_connection.BUSY_TIMEOUT", 0.0)
    connection = apsw.Connection(str(path))
    connection.execute("begin exclusive")
    try:
        error = await failure(path, "select * from t", timeout=30.0)
    finally:
        connection.close()
    assert error.code is Code.UNAVAILABLE
    assert error.retry_after is not None


@given(value=SCALARS)
async def test_any_scalar_is_accepted_as_an_argument_in_json(value: Parameter) -> None:
    text = json.dumps({"sql": "select ?", "parameters": [value]})
    parameters = QueryArguments.model_validate_json(text).parameters
    assert isinstance(parameters, list)
    plain = parameters[0]
    assert (plain.model_dump() if isinstance(plain, Blob) else plain) == value


async def test_a_list_is_no_value() -> None:
    with pytest.raises(ValueError, match="parameters"):
        QueryArguments.model_validate({"sql": "select ?", "parameters": [[1]]})
