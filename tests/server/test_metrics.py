"""Health and metrics: what is told is what the journal says, each thing once, and no names."""

import re
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from prometheus_client.openmetrics import parser
from tests.support.journals import Site, job_of, new_call, receipt_of, success
from tests.support.loopback import Answered, ask
from tests.support.place import Place, keyed

from surefoot_server.accounting import report
from surefoot_server.app import App
from surefoot_server.executor import Executor
from surefoot_server.http.address import Address
from surefoot_server.journal.records import Closing, Journal
from surefoot_server.journal.states import Delivery, Disposition, State
from surefoot_server.observe.metrics import Gauge
from surefoot_server.observe.serving import Observation, serve_observation
from surefoot_server.observe.tally import OTHER, Tally
from surefoot_tools.errors import Applied, Code, Origin
from surefoot_tools.jobs import JobEnd, JobState
from surefoot_tools.outcome import Error, Outcome, Status
from surefoot_tools.tool import Effect

pytestmark = pytest.mark.anyio
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
SUCCESS = Outcome(Status.SUCCEEDED, {"n": 1}, None)
FAILURE = Outcome.failed(Error(Code.NOT_FOUND, Origin.MODEL, Applied.NO, "no such file"))


@asynccontextmanager
async def watched(journal: Journal, **other: Any) -> AsyncGenerator[Address]:
    """A server of observations on a free port."""
    address, listening = Address("127.0.0.1", 0).bind()
    observation = Observation(journal, ["write_file", "read_file", "run_command"], "1.2", **other)
    started = anyio.Event()
    async with anyio.create_task_group() as tasks:
        serve = partial(serve_observation, observation, address, listening, started=started.set)
        tasks.start_soon(serve)
        await started.wait()
        yield address
        tasks.cancel_scope.cancel()


def samples(page: Answered) -> dict[tuple[str, ...], float]:
    """Name and label values of every sample."""
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in parser.text_string_to_metric_families(page.body)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - it has no types
        for sample in family.samples
    }


async def test_metrics_say_what_the_journal_says_and_name_nobody(place: Place) -> None:
    app = App(place.config)
    async with Client(app.server) as client:
        executor: Executor = app.door.executor
        journal: Journal = executor._journal  # pyright: ignore[reportPrivateUsage]
        for key in ("secret-key", "secret-key", "other"):
            about = keyed(key)
            given = {"path": "hidden.txt", "content": "x"}
            await client.call_tool("write_file", given, meta=about)
        await client.call_tool("read_file", {"path": "hidden.txt"})
        await client.call_tool("read_file", {"path": "absent"})
        await client.call_tool("made up by a model", {})
        gauge = Gauge("surefoot_requests_in_flight", "Requests.", lambda: 3)
        async with watched(journal, gauges=[gauge]) as address:
            page = await ask(address, "/metrics", OPENMETRICS)
            plain = await ask(address, "/metrics")
            again = await ask(address, "/metrics", OPENMETRICS)
        totals = (await report(journal, since=0, tool=None, limit=1)).totals
    found = samples(page)
    assert found == samples(again)
    by = Counter[str]()
    for (name, *_), value in found.items():
        by[name] += int(value)
    assert by["surefoot_receipts_total"] == totals.receipts == 6
    assert by["surefoot_calls_total"] == totals.calls
    assert found["surefoot_receipts_total", "replayed"] == totals.replayed == 1
    assert found["surefoot_receipts_total", "invalid"] == 1
    assert found["surefoot_calls_total", "failed", "read_file"] == totals.failed == 1
    assert found["surefoot_errors_total", "UNIMPLEMENTED", "model", OTHER] == 1
    assert found["surefoot_attempt_duration_seconds_count", "read_file"] == 2
    assert (found["surefoot_requests_in_flight",], found["surefoot_build_info", "1.2"]) == (3, 1)
    assert plain.body.startswith("# HELP surefoot_receipts_total")
    for word in ("secret", "hidden", "absent", "made up", "local", str(place.workspace)):
        assert word not in page.body


async def test_a_job_counts_where_its_end_was_recorded(site: Site) -> None:
    """Guard: `Tally._enter`."""
    journal, other = site.open(), site.open()
    call = new_call("key")
    await journal.begin(call, receipt_of(call), durable=False)
    job = job_of(call)
    await journal.finish(success(call, job=job), durable=False)
    await other.end_job(job.job_id, JobEnd(JobState.STOPPED, None, "SIGTERM", 1003.0))
    await journal.end_job(job.job_id, JobEnd(JobState.LOST))
    tallies = [Tally(each, ["run_command"]) for each in (journal, other)]
    for tally in tallies:
        await tally.follow()
    assert [dict(tally.jobs) for tally in tallies] == [{}, {"stopped": 1}]
    assert [dict(tally.calls) for tally in tallies] == [{("run_command", "succeeded"): 1}, {}]


