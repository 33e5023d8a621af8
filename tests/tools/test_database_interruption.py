"""How database work in a thread is stopped, by each of the two ways on its own."""

import math
from pathlib import Path

import apsw
import pytest

from surefoot_tools.database.budget import Budget
from surefoot_tools.database.engine import Statement
from surefoot_tools.database.interruption import Interruption
from surefoot_tools.database.sqlite_connection import connect, run_statement
from surefoot_tools.database.sqlite_guard import Guard
from surefoot_tools.errors import Applied, Code, ToolError


class Target:
    """Counts how often it was interrupted."""

    def __init__(self) -> None:
        self.interrupts = 0

    def interrupt(self) -> None:
        self.interrupts += 1


def test_asking_interrupts_what_is_attached_and_nothing_after() -> None:
    target = Target()
    interruption = Interruption(math.inf)
    interruption.attach(target)
    interruption.ask()
    interruption.detach()
    interruption.ask()
    assert target.interrupts == 1


def test_asked_between_two_statements_the_next_does_not_begin() -> None:
    interruption = Interruption(math.inf)
    interruption.check()
    interruption.ask()
    for step in (interruption.check, interruption.begin_final_step):
        with pytest.raises(ToolError) as caught:
            step()
        assert (caught.value.code, caught.value.applied) == (Code.CANCELLED, Applied.NO)


def test_the_final_step_does_not_begin_after_the_deadline() -> None:
    with pytest.raises(ToolError) as caught:
        Interruption(0.0).begin_final_step()
    assert caught.value.code is Code.DEADLINE_EXCEEDED


def test_once_the_final_step_began_nothing_stops_it() -> None:
    target = Target()
    interruption = Interruption(math.inf)
    interruption.attach(target)
    interruption.begin_final_step()
    interruption.ask()
    interruption.check()
    assert target.interrupts == 0
    assert not interruption.should_stop()


def test_a_statement_stops_at_its_deadline_without_an_event_loop(tmp_path: Path) -> None:
    """Guard: the progress handler that `connect` sets; the statement is long, not endless."""
    path = tmp_path / "main.db"
    connection = apsw.Connection(str(path))
    connection.execute("create table t(a)")
    connection.close()
    interruption = Interruption(0.2)
    sql = (
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000000)"
        " select count(*) from n"
    )
    with (
        connect("main", path, interruption, writing=False) as opened,
        pytest.raises(ToolError) as caught,
    ):
        guard = Guard(writing=False)
        run_statement(opened, Statement(sql), guard, interruption, max_rows=1, budget=Budget())
    assert caught.value.code is Code.DEADLINE_EXCEEDED
