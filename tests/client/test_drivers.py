"""Several drivers in one workspace, over HTTP, against one server; and servers over HTTP."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import CliRunner, Result
from starlette.types import Receive, Send
from tests.client.mini_suite import shared, write_suite
from tests.client.web_server import a_door, says, serving

from surefoot_cli import reconcile, run
from surefoot_client import run as runs
from surefoot_client.connection import Answer, Connection, Lost, OnSend
from surefoot_client.manifest import ForeignEntry
from surefoot_client.record import (
    Answered,
    Checked,
    LostReason,
    Proposed,
    Record,
    Sent,
    Transport,
    TrialEnded,
    TrialStarted,
    read,
)
from surefoot_client.suite import load

pytestmark = pytest.mark.anyio

KILLS = """
[[fault]]
kind = "drop_answer"
rate = 0.05

[[fault]]
kind = "cut_pipe"
rate = 0.05

[[fault]]
kind = "kill_server"
point = "after_effect"
tool = "execute_sql"
call = 2

[[fault]]
kind = "kill_server"
point = "after_intent"
tool = "write_file"
call = 5

[[fault]]
kind = "kill_server"
point = "before_answer"
tool = "write_file"
call = 3
"""
"""Each driver is struck at the same calls; one kill takes the connections of all."""


DONE = '{"jsonrpc":"2.0","id":ID,"result":{"resultType":"complete","content":[]}}'


def command(which: Any, *arguments: object) -> Result:
    return CliRunner().invoke(which.command, [str(each) for each in arguments])


def records(folder: Path) -> list[Record]:
    return list(read(folder / "records.jsonl"))


async def test_drivers_play_at_once_in_one_workspace_and_no_key_is_that_of_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: `Plan.scope`. The first calls are let through only when all are there."""
    workspace, together, counts = tmp_path / "work", anyio.Event(), Counter[str]()
    workspace.mkdir()
    monkeypatch.chdir(workspace)
    door = a_door()
    door.token = "sesame"

    async def all_at_once(message: dict[str, Any], receive: Receive, send: Send) -> None:
        counts[message["params"]["arguments"]["who"]] += 1
        if len(counts) == 3:
            together.set()
        with anyio.fail_after(20):
            await together.wait()
        await says(DONE)(message, receive, send)

    door.acts["count"] = all_at_once
    suite = write_suite(
        tmp_path / "suite",
        [[("count", {"who": "{driver}"}, {})], [("echo", {}, {})]],
        exclude=("lists",),
        drivers=3,
    )
    async with serving(door) as url:
        order = runs.Order(
            suite=load(suite),
            models=["scripted"],
            repeat=1,
            turns=None,
            seed=1,
            server=(),
            transport=Transport.HTTP,
            foreign=ForeignEntry(url=url, workspace=str(workspace), token_env="TOKEN"),
        )
        made = runs.create(order, tmp_path / "run")
        assert not await runs.drive(made, {}, 1, token="sesame")
    written = records(made.folder)
    (started,) = (each for each in written if isinstance(each, TrialStarted))
    assert (started.drivers, started.transport, started.driver) == (3, "http", None)
    (ended,) = (each for each in written if isinstance(each, TrialEnded))
    assert (ended.outcome, ended.invocations, ended.sends, ended.turns) == ("passed", 6, 6, 2)
    assert [each.kind for each in written[-3:]] == ["check", "trial_ended", "run_ended"]
    assert sum(isinstance(each, Checked) for each in written) == 1
    assert counts == {"0": 1, "1": 1, "2": 1}
    keys = {each.key: each.driver for each in written if isinstance(each, Sent)}
    assert {key.partition(":")[2]: driver for key, driver in keys.items()} == {
        f"work.scripted.r0.0-d{driver}:{turn}:0": driver for driver in range(3) for turn in (1, 2)
    }
    assert {each.trial for each in written if isinstance(each, Proposed)} == {ended.trial}
    assert set(door.authorized) == {"Bearer sesame"}
    everything = "".join(path.read_text() for path in made.folder.glob("*.json*"))
    assert "sesame" not in everything
    assert json.loads((made.folder / "manifest.json").read_text())["transport"] == "http"


def played(tmp_path: Path, drivers: int, rounds: int) -> Path:
    """Play over kills with the surefoot server; the run's folder."""
    suite = shared(tmp_path / "suite", drivers, rounds)
    faults = tmp_path / "kills.toml"
    faults.write_text(KILLS)
    out = tmp_path / "run"
    options = ["--model", "scripted", "--faults", faults, "--seed", 3]
    ended = command(run, suite, *options, "--out", out)
    assert ended.exit_code == 0, ended.output
    return out


def kills(written: list[Record]) -> int:
    """How many sends asked the server to kill itself."""
    sends = [each for each in written if isinstance(each, Sent)]
    return sum(each.fault is not None and "kill" in each.fault for each in sends)


@pytest.mark.slow
def test_ten_drivers_outlive_the_kills_of_their_server_and_every_effect_is_there_once(
    tmp_path: Path,
) -> None:
    """Guards: `Listener.revive`, and that a call is sent again under its own key."""
    out = played(tmp_path, drivers=10, rounds=6)
    written = records(out)
    (ended,) = (each for each in written if isinstance(each, TrialEnded))
    assert ended.outcome == "passed", ended.reason
    checks = [each for each in written if isinstance(each, Checked)]
    assert [each.passed for each in checks] == [True, True]
    lost = Counter(each.lost for each in written if isinstance(each, Answered))
    assert lost[LostReason.CLOSED] > kills(written) >= 3, lost
    urls = [
        json.loads(line)["url"]
        for line in (out / "server.log").read_text().splitlines()
        if '"listening"' in line
    ]
    assert len(urls) >= 4
    assert {each.driver for each in written if isinstance(each, Sent)} == set(range(10))
    balance = command(reconcile, out, "--json")
    assert balance.exit_code == 0, balance.output
    assert json.loads(balance.output)["calls"] == ended.invocations == 10 * 13


@pytest.mark.slow
def test_with_a_fresh_key_for_each_send_the_kills_double_effects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: without the identity of the key the same run does not pass its checks."""
    by_key = Connection.call

    async def by_fresh_key(
        self: Connection,
        tool: str,
        arguments: dict[str, Any],
        key: str,
        attempt: int,
        on_send: OnSend | None = None,
    ) -> Answer | Lost:
        return await by_key(self, tool, arguments, f"{key}/{attempt}", attempt, on_send)

    monkeypatch.setattr(Connection, "call", by_fresh_key)
    out = played(tmp_path, drivers=10, rounds=6)
    written = records(out)
    failed = [each for each in written if isinstance(each, Checked) and not each.passed]
    assert {each.check for each in failed} == {"tree", "rows"}, failed
    assert command(reconcile, out).exit_code == 1