async def test_each_attempt_and_receipt_counts_once_whenever_one_looks(site: Site) -> None:
    """Guard: `Tally._enter`: what is told is the same, looked at after each step or at the end."""
    journal = site.open()
    often, once = Tally(journal, ["run_command"]), Tally(journal, ["run_command"])
    call = new_call("key")
    receipt = receipt_of(call)
    assert await journal.begin(call, receipt, durable=True) is None
    await often.follow()
    assert (often.running, often.calls) == (1, {})
    await journal.finish(Closing(call.call_id, 1, FAILURE, call.at + 1), durable=True)
    await often.follow()
    seen = await journal.find(call.principal, "key")
    assert seen is not None
    joined = receipt_of(call, Disposition.JOINED)
    await journal.record(joined)
    await often.follow()
    answered = receipt_of(call, Disposition.JOINED, receipt_id=joined.receipt_id, answer_mac="m")
    await journal.record(answered)
    await often.follow()
    journal.deliver(joined.receipt_id, Delivery.DELIVERED, call.at + 2)
    number = await journal.reopen(seen.standing, {}, receipt_of(call), durable=True)
    assert number == 2
    await often.follow()
    closing = Closing(call.call_id, 2, FAILURE, call.at + 3)
    seen = await journal.look(call.call_id)
    assert seen is not None
    assert await journal.reopen(seen.standing, {}, None, closing=closing, durable=True) == 3
    await often.follow()
    await journal.finish(Closing(call.call_id, 3, SUCCESS, call.at + 4), durable=True)
    await often.follow()
    safe = new_call(effect=Effect.SAFE, fingerprint=None)
    told = receipt_of(safe)
    journal.begin_safe(safe, told)
    await often.follow()
    journal.finish_safe(Closing(safe.call_id, 1, SUCCESS, safe.at + 1, told.receipt_id, "m"))
    journal.deliver(told.receipt_id, Delivery.DELIVERED, safe.at + 1)
    await often.follow()
    await once.follow()
    for tally in (often, once):
        assert tally.attempts == {
            ("run_command", State.FAILED): 2,
            ("run_command", State.SUCCEEDED): 2,
        }
        assert tally.calls == {
            ("run_command", "failed"): 1,
            ("run_command", "recovered"): 1,
            ("run_command", "succeeded"): 1,
        }
        assert +tally.receipts == {"ran": 3, "joined": 1}
        assert tally.errors == {("NOT_FOUND", "model", "run_command"): 1}
        assert (tally.running, sum(tally.durations["run_command"].buckets)) == (0, 4)


async def test_what_another_server_wrote_is_told_by_that_one(site: Site) -> None:
    one, other = site.open(), site.open()
    call = new_call("key")
    await one.begin(call, receipt_of(call), durable=True)
    await one.finish(Closing(call.call_id, 1, SUCCESS, call.at + 1), durable=True)
    tally = Tally(other, ["run_command"])
    await tally.follow()
    assert (+tally.receipts, tally.calls, tally.running) == ({}, {}, 0)


async def test_probes_tell_a_journal_that_cannot_be_written_from_one_that_can(
    tmp_path: Path,
) -> None:
    """Guard: `Observation._trouble`."""
    site = Site(tmp_path, str(tmp_path / "journal.db"))
    journal = site.open()
    async with watched(journal) as address:
        ready = await ask(address, "/readyz")
        head = await ask(address, "/readyz", method="HEAD")
        posted = await ask(address, "/readyz", method="POST")
        foreign = await ask(address, "/metrics", {"Host": "evil.example"})
        await anyio.to_thread.run_sync(journal.close)
        broken, lives = await ask(address, "/readyz"), await ask(address, "/healthz")
        metrics = await ask(address, "/metrics")
    assert (ready.status, ready.body, head.status, head.body) == (200, "ok\n", 200, "")
    assert (posted.status, foreign.status) == (405, 421)
    assert (broken.status, broken.body) == (503, "the journal cannot be written\n")
    assert (lives.status, metrics.status) == (200, 503)
    assert not re.search(r"/|\.db", broken.body)
