"""One trial: what is sent, what is sent again, and what is said about it. Real servers throughout.

Through `run.create` and `run.drive`, so that a test holds the records and the folder in its hands.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.client.mini_suite import FOREIGN, counting, mixed, write_suite

from surefoot_client import run as runs
from surefoot_client.manifest import FaultsEntry
from surefoot_client.record import (
    Answered,
    Checked,
    Invoked,
    LostReason,
    Record,
    RecoveredBy,
    Sent,
    TrialEnded,
    TurnStarted,
    read,
)
from surefoot_client.suite import load

pytestmark = pytest.mark.anyio

OWN = [sys.executable, "-P", "-m", "surefoot_cli", "serve", "--root", "{workspace}", "{databases}"]

TURN = [
    *("turn", "model_call", "model_call", "proposal", "send", "answer", "invocation"),
    *("model_call", "model_call"),
]
"""The kinds of a turn of one call that succeeds at once."""


@dataclass(frozen=True)
class Played:
    """A run that was driven to its end."""

    folder: Path
    records: list[Record]

    def of(self, kind: type[Record]) -> list[Record]:
        return [record for record in self.records if isinstance(record, kind)]

    @property
    def sends(self) -> list[Sent]:
        return [record for record in self.records if isinstance(record, Sent)]

    @property
    def answers(self) -> list[Answered]:
        return [record for record in self.records if isinstance(record, Answered)]

    @property
    def invocations(self) -> list[Invoked]:
        return [record for record in self.records if isinstance(record, Invoked)]

    @property
    def end(self) -> TrialEnded:
        (end,) = (record for record in self.records if isinstance(record, TrialEnded))
        return end


async def play(
    tmp_path: Path,
    suite: Path,
    server: list[str],
    *,
    model: str = "scripted",
    faults: str = "",
    turns: int | None = None,
) -> Played:
    order = runs.Order(
        suite=load(suite),
        models=[model],
        repeat=1,
        turns=turns,
        seed=1,
        server=server,
        faults=FaultsEntry(name="faults.toml", content=faults) if faults else None,
    )
    run = runs.create(order, tmp_path / "run")
    environment = {**os.environ, "SUREFOOT_ALLOW_FAULTS": "1"}
    assert not await runs.drive(run, environment, 1)
    return Played(run.folder, list(read(run.folder / "records.jsonl")))


def slipping(tmp_path: Path, slip: str, *, recovers: float = 1.0) -> str:
    """A simulated model that slips so at every step."""
    path = tmp_path / "profile.toml"
    first = 1.0 if slip == "repeated_call" else 0.0
    path.write_text(
        f'name = "{slip}"\nabout = ""\nfirst_attempt = {first}\nrecovers = {recovers}\n'
        f"[rates]\n{slip} = 1.0\n"
    )
    return f"sim:{path}"


def fault(kind: str, placed: str) -> str:
    return f'[[fault]]\nkind = "{kind}"\n{placed}\n'


async def test_every_act_is_on_record_before_and_after(tmp_path: Path) -> None:
    played = await play(tmp_path, counting(tmp_path / "suite", 2), FOREIGN)
    assert [record.kind for record in played.records] == [
        "run_started",
        "trial_started",
        *(*TURN, *TURN),
        "check",
        "trial_ended",
        "run_ended",
    ]
    run = played.folder.joinpath("manifest.json").read_text()
    assert played.sends[1].key.split(":")[0] in run
    assert played.sends[1].key.split(":")[1:] == ["work.scripted.r0.0", "2", "0"]
    assert played.end.outcome == "passed"
    assert played.end.server == "foreign 1"


async def test_a_lost_answer_of_a_keyed_server_is_sent_again_and_the_effect_happens_once(
    tmp_path: Path,
) -> None:
    """Guard: the append, the edit and the UPDATE show in the checks when they are done twice."""
    model = slipping(tmp_path, "lost_answer")
    played = await play(tmp_path, mixed(tmp_path / "suite"), OWN, model=model)
    assert played.end.outcome == "passed"
    assert [send.attempt for send in played.sends] == [1, 2] * 9
    assert [answer.lost for answer in played.answers] == [LostReason.DROPPED, None] * 9
    assert {each.recovered_by for each in played.invocations} == {RecoveredBy.DRIVER}
    assert {each.cause for each in played.invocations} == {"transport"}
    first, second = played.sends[:2]
    assert (first.key, first.arguments) == (second.key, second.arguments)


async def test_a_call_repeated_at_the_same_time_happens_once(tmp_path: Path) -> None:
    model = slipping(tmp_path, "repeated_call")
    played = await play(tmp_path, mixed(tmp_path / "suite"), OWN, model=model)
    assert played.end.outcome == "passed"
    assert len(played.sends) == 18
    assert {each.first_attempt_success for each in played.invocations} == {True}
    effectful = [each for each in played.answers if each.disposition in ("joined", "replayed")]
    assert len(effectful) == 7


@pytest.mark.parametrize(
    ("slip", "cause", "sends"),
    [
        ("wrong_argument", "model.bad_arguments", 2),
        pytest.param("unknown_tool", "model.unknown_tool", 2, marks=pytest.mark.slow),
        pytest.param("malformed_call", "model.malformed_call", 1, marks=pytest.mark.slow),
    ],
)
async def test_a_slip_of_the_model_is_recovered_by_the_model(
    tmp_path: Path, slip: str, cause: str, sends: int
) -> None:
    played = await play(
        tmp_path, mixed(tmp_path / "suite"), OWN, model=slipping(tmp_path, slip), turns=1
    )
    assert played.end.outcome == "passed"
    for each in played.invocations:
        assert not each.first_attempt_success
        assert each.recovered_by is RecoveredBy.MODEL
        assert (each.cause, each.sends, each.proposals) == (cause, sends, 2)


@pytest.mark.slow
async def test_a_model_that_gives_up_breaks_the_trial_at_that_turn(tmp_path: Path) -> None:
    model = slipping(tmp_path, "unknown_tool", recovers=0.0)
    played = await play(tmp_path, mixed(tmp_path / "suite"), OWN, model=model)
    assert played.end.outcome == "failed"
    assert played.end.broke_at_turn == 1
    assert played.end.reason is not None
    assert played.end.reason.startswith("turn 1, write_file: UNIMPLEMENTED: there is no tool")
    assert [each.outcome for each in played.invocations] == ["failed"]


@pytest.mark.slow
async def test_a_server_killed_at_any_point_is_started_again_and_nothing_is_lost_or_doubled(
    tmp_path: Path,
) -> None:
    points = ("before_intent", "after_intent", "after_effect", "before_answer")
    tools = ("write_file", "write_file", "edit_file", "execute_sql")
    faults = "".join(
        fault("kill_server", f'point = "{point}"\ntool = "{tool}"\ncall = {1 + at % 2}')
        for at, (point, tool) in enumerate(zip(points, tools, strict=True))
    )
    played = await play(tmp_path, mixed(tmp_path / "suite"), OWN, faults=faults)
    assert played.end.outcome == "passed"
    lost = [answer.lost for answer in played.answers if answer.lost is not None]
    assert lost == [LostReason.CLOSED] * 4
    faulted = [send.attempt for send in played.sends if send.fault is not None]
    assert faulted == [1] * 4


@pytest.mark.slow
async def test_a_cut_pipe_while_reading_is_recovered_by_the_driver(tmp_path: Path) -> None:
    faults = fault("cut_pipe", 'tool = "read_file"\nevery = 1')
    played = await play(tmp_path, mixed(tmp_path / "suite"), OWN, faults=faults)
    assert played.end.outcome == "passed"
    recovered = [each for each in played.invocations if each.recovered_by is RecoveredBy.DRIVER]
    assert [each.tool for each in recovered] == ["read_file"]


@pytest.mark.slow
async def test_a_cut_pipe_while_writing_is_recovered_by_the_driver(tmp_path: Path) -> None:
    faults = fault("cut_pipe", 'tool = "execute_sql"\nevery = 1')
    played = await play(tmp_path, mixed(tmp_path / "suite"), OWN, faults=faults)
    assert played.end.outcome == "passed"
    recovered = [each for each in played.invocations if each.recovered_by is RecoveredBy.DRIVER]
    assert [each.tool for each in recovered] == ["execute_sql"] * 2


async def test_an_effect_of_a_foreign_server_is_not_repeated_but_in_doubt(tmp_path: Path) -> None:
    """Guard: `Connection.effect_of`; a server that knows no keys would count twice."""
    suite = counting(tmp_path / "suite", 3)
    faults = fault("drop_answer", "call = 2")
    played = await play(tmp_path, suite, FOREIGN, faults=faults)
    assert played.end.outcome == "in_doubt"
    assert played.end.broke_at_turn == 2
    assert played.end.reason == "turn 2, count: no answer after 1 sends (dropped)"
    assert [each.outcome for each in played.invocations] == ["succeeded", "in_doubt"]
    assert not played.of(Checked)
    counted = played.folder / "workspaces" / "work.scripted.r0.0" / "counted"
    assert counted.read_text() == "once\nonce\n"


async def test_what_a_foreign_server_declares_as_reading_is_repeated(tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "suite", [[("echo", {"a": 1}, {})]], exclude=("lists",))
    played = await play(tmp_path, suite, FOREIGN, faults=fault("drop_answer", "call = 1"))
    assert played.end.outcome == "passed"
    assert [send.attempt for send in played.sends] == [1, 2]


async def test_reading_whose_answers_are_all_lost_fails_and_is_not_in_doubt(
    tmp_path: Path,
) -> None:
    suite = write_suite(tmp_path / "suite", [[("echo", {"a": 1}, {})]], exclude=("lists",))
    played = await play(tmp_path, suite, FOREIGN, faults=fault("drop_answer", "rate = 1.0"))
    assert played.end.outcome == "failed"
    assert [send.attempt for send in played.sends] == [1, 2, 3, 4]


@pytest.mark.slow
async def test_a_keyed_effect_whose_answers_are_all_lost_is_in_doubt(tmp_path: Path) -> None:
    faults = fault("drop_answer", 'tool = "execute_sql"\nrate = 1.0')
    played = await play(tmp_path, mixed(tmp_path / "suite"), OWN, faults=faults)
    assert played.end.outcome == "in_doubt"
    assert played.end.broke_at_turn == 2
    assert [send.attempt for send in played.sends if send.tool == "execute_sql"] == [1, 2, 3, 4]


async def test_a_result_that_misses_the_postcondition_is_no_success(tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "suite", [[("count", {}, {"expect": {"count": 7}})]])
    played = await play(tmp_path, suite, FOREIGN)
    (invocation,) = played.invocations
    assert (invocation.outcome, invocation.cause) == ("failed", "postcondition")
    assert invocation.matched is False
    assert played.end.outcome == "failed"
    assert played.end.reason == "turn 1, count: the postcondition is not met"


async def test_a_final_state_that_is_wrong_fails_a_trial_whose_calls_all_succeeded(
    tmp_path: Path,
) -> None:
    suite = write_suite(tmp_path / "suite", [[("count", {}, {})]], files={"counted": "twice\n"})
    played = await play(tmp_path, suite, FOREIGN)
    assert [each.outcome for each in played.invocations] == ["succeeded"]
    assert played.end.outcome == "failed"
    assert played.end.broke_at_turn is None
    assert played.end.reason is not None
    assert played.end.reason.startswith("check tree: ")


async def test_a_trial_cut_to_its_first_turns_is_not_checked_for_the_final_state(
    tmp_path: Path,
) -> None:
    played = await play(tmp_path, counting(tmp_path / "suite", 3), FOREIGN, turns=2)
    assert played.end.outcome == "passed"
    assert len(played.of(TurnStarted)) == 2
    assert not played.of(Checked)


@pytest.mark.slow
async def test_a_server_killed_inside_a_command_leaves_the_trial_accounted(tmp_path: Path) -> None:
    faults = fault("kill_server", 'point = "after_effect"\ntool = "run_command"\ncall = 1')
    played = await play(tmp_path, mixed(tmp_path / "suite"), OWN, faults=faults)
    assert played.end.outcome in ("passed", "in_doubt")
    log = played.folder / "workspaces" / "work.scripted.r0.0" / "log"
    assert log.read_text() == "x\n"
    if played.end.outcome == "in_doubt":
        assert played.end.broke_at_turn == 3
        assert played.invocations[-1].outcome == "in_doubt"
