"""The states of a call and the answers table, as data.

Theory. A call is one intent. It begins when its intent is committed, before its effect, and ends
when its outcome is committed, before its answer. Between the two a crash leaves it `running` under
an owner that is dead; whether its effect happened is then not known to the journal, only to what
the effect left behind, so the tool is asked. An attempt is one execution. The state of a call is
that of its last attempt, or what a person said of a call in doubt.

What a request under a known key is told depends on five facts alone (`Seen`): whether the call has
this fingerprint, its state, whether its owner lives, whether another attempt is allowed, and
whether its result is still kept. `ANSWERS` lists what is seen and what is done about it; the first
row that holds wins. `TRANSITIONS` lists every change of state that the journal accepts; both are
walked by a model in the tests, and `docs/states.md` is drawn from them.

A job is what a call leaves behind that goes on. Its row begins with the end of the call, in one
transaction, and ends once, by whichever server is first to look at its record on disk. A stored
answer that names a job is told as the job is now.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from surefoot_tools.tool import Effect


class State(StrEnum):
    """Where a call or an attempt stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"


class Disposition(StrEnum):
    """What was done about one request received."""

    RAN = "ran"
    JOINED = "joined"
    REPLAYED = "replayed"
    IN_DOUBT = "in_doubt"
    CONFLICT = "conflict"
    DENIED = "denied"
    INVALID = "invalid"


class Delivery(StrEnum):
    """What became of an answer on its way; nothing is recorded while that is open."""

    DELIVERED = "delivered"
    """Fully written to the transport, before any cancel of its request."""
    STOPPED = "stopped"
    """The request was cancelled and that stopped its call: the cancel is the answer."""
    LOST = "lost"
    """The connection went away, the server died, or the call completed in spite of a cancel."""


class Change(StrEnum):
    """What moves a call from one state to another."""

    BEGIN = "begin"
    FINISH = "finish"
    AGAIN = "again"
    """Another attempt."""
    TAKE_OVER = "take over"
    """Its owner is dead; the new one asks the tool."""
    RESOLVE = "resolve"
    """A person says what became of it."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of state that the journal accepts."""

    before: State | None
    """None: the call is not there yet."""
    change: Change
    after: State
    when: str
    """In words."""


TRANSITIONS: tuple[Transition, ...] = (
    Transition(None, Change.BEGIN, State.RUNNING, "its intent is committed"),
    Transition(State.RUNNING, Change.FINISH, State.SUCCEEDED, "it came to a result"),
    Transition(State.RUNNING, Change.FINISH, State.FAILED, "it failed, and its effect is known"),
    Transition(State.RUNNING, Change.FINISH, State.IN_DOUBT, "nobody knows its effect"),
    Transition(
        State.RUNNING, Change.AGAIN, State.RUNNING, "its attempt failed and may be repeated"
    ),
    Transition(State.RUNNING, Change.TAKE_OVER, State.RUNNING, "its owner is dead"),
    Transition(State.FAILED, Change.AGAIN, State.RUNNING, "it had no effect and may be repeated"),
    Transition(State.SUCCEEDED, Change.AGAIN, State.RUNNING, "it is safe"),
    Transition(
        State.IN_DOUBT,
        Change.AGAIN,
        State.RUNNING,
        "it is a transaction, whose inbox row finds what committed; or it is idempotent",
    ),
    Transition(State.IN_DOUBT, Change.RESOLVE, State.SUCCEEDED, "a person says that it happened"),
    Transition(State.IN_DOUBT, Change.RESOLVE, State.FAILED, "a person says that it did not"),
)
"""Every change of state; what is not here is refused."""


def may(before: State | None, change: Change, after: State) -> bool:
    """Whether the journal accepts a change of state."""
    return any(
        (each.before, each.change, each.after) == (before, change, after) for each in TRANSITIONS
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """What a request finds under its key."""

    known: bool
    same: bool = True
    """Whether the call has this request's fingerprint."""
    effect: Effect = Effect.AT_MOST_ONCE
    state: State = State.RUNNING
    alive: bool = True
    """Whether the owner of a running call lives, and still carries it out."""
    again: bool = False
    """Whether `retry.decide` allows another attempt after its error."""
    expired: bool = False
    """Whether its result is no longer kept, or was never known."""


class Reply(StrEnum):
    """What is done about a request."""

    RUN = "run it"
    CONFLICT = "refuse it: the key is used for another call"
    RUN_AGAIN = "run it as the next attempt of the same call"
    JOIN = "join: wait for that run"
    RECOVER = "ask the tool what became of it"
    GONE = "say that it was done, and that its result is no longer kept"
    REPLAY = "the stored outcome, marked as replayed"
    EXPLAIN = "say all that is known, and the ways out"


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One row of the answers table."""

    the_key_is: str
    holds: Callable[[Seen], bool]
    reply: Reply


ANSWERS: tuple[AnswerRow, ...] = (
    AnswerRow("new", lambda seen: not seen.known, Reply.RUN),
    AnswerRow("known, with another fingerprint", lambda seen: not seen.same, Reply.CONFLICT),
    AnswerRow("of a safe call", lambda seen: seen.effect is Effect.SAFE, Reply.RUN_AGAIN),
    AnswerRow(
        "running, here or in another live server",
        lambda seen: seen.state is State.RUNNING and seen.alive,
        Reply.JOIN,
    ),
    AnswerRow(
        "begun by a server that died", lambda seen: seen.state is State.RUNNING, Reply.RECOVER
    ),
    AnswerRow(
        "ended, and another attempt can do no harm",
        lambda seen: seen.again,
        Reply.RUN_AGAIN,
    ),
    AnswerRow("in doubt", lambda seen: seen.state is State.IN_DOUBT, Reply.EXPLAIN),
    AnswerRow("ended, its result not kept", lambda seen: seen.expired, Reply.GONE),
    AnswerRow("ended", lambda _seen: True, Reply.REPLAY),
)
"""First match wins, top down. The order differs from the text of DESIGN.md only where its rows
cannot both hold, but for 'ended, body expired', which must come before 'ended'."""


def reply(seen: Seen) -> Reply:
    """The row of the answers table that holds."""
    return next(row.reply for row in ANSWERS if row.holds(seen))
