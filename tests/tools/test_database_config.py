"""Which databases there are: reading `NAME=URL`, and finding by name."""

import pytest

from surefoot_tools.database import database_tools
from surefoot_tools.database.databases import Database, Databases, parse_database
from surefoot_tools.errors import Code, Origin, ToolError
from surefoot_tools.tool import Effect


@pytest.mark.parametrize(
    ("text", "database"),
    [
        ("main=sqlite:///shop.db", Database("main", "sqlite:///shop.db")),
        ("main=sqlite:////srv/shop.db?mode=ro", Database("main", "sqlite:////srv/shop.db")),
        ("a.b-1=sqlite:///x=y.db?mode=rw", Database("a.b-1", "sqlite:///x=y.db", writable=True)),
    ],
)
def test_a_database_is_read_from_name_and_url(text: str, database: Database) -> None:
    assert parse_database(text) == database


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("sqlite:///shop.db", "NAME=URL"),
        ("=sqlite:///shop.db", "NAME=URL"),
        ("my db=sqlite:///shop.db", "NAME=URL"),
        ("main=shop.db", "supported now"),
        ("main=oracle://joe:hunter2@host/db", "'oracle' is not supported; supported now"),
        ("main=sqlite://", "names no file"),
        ("main=sqlite:///", "names no file"),
        ("main=sqlite:///:memory:", "names no file"),
        ("main=sqlite://host/shop.db", "names no file"),
        ("main=sqlite:///shop.db?mode=rwc", "ro (default) or rw"),
        ("main=sqlite:///shop.db?vfs=unix-none", "'vfs' is not known"),
        ("main=sqlite:///shop.db?mode=ro&mode=rw", "more than once"),
        ("main=sqlite:///shop.db?mode", "key=value"),
    ],
)
def test_what_is_no_database_is_refused_in_words(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=r"database|NAME") as caught:
        parse_database(text)
    assert word in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_name_given_twice_is_refused() -> None:
    one = Database("main", "sqlite:///a.db")
    with pytest.raises(ValueError, match="twice"):
        Databases([one, one])


def failure(databases: Databases, name: str) -> ToolError:
    with pytest.raises(ToolError) as caught:
        databases.get(name)
    return caught.value


def test_a_database_is_found_by_its_name_only() -> None:
    databases = Databases([Database("a", "sqlite:///a.db"), Database("b", "sqlite:///b.db")])
    assert databases.resolve("b") == "b"
    assert databases.get("a") is not databases.get("b")
    for name in ("c", "sqlite:///a.db", "file:a?mode=rwc", "../a.db", "A"):
        error = failure(databases, name)
        assert error.code is Code.NOT_FOUND
        assert "there is: a, b" in error.message


def test_default_is_the_one_called_so_else_the_only_one() -> None:
    a, b = Database("a", "sqlite:///a.db"), Database("b", "sqlite:///b.db")
    assert Databases([a]).resolve() == "a"
    assert Databases([a, Database("default", "sqlite:///d.db")]).resolve() == "default"
    error = failure(Databases([a, b]), "default")
    assert (error.code, "a, b" in error.message) == (Code.INVALID_ARGUMENT, True)
    error = failure(Databases([]), "default")
    assert (error.code, error.origin) == (Code.NOT_FOUND, Origin.ENVIRONMENT)


def test_the_tools_declare_what_is_true_of_them() -> None:
    tools = database_tools(Databases([]))
    declared = [(tool.name, tool.effect, tool.destructive, tool.repeatable) for tool in tools]
    assert declared == [
        ("query_database", Effect.SAFE, False, True),
        ("execute_sql", Effect.TRANSACTIONAL, True, False),
        ("describe_database", Effect.SAFE, False, True),
    ]
    for tool in tools:
        assert tool.Arguments.model_json_schema()["additionalProperties"] is False
        assert tool.Result.model_json_schema()["properties"]
