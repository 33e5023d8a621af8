"""`docs/states.md`, drawn from `states`: the theory, the answers table, the states of a call.

`python -m surefoot_server.journal.diagram > docs/states.md`; a test holds the page against this.
"""

import inspect
import sys
from collections.abc import Iterable, Iterator, Mapping

from surefoot_server.journal import states
from surefoot_server.journal.states import ANSWERS, TRANSITIONS, Delivery, Disposition, State
from surefoot_tools.jobs import JobState

HEAD = """# States and answers

This page is generated: `python -m surefoot_server.journal.diagram > docs/states.md`. It says what
`server/surefoot_server/journal/states.py` says; the journal refuses every other change of state."""
DISPOSITIONS: dict[Disposition, str] = {
    Disposition.RAN: "it began a call, or another attempt of one",
    Disposition.JOINED: "it waited for a run that had begun before it",
    Disposition.REPLAYED: "it was told the stored outcome, or that the result is no longer kept",
    Disposition.IN_DOUBT: "it was told that nobody knows, and what is known",
    Disposition.CONFLICT: "its key is used for another call",
    Disposition.DENIED: "the policy forbids it; it took no key",
    Disposition.INVALID: "it could not be read, or its arguments are wrong; it took no key",
}
DELIVERIES: dict[Delivery, str] = {
    Delivery.DELIVERED: "fully written to the transport, before any cancel of its request",
    Delivery.STOPPED: "the request was cancelled, and that stopped its call: that is the answer",
    Delivery.LOST: "the connection went away, the server died, or the call outran its cancel",
}

JOBS: dict[JobState, str] = {
    JobState.RUNNING: "no end is recorded yet",
    JobState.EXITED: "it came to its own end, whatever its exit status",
    JobState.TIMED_OUT: "its own timeout was over",
    JobState.STOPPED: "somebody ended it, or its server died and nobody came for it in the grace",
    JobState.LOST: "its supervisor died, or its record is gone, so nobody knows how it ended",
}


def page() -> str:
    """The page, in Markdown."""
    theory = (inspect.getdoc(states) or "").split("\n\n", 1)[1]
    parts = [
        HEAD,
        theory,
        "## What a request under a known key is told",
        "First match wins, top down.",
        _table(("", "the key is", "what is done"), _answers()),
        "## States of a call",
        _diagram(),
        _table(("from", "by", "to", "when"), _transitions()),
        "## States of a job",
        _table(("state", "meaning"), _named(JOBS)),
        "## What was done about a request",
        _table(("disposition", "meaning"), _named(DISPOSITIONS)),
        "## What became of an answer",
        "Nothing is recorded while that is open.",
        _table(("delivery", "meaning"), _named(DELIVERIES)),
    ]
    return "\n\n".join(parts) + "\n"


def _answers() -> Iterator[tuple[str, ...]]:
    for number, row in enumerate(ANSWERS, start=1):
        yield str(number), row.the_key_is, row.reply.value


def _transitions() -> Iterator[tuple[str, ...]]:
    for each in TRANSITIONS:
        yield _name(each.before), each.change.value, _name(each.after), each.when


def _named(
    words: Mapping[Disposition, str] | Mapping[Delivery, str] | Mapping[JobState, str],
) -> Iterator[tuple[str, ...]]:
    for name, meaning in words.items():
        yield name.value.replace("_", " "), meaning


def _diagram() -> str:
    """A state diagram in Mermaid, which code hosts draw."""
    lines = ["```mermaid", "stateDiagram-v2"]
    for each in TRANSITIONS:
        before = "[*]" if each.before is None else each.before.value
        # A label of Mermaid ends at a semicolon, and at a second colon.
        said = f"{each.change.value} ({each.when})".replace(";", ",").replace(":", ",")
        lines.append(f"    {before} --> {each.after.value}: {said}")
    return "\n".join([*lines, "```"])


def _name(state: State | None) -> str:
    return "not there" if state is None else state.value.replace("_", " ")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


if __name__ == "__main__":
    sys.stdout.write(page())
