"""Reports: derived from records alone, honest about what is simulated and what is not measured."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from surefoot_cli.report import command
from surefoot_client.record import (
    Answered,
    Ended,
    Invoked,
    LostReason,
    Record,
    RecoveredBy,
    RunStarted,
    Sent,
    TrialEnded,
    TrialStarted,
)
from surefoot_client.record_log import RecordLog
from surefoot_client.report import render_markdown, render_text, summarize
from surefoot_client.report.render import MATRIX, NOT_MEASURED

Spec = list[tuple[bool, RecoveredBy, str]]
"""Invocations of a trial: first-attempt success, who recovered it, outcome."""

GOOD = (True, RecoveredBy.NONE, "succeeded")


def started(trials: int = 2) -> RunStarted:
    return RunStarted(run="r", suite="mini 1.0.0", suite_hash="abc", trials=trials)


def trial(
    name: str,
    invocations: Spec,
    outcome: Ended,
    *,
    model: str = "sim:steady",
    broke: int | None = None,
    simulated: bool = True,
    turns: int = 15,
) -> Iterator[Record]:
    yield TrialStarted(
        trial=name,
        sequence="work",
        model=model,
        simulated=simulated,
        repeat=0,
        rerun=0,
        turns=turns,
    )
    for number, (first, who, how) in enumerate(invocations):
        key = f"r:{name}:1:{number}"
        yield Sent(trial=name, key=key, attempt=1, tool="echo", arguments={})
        if who is RecoveredBy.DRIVER:
            yield Answered(
                trial=name,
                key=key,
                attempt=1,
                result="lost",
                lost=LostReason.CLOSED,
                latency_ms=1.0,
            )
            yield Sent(trial=name, key=key, attempt=2, tool="echo", arguments={})
        yield Answered(
            trial=name,
            key=key,
            attempt=1 + (who is RecoveredBy.DRIVER),
            result="answered",
            is_error=False,
            latency_ms=float(number + 1),
        )
        yield Invoked.model_validate(
            {
                "trial": name,
                "turn": 1,
                "step": f"1.{number}",
                "tool": "echo",
                "first_attempt_success": first,
                "recovered_by": who,
                "outcome": how,
                "cause": None if first else "transport",
                "proposals": 1,
                "sends": 1,
            }
        )
    yield TrialEnded(
        trial=name, outcome=outcome, broke_at_turn=broke, turns=1, invocations=0, sends=0
    )


MIXED: Spec = [
    GOOD,
    GOOD,
    (False, RecoveredBy.DRIVER, "succeeded"),
    (False, RecoveredBy.SERVER, "succeeded"),
    (False, RecoveredBy.MODEL, "succeeded"),
    (False, RecoveredBy.NONE, "failed"),
    (False, RecoveredBy.NONE, "in_doubt"),
]


def test_every_invocation_counts_once_and_the_classes_add_up() -> None:
    (model,) = summarize([started(), *trial("t", MIXED, Ended.FAILED, broke=3)]).models
    assert model.calls == 7
    assert (model.first_attempt.count, model.first_attempt.total) == (2, 7)
    assert model.recovered.count == 3
    parts = (model.recovered_by_server, model.recovered_by_driver, model.recovered_by_model)
    assert [part.count for part in parts] == [1, 1, 1]
    assert (model.failed.count, model.in_doubt.count) == (1, 1)
    assert (model.sends, model.resends, model.lost) == (8, 1, {"closed": 1})
    assert model.by_cause == {"transport": 5}
    assert model.latency.count == 7
    assert (model.latency.p50, model.latency.p99) == (4.0, 7.0)
    (tool,) = model.by_tool
    assert (tool.calls, tool.first_attempt.count, tool.recovered.count) == (7, 2, 3)


def test_trials_count_by_their_end_and_by_the_turn_that_they_broke_at() -> None:
    summary = summarize(
        [
            started(5),
            *trial("a", [GOOD], Ended.PASSED),
            *trial("b", [GOOD], Ended.FAILED, broke=3),
            *trial("c", [GOOD], Ended.IN_DOUBT, broke=3),
            *trial("d", [GOOD], Ended.PASSED, turns=14),
            *trial("e", [GOOD], Ended.FAILED, turns=14, broke=9),
        ]
    )
    (model,) = summary.models
    assert (model.trials_passed.count, model.trials_passed.total) == (2, 5)
    assert (model.trials_failed.count, model.trials_in_doubt.count) == (2, 1)
    assert model.broke_at_turn == {3: 2, 9: 1}
    # the last two had no 15 turns to stay coherent for
    assert (model.coherent.count, model.coherent.total) == (1, 3)
    assert (summary.runs[0].trials, summary.runs[0].ended) == (5, 5)


def test_interrupted_and_torn_trials_count_as_such_and_their_calls_nowhere() -> None:
    """Guard: a re-run plays the same steps again; both would count one step twice."""
    torn = list(trial("b", [GOOD], Ended.PASSED))[:-1]
    records = [
        started(),
        *trial("a", [GOOD] * 3, Ended.INTERRUPTED),
        *torn,
        *trial("c", [GOOD] * 5, Ended.PASSED),
    ]
    (model,) = summarize(records).models
    assert (model.calls, model.sends, model.trials_interrupted) == (5, 5, 2)


def test_a_summary_is_the_same_however_often_it_is_made() -> None:
    records = [started(), *trial("t", MIXED, Ended.FAILED, broke=3)]
    assert summarize(records) == summarize(records)


def tables(markdown: str) -> list[str]:
    """The tables of a Markdown page, each as its lines."""
    return [part for part in markdown.split("\n\n") if part.startswith("|")]


def test_every_table_and_the_top_say_that_a_model_is_simulated() -> None:
    summary = summarize([started(), *trial("t", MIXED, Ended.FAILED, broke=3)])
    page = render_markdown(summary)
    assert "> **Simulated.**" in page.split("##")[0]
    for table in tables(page):
        before = page[: page.index(table)].rsplit("\n\n", 2)[1]
        assert "simulated" in table or "simulated" in before
    assert render_text(summary).startswith("Simulated.")


def test_a_real_model_is_not_called_simulated() -> None:
    records = [started(), *trial("t", [GOOD], Ended.PASSED, model="real", simulated=False)]
    summary = summarize(records)
    assert "imulated" not in render_markdown(summary)
    assert "imulated" not in render_text(summary)


def test_the_matrix_has_the_rows_of_the_article_and_no_figure_that_was_not_measured() -> None:
    page = render_markdown(summarize([started(), *trial("t", [GOOD] * 4, Ended.PASSED)]))
    rows = [line for line in page.splitlines() if line.endswith(("measured |", "measured |"))]
    assert len(rows) == len(MATRIX) == 12
    assert [NOT_MEASURED in row for row in rows] == [False, False, *[True] * 10]
    assert "4 of 4, 100.0 % [51.0, 100.0], measured" in rows[0]


def test_an_empty_run_divides_nothing_by_zero() -> None:
    page = render_markdown(summarize([started(), *trial("t", [], Ended.FAILED, turns=3)]))
    assert "0 of 0" in page


def write(folder: Path, records: list[Record]) -> Path:
    folder.mkdir()
    with RecordLog(folder / "records.jsonl") as log:
        for record in records:
            log.write(record)
    return folder


def test_the_command_reports_on_several_runs_from_their_records_alone(tmp_path: Path) -> None:
    one = write(tmp_path / "a", [started(), *trial("t", [GOOD] * 2, Ended.PASSED)])
    two = write(
        tmp_path / "b",
        [started().model_copy(update={"run": "s"}), *trial("t", [GOOD] * 3, Ended.PASSED)],
    )
    ran = CliRunner().invoke(command, [str(one), str(two), "--format", "json"])
    assert ran.exit_code == 0
    summary = json.loads(ran.stdout)
    assert [model["calls"] for model in summary["models"]] == [5]
    assert [run["run"] for run in summary["runs"]] == ["r", "s"]
    assert CliRunner().invoke(command, [str(one)]).stdout.startswith("# surefoot report\n")


@pytest.mark.parametrize("content", [None, b"{}\n"])
def test_what_is_no_run_is_bad_input(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "records.jsonl").write_bytes(content)
    ran = CliRunner().invoke(command, [str(tmp_path)])
    assert ran.exit_code == 2
    assert "records.jsonl" in ran.stderr


@pytest.mark.parametrize("content", [b"", b'{"v":1,"kind":"run_st'])
def test_a_run_without_a_record_says_that_there_are_none_yet(
    tmp_path: Path, content: bytes
) -> None:
    (tmp_path / "records.jsonl").write_bytes(content)
    ran = CliRunner().invoke(command, [str(tmp_path)])
    assert ran.exit_code == 2
    assert ran.stderr.endswith("no records yet\n")
    assert ran.stdout == ""
