"""The driver's side of the books, where it is over HTTP, or of several drivers."""

from typing import Any

import pytest

from surefoot_client.ledger import Ledger
from surefoot_client.reconcile import Balance, reconcile
from surefoot_client.record import Answered, Ended, Proposed, Record, RunStarted, Sent, TrialEnded

REFUSED: dict[str, Any] = {
    "result": "answered",
    "is_error": True,
    "text": "HTTP 401 Unauthorized",
    "error": {"code": "UNAUTHENTICATED", "origin": "client", "applied": "no"},
    "protocol_error": -32600,
}


def balance(answer: dict[str, Any], *, driver: int | None = None, key: str = "r:t:1:0") -> Balance:
    """Of a run of one send, of which the server has nothing."""
    about: dict[str, Any] = {"trial": "t", "driver": driver, "key": key}
    call: dict[str, Any] = {"tool": "count", "arguments": {}}
    records: list[Record] = [
        RunStarted(run="r", suite="s", suite_hash="h", trials=1),
        Proposed(turn=1, step="1.0", **about, **call),
        Sent(attempt=1, **about, **call),
        Answered(attempt=1, latency_ms=1.0, **about, **answer),
        TrialEnded(trial="t", outcome=Ended.FAILED, turns=1, invocations=1, sends=1),
    ]
    return reconcile(records, Ledger([], [], [], repr))


def test_a_send_that_http_turned_away_never_arrived_and_any_other_answer_needs_a_receipt() -> None:
    """Guard: `Book._return`."""
    turned_away = balance(REFUSED | {"http_status": 401})
    assert turned_away.problems == ()
    assert (turned_away.sends, turned_away.never_arrived) == (1, 1)
    (problem,) = balance(REFUSED).problems
    assert str(problem) == "send r:t:1:0 #1: was answered, but its receipt is missing"


@pytest.mark.parametrize(
    ("driver", "key", "sound"),
    [
        (3, "r:t-d3:1:0", True),
        (None, "r:t:1:0", True),
        (3, "r:t-d2:1:0", False),
        (3, "r:t:1:0", False),
        (None, "r:t-d3:1:0", False),
    ],
)
def test_a_key_is_of_the_driver_that_sent_it(driver: int | None, key: str, sound: bool) -> None:
    """Guard: `Book._check_send`."""
    problems = balance({"result": "lost", "lost": "closed"}, driver=driver, key=key).problems
    scope = "t" if driver is None else f"t-d{driver}"
    said = f"send {key} #1: its key is not one of this run and of trial {scope}"
    assert [str(problem) for problem in problems] == ([] if sound else [said])
