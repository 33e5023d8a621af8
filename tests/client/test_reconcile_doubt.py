"""Calls in doubt in the books: what a person said of them is not named as a difference."""

import pytest

from surefoot_client.ledger import AttemptRow, CallRow, Ledger
from surefoot_client.reconcile import reconcile


def problems_of(state: str, resolved: str | None, last: str = "in_doubt") -> list[str]:
    """What is wrong with a call whose last attempt is in doubt, but for its missing receipt."""
    failed = ("UNKNOWN", "server", "unknown")
    ended = failed if state != "succeeded" else (None, None, None)
    call = CallRow("c", "local", None, "t", "at_most_once", state, *ended, None, resolved, 1.0, 2.0)
    attempt = AttemptRow("c", 1, last, *failed)
    balance = reconcile([], Ledger([], [call], [attempt], str))
    return [str(each) for each in balance.problems if "no receipt" not in str(each)]


def test_a_call_in_doubt_of_which_a_person_said_what_became_is_not_named() -> None:
    assert problems_of("succeeded", "it happened") == []
    assert problems_of("failed", "it did not happen") == []


@pytest.mark.parametrize(
    ("state", "said", "last"),
    [
        ("succeeded", None, "in_doubt"),
        ("in_doubt", "it happened", "in_doubt"),
        ("failed", "it did not happen", "failed"),
    ],
)
def test_a_call_unlike_its_last_attempt_that_nobody_resolved_is_named(
    state: str, said: str | None, last: str
) -> None:
    """Guard: `_Reconciling._check_last`."""
    assert any("call c" in problem for problem in problems_of(state, said, last))
