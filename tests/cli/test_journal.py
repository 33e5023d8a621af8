"""`surefoot journal` over what real servers wrote: tail, show, export; what all verbs share."""

import csv
import io
import json
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.support.in_doubt import leave_in_doubt
from tests.support.journal_door import APPEND, SECRET, journal, path, work
from tests.support.place import Place
from tests.support.surefoot import surefoot

from surefoot_cli.journal.export import TABLES

pytestmark = pytest.mark.anyio


async def test_tail_shows_the_newest_events_last_with_tool_key_and_state(place: Place) -> None:
    await work(place)
    done = journal(place, "tail", "-n", "100")
    lines = done.out.splitlines()
    assert done.code == 0
    assert "  end  " in lines[-1]
    begun = next(line for line in lines if "begin" in line and "work:1" in line)
    assert {"run_command", "succeeded"} <= set(begun.split())
    refused = next(line for line in lines if "work:3" in line)
    assert "invalid" in refused
    assert journal(place, "tail", "-n", "2").out.splitlines() == lines[-2:]


async def test_tail_prints_a_json_object_a_line(place: Place) -> None:
    await work(place)
    events = [
        json.loads(line) for line in journal(place, "tail", "-n", "100", "--json").out.splitlines()
    ]
    assert [event["id"] for event in events] == sorted(event["id"] for event in events)
    delivered = [event for event in events if event["delivery"] == "delivered"]
    assert any(event["key"] == "work:1" for event in delivered)


async def test_tail_that_follows_prints_what_is_written_after_it_began(place: Place) -> None:
    await work(place)
    command = [sys.executable, "-P", "-m", "surefoot_cli", "journal", "tail", "-n", "1", "-f"]
    follower = subprocess.Popen(  # noqa: ASYNC220 - read in turns with what this test writes
        [*command, "--json"], env=place.environment(), stdout=subprocess.PIPE, text=True
    )
    try:
        assert follower.stdout is not None
        before = json.loads(follower.stdout.readline())
        call_id = leave_in_doubt(place, "later:1", "true")
        seen = before
        while seen["kind"] != "begin":
            seen = json.loads(follower.stdout.readline())
        assert seen["call_id"] == call_id
        assert seen["id"] > before["id"]
    finally:
        follower.kill()
        follower.communicate()


async def test_show_tells_of_a_call_its_attempts_requests_and_events(place: Place) -> None:
    await work(place)
    by_key = journal(place, "show", "work:1")
    assert by_key.code == 0
    for said in ("run_command (at_most_once)", "succeeded", "attempt 1", "ran,", "replayed,"):
        assert said in by_key.out
    (call,) = journal(place, "show", "work:1", "--json").json["calls"]
    assert [each["disposition"] for each in call["receipts"]] == ["ran", "replayed"]
    assert {each["delivery"] for each in call["receipts"]} == {"delivered"}
    assert [each["kind"] for each in call["events"]][:2] == ["begin", "finish"]
    assert call["arguments"]["env"] == {"PLAIN": "[redacted]"}
    assert "result" not in call
    assert call["result_bytes"] > 0
    assert journal(place, "show", call["call_id"]).out == by_key.out


async def test_a_name_that_no_call_has_exits_with_1(place: Place) -> None:
    await work(place)
    for verb in (["show", "nobody"], ["resolve", "nobody", "happened", "--reason", "seen"]):
        done = journal(place, *verb)
        assert (done.code, done.out) == (1, "")
        assert "'nobody'" in done.err


@pytest.mark.parametrize(
    "verb",
    [
        ["tail"],
        ["show", "k"],
        ["export"],
        ["verify"],
        ["resolve", "k", "happened", "--reason", "seen"],
    ],
    ids=lambda words: words[0],
)
async def test_without_a_journal_every_verb_exits_with_3_and_makes_none(
    place: Place, verb: list[str]
) -> None:
    done = journal(place, *verb)
    assert (done.code, done.out) == (3, "")
    assert "no journal at" in done.err
    assert not path(place).exists()


async def test_a_file_that_is_no_journal_exits_with_3(place: Place) -> None:
    place.config.state.mkdir()
    path(place).write_text("no journal")
    assert journal(place, "tail").code == 3


