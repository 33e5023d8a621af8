"""What statements of `execute_sql` may do: rows and schema, never the transaction or the inbox."""

from pathlib import Path

import apsw
import pytest
from tests.support.execute import INSERT, a_context, execute, failure, rows

from surefoot_tools.database.sqlite_guard import Guard
from surefoot_tools.errors import Code, Origin

pytestmark = pytest.mark.anyio


DENIED = [
    "begin",
    "commit",
    "end",
    "rollback",
    "savepoint s",
    "release s",
    "attach ':memory:' as m",
    "detach main",
    "vacuum",
    "vacuum into 'x.db'",
    "pragma user_version = 3",
    "pragma journal_mode = off",
    "pragma writable_schema = 1",
    "pragma foreign_keys = off",
    "select load_extension('x')",
    "create virtual table v using csv(filename='x')",
    "select * from surefoot_inbox",
    "select count(*) from surefoot_inbox",
    "insert into surefoot_inbox values('k', '', '', '')",
    "update surefoot_inbox set result = ''",
    "delete from Surefoot_Inbox",
    "drop table surefoot_inbox",
    "alter table surefoot_inbox rename to x",
    "alter table surefoot_inbox add column x",
    "alter table surefoot_inbox drop column at",
    "alter table surefoot_inbox rename column at to x",
    "create table if not exists surefoot_inbox(a)",
    "create temp table surefoot_inbox(key, fingerprint, result, at)",
    "create temp view surefoot_inbox as select 1",
    "create index i on surefoot_inbox(at)",
    "create trigger g after insert on surefoot_inbox begin select 1; end",
    "create table copy as select * from surefoot_inbox",
    "insert into t(name) select key from surefoot_inbox",
]


@pytest.mark.parametrize("sql", DENIED)
async def test_what_would_break_the_transaction_or_the_inbox_is_denied(
    path: Path, sql: str
) -> None:
    await execute(path, INSERT, context=a_context("before"))
    before = (
        rows(path, "select * from surefoot_inbox, t"),
        rows(path, "select * from sqlite_schema"),
    )
    error = await failure(path, "delete from t", sql)
    assert (error.code, error.origin) == (Code.PERMISSION_DENIED, Origin.POLICY)
    assert "statement 2 of 2" in error.message
    after = rows(path, "select * from surefoot_inbox, t"), rows(path, "select * from sqlite_schema")
    assert after == before


@pytest.mark.parametrize(
    "sql",
    [
        "insert into inner_view values(1)",
        "insert into f(f) values('rebuild')",
    ],
)
async def test_the_inbox_cannot_be_reached_through_other_objects(path: Path, sql: str) -> None:
    """A view with a trigger, and a full-text table whose content is the inbox."""
    await execute(path, INSERT, context=a_context("before"))
    connection = apsw.Connection(str(path))
    connection.execute(
        "create view inner_view as select 1 as a;"
        "create trigger g instead of insert on inner_view begin delete from surefoot_inbox; end;"
        "create virtual table f using fts5(key, content='surefoot_inbox')"
    )
    connection.close()
    assert (await failure(path, sql)).code is Code.PERMISSION_DENIED


async def test_without_the_guard_a_statement_makes_its_key_run_twice(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above: what `Guard` protects is 'once under a key'."""

    def allow(*_question: object) -> int:
        return apsw.SQLITE_OK

    monkeypatch.setattr(Guard, "__call__", allow)
    for _ in range(2):
        await execute(
            path,
            "insert into t(name) values(hex(randomblob(8)))",
            "delete from main.surefoot_inbox",
        )
    assert len(rows(path)) == 2


ALLOWED = [
    "alter table t rename to u",
    "alter table t rename column name to title",
    "alter table t add column c integer check (c > 0)",
    "alter table t add column c not null default 0",
    "create index i on t(name)",
    "create view v as select * from t",
    "create trigger g after insert on t begin update t set name = name; end",
    "create virtual table f using fts5(x)",
    "create temp table x as select * from t",
    "create table u as select * from t",
    "drop table t",
    "reindex",
    "analyze",
    "pragma table_info(t)",
    "pragma foreign_key_check",
    "replace into t(id, name) values(1, 'b')",
    "insert into t(name) values('z') on conflict do nothing",
    "explain query plan select * from t",
]


@pytest.mark.parametrize("sql", ALLOWED)
async def test_schema_and_row_statements_are_allowed(path: Path, sql: str) -> None:
    await execute(path, INSERT, context=a_context("before"))
    assert (await execute(path, sql)).committed


async def test_analyze_takes_no_samples_of_the_inbox(path: Path) -> None:
    await execute(path, INSERT, "create index i on t(name)", "analyze")
    assert rows(path, "select tbl from sqlite_stat1 where tbl = 'surefoot_inbox'") == []
    assert rows(path, "select distinct tbl from sqlite_stat1") == [("t",)]


async def test_a_rename_onto_the_inbox_is_refused(path: Path) -> None:
    assert "already" in (await failure(path, "alter table t rename to surefoot_inbox")).message
