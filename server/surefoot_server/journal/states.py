"""The states of a call as data, and everything the answers table needs to know about them.

A call is one intent. It begins when its intent is committed, before its effect, and ends when its
outcome is committed, before its answer; between the two a crash leaves it `running` under an owner
that is dead. An attempt is one execution.

    (none) --begin--> running --finish--> succeeded | failed | in_doubt
    failed, in_doubt --retry--> running          only where `retry.decide` allows another attempt
                                                 (in doubt: only a transaction, for its inbox row
                                                 finds what was committed)
    running, owner dead --take_over--> running   under the new owner, which then asks the tool
"""

from enum import StrEnum


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


TRANSITIONS: dict[State | None, frozenset[State]] = {
    None: frozenset({State.RUNNING}),
    State.RUNNING: frozenset({State.RUNNING, State.SUCCEEDED, State.FAILED, State.IN_DOUBT}),
    State.FAILED: frozenset({State.RUNNING}),
    # Only a safe call runs again after success; its effect is none.
    State.SUCCEEDED: frozenset({State.RUNNING}),
    State.IN_DOUBT: frozenset({State.RUNNING}),
}
"""What may follow a state; `None` is a call that is not there yet."""
