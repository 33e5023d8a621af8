"""The spool: what a `kill -9` leaves of lines that no commit has taken yet."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.journals import (
    SAFE_CALLS,
    Site,
    largest_file,
    new_call,
    receipt_of,
    row_of,
    success,
    verdict,
)

from surefoot_server.journal.operations import begin_line, delivery_line, finish_line
from surefoot_server.journal.spool import Line, Spool, left_behind, read
from surefoot_server.journal.states import Delivery
from surefoot_tools.tool import Effect

pytestmark = pytest.mark.anyio

WRITES_UNTIL_KILLED = """
import itertools, os, sys
from pathlib import Path
from surefoot_server.journal.spool import Spool
spool = Spool(Path(sys.argv[1]))
for n in itertools.count():
    spool.append({"kind": "finish", "n": n, "filler": "x" * 200})
    os.write(1, b"%d\\n" % n)
    if n % 50 == 49 and sys.argv[2] == "fold":
        spool.done(spool.take())
"""


def three_lines(owner: str, name: str = "call") -> list[Line]:
    """A safe call that began, ended and was delivered."""
    call = new_call(effect=Effect.SAFE, fingerprint=None, call_id=name)
    receipt = receipt_of(call, receipt_id=f"receipt-{name}")
    return [
        begin_line(call, receipt, owner),
        finish_line(success(call, receipt_id=receipt.receipt_id, answer_mac="m")),
        delivery_line(receipt.receipt_id, Delivery.DELIVERED, 1002.0),
    ]


def leave_behind(directory: Path, instance: str, files: tuple[list[Line], list[Line]]) -> None:
    """What a server that died would have left in its two files."""
    for n, lines in enumerate(files):
        spool = Spool(directory / "scratch")
        for line in lines:
            spool.append(line)
        (directory / "scratch.0.spool").rename(directory / f"{instance}.{n}.spool")
        (directory / "scratch.1.spool").unlink()


@pytest.fixture
def at_sqlite(tmp_path: Path) -> Iterator[Site]:
    """A journal in a file, with the folder of its servers."""
    (tmp_path / "instances").mkdir()
    site = Site(tmp_path, str(tmp_path / "journal.db"))
    yield site
    site.close()


def test_each_line_is_in_the_file_at_once_and_gone_when_it_is_folded(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "one")
    spool.append({"kind": "a"})
    assert [line for path in left_behind(tmp_path)["one"] for line in read(path)] == [{"kind": "a"}]
    taken = spool.take()
    spool.append({"kind": "b"})
    assert taken.lines == [{"kind": "a"}]
    spool.done(taken)
    left = [line for path in left_behind(tmp_path)["one"] for line in read(path)]
    assert left == [{"kind": "b"}]
    spool.done(spool.take())
    spool.close()
    assert left_behind(tmp_path) == {}


def test_lines_that_could_not_be_committed_are_taken_again_first(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "one")
    spool.append({"kind": "a"})
    taken = spool.take()
    spool.append({"kind": "b"})
    spool.put_back(taken)
    again = spool.take()
    assert [line["kind"] for line in again.lines] == ["a", "b"]
    spool.done(again)
    assert [path.stat().st_size for path in left_behind(tmp_path)["one"]] == [0, 0]


def test_what_could_not_be_folded_stays_on_disk_when_the_server_ends(tmp_path: Path) -> None:
    """Guard: `Spool.close` keeps a file that is not clean."""
    spool = Spool(tmp_path / "one")
    spool.append({"kind": "a"})
    spool.close()
    spool.append({"kind": "too late, and into no file"})
    (path,) = left_behind(tmp_path)["one"]
    assert read(path) == [{"kind": "a"}]


def test_a_last_line_that_was_cut_is_none(tmp_path: Path) -> None:
    """Guard: `spool.read`."""
    path = tmp_path / "one.0.spool"
    path.write_bytes(b'{"kind":"a"}\n{"kind":"b"}\n{"kind":"c","text":"cut o')
    assert [line["kind"] for line in read(path)] == ["a", "b"]
    path.write_bytes(b'{"kind":"a"}\n{"kind":"whole but for its end of line"}')
    assert len(read(path)) == 2
    assert read(tmp_path / "none") == []


def test_a_line_that_a_full_disk_cut_does_not_spoil_the_next_one(tmp_path: Path) -> None:
    """Guard: `Spool._write`, which begins a new line after a torn one."""
    spool = Spool(tmp_path / "one")
    with largest_file(100):
        spool.append({"kind": "a", "text": "x" * 50})
        spool.append({"kind": "torn", "text": "x" * 200})
    spool.append({"kind": "b"})
    found = [line["kind"] for path in left_behind(tmp_path)["one"] for line in read(path)]
    assert found == ["a", "b"]
    assert [line["kind"] for line in spool.take().lines] == ["a", "torn", "b"]


@pytest.mark.parametrize("mode", ["keep", "fold"])
def test_after_a_kill_each_acknowledged_line_is_there_in_whole(tmp_path: Path, mode: str) -> None:
    """Guard: `os.write` in `Spool._write`, before `append` returns."""
    for round_ in range(3):
        stem = tmp_path / f"server{round_}"
        child = subprocess.Popen(
            [sys.executable, "-c", WRITES_UNTIL_KILLED, str(stem), mode], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        for _ in range(120 + 31 * round_):
            child.stdout.readline()
        child.kill()
        told = [int(line) for line in child.stdout.read().split(b"\n")[:-1] if line]
        child.wait()
        child.stdout.close()
        acknowledged = told[-1] if told else 119 + 31 * round_
        lines = [line for path in left_behind(tmp_path)[stem.name] for line in read(path)]
        numbers = sorted(line["n"] for line in lines)
        # What was said to be folded may be gone, and nothing else.
        first = numbers[0] if numbers else acknowledged + 1
        assert first % 50 == 0 if mode == "fold" else first == 0
        assert numbers == list(range(first, max(acknowledged + 1, first + len(numbers))))


async def test_a_call_that_began_in_one_file_and_ended_in_the_other_is_folded_whole(
    at_sqlite: Site,
) -> None:
    """Guard: `fold_dead` reads both files of a server at once, in whichever order they were."""
    for name, order in (("forth", (0, 1)), ("back", (1, 0))):
        begin, *rest = three_lines(name, name)
        files = ([begin], rest) if order == (0, 1) else (rest, [begin])
        leave_behind(at_sqlite.state / "instances", name, files)
    journal = at_sqlite.open()
    calls = await journal.query("all_calls", {})
    assert {row["call_id"]: row["state"] for row in calls} == {
        "forth": "succeeded",
        "back": "succeeded",
    }
    assert {row["delivery"] for row in await journal.query("all_receipts", {})} == {"delivered"}


async def test_lines_folded_twice_change_nothing_the_second_time(at_sqlite: Site) -> None:
    """Guard: `Operations._fold_call`, which asks whether the call is there."""
    instances = at_sqlite.state / "instances"
    lines = three_lines("dead")
    leave_behind(instances, "dead", (lines[:1], []))
    at_sqlite.open()
    at_sqlite.close()
    # The server died when the call had begun, after a commit; its file was not emptied yet.
    leave_behind(instances, "dead", (lines, []))
    at_sqlite.open()
    at_sqlite.close()
    leave_behind(instances, "dead", (lines, lines))
    journal = at_sqlite.open()
    assert (await row_of(journal, "call"))["state"] == "succeeded"
    assert (await row_of(journal, "attempt"))["state"] == "succeeded"
    assert (await row_of(journal, "receipt"))["delivery"] == "delivered"
    events = await journal.query("all_events", {})
    assert sum(event["kind"] not in ("start", "end") for event in events) == 3
    assert (await verdict(journal)).problems == []


async def test_a_line_that_no_column_takes_holds_up_nothing(at_sqlite: Site) -> None:
    """Guard: `Groups._fold_all`."""
    journal = at_sqlite.open()
    good = new_call(effect=Effect.SAFE, fingerprint=None)
    bad = new_call(effect=Effect.SAFE, fingerprint=None)
    journal.begin_safe(bad, receipt_of(bad, sender_attempt=2**80))
    journal.begin_safe(good, receipt_of(good))
    assert [row["call_id"] for row in await journal.query("all_calls", {})] == [good.call_id]
    assert (await verdict(journal)).problems == []


async def test_a_torn_end_of_a_dead_servers_spool_costs_that_line_alone(at_sqlite: Site) -> None:
    dead = await at_sqlite.let_die("spool_calls")
    paths = left_behind(at_sqlite.state / "instances")[dead]
    path = max(paths, key=lambda each: each.stat().st_size)
    os.truncate(path, path.stat().st_size - 7)
    journal = at_sqlite.open()
    calls = await journal.query("all_calls", {})
    # The last line begins a call that does not end.
    assert len(calls) == SAFE_CALLS - 1
    assert sum(row["state"] == "succeeded" for row in calls) == SAFE_CALLS // 2
    assert (await verdict(journal)).problems == []
