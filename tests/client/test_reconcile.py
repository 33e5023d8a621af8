"""Double entry: every row that is missing, doubled or altered, on either side, is named.

The book is a real one: a run with slips, lost answers and a killed server against our own server.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import apsw
import pytest
from click.testing import CliRunner
from pydantic import ValidationError
from tests.client.mini_suite import mixed

from surefoot_cli.reconcile import command
from surefoot_cli.run import command as run_command
from surefoot_client.ledger import AttemptRow, CallRow, JobRow, Ledger, ReceiptRow
from surefoot_client.reconcile import Balance, reconcile
from surefoot_client.record import Answered, Proposed, Record, Sent, read
from surefoot_server import accounting

FAULTS = """
[[fault]]
kind = "kill_server"
point = "after_effect"
tool = "execute_sql"
call = 1
[[fault]]
kind = "kill_server"
point = "before_intent"
tool = "write_file"
call = 1
[[fault]]
kind = "drop_answer"
tool = "write_file"
call = 2
"""
PROFILE = """
name = "test"
about = ""
first_attempt = 0.5
recovers = 1.0
[rates]
wrong_argument = 0.15
unknown_tool = 0.1
malformed_call = 0.1
lost_answer = 0.15
repeated_call = 0.15
"""


@dataclass(frozen=True)
class Books:
    """Both sides of one run."""

    folder: Path
    records: tuple[Record, ...]
    ledger: Ledger

    def balance(self) -> Balance:
        return reconcile(self.records, self.ledger)


T = TypeVar("T", ReceiptRow, CallRow, AttemptRow, JobRow)


def copied(kind: type[T], rows: list[Any]) -> list[T]:
    return [kind(**{each.name: getattr(row, each.name) for each in fields(kind)}) for row in rows]


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Books:
    folder = tmp_path_factory.mktemp("books")
    (folder / "faults.toml").write_text(FAULTS)
    (folder / "profile.toml").write_text(PROFILE)
    arguments = [
        *(mixed(folder / "suite"), "--model", f"sim:{folder / 'profile.toml'}", "--seed", 11),
        *("--repeat", 2, "--faults", folder / "faults.toml", "--out", folder / "run"),
    ]
    ran = CliRunner().invoke(run_command, [str(each) for each in arguments])
    assert ran.exit_code == 0, ran.output
    book = accounting.ledger(folder / "run" / "state" / "journal.db")
    ledger = Ledger(
        copied(ReceiptRow, book.receipts),
        copied(CallRow, book.calls),
        copied(AttemptRow, book.attempts),
        book.mac,
        copied(JobRow, book.jobs),
    )
    return Books(folder / "run", tuple(read(folder / "run" / "records.jsonl")), ledger)


def lost(books: Books, receipt: ReceiptRow) -> bool:
    """Whether the driver has no answer that this receipt could be compared with."""
    return not any(
        (record.key, record.attempt) == (receipt.key, receipt.sender_attempt)
        and record.result == "answered"
        for record in books.records
        if isinstance(record, Answered)
    )


def test_the_books_of_a_run_with_slips_and_faults_balance(books: Books) -> None:
    balance = books.balance()
    assert balance.problems == ()
    parts = (balance.matched, balance.replayed, balance.answer_lost, balance.never_arrived)
    assert balance.sends == sum(parts)
    assert balance.receipts == balance.sends - balance.never_arrived
    # the sample is worth something only if every class is in it
    assert all(part > 0 for part in parts)
    kinds = {receipt.disposition for receipt in books.ledger.receipts}
    assert {"ran", "replayed", "invalid"} <= kinds


KNOWN = {"ran": "joined", "succeeded": "failed", "answered": "lost", "safe": "idempotent"}
"""Words of closed sets, and another of the same set."""


def other(value: Any) -> Any:
    """A value of the same kind that is not the same."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return KNOWN.get(value, f"{value}x")
        case dict():
            return {**cast("dict[str, Any]", value), "altered": 1}
        case _:
            return "x"


def named(balance: Balance, *names: object) -> bool:
    """Whether a problem names one of these."""
    return any(str(name) in str(problem) for problem in balance.problems for name in names)


Row = ReceiptRow | CallRow | AttemptRow | JobRow


def with_rows(ledger: Ledger, old: Row, new: list[Row]) -> Ledger:
    """The ledger with a row replaced by others."""

    def put(rows: Any) -> list[Any]:
        return [kept for row in rows for kept in (new if row is old else [row])]

    kept = (put(ledger.receipts), put(ledger.calls), put(ledger.attempts))
    return Ledger(*kept, ledger.mac, put(ledger.jobs))


