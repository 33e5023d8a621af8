"""COMMIT cut between client and PostgreSQL; whoever waits repeats blindly, under the same key.

`TORTURE=full` makes 1,000 cuts. Cut in turn: the COMMIT never arrives; it arrives after the next
attempt has begun; it has happened, and its answer never arrives.
"""

import itertools
import os
from dataclasses import dataclass, field

import pytest
from tests.support.at_postgres import ask, execute
from tests.support.cutter import Cut, Cutter
from tests.support.execute import a_context
from tests.support.postgres import Postgres

from surefoot_tools.errors import Applied, ToolError
from surefoot_tools.outcome import Error
from surefoot_tools.retry import decide
from surefoot_tools.tool import Effect

pytestmark = pytest.mark.anyio

CUTS = 1000 if os.environ.get("TORTURE") == "full" else 42
ROUNDS_CUT_TWICE = 5
"""In each round of so many, the second attempt is cut as well."""


@dataclass
class Ledger:
    """What was asked for and answered, beside what is in the database."""

    url: str
    cutter: Cutter
    in_doubt: int = 0
    answers: dict[int, int] = field(default_factory=dict[int, int])
    """By intent, the number of the row that the last attempt told."""

    async def insist(self, intent: int, cuts: list[Cut], *, fresh_keys: bool) -> None:
        """Carry out one intent: attempts, until one is answered."""
        for attempt in itertools.count():
            self.cutter.next = cuts[attempt] if attempt < len(cuts) else None
            key = f"intent:{intent}:{attempt}" if fresh_keys else f"intent:{intent}"
            try:
                result = await execute(
                    self.cutter.url(self.url),
                    "insert into balance(amount) values (1) returning id",
                    {"sql": "insert into effect(intent) values ($1)", "parameters": [intent]},
                    context=a_context(key),
                )
            except ToolError as error:
                assert error.applied is Applied.UNKNOWN, error.message
                assert decide(Error.of(error), Effect.TRANSACTIONAL).again
                self.in_doubt += 1
                continue
            self.answers[intent] = int(str(result.results[0].rows[0][0]))
            return

    def counts(self) -> tuple[int, int, int]:
        """Intents lost, intents doubled, and rows in all."""
        found = dict(ask(self.url, "select intent, count(*) from effect group by intent"))
        lost = sum(1 for intent in self.answers if intent not in found)
        return lost, sum(1 for count in found.values() if count > 1), sum(found.values())


async def run_rounds(postgres: Postgres, cuts: int, *, fresh_keys: bool) -> Ledger:
    """Intents one after another until so many COMMITs are cut."""
    url = postgres.fresh_database()
    ask(url, "create table balance(id integer generated always as identity, amount int)")
    ask(url, "create table effect(intent int)")
    kinds = itertools.cycle(Cut)
    async with Cutter(postgres.port).open() as cutter:
        ledger = Ledger(url, cutter)
        await ledger.insist(0, [], fresh_keys=fresh_keys)  # makes the inbox
        for intent in itertools.count(1):
            twice = intent % ROUNDS_CUT_TWICE == 0
            await ledger.insist(
                intent, list(itertools.islice(kinds, 2 if twice else 1)), fresh_keys=fresh_keys
            )
            if len(cutter.cuts) >= cuts:
                break
        assert ledger.in_doubt >= cuts
        assert set(cutter.cuts) == set(Cut)
    return ledger


async def test_cut_commits_double_nothing_and_lose_nothing(postgres: Postgres) -> None:
    """Guard: `postgres_inbox.claim`."""
    ledger = await run_rounds(postgres, CUTS, fresh_keys=False)
    lost, doubled, rows = ledger.counts()
    print(f"{len(ledger.cutter.cuts)} COMMITs cut: {doubled} doubled, {lost} lost")
    assert (lost, doubled) == (0, 0)
    assert rows == len(ledger.answers)
    # What the last attempt told is what is there, also where it was the first that did it.
    told = sorted(ledger.answers.values())
    assert told == [row[0] for row in ask(ledger.url, "select id from balance order by id")]


async def test_a_fresh_key_for_each_attempt_doubles(postgres: Postgres) -> None:
    """The control: that nothing doubles above is the key's doing, not the cutter's leniency."""
    ledger = await run_rounds(postgres, 9, fresh_keys=True)
    lost, doubled, rows = ledger.counts()
    arrived = sum(1 for cut in ledger.cutter.cuts if cut is not Cut.BEFORE)
    assert (lost, rows - len(ledger.answers)) == (0, arrived)
    assert doubled > 0
