"""What MariaDB has and the others have not: statements that commit by themselves, and tables
without transactions."""

import pytest
from tests.support.at_mysql import (
    INSERT,
    ask,
    databases,
    execute,
    failure,
    names,
)
from tests.support.execute import a_context
from tests.support.mariadb import Mariadb

from surefoot_tools.database.execute_sql import ExecuteArguments, ExecuteSql
from surefoot_tools.errors import Applied, Code, ToolError
from surefoot_tools.outcome import Error
from surefoot_tools.retry import decide
from surefoot_tools.tool import Effect, Happened, Unknown

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def in_part(url: str, *statements: object, key: str = "key") -> ToolError:
    """The error of statements of which a part may be there."""
    with pytest.raises(ToolError) as caught:
        await execute(url, *statements, context=a_context(key))
    assert caught.value.applied is not Applied.NO
    assert not decide(Error.of(caught.value), Effect.TRANSACTIONAL).again
    return caught.value


async def test_ddl_says_that_it_is_no_transaction_and_its_key_runs_it_once(mysql_url: str) -> None:
    """Guard: `Transaction._is_whole`."""
    texts = ["create table u(x int)", "insert into u values(1)"]
    first = await execute(mysql_url, *texts)
    assert (first.committed, first.atomic) == (True, False)
    assert "not one transaction" in first.as_text()
    assert await execute(mysql_url, *texts) == first
    assert ask(mysql_url, "select count(*) from u") == [(1,)]
    evidence = {"database": "main", "key": "key", "dry_run": False}
    assert await ExecuteSql(databases(mysql_url)).recover(evidence) == Happened(first)


async def test_ddl_that_fails_before_it_begins_has_changed_nothing_and_frees_the_key(
    mysql_url: str,
) -> None:
    error = await failure(mysql_url, "create table t(x int)")
    assert "1050" in error.message
    error = await failure(mysql_url, "create tabel u(x int)")
    assert "1064" in error.message
    assert not (await execute(mysql_url, "create table u(x int)")).atomic


async def test_a_failure_after_ddl_tells_that_a_part_is_there_and_never_runs_again(
    mysql_url: str,
) -> None:
    """Guard: `inbox.decode` of a claim without a result."""
    texts = ["create table u(x int)", INSERT, INSERT]
    error = await in_part(mysql_url, *texts)
    assert (error.code, error.applied) == (Code.FAILED_PRECONDITION, Applied.YES)
    assert ask(mysql_url, "select count(*) from u") == [(0,)]
    assert names(mysql_url) == []
    error = await in_part(mysql_url, *texts)
    assert (error.code, error.applied) == (Code.DATA_LOSS, Applied.UNKNOWN)
    evidence = {"database": "main", "key": "key", "dry_run": False}
    assert isinstance(await ExecuteSql(databases(mysql_url)).recover(evidence), Unknown)


async def test_a_drop_that_did_half_of_it_is_in_doubt(mysql_url: str) -> None:
    """Guard: 1051 is not in `mysql_errors.UNCHANGED`."""
    error = await in_part(mysql_url, "drop table t, nothing")
    assert (error.code, error.applied) == (Code.DATA_LOSS, Applied.UNKNOWN)
    assert "1051" in error.message
    assert ask(mysql_url, "show tables like 't'") == []


@pytest.mark.parametrize("body", ["commit", "commit; start transaction"])
async def test_a_procedure_that_commits_is_noticed(mysql_url: str, body: str) -> None:
    """Guard: the savepoint of `Transaction._is_whole`: the server says 'in a transaction'."""
    ask(mysql_url, f"create procedure p() begin insert into t(name) values('p'); {body}; end")
    first = await execute(mysql_url, "call p()", INSERT)
    assert not first.atomic
    assert await execute(mysql_url, "call p()", INSERT) == first
    assert names(mysql_url) == ["p", "a"]


async def test_a_procedure_that_rolls_back_is_in_doubt(mysql_url: str) -> None:
    """Guard: `Inbox.holds` in `Transaction._go_on`."""
    ask(mysql_url, "create procedure p() begin rollback; end")
    error = await in_part(mysql_url, INSERT, "call p()")
    assert error.code is Code.DATA_LOSS
    assert names(mysql_url) == []


async def test_a_procedure_without_a_commit_stays_one_transaction(mysql_url: str) -> None:
    ask(mysql_url, "create procedure p() begin insert into t(name) values('p'); select 7 as n; end")
    result = await execute(mysql_url, "call p()")
    assert (result.atomic, result.results[0].rows) == (True, [[7]])
    error = await failure(mysql_url, INSERT, "call p()", key="b")
    assert error.code is Code.FAILED_PRECONDITION
    assert names(mysql_url) == ["p"]


