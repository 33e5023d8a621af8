"""PostgreSQL in `NAME=URL`: what is read, where it is, and what is never shown."""

import sys

import pytest

from surefoot_tools.database.databases import Database, Databases, parse_database
from surefoot_tools.database.execute_sql import ExecuteArguments, ExecuteSql
from surefoot_tools.database.postgres_errors import MEANING, OTHER, meaning_of
from surefoot_tools.database.postgres_guard import first_words
from surefoot_tools.database.postgres_url import read_url
from surefoot_tools.database.server_url import Address
from surefoot_tools.database.stop import require_asyncio
from surefoot_tools.errors import Code, ToolError


@pytest.mark.parametrize(
    ("text", "url", "writable"),
    [
        ("a=postgresql://joe@db/shop", "postgresql://joe@db/shop", False),
        ("a=postgres://joe:x@db:6000/shop?mode=rw", "postgres://joe:x@db:6000/shop", True),
        (
            "a=postgresql://db/shop?sslmode=require&mode=rw",
            "postgresql://db/shop?sslmode=require",
            True,
        ),
    ],
)
def test_a_database_is_read_and_mode_taken_out(text: str, url: str, writable: bool) -> None:
    assert parse_database(text) == Database("a", url, writable=writable)
    assert parse_database(text).files() == []


def test_a_url_says_where_and_as_whom() -> None:
    found = read_url("a", "postgresql://joe:p%40ss%2F@[::1]:6000/my%20shop?sslmode=require")
    assert found == Address("::1", 6000, "my shop", "joe", "p@ss/", (("sslmode", "require"),))
    assert found.place == "postgresql://[::1]:6000/my shop"
    socket = read_url("a", "postgresql:///shop?host=/run/postgresql")
    assert (socket.host, socket.port, socket.password) == ("/run/postgresql", 5432, None)


@pytest.mark.parametrize(
    "rest",
    [
        "joe:hunter2@db",
        "joe:hunter2@/shop",
        "joe:hunter2@db:port/shop",
        "joe:hunter2@db:5432,other:5432/shop",
        "joe:hunter2@db,other/shop",
        "joe:hunter2@db/shop?options=hunter2",
        "joe:hunter2@db/shop?mode=hunter2",
        "joe:hunter2@db/shop?mode=rw&mode=ro",
        "joe:x?hunter2@db/shop",
        "joe:x?hunter2=1@db/shop",
        "joe:x#hunter2@db/shop",
        "joe:x/hunter2@db/shop",
        "[hunter2@db/shop",
    ],
)
def test_what_is_no_url_is_refused_without_its_password(rest: str) -> None:
    with pytest.raises(ValueError, match="database main") as caught:
        parse_database(f"main=postgresql://{rest}")
    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_no_repr_shows_a_password() -> None:
    database = parse_database("main=postgresql://joe:hunter2@db/shop")
    assert "hunter2" not in repr(database)
    assert "hunter2" not in repr(read_url("main", database.url))


def test_a_missing_driver_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if "database.postgres" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ValueError, match=r"pip install 'surefoot\[postgres\]'"):
        Databases([Database("main", "postgresql://db/shop")])


def test_a_target_is_the_place_and_not_the_name_or_the_user() -> None:
    def target(url: str, name: str) -> str | None:
        arguments = ExecuteArguments.model_validate({"statements": [{"sql": "select 1"}]})
        return ExecuteSql(Databases([Database(name, url)])).target(arguments)

    place = "postgresql://db:5432/shop"
    assert target("postgresql://joe:x@db/shop", "a") == place
    assert target("postgresql://ann:y@db:5432/shop", "b") == place
    assert target("postgresql://joe:x@other/shop", "a") != place
    assert (
        ExecuteSql(Databases([])).target(
            ExecuteArguments.model_validate({"statements": [{"sql": "select 1"}]})
        )
        is None
    )


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("select 1", "select"),
        (" \n;; -- x\n/* a /* b */ c */ COMMIT", "commit"),
        ("((select 1) union select 2)", "select"),
        ("create unique/**/index concurrently i", "create unique index concurrently i"),
        ("-- only", ""),
        ("/* open", ""),
        ("", ""),
        ("$1", "$"),
    ],
)
def test_the_first_words_are_found_behind_comments(sql: str, words: str) -> None:
    assert first_words(sql) == words


def test_a_code_wins_over_its_class_and_an_unknown_one_is_final() -> None:
    assert meaning_of("42501")[0] is Code.PERMISSION_DENIED
    assert meaning_of("42601")[0] is Code.INVALID_ARGUMENT
    assert meaning_of("HV000") == OTHER
    assert meaning_of(None)[0] is Code.UNAVAILABLE
    assert all(len(code) in (2, 5) for code in MEANING)


def test_another_event_loop_than_asyncio_is_refused_in_words() -> None:
    with pytest.raises(ToolError) as caught:
        require_asyncio("PostgreSQL")
    assert caught.value.code is Code.UNIMPLEMENTED
    assert "asyncio" in caught.value.message
