"""What `surefoot run` and `surefoot failures` say to whoever must act on it; no server is started.

Runs are made by `run.create` and their records written by hand.
"""

import json
import os
import shlex
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.client.mini_suite import counting

from surefoot_cli.failures import command as failures
from surefoot_cli.run import command
from surefoot_client import run as runs
from surefoot_client.manifest import FaultsEntry
from surefoot_client.record import (
    Ended,
    Record,
    RunStarted,
    Sent,
    TrialEnded,
    TrialStarted,
    TurnStarted,
)
from surefoot_client.record_log import RecordLog
from surefoot_client.suite import load

TRIAL = "work.scripted.r0.0"


def surefoot_run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(each) for each in arguments])


def made(tmp_path: Path, faults: str | None = None) -> runs.Run:
    """A run that nobody has driven yet, of a server that there is not; its lock is held."""
    order = runs.Order(
        suite=load(counting(tmp_path / "suite", 1)),
        models=["scripted"],
        repeat=1,
        turns=None,
        seed=0,
        server=["/nonexistent/server"],
        faults=FaultsEntry(name="f.toml", content=faults) if faults else None,
    )
    return runs.create(order, tmp_path / "my run")


def with_records(run: runs.Run, *more: Record) -> Path:
    """Its directory, free again, after its only trial was begun and `more` happened."""
    with RecordLog(run.folder / "records.jsonl") as log:
        log.write(RunStarted(run="r", suite="mini 1.0.0", suite_hash="h", trials=1))
        log.write(
            TrialStarted(
                trial=TRIAL,
                sequence="work",
                model="scripted",
                simulated=True,
                repeat=0,
                rerun=0,
                turns=1,
            )
        )
        for record in more:
            log.write(record)
    run.lock.release()
    return run.folder


def end() -> TrialEnded:
    return TrialEnded(trial=TRIAL, outcome=Ended.PASSED, turns=1, invocations=1, sends=1)


def sent(rule: int | None) -> Sent:
    return Sent(trial=TRIAL, key="k", attempt=1, tool="count", arguments={}, fault_rule=rule)


def test_a_run_in_which_a_driver_is_at_work_takes_no_second_one(tmp_path: Path) -> None:
    """Guard: the `RunLock` that `run.create` and `run.resume` take."""
    run = made(tmp_path)
    before = sorted(run.folder.iterdir())
    for arguments in (["--resume", run.folder], [tmp_path / "suite", "--out", run.folder]):
        ran = surefoot_run(*arguments)
        assert ran.exit_code == 2
        said = f"this run is still going on (process {os.getpid()}); wait for it or stop it"
        assert said in ran.stderr
    assert sorted(run.folder.iterdir()) == before
    run.lock.release()
    assert "did not start" in surefoot_run("--resume", run.folder).stderr
    ran = surefoot_run(tmp_path / "suite", "--out", run.folder)
    assert f"is not empty; expected a new directory, or --resume '{run.folder}'" in ran.stderr


def test_a_refused_resume_leaves_the_run_to_the_next_one(tmp_path: Path) -> None:
    """Guard: the `ExitStack` of `run.resume`."""
    folder = with_records(made(tmp_path), end())
    log = folder / "records.jsonl"
    whole = log.read_text()
    log.write_text("not json\n")
    assert "not a record of version 1 or 2: Invalid JSON" in surefoot_run("--resume", folder).stderr
    log.write_text(whole)
    assert surefoot_run("--resume", folder).exit_code == 0


def test_resuming_a_finished_run_says_so_and_adds_nothing(tmp_path: Path) -> None:
    folder = with_records(made(tmp_path), end())
    before = (folder / "records.jsonl").read_bytes()
    ran = surefoot_run("--resume", folder)
    assert ran.exit_code == 0
    assert "all 1 trials had ended; nothing to do" in ran.stderr
    assert ran.stdout.startswith("Simulated.")
    assert (folder / "records.jsonl").read_bytes() == before


def test_a_run_whose_server_is_gone_can_be_resumed_if_anything_was_played(tmp_path: Path) -> None:
    turn = TurnStarted(trial=TRIAL, turn=1, prompt="turn 1")
    folder = with_records(made(tmp_path), turn)
    ran = surefoot_run("--resume", folder)
    assert ran.exit_code == 3
    assert f"resume with: surefoot run --resume '{folder}'" in ran.stderr


def test_each_rule_of_the_faults_file_is_accounted_for_and_an_idle_one_is_warned_of(
    tmp_path: Path,
) -> None:
    faults = '[[fault]]\nkind = "cut_pipe"\ncall = 1\n[[fault]]\nkind = "drop_answer"\nrate = 0.1\n'
    folder = with_records(made(tmp_path, faults), sent(1), sent(1), sent(None), end())
    ran = surefoot_run("--resume", folder, "--json")
    assert "sends struck by the rules of f.toml:\n" in ran.stderr
    assert "     2  1. cut_pipe, call 1\n     0  2. drop_answer, rate 0.1\n" in ran.stderr
    assert ran.stderr.endswith("warning: rule 2 of f.toml struck nothing\n")
    assert "warning: rule 1" not in ran.stderr
    assert json.loads(ran.stdout)["models"][0]["trials_passed"]["count"] == 1


@pytest.mark.parametrize(
    ("called", "shown"),
    [
        (".venv/bin/surefoot", ".venv/bin/surefoot"),
        ("BIN/surefoot", "surefoot"),
        ("/elsewhere/my bin/surefoot", "'/elsewhere/my bin/surefoot'"),
        ("/site/surefoot_cli/__main__.py", f"{shlex.quote(sys.executable)} -m surefoot_cli"),
        ("/site/pytest/__main__.py", "surefoot"),
    ],
)
def test_commands_are_shown_as_this_program_was_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, called: str, shown: str
) -> None:
    folder = with_records(made(tmp_path), end())
    program = tmp_path / "bin" / "surefoot"
    program.parent.mkdir()
    program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    monkeypatch.setattr(sys, "argv", [called.replace("BIN", str(program.parent)), "run"])
    ran = surefoot_run("--resume", folder)
    assert f"report     {shown} report '{folder}'\n" in ran.stdout
    assert f"reconcile  {shown} reconcile '{folder}'\n" in ran.stdout


def test_failures_without_a_journal_says_what_makes_one(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    ran = CliRunner().invoke(failures, ["--journal", str(path)])
    assert ran.exit_code == 3
    assert ran.stderr == (
        f"surefoot: no journal at {path}; none yet: `surefoot serve` makes it; "
        "for a run: --journal RUN/state/journal.db\n"
    )
    assert not path.exists()