async def test_a_dry_run_refuses_what_no_rollback_takes_back(mysql_url: str) -> None:
    """Guard: the XA transaction of `try_out`."""
    ask(mysql_url, "create procedure p() begin commit; end", "create table m(x int) engine=myisam")
    for text in ("create table u(x int)", "call p()", "insert into m values(1)"):
        with pytest.raises(ToolError) as caught:
            await execute(mysql_url, INSERT, text, dry_run=True)
        assert caught.value.applied is Applied.NO
    assert names(mysql_url) == []
    assert ask(mysql_url, "show tables like 'u'") == []


async def test_a_table_without_transactions_makes_the_call_act_at_most_once(mysql_url: str) -> None:
    """Guard: `mysql_transaction._touches`."""
    ask(mysql_url, "create table m(x int primary key) engine=myisam")
    first = await execute(mysql_url, "insert into m values(1)")
    assert not first.atomic
    assert await execute(mysql_url, "insert into m values(1)") == first
    error = await in_part(mysql_url, "insert into m values(2)", "insert into m values(2)", key="b")
    assert error.applied is Applied.YES
    assert ask(mysql_url, "select x from m") == [(1,), (2,)]
    assert (await execute(mysql_url, INSERT, context=a_context("c"))).atomic


@pytest.mark.parametrize(
    "text",
    [
        "start transaction",
        "xa start 'x'",
        "lock tables t write",
        "set autocommit = 1",
        "set @@session.autocommit = 1",
        "use mysql",
        "kill 1",
        "handler t open",
        "set role x",
        "/*!50000 commit */",
        "load data local infile '/etc/passwd' into table t",
        "insert into t(name) select load_file('/etc/passwd')",
        "-- x\n# y\ncommit",
    ],
)
async def test_what_reaches_past_the_transaction_is_refused(mysql_url: str, text: str) -> None:
    """Guard: `mysql_guard.check`."""
    error = await failure(mysql_url, INSERT, text)
    assert (error.code, "refused" in error.message) == (Code.PERMISSION_DENIED, True)
    assert names(mysql_url) == []


async def test_a_user_who_may_not_make_the_inbox_is_told_what_to_grant(
    mariadb: Mariadb, mysql_url: str
) -> None:
    other = mariadb.fresh_database()
    user = other.split("//")[1].split(":")[0]
    database = mysql_url.rpartition("/")[2]
    mariadb.admin(f"grant insert on {database}.t to {user}@'127.0.0.1'")
    error = await failure(other.rpartition("/")[0] + "/" + database, INSERT)
    assert (error.code, "GRANT" in (error.hint or "")) == (Code.FAILED_PRECONDITION, True)


@pytest.mark.parametrize("power", ["file", "super", "create user"])
async def test_a_user_with_too_much_power_is_refused_with_what_makes_a_fit_one(
    mariadb: Mariadb, mysql_url: str, power: str
) -> None:
    """Guard: `mysql_privileges.refuse_powers`."""
    user = mysql_url.split("//")[1].split(":")[0]
    mariadb.admin(f"grant {power} on *.* to {user}@'127.0.0.1'")
    error = await failure(mysql_url, INSERT)
    assert error.code is Code.PERMISSION_DENIED
    assert power.upper() in error.message
    assert "CREATE USER" in (error.hint or "")


async def test_a_power_that_comes_by_a_role_is_refused_too(
    mariadb: Mariadb, mysql_url: str
) -> None:
    """Guard: `mysql_privileges._grants`."""
    user = mysql_url.split("//")[1].split(":")[0]
    role = f"role_{user}"
    mariadb.admin(
        f"create role {role}",
        f"grant file on *.* to {role}",
        f"grant {role} to {user}@'127.0.0.1'",
        f"set default role {role} for {user}@'127.0.0.1'",
    )
    assert "FILE" in (await failure(mysql_url, INSERT)).message


async def test_an_inbox_without_transactions_is_refused(mysql_url: str) -> None:
    """Guard: `Inbox.plain_tables`."""
    await execute(mysql_url, INSERT)
    ask(mysql_url, "alter table surefoot_inbox engine = myisam")
    error = await failure(mysql_url, INSERT, key="b")
    assert (error.code, "InnoDB" in (error.hint or "")) == (Code.FAILED_PRECONDITION, True)


async def test_names_for_parameters_are_refused_with_what_to_write(mysql_url: str) -> None:
    arguments = {"sql": "insert into t(name) values(:n)", "parameters": {"n": 1}}
    error = await failure(mysql_url, arguments)
    assert (error.code, "?" in (error.hint or "")) == (Code.INVALID_ARGUMENT, True)
    error = await failure(mysql_url, {"sql": "insert into t(name) values(?)", "parameters": []})
    assert error.code is Code.INVALID_ARGUMENT
    assert ExecuteArguments.model_validate({"statements": [arguments]})
