"""What a journal writes, statement by statement; the same for every database it can be in.

Each function is one operation inside a transaction that `writer` begins and commits. It changes
rows and appends one event to the chain of this instance.
"""

from collections.abc import Callable
from typing import Any

from surefoot_server.journal.chain import Chain, Store
from surefoot_server.journal.records import (
    Closing,
    Earlier,
    Entry,
    Fenced,
    NewCall,
    Receipt,
    Row,
    Standing,
    Told,
)
from surefoot_server.journal.rows import (
    call_row,
    closing_row,
    error_json,
    job_row,
    parse_error,
    receipt_row,
    to_entry,
    to_json,
)
from surefoot_server.journal.states import Change, Delivery, Disposition, State, may
from surefoot_tools.errors import Applied, Origin
from surefoot_tools.jobs import JobEnd
from surefoot_tools.outcome import Error

Changed = list[tuple[str, Row]]


class Operations:
    """The operations of one server instance.

    Args:
        instance: Its name.
        clock: Seconds since the epoch that never go back; see `clock`.
    """

    def __init__(self, instance: str, clock: Callable[[], float]) -> None:
        self.instance = instance
        self.owner = instance
        self.chain = Chain(instance)
        self.now = clock

    def start(self, store: Store, pid: int, version: str) -> None:
        """Enter this instance, in the transaction that opens the journal."""
        _, head = self.chain.mark()
        now = self.now()
        names = {"instance": self.instance, "pid": pid, "version": version, "at": now}
        rows = store.execute("insert_instance", names | {"chain": head})
        self.chain.append(store, now, "start", _each("instance", rows))
        self.chain.seal(store)

    def end(self, store: Store) -> None:
        """Record the orderly end of this instance."""
        self._end(store, self.instance, "end")

    def bury(self, store: Store, instance: str) -> None:
        """Record the end of another one, which died."""
        self._end(store, instance, "bury")

    def _end(self, store: Store, instance: str, kind: str) -> None:
        now = self.now()
        rows = store.execute("end_instance", {"instance": instance, "at": now})
        if rows:
            self.chain.append(store, now, kind, _each("instance", rows))

    def begin(self, store: Store, call: NewCall, receipt: Receipt) -> Entry | None:
        """See `records.Journal.begin`."""
        row = call_row(call, self.owner)
        changed = _each("call", store.execute("insert_call", row))
        if not changed:
            names = {"principal": call.principal, "key": call.key}
            return one_entry(store.execute("find_key", names))
        changed += _each("attempt", store.execute("insert_attempt", row | {"number": 1}))
        changed += self._receive(store, receipt)
        self.chain.append(store, call.at, "begin", changed)
        return None

    def reopen(
        self,
        store: Store,
        seen: Standing,
        evidence: dict[str, Any],
        receipt: Receipt | None,
        closing: Closing | None,
    ) -> int | None:
        """See `records.Journal.reopen`."""
        _check(seen.state, Change.AGAIN, State.RUNNING)
        row = {
            "call_id": seen.call_id,
            "state": seen.state.value,
            "seen_owner": seen.owner,
            "owner": self.owner,
            "evidence": to_json(evidence),
        }
        changed = _each("call", store.execute("reopen_call", row))
        if not changed:
            return None
        if closing is not None:
            changed += _each("attempt", store.execute("close_attempt", closing_row(closing)))
        number: int = store.execute("last_attempt", {"call_id": seen.call_id})[0]["number"] + 1
        now = self.now()
        attempt = {"call_id": seen.call_id, "number": number, "owner": self.owner, "at": now}
        changed += _each("attempt", store.execute("insert_attempt", attempt))
        if receipt is not None:
            changed += self._receive(store, receipt)
        self.chain.append(store, now, "again", changed)
        return number

    def take_over(self, store: Store, seen: Standing) -> bool:
        """See `records.Journal.take_over`."""
        names = {"call_id": seen.call_id, "seen_owner": seen.owner, "owner": self.owner}
        changed = _each("call", store.execute("take_over", names))
        if changed:
            self.chain.append(store, self.now(), "take over", changed, {"from": seen.owner})
        return bool(changed)

    def finish(self, store: Store, closing: Closing) -> None:
        """See `records.Journal.finish`.

        Raises:
            Fenced: another owner has the call.
        """
        row = closing_row(closing)
        _check(State.RUNNING, Change.FINISH, State(row["state"]))
        calls = _close_call(store, row, self.owner)
        if not calls:
            self._explain_fence(store, closing)
        changed = _each("attempt", store.execute("close_attempt", row)) + _each("call", calls)
        if closing.receipt_id is not None:
            changed += _each("receipt", store.execute("close_receipt", row))
        if calls and closing.job is not None:
            changed += _each("job", store.execute("insert_job", job_row(closing.job)))
        if changed:
            self.chain.append(store, closing.at, "finish", changed)

    def end_job(self, store: Store, job_id: str, end: JobEnd) -> bool:
        """See `records.Journal.end_job`."""
        now = self.now()
        names = {
            "job_id": job_id,
            "state": end.state.value,
            "exit_code": end.exit_code,
            "signal": end.signal,
            "ended_at": now if end.at is None else end.at,
        }
        changed = _each("job", store.execute("end_job", names))
        if changed:
            self.chain.append(store, now, "job ended", changed)
        return bool(changed)

    def _explain_fence(self, store: Store, closing: Closing) -> None:
        found = one_entry(store.execute("find_call", {"call_id": closing.call_id}))
        # Of several attempts of a safe call, the last one to begin is the one that counts.
        if found is None or found.owner != self.owner:
            raise Fenced(f"call {closing.call_id} has another owner by now")

    def record(self, store: Store, receipt: Receipt) -> None:
        """See `records.Journal.record`."""
        changed = self._receive(store, receipt)
        if changed:
            self.chain.append(store, self.now(), receipt.disposition.value, changed)

    def resolve(
        self, store: Store, call_id: str, state: State, error: Error | None, said: str
    ) -> Row | None:
        """Write what a person said of a call in doubt; None if it is not in doubt."""
        _check(State.IN_DOUBT, Change.RESOLVE, state)
        now = self.now()
        names = {
            "call_id": call_id,
            "state": state.value,
            "error": error_json(error),
            "resolved": said,
            "at": now,
        }
        rows = store.execute("resolve_call", names)
        if not rows:
            return None
        self.chain.append(store, now, "resolve", _each("call", rows), {"said": said})
        return rows[0]

    def fold(self, store: Store, lines: list[Row], instance: str) -> None:
        """Write what waited in a spool; see `spool`. Lines folded before change nothing.

        Args:
            store: The transaction.
            lines: As `begin_safe`, `finish_safe` and `deliver` made them.
            instance: Whose they are.
        """
        begun = {line["call"]["call_id"]: line for line in lines if line["kind"] == "begin"}
        receipts = {line["receipt"]["receipt_id"]: line for line in begun.values()}
        rest: list[Row] = []
        for line in lines:
            if line["kind"] == "finish" and line["call_id"] in begun:
                begun[line["call_id"]]["closing"] = line
            elif line["kind"] == "delivery" and line["receipt_id"] in receipts:
                receipts[line["receipt_id"]]["delivery"] = line
            elif line["kind"] != "begin":
                rest.append(line)
        for line in begun.values():
            self._fold_call(store, line, instance)
        for line in rest:
            self._fold_line(store, line, instance)

    def _fold_call(self, store: Store, line: Row, instance: str) -> None:
        """One safe call, as far as it came; in one step when it is over."""
        closing: Row = line.get("closing") or {"state": "running", "error": None, "at": None}
        delivery: Row = line.get("delivery") or {"delivery": None, "at": None}
        ended = {"state": closing["state"], "error": closing["error"], "ended_at": closing["at"]}
        row = line["call"] | ended | {"owner": instance, "number": 1}
        changed = _each("call", store.execute("insert_ended_call", row))
        if not changed:  # folded before, by a server that died before it could empty the file
            self._fold_again(store, line, instance)
            return
        changed += _each("attempt", store.execute("insert_ended_attempt", row))
        told = {"delivery": delivery["delivery"], "delivery_at": delivery["at"]}
        if closing["at"] is not None:
            told |= {"answer_mac": closing["answer_mac"], "error": closing["error"]}
        receipt = line["receipt"] | told
        changed += _each("receipt", store.execute("insert_ended_receipt", receipt))
        self.chain.append(store, row["at"], "safe", changed)

    def _fold_again(self, store: Store, line: Row, instance: str) -> None:
        for part in ("closing", "delivery"):
            if part in line:
                self._fold_line(store, line[part], instance)

    def _fold_line(self, store: Store, line: Row, instance: str) -> None:
        if line["kind"] == "finish":
            changed = _each("call", _close_call(store, line, instance))
            if changed:
                changed += _each("attempt", store.execute("close_attempt", line))
                changed += _each("receipt", store.execute("close_receipt", line))
        else:
            changed = _each("receipt", store.execute("deliver_receipt", line))
        if changed:
            self.chain.append(store, line["at"], line["kind"], changed)

    def _receive(self, store: Store, receipt: Receipt) -> Changed:
        row = receipt_row(receipt, self.instance)
        return _each("receipt", store.execute("insert_receipt", row))


