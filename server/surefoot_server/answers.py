"""The errors that the server itself answers with, as opposed to those of its tools."""

import re
import time
from dataclasses import replace

from pydantic import ValidationError

from surefoot_server.call import repeat_note, repeating
from surefoot_server.journal.records import Entry
from surefoot_tools.errors import Applied, Code, Origin
from surefoot_tools.outcome import Error
from surefoot_tools.registry import AnyTool

SHOWN_PROBLEMS = 10
"""Problems of one call's arguments that are named."""


def unknown_tool(name: str, names: list[str]) -> Error:
    """The error of a call of a tool that is not there."""
    return Error(
        Code.UNIMPLEMENTED,
        Origin.MODEL,
        Applied.NO,
        f"there is no tool {name!r}",
        hint=f"The tools are: {', '.join(names)}.",
    )


def invalid_arguments(tool: AnyTool, error: ValidationError) -> Error:
    """All that is wrong with the arguments, by name; values are not repeated."""
    problems: dict[str, list[str]] = {}
    for problem in error.errors(include_url=False, include_input=False):
        problems.setdefault(_place(problem["loc"]), []).append(problem["msg"])
    shown = [f"{place}: {' or '.join(said)}" for place, said in problems.items()]
    names = ", ".join(tool.Arguments.model_fields)
    return Error(
        Code.INVALID_ARGUMENT,
        Origin.MODEL,
        Applied.NO,
        f"{tool.name}: " + "; ".join(shown[:SHOWN_PROBLEMS]),
        hint=f"The arguments of {tool.name} are: {names}.",
    )


def _place(location: tuple[int | str, ...]) -> str:
    """Where in the arguments a problem is; pydantic's names for members of a union say nothing."""
    parts = [str(part) for part in location if not re.search(r"[^\w]", str(part))]
    return ".".join(parts) or "arguments"


def key_conflict(key: str) -> Error:
    """The error of a key that names another call; nothing of that call is shown."""
    return Error(
        Code.INVALID_ARGUMENT,
        Origin.CLIENT,
        Applied.NO,
        f"key used for another call: {key!r} came before with another tool or other arguments",
        hint="Use a new key for a new intent; resend a call with exactly the same arguments.",
    )


def still_running(call_id: str, waited: float) -> Error:
    """The error of a caller whose patience ended before the call did; the run goes on."""
    return Error(
        Code.UNAVAILABLE,
        Origin.SERVER,
        Applied.UNKNOWN,
        f"call {call_id} is still running after {waited:.0f} s; it goes on",
        hint="Send the same key again to wait for its end.",
        retry_after=1.0,
    )


def server_died(applied: Applied) -> Error:
    """The error of an attempt whose server died under it."""
    return Error(Code.UNAVAILABLE, Origin.SERVER, applied, "the server died during this attempt")


def in_doubt(known: str, seen: Entry, tool: AnyTool) -> Error:
    """The error of a call of which nobody can tell whether its effect happened.

    Args:
        known: All that is known.
        seen: The call.
        tool: Its tool.
    """
    return explained(Error(Code.UNKNOWN, Origin.SERVER, Applied.UNKNOWN, known), seen, tool)


def explained(error: Error, seen: Entry, tool: AnyTool) -> Error:
    """What is known of a call in doubt, since when, and the ways out."""
    if error.message.startswith(_IN_DOUBT):
        return error
    ways_out = (
        "Look at what it may have done. To do it (again) on purpose, send it under a new key,"
        f" or without a key with {repeating(tool)}. Who knows what became of it can say so:"
        f" surefoot journal resolve {seen.key or seen.call_id} happened|not-happened --reason '...'"
    )
    return replace(
        error,
        message=f"{_IN_DOUBT}, begun at {_at(seen.begun_at)}: {error.message}."
        " It is not run again by itself.",
        hint=f"{error.hint} {ways_out}" if error.hint else ways_out,
    )


_IN_DOUBT = "in doubt"


def _at(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def result_gone(entry: Entry) -> Error:
    """The error of a call that was done, and whose result is not kept any more."""
    at = _at(entry.ended_at or entry.begun_at)
    said = f" ({entry.resolved})" if entry.resolved else ""
    return Error(
        Code.FAILED_PRECONDITION,
        Origin.CLIENT,
        Applied.YES,
        f"done at {at}{said}, result no longer kept",
        hint="Do not send it again: look at the state that it left.",
    )


def too_late() -> Error:
    """The error of a request whose deadline is over before anything began."""
    return Error(
        Code.DEADLINE_EXCEEDED,
        Origin.CLIENT,
        Applied.NO,
        "the deadline of this request was over when it arrived",
        hint="Send it again with a later deadline, under the same key.",
    )


def foreign_roots(reason: str) -> Error:
    """The error of a request whose principal was given roots that this server does not have."""
    return Error(
        Code.PERMISSION_DENIED,
        Origin.POLICY,
        Applied.NO,
        f"your token names roots that are not this server's: {reason}",
        hint="Ask whoever runs this server for a token with roots inside of its own.",
    )


def with_repeat_hint(error: Error, tool: AnyTool) -> Error:
    """The same error, for a caller without a key who may mean the call once more."""
    note = repeat_note(tool)
    said = f"{error.hint} {note}" if error.hint else note
    return replace(error, hint=said)


def journal_unavailable(reason: str, applied: Applied) -> Error:
    """No journal, no effect: what cannot be recorded is not begun."""
    hint = "Send the same key again later to learn what became of it."
    if applied is Applied.NO:
        hint = "Nothing was done; try again later."
    return Error(Code.UNAVAILABLE, Origin.SERVER, applied, reason, hint=hint)


def run_stopped() -> Error:
    """The error of a request whose run was stopped by somebody else, or by the server's end."""
    return Error(
        Code.UNAVAILABLE,
        Origin.SERVER,
        Applied.UNKNOWN,
        "the run was stopped before it ended; the journal knows how far it came",
        hint="Send the same key again to learn what became of it.",
    )
