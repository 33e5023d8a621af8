"""Whether a journal's books add up, read from the file alone and without the code that counts."""

from collections import Counter, defaultdict
from pathlib import Path

from surefoot_server.accounting import AttemptRow, Ledger, ledger
from surefoot_server.journal.chain import KEYS, verify
from surefoot_server.journal.sqlite import SqliteReader

OF_NO_CALL = frozenset({"conflict", "denied", "invalid"})
"""Dispositions of requests that take no key and begin no call."""


def out_of_balance(path: Path) -> list[str]:
    """What does not add up in a journal that no server writes to; empty if all does."""
    book = ledger(path)
    attempts: defaultdict[str, list[AttemptRow]] = defaultdict(list)
    for attempt in book.attempts:
        attempts[attempt.call_id].append(attempt)
    return [*_of_calls(book, attempts), *_of_receipts(book, attempts), *_of_jobs(book)]


def _of_calls(book: Ledger, attempts: dict[str, list[AttemptRow]]) -> list[str]:
    """Each key names one call; its attempts are numbered from 1; the last one is how it ended."""
    found: list[str] = []
    keys = Counter(call.key for call in book.calls if call.key is not None)
    found += [f"key {key} names {n} calls" for key, n in keys.items() if n > 1]
    strangers = set(attempts) - {call.call_id for call in book.calls}
    found += [f"attempts of no call: {strangers}"] if strangers else []
    for call in book.calls:
        tries = attempts.get(call.call_id, [])
        name = f"call {call.key or call.call_id}"
        if [each.number for each in tries] != list(range(1, len(tries) + 1)) or not tries:
            found.append(f"{name} has the attempts {[each.number for each in tries]}")
            continue
        if any(each.state == "running" for each in tries[:-1]):
            found.append(f"{name} has an attempt that runs beside a later one")
        if tries[-1].state != call.state:
            found.append(f"{name} is {call.state}, its last attempt {tries[-1].state}")
        if (call.state == "running") != (call.ended_at is None):
            found.append(f"{name} is {call.state} and ended at {call.ended_at}")
    return found


def _of_receipts(book: Ledger, attempts: dict[str, list[AttemptRow]]) -> list[str]:
    """Each receipt has its call, and what was answered with success was always the same."""
    found: list[str] = []
    calls = {call.call_id: call for call in book.calls}
    answers: defaultdict[str, set[str | None]] = defaultdict(set)
    ran: Counter[str] = Counter()
    jobs = {job.call_id for job in book.jobs}
    for receipt in book.receipts:
        name = f"receipt {receipt.key}/{receipt.sender_attempt} ({receipt.disposition})"
        if receipt.disposition in OF_NO_CALL:
            continue
        call = calls.get(receipt.call_id or "")
        # Without a key it may be told of an earlier call in the same words, which may have one.
        keys = {None, call.key} if call is not None else set[str | None]()
        if call is None or receipt.key not in keys or call.tool != receipt.tool:
            found.append(f"{name} is of {call}")
            continue
        digested = receipt.key is not None or call.effect != "safe"
        if digested and receipt.delivered and receipt.answer_mac is None:
            found.append(f"{name} was delivered, but nobody knows what")
        if receipt.answer_mac is not None and receipt.code is None:
            answers[call.call_id].add(receipt.answer_mac)
        ran[call.call_id] += receipt.disposition == "ran"
    for call_id, call in calls.items():
        if len(answers[call_id]) > 1 and call_id not in jobs:  # told as its job is at that time
            found.append(f"call {call.key} was answered with {len(answers[call_id])} successes")
        if ran[call_id] > len(attempts.get(call_id, [])):
            found.append(f"call {call.key} has fewer attempts than requests that ran it")
    return found


def _of_jobs(book: Ledger) -> list[str]:
    """Each job is that of a call that succeeded; no other has it, and an end has a time."""
    found: list[str] = []
    won = {call.call_id for call in book.calls if call.state == "succeeded"}
    twice = [n for n in Counter(job.call_id for job in book.jobs).values() if n > 1]
    found += [f"{len(twice)} calls left several jobs behind"] if twice else []
    for job in book.jobs:
        if job.call_id not in won:
            found.append(f"job {job.job_id} is of call {job.call_id}, which did not succeed")
        if (job.state == "running") != (job.ended_at is None):
            found.append(f"job {job.job_id} is {job.state} and ended at {job.ended_at}")
    return found


def broken_chain(path: Path) -> list[str]:
    """What is not as it was written in a journal that no server writes to; empty if all is."""
    reader = SqliteReader(path)
    try:
        tables = {name: reader.rows(f"all_{name}s", {}) for name in KEYS}
        found = verify(reader.rows("all_instances", {}), reader.rows("all_events", {}), tables)
    finally:
        reader.close()
    return found.problems
