"""The attacks of `attacks-postgres.jsonl`, and the roles that we do not connect as."""

import json
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql
from tests.support.at_postgres import INSERT, ask, failure, names, query, query_failure
from tests.support.postgres import Postgres

from surefoot_tools.database import postgres_connection
from surefoot_tools.errors import Code

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

CASES: list[dict[str, Any]] = [
    json.loads(line)
    for line in Path(__file__).with_name("attacks-postgres.jsonl").read_text("utf-8").splitlines()
]
ABSENT = {"postgres-013"}
"""dblink is not installed: there is no such function."""

REFUSED_FIRST = {"postgres-001"}
"""Refused for its first word; PostgreSQL would refuse it as two statements."""


async def test_each_attack_comes_out_as_expected_and_harms_nothing(
    url: str, tmp_path: Path
) -> None:
    """In one test, for a database of PostgreSQL takes a second to make."""
    ask(url, "insert into t(name) values('kept')")
    wrong: dict[str, Code] = {}
    for case in CASES:
        text = case["arguments"]["sql"].replace("{OUT}", str(tmp_path))
        error = await query_failure(url, text, timeout=2.0)
        denied = error.code is Code.PERMISSION_DENIED
        right = {
            "denied": denied or (case["id"] in ABSENT and error.code is Code.INVALID_ARGUMENT),
            "timeout": error.code is Code.DEADLINE_EXCEEDED,
            "error": not denied or case["id"] in REFUSED_FIRST,
        }
        if not right[case["expect"]]:
            wrong[case["id"]] = error.code
    assert wrong == {}
    assert names(url) == ["kept"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("power", ["pg_execute_server_program", "pg_read_server_files"])
async def test_a_role_with_too_much_power_is_refused_with_what_makes_a_fit_one(
    postgres: Postgres, url: str, power: str
) -> None:
    """Guard: `postgres_privileges.refuse_powers`."""
    role = sql.Identifier(str(ask(url, "select current_user")[0][0]))
    postgres.admin(sql.SQL("grant {} to {}").format(sql.Identifier(power), role))
    for error in (await query_failure(url, "select 1"), await failure(url, INSERT)):
        assert error.code is Code.PERMISSION_DENIED
        assert power in error.message
        assert "CREATE ROLE" in (error.hint or "")
    assert "superuser" in (await query_failure(postgres.url, "select 1")).message


async def test_without_that_refusal_a_superuser_reads_files_of_the_server(
    postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: a read-only transaction does not hold against that."""

    async def allow(*_connection: object, **_more: object) -> None:
        return None

    monkeypatch.setattr(postgres_connection, "refuse_powers", allow)
    assert (await query(postgres.url, "select pg_ls_dir('.')")).rows
