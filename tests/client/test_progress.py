"""Progress, from records alone: a line a trial on a pipe, a bar a model on a terminal."""

import io
from pathlib import Path

import pytest
from tests.client.mini_suite import counting

from surefoot_client import models
from surefoot_client.progress import show
from surefoot_client.record import Ended, Invoked, RecoveredBy, TrialEnded, TrialStarted
from surefoot_client.suite import load
from surefoot_client.trial import Plan


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    sequence = load(counting(tmp_path / "suite", 4)).sequences[0]
    model = models.create("sim:steady")
    return Plan(sequence, True, model, "sim-steady", repeat=0, rerun=0, seed="0")


def play(plan: Plan, stream: io.StringIO) -> str:
    """Two of four steps, the second a failure."""
    with show([plan], stream) as observe:
        observe(
            TrialStarted(
                trial=plan.name,
                sequence="work",
                model="sim:steady",
                simulated=True,
                repeat=0,
                rerun=0,
                turns=4,
            )
        )
        for first in (True, False):
            observe(
                Invoked(
                    trial=plan.name,
                    turn=1,
                    step="1.0",
                    tool="count",
                    first_attempt_success=first,
                    recovered_by=RecoveredBy.NONE,
                    outcome="succeeded" if first else "failed",
                    proposals=1,
                    sends=1,
                )
            )
        observe(
            TrialEnded(
                trial=plan.name,
                outcome=Ended.FAILED,
                reason="turn 2, count: [x] NOT_FOUND",
                turns=2,
                invocations=2,
                sends=2,
            )
        )
    return stream.getvalue()


def test_on_a_pipe_each_trial_is_one_plain_line(plan: Plan) -> None:
    assert play(plan, io.StringIO()) == (
        "1/1 work.sim-steady.r0.0: failed (turn 2, count: [x] NOT_FOUND);"
        " 2 calls, first attempt 50.0%, 1 not succeeded\n"
    )


def test_on_a_terminal_each_model_has_a_bar_that_is_full_at_the_end(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "dumb")
    shown = play(plan, Terminal())
    assert "sim:steady (simulated)" in shown
    assert "2 calls, first attempt 50.0%, 1 not succeeded" in shown
    assert "work.sim-steady.r0.0 failed: turn 2, count: [x] NOT_FOUND" in shown
