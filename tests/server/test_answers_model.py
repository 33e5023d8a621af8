"""The answers table against a model: random histories of requests, crashes, doubt and time."""

import os

from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from tests.support.answers_model import (
    ATTEMPTS,
    FAILURES,
    REFUSED,
    RETRIED,
    lost_answer,
    must,
    run,
    stop,
)
from tests.support.answers_play import Played
from tests.support.identity import unbalanced
from tests.support.scripted import Plan
from tests.support.torture import rounds

from surefoot_server import accounting
from surefoot_server.journal.records import Row
from surefoot_server.journal.states import TRANSITIONS, Delivery, State
from surefoot_tools.errors import Applied, Code, Origin
from surefoot_tools.outcome import Error
from surefoot_tools.tool import Effect

KEYS = ("k1", "k2", "k3")
DAY = 86400.0
servers = st.integers(0, 1)
effects = st.sampled_from(list(Effect))
harmful = st.sampled_from([each for each in Effect if each is not Effect.SAFE])
labels = st.sampled_from("ab")
keys = st.sampled_from(KEYS)
failing = st.lists(st.sampled_from([Plan(), *FAILURES]), max_size=ATTEMPTS)
deliveries = st.sampled_from([Delivery.DELIVERED, Delivery.DELIVERED, Delivery.LOST, None])


