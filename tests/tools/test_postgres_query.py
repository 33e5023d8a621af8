"""`query_database` and `describe_database` on PostgreSQL, called at their own seam."""

from contextlib import suppress
from typing import Any

import pytest
from tests.support.at_postgres import ask, databases, execute, names, query, query_failure
from tests.support.execute import a_context

from surefoot_tools.database.describe_database import DescribeArguments, DescribeDatabase
from surefoot_tools.database.engine import Column, ForeignKey, Index, Table
from surefoot_tools.errors import Code, ToolError

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ("true", True),
        ("9223372036854775807", 9223372036854775807),
        ("1.5::float8", 1.5),
        ("'infinity'::float8", "inf"),
        ("0.10::numeric(30, 20)", "0.10000000000000000000"),
        ("'NaN'::numeric", "NaN"),
        (r"'\x00ff'::bytea", {"base64": "AP8="}),
        ("'2026-01-02'::date", "2026-01-02"),
        ("'2026-01-02 03:04:05.5'::timestamp", "2026-01-02T03:04:05.5"),
        ("timestamptz '2026-01-02 03:04:05+00' at time zone 'UTC'", "2026-01-02T03:04:05"),
        ("'infinity'::timestamp", "infinity"),
        ("'12026-01-02'::timestamp", "12026-01-02T00:00:00"),
        ("interval '1 month 2 days'", "P1M2D"),
        ("array[1, 2]", "{1,2}"),
        ("""'{"a": 1}'::jsonb""", '{"a": 1}'),
        ("'é'", "é"),
        ("'[1,3)'::int4range", "[1,3)"),
    ],
)
async def test_a_value_comes_as_json_can_carry_it(url: str, text: str, value: object) -> None:
    result = await query(url, f"select {text} as value")
    assert (result.columns, result.rows) == (["value"], [[value]])


async def test_a_moment_bears_its_offset_in_full(url: str) -> None:
    ask(url, "alter role current_user set timezone = 'Asia/Kolkata'")
    moment = "select timestamptz '2026-01-02 03:04:05+00'"
    assert (await query(url, moment)).rows == [["2026-01-02T08:34:05+05:30"]]
    ask(url, "alter role current_user set timezone = 'UTC'")
    assert (await query(url, moment)).rows == [["2026-01-02T03:04:05+00:00"]]


async def test_parameters_are_bound_by_number(url: str) -> None:
    text = "select $1::text, $2::int + 1, $3::bool, $4::bytea, $5::text"
    values: list[Any] = ["100%s ?", 41, True, {"base64": "AP8="}, None]
    result = await query(url, text, parameters=values)
    assert result.rows == [["100%s ?", 42, True, {"base64": "AP8="}, None]]
    error = await query_failure(url, "select :a", parameters={"a": 1})
    assert (error.code, "$1" in (error.hint or "")) == (Code.INVALID_ARGUMENT, True)


async def test_more_rows_than_asked_for_are_cut_and_none_still_has_columns(url: str) -> None:
    result = await query(url, "select * from generate_series(1, 3) n", max_rows=3)
    assert (result.row_count, result.truncated) == (3, False)
    result = await query(url, "select generate_series(1, 1000000000) as n", max_rows=3)
    assert (result.rows, result.truncated) == ([[1], [2], [3]], True)
    result = await query(url, "select 1 as a, 2 as a where false")
    assert (result.columns, result.rows) == (["a", "a_2"], [])


async def test_the_rows_of_a_call_are_bounded_in_bytes(url: str) -> None:
    wide = "select repeat('x', 100000) from generate_series(1, 5)"
    result = await query(url, wide)
    assert (result.row_count, result.truncated) == (2, True)
    written = await execute(
        url,
        f"insert into t(name) select n || r from ({wide}) as w(r), "
        "generate_series(1, 3) n on conflict do nothing returning name",
    )
    assert written.results[0].truncated
    assert written.results[0].rows_affected == len(names(url)) == 3


@pytest.mark.parametrize(
    "text",
    [
        "insert into t(name) values('a')",
        "with x as (insert into t(name) values('a') returning 1) select * from x",
        "select * from t; insert into t(name) values('a')",
        "commit; insert into t(name) values('a')",
        "explain analyze insert into t(name) values('a')",
        "select setval('t_id_seq', 7)",
        "select set_config('transaction_read_only', 'off', true)",
        "set transaction read write",
        "do $$ begin insert into t(name) values('a'); end $$",
        "create table u(x int)",
        "copy t to stdout",
        "select * from surefoot_inbox",
        "begin",
        "",
        "-- nothing",
        "select 'a\0b'",
    ],
)
async def test_nothing_is_changed_through_a_query(url: str, text: str) -> None:
    """Guards: the read-only transaction of `begin`, and `postgres_guard.check`."""
    error = await query_failure(url, text)
    assert error.code in (Code.PERMISSION_DENIED, Code.INVALID_ARGUMENT)
    assert names(url) == []


async def test_what_a_query_could_write_all_the_same_is_rolled_back(url: str) -> None:
    """Before release 16, a read-only transaction may make large objects; no query is committed."""
    with suppress(ToolError):
        await query(url, "select lo_creat(-1)")
    assert ask(url, "select count(*) from pg_largeobject_metadata") == [(0,)]


async def test_a_failure_tells_what_and_where(url: str) -> None:
    error = await query_failure(url, "select nothing from t")
    assert error.code is Code.INVALID_ARGUMENT
    assert '"nothing" does not exist' in error.message
    assert "42703" in error.message
    error = await query_failure(url, "select 1 / 0")
    assert (error.code, "22012" in error.message) == (Code.INVALID_ARGUMENT, True)


async def test_a_description_shows_tables_columns_keys_and_indexes(url: str) -> None:
    ask(url, 'create table a(id int primary key, "strange name" numeric(5, 2) default 1.5)')
    ask(url, "create table b(a int not null references a, c text)")
    ask(url, "create index i on b(lower(c), a) include (c)")
    ask(url, "create view v as select 1 as one")
    ask(url, "create schema s create table b(x int)")
    ask(url, "create table p(x int) partition by range (x)")
    ask(url, "create table p1 partition of p for values from (0) to (9)")
    await execute(url, "insert into a values (1)", "analyze a")
    tool = DescribeDatabase(databases(url))
    found = await tool.run(DescribeArguments(), {}, a_context())
    assert found.dialect == "postgresql"
    assert [(table.name, table.kind) for table in found.tables] == [
        ("a", "table"),
        ("b", "table"),
        ("p", "table"),
        ("s.b", "table"),
        ("t", "table"),
        ("v", "view"),
    ]
    assert found.tables[0] == Table(
        "a",
        "table",
        [
            Column("id", "integer", nullable=False, default=None, primary_key=True),
            Column("strange name", "numeric(5,2)", True, "1.5", primary_key=False),
        ],
        [],
        [Index("a_pkey", unique=True, columns=["id"])],
        1,
    )
    assert found.tables[1].keys == [ForeignKey(["a"], "a", ["id"])]
    assert found.tables[1].indexes == [Index("i", unique=False, columns=["<expression>", "a"])]
    for name in ("s.b", "public.b"):
        one = await tool.run(DescribeArguments(table=name), {}, a_context())
        assert [table.name for table in one.tables] == [name.removeprefix("public.")]
    with pytest.raises(ToolError) as caught:
        await tool.run(DescribeArguments(table="nope"), {}, a_context())
    assert caught.value.code is Code.NOT_FOUND
    assert "s.b" in (caught.value.hint or "")