@pytest.mark.parametrize(
    "words",
    [
        ["tail", "--journal", "mysql://host/db"],
        ["tail", "--journal", "postgresql://host"],
        ["export", "--format", "csv"],
        ["export", "--since", "soon"],
        ["resolve", "k", "perhaps", "--reason", "seen"],
        ["resolve", "k", "happened"],
        ["resolve", "k", "happened", "--reason", "  "],
        ["resolve", "k", "happened", "--reason", "x" * 501],
        ["verify", "--against", "/nonexistent/file"],
    ],
    ids=" ".join,
)
async def test_bad_usage_exits_with_2(place: Place, words: list[str]) -> None:
    await work(place)
    done = journal(place, *words)
    assert (done.code, done.out) == (2, "")
    assert done.err


async def test_a_password_in_the_url_of_a_journal_is_not_shown(place: Place) -> None:
    done = journal(place, "tail", "--journal", "postgresql://me:hunter2@127.0.0.1:1/x")
    assert done.code == 3
    assert "hunter2" not in done.err


async def test_exported_json_lines_have_every_row_of_every_table(place: Place) -> None:
    await work(place)
    rows = [json.loads(line) for line in journal(place, "export").out.splitlines()]
    db = sqlite3.connect(path(place))
    counted = {
        f"{table}s": db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("call", "attempt", "receipt", "job", "event")
    }
    db.close()
    assert Counter(row["table"] for row in rows) == Counter(counted)
    keys = {row["key"] for row in rows if row["table"] == "calls"}
    assert {"work:1", "work:2", "work:4"} <= keys
    failed = next(row for row in rows if row["table"] == "calls" and row["key"] == "work:4")
    assert failed["error"]["code"] == "NOT_FOUND"
    assert journal(place, "export", "--since", "1d").out == journal(place, "export").out


async def test_exported_csv_reads_back_as_the_rows_of_the_json_lines(
    place: Place, tmp_path: Path
) -> None:
    await work(place)
    one = journal(place, "export", "--format", "csv", "--table", "receipts").out
    rows = list(csv.DictReader(io.StringIO(one)))
    lines = journal(place, "export", "--table", "receipts").out.splitlines()
    assert [row["receipt_id"] for row in rows] == [json.loads(line)["receipt_id"] for line in lines]
    folder = tmp_path / "out"
    assert journal(place, "export", "--format", "csv", "--out", folder).code == 0
    assert {file.name for file in folder.iterdir()} == {f"{table}.csv" for table in TABLES}
    assert all(file.stat().st_mode & 0o077 == 0 for file in folder.iterdir())
    calls = csv.DictReader(io.StringIO((folder / "calls.csv").read_text(), newline=""))
    call = next(row for row in calls if row["key"] == "work:1")
    assert json.loads(call["arguments"])["command"] == APPEND
    assert int(call["result_bytes"]) > 0


async def test_text_that_a_spreadsheet_would_compute_is_quoted_in_csv(place: Place) -> None:
    async with place.client() as client:
        await client.call_tool("=HYPERLINK(1)", {})
    out = journal(place, "export", "--format", "csv", "--table", "receipts").out
    assert [row["tool"] for row in csv.DictReader(io.StringIO(out))] == ["'=HYPERLINK(1)"]


async def test_no_secret_is_in_any_output(place: Place) -> None:
    await work(place)
    call_id = leave_in_doubt(place, "doubt:1", f"echo {SECRET}")
    said = [
        journal(place, "tail", "-n", "1000"),
        journal(place, "tail", "-n", "1000", "--json"),
        *(journal(place, "show", key) for key in ("work:1", "work:2", call_id)),
        *(journal(place, "show", key, "--json") for key in ("work:1", "work:2", call_id)),
        journal(place, "export"),
        *(journal(place, "export", "--format", "csv", "--table", table) for table in TABLES),
        journal(place, "resolve", call_id, "happened", "--reason", f"saw {SECRET}"),
        journal(place, "show", call_id),
        journal(place, "verify", "--heads"),
        surefoot("failures", home=place.config.state),
        surefoot("failures", "--json", home=place.config.state),
        surefoot("doctor", "--json", home=place.config.state),
    ]
    assert all(done.code == 0 for done in said)
    db = apsw.Connection(str(path(place)))
    key: Any = db.execute("SELECT value FROM setting WHERE name = 'secret'").get
    db.close()
    for done in said:
        assert done.out
        assert SECRET not in done.out + done.err
        assert key.hex() not in done.out
