"""Double entry: the driver's sends against the server's receipts, receipts against calls.

Each side wrote its book without reading the other's. `reconcile` is a pure function over both; it
names every row that is missing, doubled or altered, on either side. What no book can show: a send
that never arrived and is deleted with its answer and its proposal; a receipt of a replay whose
answer was lost on the way; times, and whether an answer was delivered.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from surefoot_client.book import Book, Posting, Problem, Return, Where, name
from surefoot_client.ledger import AttemptRow, CallRow, JobRow, Ledger, ReceiptRow
from surefoot_client.record import Record

WITHOUT_CALL = frozenset({"conflict", "denied", "invalid"})
"""Dispositions of requests that take no key and begin no call."""
STILL_RUNS = "UNAVAILABLE"
"""The code of an answer that does not end its call."""
DIED = ("UNAVAILABLE", "server")
"""Code and origin of an attempt whose server died: another request must have begun the next."""
RESULT_GONE = "FAILED_PRECONDITION"
"""The code of an answer about a call that was done, and whose result is not kept."""


JOB_STATES = frozenset({"running", "exited", "timed_out", "stopped", "lost"})
"""Where a job can stand."""


@dataclass(frozen=True, slots=True)
class Balance:
    """How the two books compare. sends = matched + replayed + answer_lost + never_arrived."""

    sends: int
    matched: int
    """Received, carried out or refused, and answered."""
    replayed: int
    """Received, answered from the journal or from a run that was under way."""
    answer_lost: int
    """Received, but the driver has no answer."""
    never_arrived: int
    """Not received, and the driver has no answer."""
    receipts: int
    calls: int
    attempts: int
    jobs: int
    """What calls left behind. jobs = exited + timed_out + stopped + lost + running."""
    left_out: int
    """Receipts of other runs."""
    problems: tuple[Problem, ...]

    @property
    def balances(self) -> bool:
        """Whether nothing is missing, doubled or altered."""
        return not self.problems


def reconcile(records: Iterable[Record], ledger: Ledger, *, shared: bool = False) -> Balance:
    """Hold a run's records against the server's journal.

    Args:
        records: All records of the run.
        ledger: The server's book.
        shared: The journal has rows of other runs too; those are left out. A journal of the run's
            own must have none.
    """
    book = Book(ledger.mac)
    book.enter(records)
    return _Reconciling(book, ledger, shared).balance()


@dataclass(slots=True)
class _Reconciling:
    book: Book
    ledger: Ledger
    shared: bool
    problems: list[Problem] = field(default_factory=list[Problem])
    receipts: list[ReceiptRow] = field(default_factory=list[ReceiptRow])
    calls: dict[str, CallRow] = field(default_factory=dict[str, CallRow])
    attempts: dict[str, dict[int, AttemptRow]] = field(
        default_factory=dict[str, dict[int, AttemptRow]]
    )
    jobs: dict[str, JobRow] = field(default_factory=dict[str, JobRow])
    """By the call that left it behind."""
    by_send: dict[Where, ReceiptRow] = field(default_factory=dict[Where, ReceiptRow])
    counts: Counter[str] = field(default_factory=Counter[str])

    def balance(self) -> Balance:
        self.problems += self.book.problems
        self._enter()
        for where, send in self.book.sends.items():
            self._check_send(where, send)
        principals = Counter(receipt.principal for receipt in self.receipts)
        for receipt in self.receipts:
            self._check_receipt(receipt)
            # one driver is one principal
            usual = principals.most_common(1)[0][0]
            if receipt.principal != usual:
                self._say(_receipt(receipt), f"principal {receipt.principal}, elsewhere {usual}")
        self._check_calls()
        for job in self.jobs.values():
            self._check_job(job)
        return Balance(
            sends=len(self.book.sends),
            matched=self.counts["matched"],
            replayed=self.counts["replayed"],
            answer_lost=self.counts["answer_lost"],
            never_arrived=self.counts["never_arrived"],
            receipts=len(self.receipts),
            calls=len(self.calls),
            attempts=sum(len(numbers) for numbers in self.attempts.values()),
            jobs=len(self.jobs),
            left_out=len(self.ledger.receipts) - len(self.receipts),
            problems=tuple(dict.fromkeys(self.problems)),
        )

    def _enter(self) -> None:
        """Index the server's rows, and name those that are there twice."""
        seen: set[object] = set()
        for receipt in self.ledger.receipts:
            if self.shared and not self._ours(receipt.key):
                continue
            self.receipts.append(receipt)
            where = (receipt.key or "", receipt.sender_attempt or 0)
            if receipt.receipt_id in seen or where in self.by_send:
                self._say(_receipt(receipt), f"is doubled: {name(where)} was received twice")
            seen.add(receipt.receipt_id)
            self.by_send[where] = receipt
        for call in self.ledger.calls:
            if self.shared and not self._ours(call.key):
                continue
            if call.call_id in self.calls:
                self._say(f"call {call.call_id}", "is doubled")
            self.calls[call.call_id] = call
        for attempt in self.ledger.attempts:
            if attempt.call_id not in self.calls:
                if not self.shared:
                    self._say(_attempt(attempt), "its call is missing")
                continue
            of_call = self.attempts.setdefault(attempt.call_id, {})
            if attempt.number in of_call:
                self._say(_attempt(attempt), "is doubled")
            of_call[attempt.number] = attempt
        self._enter_jobs()

    def _enter_jobs(self) -> None:
        for job in self.ledger.jobs:
            if job.call_id in self.calls:
                if job.call_id in self.jobs:
                    self._say(f"job {job.job_id}", f"its call {job.call_id} left another one, too")
                self.jobs[job.call_id] = job
            elif not self.shared:
                self._say(f"job {job.job_id}", "its call is missing")

    def _ours(self, key: str | None) -> bool:
        return key is not None and key.partition(":")[0] in self.book.runs

    def _check_send(self, where: Where, send: Posting) -> None:
        receipt, returned = self.by_send.get(where), self.book.returns.get(where)
        answered = returned is not None and returned.answered
        if receipt is None:
            self.counts["never_arrived"] += not answered
            if answered:
                self._say(name(where), "was answered, but its receipt is missing")
            elif returned is not None and returned.dropped:
                self._say(name(where), "its answer was read and dropped, but no receipt is there")
            return
        row = _receipt(receipt)
        if receipt.tool != send.tool:
            self._say(row, f"tool {receipt.tool} received, {send.tool} sent")
        if receipt.arguments_mac != send.arguments_mac:
            self._say(row, f"the arguments received are not those sent in {name(where)}")
        if returned is None or not returned.answered:
            self.counts["answer_lost"] += 1
            return
        replayed = returned.disposition in ("replayed", "joined")
        self.counts["replayed" if replayed else "matched"] += 1
        self._check_answer(receipt, returned)

    def _check_answer(self, receipt: ReceiptRow, returned: Return) -> None:
        row = _receipt(receipt)
        compared = {
            "disposition": (receipt.disposition, returned.disposition),
            "call_id": (receipt.call_id, returned.call_id),
            "code": (receipt.code, returned.code),
        }
        for part, (there, here) in compared.items():
            if there != here:
                self._say(row, f"{part} {there} in the journal, {here} in the driver's log")
        if receipt.answer_mac != returned.mac:
            self._say(row, "the answer in the journal is not the one in the driver's log")
        call = self.calls.get(returned.call_id) if returned.call_id is not None else None
        if call is None:
            return
        if returned.server_attempt not in self.attempts.get(call.call_id, {}):
            self._say(row, f"answered with attempt {returned.server_attempt}, which is missing")
        if receipt.disposition != "ran" and call.call_id in self.jobs:
            return  # told again, it is told what the job has come to since
        kept, here = call.result_mac, returned.structured_mac
        if here is not None and kept is not None and kept != here:
            self._say(f"call {call.call_id}", "its result is not the one in the driver's log")
        if here is not None and kept is None and call.effect != "safe":
            self._say(f"call {call.call_id}", "its result is missing")

    def _check_receipt(self, receipt: ReceiptRow) -> None:
        row = _receipt(receipt)
        where = (receipt.key or "", receipt.sender_attempt or 0)
        if where not in self.book.sends:
            self._say(row, f"{name(where)} was received, but is not in the driver's log")
        if receipt.disposition in WITHOUT_CALL:
            if receipt.call_id is not None:
                self._say(row, f"{receipt.disposition}, and yet it belongs to a call")
            return
        call = self.calls.get(receipt.call_id or "")
        if call is None:
            # the server died before the intent of the call that this request had joined
            if receipt.disposition != "joined" or receipt.answer_mac is not None:
                self._say(row, f"its call {receipt.call_id} is missing")
            return
        for part in ("key", "tool", "principal"):
            there, here = getattr(call, part), getattr(receipt, part)
            # a request without a key may be told of an earlier call in the same words
            if there != here and not (part == "key" and here is None):
                self._say(row, f"{part} {here}, but {there} in its call {call.call_id}")
        self._check_ending(receipt, call)

    def _check_ending(self, receipt: ReceiptRow, call: CallRow) -> None:
        """What a request was told must be an end that its call had."""
        attempts = self.attempts.get(call.call_id, {}).values()
        if receipt.answer_mac is None or receipt.code == STILL_RUNS:
            return
        gone = call.state == "succeeded" and call.result_mac is None
        ends = {each.code for each in attempts} | {call.code}
        if receipt.code not in ends | ({RESULT_GONE} if gone else set()):
            self._say(_receipt(receipt), f"code {receipt.code}, which no attempt ended with")
        if receipt.code is None and call.state != "succeeded":
            self._say(f"call {call.call_id}", f"answered as a success, but is {call.state}")

    def _check_calls(self) -> None:
        ran = Counter(receipt.call_id for receipt in self.receipts if receipt.disposition == "ran")
        effects: dict[str, CallRow] = {}
        for call in self.calls.values():
            self._check_call(call, ran[call.call_id])
            other = effects.setdefault(call.tool, call)
            if other.effect != call.effect:
                self._say(
                    f"call {call.call_id}",
                    f"{call.tool} is {call.effect} here, {other.effect} in call {other.call_id}",
                )
        self._check_same_answers()

    def _check_call(self, call: CallRow, ran: int) -> None:
        row, attempts = f"call {call.call_id}", self.attempts.get(call.call_id, {})
        if ran == 0:
            self._say(row, "has no receipt that ran it")
        numbers = set(range(1, max([*attempts, ran, 1]) + 1))
        for number in sorted(numbers - set(attempts)):
            self._say(f"attempt {call.call_id}/{number}", f"is missing; {ran} requests ran it")
        if (call.ended_at is None) != (call.state == "running"):
            self._say(row, f"is {call.state}, and ended at {call.ended_at}")
        died = sum((each.code, each.origin) == DIED for each in attempts.values())
        if died >= max(ran, 1) and died < len(attempts):
            self._say(row, f"{died} servers died of it, but only {ran} requests ran it")
        if call.ended_at is not None and call.ended_at < call.begun_at:
            self._say(row, "ended before it began")
        if (call.code is None) != (call.state in ("succeeded", "running")):
            self._say(row, f"is {call.state} with code {call.code}")
        if attempts:
            self._check_last(call, attempts[max(attempts)])
        for number, attempt in attempts.items():
            if number < max(attempts) and attempt.state == "succeeded" and call.effect != "safe":
                self._say(_attempt(attempt), "succeeded, and yet another attempt followed")

    def _check_job(self, job: JobRow) -> None:
        """A job is left behind by a call that succeeded, and stands in one of five places."""
        row, call = f"job {job.job_id}", self.calls[job.call_id]
        if call.state != "succeeded":
            self._say(row, f"its call {call.call_id} is {call.state}")
        if job.state not in JOB_STATES:
            self._say(row, f"is {job.state}, which no job can be")
        if (job.ended_at is None) != (job.state == "running"):
            self._say(row, f"is {job.state}, and ended at {job.ended_at}")

    def _check_last(self, call: CallRow, last: AttemptRow) -> None:
        """A call is as its last attempt, unless that is in doubt and a person said more of it."""
        row = f"call {call.call_id}"
        if call.resolved is not None:
            if last.state != "in_doubt" or call.state not in ("succeeded", "failed"):
                self._say(
                    row,
                    f"was resolved ({call.resolved}) to {call.state}, but {_attempt(last)} is"
                    f" {last.state}",
                )
            return
        for part in ("state", "code", "origin", "applied"):
            there, here = getattr(call, part), getattr(last, part)
            if there != here:
                self._say(row, f"{part} {there}, but {here} in {_attempt(last)}")

    def _check_same_answers(self) -> None:
        """A success ends a call for good: all who were told of it were told the same."""
        told: dict[str, ReceiptRow] = {}
        for receipt in self.receipts:
            call = self.calls.get(receipt.call_id or "")
            if call is None or call.effect == "safe" or call.call_id in self.jobs:
                continue
            if receipt.code is not None or receipt.answer_mac is None:
                continue
            first = told.setdefault(call.call_id, receipt)
            if first.answer_mac != receipt.answer_mac:
                self._say(_receipt(receipt), f"answered otherwise than {_receipt(first)}")

    def _say(self, row: str, what: str) -> None:
        self.problems.append(Problem(row, what))


def _receipt(row: ReceiptRow) -> str:
    return f"receipt {row.receipt_id} ({row.key} #{row.sender_attempt})"


def _attempt(row: AttemptRow) -> str:
    return f"attempt {row.call_id}/{row.number}"