def server_rows(books: Books) -> Iterator[tuple[Row, list[object]]]:
    """Each row of the journal, and what a problem may name it by."""
    for receipt in books.ledger.receipts:
        yield receipt, [receipt.receipt_id, receipt.key, receipt.call_id]
    for call in books.ledger.calls:
        yield call, [call.call_id, call.key]
    for attempt in books.ledger.attempts:
        yield attempt, [attempt.call_id]


def never_seen(books: Books, receipt: ReceiptRow) -> bool:
    """Whether it may as well never have arrived: it began nothing, and its answer was not seen."""
    return receipt.disposition != "ran" and lost(books, receipt)


def test_a_row_missing_or_doubled_in_the_journal_is_named(books: Books) -> None:
    for row, names in server_rows(books):
        for change in ([], [row, row]):
            balance = reconcile(books.records, with_rows(books.ledger, row, change))
            if not change and isinstance(row, ReceiptRow) and never_seen(books, row):
                continue
            assert named(balance, *names), (row, change)


def receipt_of_a_run_that_died(receipt: ReceiptRow) -> bool:
    """Whether it had joined a call that, for all that is known, was never begun."""
    return receipt.disposition == "joined" and receipt.answer_mac is None


def unseen(books: Books, row: Row, field: str) -> bool:
    """What no book can show; everything else is compared."""
    if field in ("begun_at", "ended_at", "receipt_id"):
        return True
    if isinstance(row, ReceiptRow) and lost(books, row):
        # what was answered is known to the journal alone
        joined = receipt_of_a_run_that_died(row)
        return field in ("answer_mac", "code", "disposition") or (joined and field == "call_id")
    if isinstance(row, AttemptRow):
        # an attempt that was not the last shows nowhere else but by its number
        last = max(each.number for each in books.ledger.attempts if each.call_id == row.call_id)
        return row.number < last and field in ("state", "code", "origin", "applied")
    if isinstance(row, CallRow) and field == "result_mac":
        return row.result_mac is None
    if isinstance(row, CallRow) and field == "effect":
        return [each.tool for each in books.ledger.calls].count(row.tool) < 2
    return False


def test_a_field_altered_in_the_journal_is_named(books: Books) -> None:
    seen = 0
    for row, names in server_rows(books):
        for each in fields(row):
            value = other(getattr(row, each.name))
            if unseen(books, row, each.name):
                continue
            altered = replace(row, **{each.name: value})
            balance = reconcile(books.records, with_rows(books.ledger, row, [altered]))
            assert named(balance, *names, value), (each.name, row)
            seen += 1
    assert seen > 500


def entries(books: Books) -> Iterator[tuple[int, Sent | Answered | Proposed]]:
    for number, record in enumerate(books.records):
        if isinstance(record, Sent | Answered | Proposed):
            yield number, record


def with_records(books: Books, number: int, new: Sequence[Record]) -> list[Record]:
    return [*books.records[:number], *new, *books.records[number + 1 :]]


def test_a_record_missing_or_doubled_in_the_drivers_log_is_named(books: Books) -> None:
    for number, record in entries(books):
        for change in ([], [record, record]):
            if isinstance(record, Proposed) and record.malformed:
                continue
            balance = reconcile(with_records(books, number, change), books.ledger)
            assert named(balance, record.key), (record, change)


COMPARED = {
    "send": ("trial", "key", "attempt", "tool", "arguments"),
    "answer": (
        *("trial", "key", "attempt", "result", "is_error", "structured", "error"),
        *("call_id", "disposition", "server_attempt", "replayed"),
    ),
    "proposal": ("trial", "key", "tool", "arguments"),
}
"""Fields of records that the books are about; the rest is for reports."""


def altered(record: Sent | Answered | Proposed, field: str) -> Record | None:
    """The record with another value; None if it would be no record any more."""
    value = other(getattr(record, field))
    if field in ("structured", "error") and value == "x":
        value = {"altered": 1}
    if field == "is_error" and value == "x":
        value = True
    if field == "server_attempt" and value == "x":
        return None
    try:
        return type(record).model_validate({**record.model_dump(), field: value})
    except ValidationError:
        return None


def has_attempt(books: Books, record: Record) -> bool:
    """Whether there is such an attempt: of a call with several, no book says which it was."""
    return isinstance(record, Answered) and any(
        (each.call_id, each.number) == (record.call_id, record.server_attempt)
        for each in books.ledger.attempts
    )


def test_a_field_altered_in_the_drivers_log_is_named(books: Books) -> None:
    seen = 0
    for number, record in entries(books):
        if isinstance(record, Proposed) and record.malformed:
            continue
        for field in COMPARED[record.kind]:
            changed = altered(record, field)
            if changed is None or (field == "server_attempt" and has_attempt(books, changed)):
                continue
            balance = reconcile(with_records(books, number, [changed]), books.ledger)
            assert named(balance, record.key, getattr(changed, "key", "")), (field, record)
            seen += 1
    assert seen > 500


