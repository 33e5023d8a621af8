"""Real jobs in the books: recorded as they end, told by every verb, what was typed left out."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import apsw
import pytest
from mcp import Client
from tests.support.books import broken_chain, out_of_balance
from tests.support.journal_door import journal, path
from tests.support.place import Place, body, disposition, keyed
from tests.support.surefoot import surefoot
from tests.support.until import until

pytestmark = pytest.mark.anyio

TYPED = "planted-hunter2"


def states(place: Place) -> dict[str, tuple[Any, ...]]:
    """Where each job stands in the journal: state, exit code, signal."""
    db = apsw.Connection(str(path(place)), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        found = db.execute("SELECT job_id, state, exit_code, signal FROM job").fetchall()
        return {str(job): tuple(rest) for job, *rest in found}
    finally:
        db.close()


def gate(place: Place, name: str) -> Path:
    """A FIFO that a command may wait for."""
    fifo = place.workspace / name
    os.mkfifo(fifo)
    return fifo


async def begin(client: Client, tool: str, key: str, **arguments: Any) -> str:
    """Begin a job; its name."""
    told = body(await client.call_tool(tool, arguments, meta=keyed(key)))
    job: str = told["job_id"]
    return job


async def test_jobs_are_recorded_as_they_end_and_every_verb_tells_of_them(place: Place) -> None:
    """Guard: `end.end_of`, `end.wait_for_end`, `JobRows.begun`."""
    fifo = gate(place, "gate")
    async with place.client() as client:
        handed = await begin(client, "run_command", "run", command="cat < gate; exit 3", wait=0)
        started = await begin(client, "start_job", "start", command="cat")
        await client.call_tool("write_job", {"job_id": started, "input": TYPED}, meta=keyed("w"))
        plain = await client.call_tool("run_command", {"command": "true"})
        assert states(place) == dict.fromkeys((handed, started), ("running", None, None))
        assert body(plain)["job_id"] not in states(place)
        os.close(os.open(fifo, os.O_WRONLY))
        await until(lambda: states(place)[handed] == ("exited", 3, None))
        again = await client.call_tool(
            "run_command", {"command": "cat < gate; exit 3", "wait": 0}, meta=keyed("run", 2)
        )
        assert (disposition(again), body(again)["state"]) == ("replayed", "exited")
        assert body(again)["exit_code"] == 3
        await client.call_tool("stop_job", {"job_id": started})
        await until(lambda: states(place)[started][0] == "stopped")
        report = body(await client.call_tool("failure_report", {}))
    counts = {"jobs": 2, "exited": 1, "timed_out": 0, "stopped": 1, "lost": 0, "running": 0}
    assert report["jobs"] == counts
    (call,) = journal(place, "show", "run", "--json").json["calls"]
    assert [(job["job_id"], job["state"]) for job in call["jobs"]] == [(handed, "exited")]
    assert [each["kind"] for each in call["events"]].count("job ended") == 1
    assert f"job          {handed} exited (3)" in journal(place, "show", "run").out
    tail = journal(place, "tail", "-n", "1000").out
    assert f"job ended  run_command  {handed}  exited" in tail
    out = journal(place, "export", "--format", "csv", "--table", "jobs").out
    assert {row["job_id"] for row in csv.DictReader(io.StringIO(out))} == {handed, started}
    assert "2 jobs: 1 exited" in surefoot("failures", home=place.config.state).out
    told = surefoot("failures", "--json", home=place.config.state).out
    assert json.loads(told)["jobs"] == counts
    assert journal(place, "verify").code == 0
    assert TYPED not in journal(place, "export").out
    assert (out_of_balance(path(place)), broken_chain(path(place))) == ([], [])


async def test_a_job_that_outlives_its_server_is_settled_by_the_next(place: Place) -> None:
    """Guard: `JobRows.settle`, `end.place_of`."""
    fifo = gate(place, "gate")
    async with place.client() as client:
        ended = await begin(client, "start_job", "ended", command="cat < gate")
        gone = await begin(client, "start_job", "gone", command="true")
        going = await begin(client, "start_job", "going", command="cat")
    os.close(os.open(fifo, os.O_WRONLY))
    jobs = place.config.state / "jobs"
    await until((jobs / ended / "status.json").exists)
    await until((jobs / gone / "status.json").exists)
    for each in (jobs / gone).iterdir():
        each.unlink()
    (jobs / gone).rmdir()
    db = apsw.Connection(str(path(place)))
    db.execute("UPDATE job SET state = 'running', ended_at = NULL, exit_code = NULL")
    db.close()
    async with place.client() as client:
        await until(lambda: states(place)[ended] == ("exited", 0, None))
        await until(lambda: states(place)[gone] == ("lost", None, None))
        assert states(place)[going] == ("running", None, None)
        await client.call_tool("stop_job", {"job_id": going})
        await until(lambda: states(place)[going][0] == "stopped")