class Answers(Played):
    """Two servers and what the table says that they must answer."""

    # Rules: requests.

    @rule(n=servers, effect=effects, label=labels, key=keys, plans=failing, delivery=deliveries)
    def send(
        self,
        n: int,
        effect: Effect,
        label: str,
        key: str,
        plans: list[Plan],
        delivery: Delivery | None,
    ) -> None:
        """A request with a key."""
        assume(n in self.up)
        if effect is Effect.SAFE:
            plans = [each for each in plans if each in (Plan(), RETRIED, REFUSED)]
        call = self.under(key)
        says = must(call, effect, label)
        if says == "join":
            assert call is not None
            self.join(n, call, key)
            return
        if says == "run":
            call = call or self.new(effect, label, key)
            self.site.world.plans.extend(plans)
            run(call, plans := list(plans))
        self.check(self.ask(n, effect, label, delivery, key=key), says, call)
        self.tried(plans, says)
        if says != "conflict" and call is not None:
            self.note(call, n, delivery, says)

    @rule(
        n=servers,
        effect=harmful,
        label=labels,
        plans=failing,
        delivery=deliveries,
        repeat=st.sampled_from([False, False, True]),
    )
    def send_without_a_key(
        self,
        n: int,
        effect: Effect,
        label: str,
        plans: list[Plan],
        delivery: Delivery | None,
        repeat: bool,
    ) -> None:
        """A request that knows of earlier ones only what the journal does."""
        assume(n in self.up)
        says, call = "run", None
        while not repeat:
            call = lost_answer(self.calls, effect, label, self.site.at, self.dead)
            if call is None:
                break
            fresh = call.state == "running" and call.orphan
            again, call.again = call.again, False
            says = must(call, effect, label)
            if call.state != "running" and not fresh:
                call.again = again
            if says == "run" and not call.orphan:
                says = "run"
                continue  # it turned out to have had no effect: that is no doubt any more
            break
        if says == "join":
            assert call is not None
            self.join(n, call, None)
            return
        if says == "run":
            call = call or self.new(effect, label, None, repeated=repeat)
            self.site.world.plans.extend(plans)
            run(call, plans := list(plans))
        assert call is not None
        answer = self.ask(n, effect, label, delivery, repeat=repeat)
        self.check(answer, says, call)
        self.tried(plans, says)
        self.note(call, n, delivery, says)

    @rule(
        n=servers,
        effect=harmful,
        label=labels,
        key=keys,
        where=st.sampled_from(["before", "after"]),
        survives=st.booleans(),
    )
    def send_what_hangs(
        self, n: int, effect: Effect, label: str, key: str, where: str, survives: bool
    ) -> None:
        """A request with a key whose run waits to be released."""
        assume(n in self.up)
        call = self.under(key)
        assume(must(call, effect, label) == "run")
        call = call or self.new(effect, label, key)
        plan = Plan(hang=where, survives=survives and effect is Effect.AT_MOST_ONCE)
        call.hang(plan, self.life[n])
        self.site.world.plans.append(plan)
        self.wait(n, call, key, origin=True)
        assert not self.site.world.plans

    # Rules: what ends a run.

    @precondition(lambda self: bool(self.running()))
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """A run comes to its end."""
        call = data.draw(st.sampled_from(self.running()))
        if call.plan.hang == "before":
            call.happen()
        call.end("succeeded", None)

        async def go() -> None:
            for going in self.site.world.hung():
                if going.intent == f"local/{call.key}":
                    going.released.set()

        self.do(go)
        self.answered(call)

    @precondition(lambda self: bool(self.waiting))
    @rule(data=st.data(), lost=st.booleans())
    def leave(self, data: st.DataObject, lost: bool) -> None:
        """A caller gives up, or its connection goes away."""
        each = data.draw(st.sampled_from(self.waiting))
        call = each.call
        alone = self.alone(each)
        self.waiting.remove(each)

        async def go() -> None:
            each.sending.request.connection.lost = lost
            each.sending.scope.cancel()
            await each.sending.done.wait()

        if alone and not lost:
            stop(call)
        self.do(go)
        # What comes to its end in spite of a cancel is an answer that nobody reads.
        stopped = alone and not lost and call.state != "succeeded"
        each.sent.delivery = "stopped" if stopped else "lost"
        if call.state != "running":
            self.answered(call)

    @precondition(lambda self: len(self.up) == 2)
    @rule(n=servers)
    def crash(self, n: int) -> None:
        """Kill a server; the other one lives."""
        life = self.life[n]
        elsewhere = [e for e in self.waiting if e.call.server == life and e.sent.server != life]
        assume(not elsewhere)
        self.waiting = [each for each in self.waiting if each.sent.server != life]
        self.do(self.up.pop(n).crash)
        del self.life[n]
        for call in self.calls:
            if call.server == life:
                call.server, call.orphan = None, True

    @precondition(lambda self: len(self.up) == 1)
    @rule()
    def start_again(self) -> None:
        """Start the server that was killed."""
        self.restart(1 - next(iter(self.up)))

    @rule(n=servers)
    def keep_house(self, n: int) -> None:
        """A round over what dead servers left."""
        assume(n in self.up)
        self.do(self.up[n].executor.housekeeping.recover)
        self.settle_all(n)

    @precondition(lambda self: any(each.orphan for each in self.calls))
    @rule()
    def write_over(self) -> None:
        """Somebody else writes where verifiable calls of dead servers were at work."""
        for call in self.calls:
            if call.orphan and call.effect is Effect.VERIFIABLE:
                self.site.world.places[f"local/{call.key}"] = "of a stranger"
                call.spoiled = True

    @precondition(lambda self: any(each.state == "in_doubt" for each in self.calls))
    @rule(data=st.data(), happened=st.booleans())
    def resolve(self, data: st.DataObject, happened: bool) -> None:
        """A person says what became of a call in doubt."""
        doubted = [each for each in self.calls if each.state == "in_doubt" and each.key]
        assume(doubted)
        call = data.draw(st.sampled_from(doubted))
        ((call_id,),) = self.query("SELECT call_id FROM call WHERE key = :key", key=call.key)
        journal = next(iter(self.up.values())).journal
        error = Error(Code.ABORTED, Origin.CLIENT, Applied.NO, "did not happen", retry_after=0.0)
        call.doubted = False
        if happened:
            assert self.do(journal.resolve, call_id, State.SUCCEEDED, None, "happened")
            call.end("succeeded", None)
            call.kept = False
        else:
            assert self.do(journal.resolve, call_id, State.FAILED, error, "not happened")
            call.end("failed", "no", again=True)
            call.resolved = True

    # Rules: time.

    @rule()
    def a_quarter_of_an_hour(self) -> None:
        """The time after which a lost answer is no reason for doubt."""
        self.site.at += 900.001

    @precondition(lambda self: not any(each.state == "running" for each in self.calls))
    @rule(forget=st.booleans())
    def time_passes(self, forget: bool) -> None:
        """Results expire after a week, keys are forgotten after ninety days."""
        self.site.at += (90 if forget else 7) * DAY + 1
        self.do(next(iter(self.up.values())).executor.housekeeping.retain)
        for call in self.calls:
            call.kept = False
        if forget:
            self.calls.clear()
            world = self.site.world
            for each in (world.effects, world.places, world.inbox, world.runs):
                each.clear()

    # What always holds.

    @invariant()
    def each_effect_happened_as_often_as_it_should(self) -> None:
        """Once at most, unless a person said that it had not."""
        world = self.site.world
        for call in self.calls:
            if call.key is not None and call.effect is not Effect.SAFE:
                assert world.effects[f"local/{call.key}"] == call.happened, call
                once = call.effect is not Effect.IDEMPOTENT and not call.resolved
                assert call.happened <= 1 or not once, call
        own = sum(call.happened for call in self.calls if call.effect is not Effect.SAFE)
        assert world.effects.total() == own

    @invariant()
    def the_journal_is_as_it_was_written(self) -> None:
        """Its chains hold, its calls moved as they may, and its books add up."""
        assert self.portal.call(self.site.verify).problems == []
        allowed = {(each.before, each.after.value) for each in TRANSITIONS}
        for before, after in self.query("SELECT DISTINCT before, after FROM moved"):
            assert (before, after) in allowed, (before, after)
        database = self.site.memory.database

        # The servers' loop runs in a thread of its own, and so does every use of the rows.
        def rows(name: str) -> list[Row]:
            return database.execute(name, {})

        book = self.portal.call(accounting.ledger_of, b"", rows)
        journal = next(iter(self.up.values())).journal

        async def report() -> accounting.Report:
            return await accounting.report(journal, since=0.0, tool=None, limit=5)

        wrong = unbalanced(self.portal.call(report), book)
        assert wrong == [], wrong
        states = sorted(each.state for each in self.calls)
        assert sorted(each.state for each in book.calls) == states


TestAnswers = Answers.TestCase
TestAnswers.settings = settings(
    max_examples=rounds(fast=12, ci=200, full=200),
    stateful_step_count=rounds(fast=30, ci=50, full=50),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    print_blob=True,
    derandomize=os.environ.get("TORTURE", "fast") == "fast",
)