def begin_line(call: NewCall, receipt: Receipt, instance: str) -> Row:
    """The line of a safe call that begins."""
    row = call_row(call, instance)
    return {"kind": "begin", "call": row, "receipt": receipt_row(receipt, instance)}


def finish_line(closing: Closing) -> Row:
    """The line of a safe call that ends."""
    # Nobody can ask for the result again.
    return {"kind": "finish", **closing_row(closing), "result": None}


def delivery_line(receipt_id: str, delivery: Delivery, at: float) -> Row:
    """The line of an answer that arrived, or did not."""
    return {"kind": "delivery", "receipt_id": receipt_id, "delivery": delivery.value, "at": at}


def one_entry(rows: list[Row]) -> Entry | None:
    """The one call of these rows, if there is one."""
    return to_entry(rows[0]) if rows else None


def earlier(store: Store, principal: str, fingerprint: str, since: float) -> list[Earlier]:
    """See `records.Journal.earlier`."""
    names = {"principal": principal, "fingerprint": fingerprint, "since": since}
    found: list[Earlier] = []
    for row in store.execute("find_equal", names):
        receipts = store.execute("call_receipts", {"call_id": row["call_id"]})
        told = tuple(_told(each) for each in receipts)
        found.append(Earlier(to_entry(row), told))
    return found


def _close_call(store: Store, row: Row, owner: str) -> list[Row]:
    """The outcome of a call is that of its last attempt, whichever of several ends last."""
    # Not a part of the UPDATE: SQLite takes four times as long when its WHERE has a subquery.
    if store.execute("next_attempt", {"call_id": row["call_id"], "number": row["number"]}):
        return []
    return store.execute("close_call", row | {"owner": owner})


def _each(table: str, rows: list[Row]) -> Changed:
    return [(table, row) for row in rows]


def _check(before: State | None, change: Change, after: State) -> None:
    if not may(before, change, after):
        raise ValueError(f"a call may not go from {before} to {after} by {change}")


def _told(row: Row) -> Told:
    error = parse_error(row["error"])
    return Told(
        row["instance"],
        Disposition(row["disposition"]),
        None if row["delivery"] is None else Delivery(row["delivery"]),
        final=error is None or error.applied is not Applied.UNKNOWN,
        by_tool=error is not None and error.origin is Origin.TOOL,
    )
