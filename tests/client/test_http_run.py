"""`surefoot run` against a server over HTTP that runs already, or that is to be started so."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import CliRunner, Result
from starlette.types import Receive, Send
from tests.client.mini_suite import Call, mixed, write_suite
from tests.client.web_server import a_door, says, serving, turns_away

from surefoot_cli import reconcile, run
from surefoot_client import manifest as manifests
from surefoot_client import run as runs
from surefoot_client.listener import listening
from surefoot_client.manifest import ForeignEntry, Manifest, SuiteEntry
from surefoot_client.process import ServerProcess
from surefoot_client.record import Answered, Invoked, RecoveredBy, Transport, TrialEnded, read
from surefoot_client.suite import load

pytestmark = pytest.mark.anyio

DONE = '{"jsonrpc":"2.0","id":ID,"result":{"resultType":"complete","content":[]}}'


def command(which: Any, *arguments: object) -> Result:
    return CliRunner().invoke(which.command, [str(each) for each in arguments])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--transport", "stdio"], "'mini' has 3 drivers that share one server"),
        (["--", "server"], "the server command has no {listen}"),
        (["--workspace", "W"], "--workspace is of --http"),
        (["--http", "http://127.0.0.1:1/mcp"], "name it with --workspace DIR"),
        (["--http", "ftp://x", "--workspace", "W"], "expected http://HOST:PORT/PATH"),
        (["--http", "http://u:p@x/mcp", "--workspace", "W"], "expected no user, password, query"),
        (["--http", "http://x/mcp", "--workspace", "W"], "is no folder"),
        (["--http", "http://x/mcp", "--workspace", "."], "is not empty"),
        (["--http", "http://x/mcp", "--workspace", ".", "--repeat", "2"], "and these are 2"),
        (
            ["--http", "http://x/mcp", "--workspace", ".", "--transport", "stdio"],
            "no --transport stdio",
        ),
        (["--http", "http://x/mcp", "--workspace", ".", "--", "s"], "expected no command after --"),
    ],
)
def test_what_cannot_be_reached_so_is_refused_with_what_would_be_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    suite = write_suite(tmp_path / "suite", [[("echo", {}, {})]], drivers=3)
    refused = command(run, suite, "--model", "scripted", "--out", tmp_path / "run", *options)
    assert refused.exit_code == 2, refused.output
    assert said in " ".join(refused.output.split())


def test_a_token_that_is_none_is_refused_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "two words")
    suite = write_suite(tmp_path / "suite", [[("echo", {}, {})]])
    options = ["--http", "http://x/mcp", "--workspace", tmp_path, "--http-token-env", "TOKEN"]
    refused = command(run, suite, "--model", "scripted", "--out", tmp_path / "run", *options)
    assert refused.exit_code == 3, refused.output
    assert "what TOKEN holds is no bearer token" in refused.output
    assert "words" not in refused.output


@pytest.mark.parametrize(
    ("status", "sends", "outcome"),
    [(429, 2, "succeeded"), (401, 1, "failed"), (503, 1, "in_doubt")],
)
async def test_what_http_turns_away_is_sent_again_only_if_nothing_has_begun_for_sure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, sends: int, outcome: str
) -> None:
    """Guard: `Sender._raise_if_unsettled`. The server knows no keys, so that 503 leaves a doubt."""
    workspace = tmp_path / "work"
    workspace.mkdir()
    monkeypatch.chdir(workspace)
    door, statuses = a_door(), iter([status])

    async def act(message: dict[str, Any], receive: Receive, send: Send) -> None:
        refused = next(statuses, None)
        answers = says(DONE) if refused is None else turns_away(refused, {"retry-after": "0"})
        await answers(message, receive, send)

    door.acts["count"] = act
    turns: list[list[Call]] = [[("count", {}, {})]]
    suite = write_suite(tmp_path / "suite", turns, exclude=("lists",))
    async with serving(door) as url:
        order = runs.Order(
            suite=load(suite),
            models=["scripted"],
            repeat=1,
            turns=None,
            seed=1,
            server=(),
            transport=Transport.HTTP,
            foreign=ForeignEntry(url=url, workspace=str(workspace), token_env=None),
        )
        made = runs.create(order, tmp_path / "run")
        assert not await runs.drive(made, {}, 1)
    written = list(read(made.folder / "records.jsonl"))
    first, *_ = answers = [each for each in written if isinstance(each, Answered)]
    assert len(answers) == sends == door.seen.count("count")
    assert first.http_status == status
    (invoked,) = (each for each in written if isinstance(each, Invoked))
    assert invoked.outcome == outcome
    assert (invoked.recovered_by is RecoveredBy.DRIVER) == (outcome == "succeeded")


def test_a_manifest_from_before_there_was_http_is_read(tmp_path: Path) -> None:
    suite = SuiteEntry(name="s", version="1.0.0", hash="h", path="p")
    made = Manifest(
        run="r",
        suite=suite,
        models=[],
        repeat=1,
        turns=None,
        seed=0,
        server=["x"],
        faults=None,
        prices={},
    )
    new = ("transport", "foreign")
    old = {name: value for name, value in made.model_dump(mode="json").items() if name not in new}
    (tmp_path / "manifest.json").write_text(json.dumps(old | {"v": 1}))
    assert manifests.read(tmp_path).transport is Transport.STDIO


@pytest.mark.slow
async def test_a_run_against_a_surefoot_server_that_somebody_else_started_balances_with_its_journal(
    tmp_path: Path,
) -> None:
    suite = mixed(tmp_path / "suite")
    workspace, state = tmp_path / "root", tmp_path / "state"
    workspace.mkdir()
    argv = [sys.executable, "-P", "-m", "surefoot_cli", "serve", "--root", str(workspace)]
    argv += ["--database", f"app=sqlite:///{workspace}/app.db?mode=rw", "--http", "{listen}"]
    environment = {**os.environ, "SUREFOOT_HOME": str(state)}
    server = ServerProcess(argv, tmp_path, environment, tmp_path / "server.log")
    async with listening(server) as somebody_elses:
        await somebody_elses.revive()
        options = ["--model", "scripted", "--http", somebody_elses.url, "--workspace", workspace]
        out = tmp_path / "run"
        surefoot = [sys.executable, "-m", "surefoot_cli", "run", suite, *options]
        ran = await anyio.run_process([*surefoot, "--out", out], check=False)
        assert ran.returncode == 0, ran.stderr
        assert f"reconcile {out} --journal PLACE".encode() in ran.stdout
        # its root is fresh once
        again = await anyio.run_process([*surefoot, "--out", tmp_path / "again"], check=False)
        assert again.returncode == 2
        assert b"is not empty" in again.stderr
    (ended,) = (each for each in read(out / "records.jsonl") if isinstance(each, TrialEnded))
    assert (ended.outcome, ended.protocol) == ("passed", "2026-07-28"), ended.reason
    assert not list((out / "workspaces").iterdir())
    balance = command(reconcile, out, "--journal", state / "journal.db")
    assert balance.exit_code == 0, balance.output
