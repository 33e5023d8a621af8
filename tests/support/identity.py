"""Whether a report adds up (DESIGN.md, section 4), counted anew from the rows."""

from collections import Counter
from collections.abc import Callable, Iterable

from surefoot_server.accounting import CallRow, Ledger, Report

REFUSED = ("conflict", "denied", "invalid")
OUTCOMES = ("first_attempt_success", "recovered", "failed", "in_doubt", "running")


def unbalanced(report: Report, book: Ledger) -> list[str]:
    """What does not add up in a report over the whole of a book; empty if all does."""
    found: list[str] = []

    def equal(what: str, one: object, other: object) -> None:
        if one != other:
            found.append(f"{what}: {one} is not {other}")

    totals = report.totals
    dispositions = Counter(each.disposition for each in book.receipts)
    equal("receipts", totals.receipts, len(book.receipts))
    for name in ("ran", "joined", "replayed", *REFUSED):
        equal(name, getattr(totals, name), dispositions[name])
    equal("receipts in doubt", totals.in_doubt_receipts, dispositions["in_doubt"])
    parts = (totals.ran, totals.joined, totals.replayed, totals.in_doubt_receipts)
    refused = totals.conflict + totals.denied + totals.invalid
    equal("receipts by disposition", sum(parts) + refused, totals.receipts)
    states = Counter(each.state for each in book.calls)
    succeeded = totals.first_attempt_success + totals.recovered
    equal("succeeded", succeeded, states["succeeded"])
    equal("calls", succeeded + totals.failed + totals.in_doubt + totals.running, len(book.calls))
    equal("calls in all", totals.calls, len(book.calls))
    equal("ended", succeeded + totals.failed + totals.in_doubt, len(book.calls) - states["running"])
    first = {
        each.call_id for each in book.attempts if (each.number, each.state) == (1, "succeeded")
    }
    won = {each.call_id for each in book.calls if each.state == "succeeded"}
    equal("first attempt success", totals.first_attempt_success, len(first & won))
    states = Counter(each.state for each in book.jobs)
    jobs = report.jobs.model_dump()
    equal("jobs", jobs.pop("jobs"), len(book.jobs))
    equal("jobs by state", sum(jobs.values()), len(book.jobs))
    equal("jobs in each state", +Counter(jobs), states)
    client = {each.call_id: each.client or "" for each in reversed(book.receipts)}
    _groups(report, book, lambda call: client.get(call.call_id, ""), equal)
    failed = totals.failed + totals.in_doubt + refused
    equal("failures by code", sum(each.count for each in report.by_code), failed)
    origins = Counter[str]()
    for each in report.by_code:
        origins[each.origin] += each.count
    equal("failures by origin", {each.origin: each.count for each in report.by_origin}, origins)
    return found


def _groups(
    report: Report,
    book: Ledger,
    client: Callable[[CallRow], str],
    equal: Callable[[str, object, object], None],
) -> None:
    """Each grouping has every call once, in the state that it is in."""
    groups: list[tuple[str, Iterable[tuple[str, object]], Callable[[CallRow], str]]] = [
        ("tool", ((each.tool, each) for each in report.by_tool), lambda call: call.tool),
        ("client", ((each.client, each) for each in report.by_client), client),
        (
            "principal",
            ((each.principal, each) for each in report.by_principal),
            lambda call: call.principal,
        ),
    ]
    for name, rows, of in groups:
        expected = Counter((of(call), call.state) for call in book.calls)
        got: Counter[tuple[str, str]] = Counter()
        for value, row in rows:
            counts = {each: getattr(row, each) for each in OUTCOMES}
            equal(f"calls of {name} {value!r}", getattr(row, "calls"), sum(counts.values()))  # noqa: B009 - a row of any grouping
            for each, n in counts.items():
                success = each in ("first_attempt_success", "recovered")
                got[value, "succeeded" if success else each] += n
        equal(f"calls by {name}", +got, expected)
