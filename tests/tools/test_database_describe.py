"""`describe_database`: what is in a file, and nothing of surefoot's own."""

import math
from pathlib import Path

import apsw
import pytest

from surefoot_tools.database.databases import Database, Databases
from surefoot_tools.database.describe_database import (
    DescribeArguments,
    DescribeDatabase,
    DescribeResult,
)
from surefoot_tools.database.engine import Column, ForeignKey, Index
from surefoot_tools.errors import Code, ToolError
from surefoot_tools.tool import Context

pytestmark = pytest.mark.anyio

SCHEMA = """
create table author(id integer primary key, name text not null default 'anon', born date);
create table book(
  isbn text, edition int, author references author(id), title,
  initial generated always as (substr(title, 1, 1)), primary key (isbn, edition));
create unique index by_title on book(title, upper(title));
create view titles as select title from book;
create view broken as select * from gone;
create virtual table words using fts5(word);
create table review(isbn, edition, foreign key (isbn, edition) references book);
create table surefoot_inbox(key text primary key, fingerprint text, result text, at text);
create table "odd ""name"(a);
insert into author(id) values (1), (2), (3);
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "main.db"
    connection = apsw.Connection(str(path))
    connection.execute(f"pragma synchronous = off; begin; {SCHEMA} commit")
    connection.close()
    return path


async def describe(path: Path, table: str | None = None) -> DescribeResult:
    tool = DescribeDatabase(Databases([Database("main", f"sqlite:///{path}")]))
    context = Context(call_id="0" * 32, effect_key="key", deadline=math.inf)
    return await tool.run(DescribeArguments(table=table), {}, context)


async def test_tables_views_and_virtual_tables_are_listed_by_name(path: Path) -> None:
    result = await describe(path)
    assert result.dialect == "sqlite"
    assert [(table.name, table.kind) for table in result.tables] == [
        ("author", "table"),
        ("book", "table"),
        ("broken", "view"),
        ('odd "name', "table"),
        ("review", "table"),
        ("titles", "view"),
        ("words", "virtual"),
    ]


async def test_a_table_shows_columns_keys_and_indexes(path: Path) -> None:
    book = (await describe(path, "BOOK")).tables[0]
    assert [(column.name, column.primary_key) for column in book.columns] == [
        ("isbn", True),
        ("edition", True),
        ("author", False),
        ("title", False),
        ("initial", False),
    ]
    assert book.keys == [ForeignKey(["author"], "author", ["id"])]
    assert Index("by_title", True, ["title", "<expression>"]) in book.indexes
    author = (await describe(path, "author")).tables[0]
    assert author.columns[1] == Column("name", "TEXT", False, "'anon'", False)
    review = (await describe(path, "review")).tables[0]
    assert review.keys == [ForeignKey(["isbn", "edition"], "book", [])]


async def test_rows_are_counted_and_taken_from_statistics_once_there_are_some(path: Path) -> None:
    assert (await describe(path, "author")).tables[0].row_estimate == 3
    assert (await describe(path, "titles")).tables[0].row_estimate is None
    connection = apsw.Connection(str(path))
    connection.execute("analyze; update sqlite_stat1 set stat = '77' where tbl = 'author'")
    connection.close()
    assert (await describe(path, "author")).tables[0].row_estimate == 77


async def test_a_table_that_takes_long_to_count_has_no_estimate(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000)"
        " insert into author(name) select i from n"
    )
    connection.close()
    monkeypatch.setattr("surefoot_tools.database.sqlite_schema.COUNT_SECONDS", -1.0)
    assert (await describe(path, "author")).tables[0].row_estimate is None


@pytest.mark.parametrize("name", ["none", "surefoot_inbox", "sqlite_schema", "words_data", ""])
async def test_a_table_that_is_not_there_or_hidden_is_not_found(path: Path, name: str) -> None:
    with pytest.raises(ToolError) as caught:
        await describe(path, name)
    assert caught.value.code is Code.NOT_FOUND
    assert caught.value.hint is not None and "author, book" in caught.value.hint
    assert "surefoot_inbox" not in caught.value.hint


async def test_text_is_a_paragraph_a_table(path: Path) -> None:
    text = (await describe(path)).as_text()
    assert "table author, about 3 rows" in text
    assert "foreign key (author) -> author(id)" in text
    assert "unique index by_title (title, <expression>)" in text


async def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "main.db"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(ToolError, match="not a database") as caught:
        await describe(path)
    assert caught.value.code is Code.FAILED_PRECONDITION