def test_rows_of_other_runs_in_a_shared_journal_are_left_out(books: Books) -> None:
    first = books.ledger.receipts[0]
    foreign = replace(first, receipt_id="other", key="another:run:1:0", call_id=None)
    ledger = replace(books.ledger, receipts=[*books.ledger.receipts, foreign])
    assert reconcile(books.records, ledger, shared=True).problems == ()
    assert reconcile(books.records, ledger, shared=True).left_out == 1
    assert named(reconcile(books.records, ledger), "another:run:1:0")


def of_jobs(books: Books, *jobs: JobRow) -> list[str]:
    """What is wrong with the books when these are the jobs."""
    balance = reconcile(books.records, replace(books.ledger, jobs=jobs))
    assert balance.jobs <= len(jobs)
    return [str(each) for each in balance.problems]


def test_a_job_is_left_behind_by_one_call_that_succeeded_and_stands_somewhere(
    books: Books,
) -> None:
    """Guard: `_Reconciling._enter_jobs`, `_check_job`."""
    won = next(each for each in books.ledger.calls if each.state == "succeeded")
    good = JobRow("j", won.call_id, "exited", 3.0)
    assert of_jobs(books, good) == []
    assert of_jobs(books, replace(good, state="running", ended_at=None)) == []
    wrong = [
        of_jobs(books, good, replace(good, job_id="k")),
        of_jobs(books, replace(good, call_id="x")),
        of_jobs(books, replace(good, state="gone")),
        of_jobs(books, replace(good, state="running")),
        of_jobs(books, replace(good, ended_at=None)),
    ]
    assert [len(each) for each in wrong] == [1] * len(wrong), wrong
    lapsed = replace(won, state="failed")
    failed = with_rows(books.ledger, won, [lapsed])
    assert named(reconcile(books.records, replace(failed, jobs=[good])), "job j: its call")


def test_a_call_that_left_a_job_behind_may_be_told_otherwise_again_but_not_the_first_time(
    books: Books,
) -> None:
    """Guard: the look at `disposition` in `_check_answer`."""
    for disposition, expected in (("replayed", 0), ("ran", 1)):
        receipt, call = next(
            (receipt, call)
            for receipt in books.ledger.receipts
            for call in books.ledger.calls
            if (receipt.disposition, receipt.code) == (disposition, None)
            and call.call_id == receipt.call_id
            and (call.result_mac is not None and not lost(books, receipt))
        )
        other_result = replace(call, result_mac="of an answer that names a job")
        altered = with_rows(books.ledger, call, [other_result])
        left = replace(altered, jobs=[JobRow("j", call.call_id, "exited", 3.0)])
        assert reconcile(books.records, altered).problems, receipt
        assert len(reconcile(books.records, left).problems) == expected


def test_a_request_without_a_key_that_was_told_of_a_keyed_call_is_no_problem_of_that_call(
    books: Books,
) -> None:
    first = next(each for each in books.ledger.receipts if each.call_id is not None)
    told = replace(first, receipt_id="told", key=None, disposition="replayed")
    ledger = replace(books.ledger, receipts=[*books.ledger.receipts, told])
    assert reconcile(books.records, ledger, shared=True).problems == ()
    # in a journal of the run's own it is a stranger, and that is all
    (problem,) = reconcile(books.records, ledger).problems
    assert "was received, but is not in the driver's log" in problem.what


def test_the_command_balances_and_exits_0(books: Books) -> None:
    ran = CliRunner().invoke(command, [str(books.folder)])
    assert ran.exit_code == 0
    assert ran.stdout.endswith("the books balance\n")
    as_json = json.loads(CliRunner().invoke(command, [str(books.folder), "--json"]).stdout)
    assert as_json["balances"] is True
    assert as_json["sends"] == books.balance().sends


def test_the_command_names_a_deleted_receipt_and_exits_1(books: Books, tmp_path: Path) -> None:
    receipt = next(each for each in books.ledger.receipts if not lost(books, each))
    journal = tmp_path / "journal.db"
    source = apsw.Connection(str(books.folder / "state" / "journal.db"))
    source.execute("VACUUM INTO ?", (str(journal),))
    database = apsw.Connection(str(journal))
    database.execute("DELETE FROM receipt WHERE receipt_id = ?", (receipt.receipt_id,))
    database.close()
    ran = CliRunner().invoke(command, [str(books.folder), "--journal", str(journal)])
    assert ran.exit_code == 1
    where = f"send {receipt.key} #{receipt.sender_attempt}"
    assert f"{where}: was answered, but its receipt is missing" in ran.stdout


def test_what_is_no_run_is_bad_input(tmp_path: Path) -> None:
    ran = CliRunner().invoke(command, [str(tmp_path)])
    assert ran.exit_code == 2
    assert "is not the directory of a run" in ran.stderr
