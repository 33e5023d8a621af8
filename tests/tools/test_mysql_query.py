"""`query_database` on MariaDB: values, boundary, and the attacks of `attacks-mysql.jsonl`."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.at_mysql import ask, names, query, query_failure
from tests.support.mariadb import Mariadb
from tests.support.mysql_session import a_session

from surefoot_tools.database import mysql_connection, mysql_guard
from surefoot_tools.errors import Code, ToolError

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

CASES: list[dict[str, Any]] = [
    json.loads(line)
    for line in Path(__file__).with_name("attacks-mysql.jsonl").read_text("utf-8").splitlines()
]

VALUES: list[tuple[str, object]] = [
    ("null", None),
    ("true", 1),
    ("18446744073709551615", 18446744073709551615),
    ("cast(1.5 as double)", 1.5),
    ("cast(0.10 as decimal(30, 20))", "0.10000000000000000000"),
    ("x'00ff'", {"base64": "AP8="}),
    ("date '2026-01-02'", "2026-01-02"),
    ("timestamp '2026-01-02 03:04:05.500000'", "2026-01-02T03:04:05.500000"),
    ("cast('-838:59:59' as time)", "-838:59:59"),
    ("'é'", "é"),
    ("@@time_zone", "+00:00"),
]


async def test_a_value_comes_as_json_can_carry_it(mysql_url: str) -> None:
    """Guard: `mysql_values.DECODERS`."""
    result = await query(mysql_url, f"select {', '.join(text for text, _ in VALUES)}")
    assert result.rows == [[value for _, value in VALUES]]
    ask(
        mysql_url,
        "create table v(b bit(10), y year, j json, e enum('x', 'y'), z date, s timestamp)",
        "set sql_mode = ''",
    )
    ask(mysql_url, "insert into v values(b'101', 2026, '{\"a\": 1}', 'y', null, null)")
    assert (await query(mysql_url, "select b, y, j, e, z from v")).rows == [
        [5, 2026, '{"a": 1}', "y", None]
    ]


async def test_parameters_are_bound_whatever_is_in_them(mysql_url: str) -> None:
    """Guard: `mysql_values.literal`."""
    values: list[Any] = ["'; drop table t; -- \\' \" %s ? é", "", 41, -1, 1.5, True, None]
    values += [{"base64": "AP8="}, 2**64 - 1]
    result = await query(mysql_url, "select ?, ?, ? + 1, ?, ?, ?, ?, ?, ?", parameters=values)
    assert result.rows == [[*values[:2], 42, -1, 1.5, 1, None, *values[7:]]]


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
async def test_an_attack_comes_out_as_expected_and_harms_nothing(
    mysql_url: str, tmp_path: Path, case: dict[str, Any]
) -> None:
    sql = case["arguments"]["sql"].replace("{OUT}", str(tmp_path))
    ask(mysql_url, "insert into t(name) values('kept')")
    wanted = Code.DEADLINE_EXCEEDED if case["expect"] == "timeout" else Code.PERMISSION_DENIED
    async with a_session(mysql_url) as other:
        await other.run("select get_lock('x', 0)")  # else the case of a named lock ends at once
        error = await query_failure(mysql_url, sql, timeout=0.3)
    assert error.code is wanted
    assert names(mysql_url) == ["kept"]
    assert list(tmp_path.iterdir()) == []


def see_nothing(sql: str, *, writing: bool) -> str:
    """In the place of the guard."""
    return "select"


async def test_without_the_guard_of_words_a_query_still_writes_nothing(
    mysql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the boundary is the server's own, the read-only session."""
    assert mysql_guard.check("select 1", writing=False) == "select"
    monkeypatch.setattr(mysql_connection, "check", see_nothing)
    ask(mysql_url, "insert into t(name) values('kept')")
    for text in (
        "delete from t",
        "update t set name = 'x'",
        "create table u(x int)",
        "select 1 into outfile '/nowhere/pwn'",
    ):
        error = await query_failure(mysql_url, text)
        assert error.code is Code.PERMISSION_DENIED, text
    error = await query_failure(mysql_url, "select 1; delete from t")
    assert error.code is Code.INVALID_ARGUMENT
    assert names(mysql_url) == ["kept"]


async def test_with_neither_guard_nor_refusal_of_powers_a_query_writes_a_file(
    mariadb: Mariadb, mysql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: what a user with FILE could do in a read-only transaction."""

    async def allow(*_connection: object, **_more: object) -> None:
        return None

    user = mysql_url.split("//")[1].split(":")[0]
    mariadb.admin(f"grant file on *.* to {user}@'127.0.0.1'")
    target = mariadb.folder / "pwn"
    text = f"select 1 into outfile '{target}'"
    assert (await query_failure(mysql_url, text)).code is Code.PERMISSION_DENIED
    monkeypatch.setattr(mysql_connection, "check", see_nothing)
    assert (await query_failure(mysql_url, text)).code is Code.PERMISSION_DENIED
    assert not target.exists()
    monkeypatch.setattr(mysql_connection, "refuse_powers", allow)
    await query(mysql_url, text)
    assert target.exists()


async def test_a_failure_tells_what_and_where(mysql_url: str) -> None:
    error = await query_failure(mysql_url, "select nothing from t")
    assert (error.code, "1054" in error.message) == (Code.INVALID_ARGUMENT, True)
    for text in ("", "-- nothing", "select 'a\0b'"):
        with pytest.raises(ToolError) as caught:
            await query(mysql_url, text)
        assert caught.value.code is Code.INVALID_ARGUMENT
