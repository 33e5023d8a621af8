"""Why a first attempt did not succeed: ordered rules, first match wins, no judgement by a model."""

from enum import StrEnum

from surefoot_client.connection import Answer, Lost
from surefoot_client.record import LostReason
from surefoot_tools.errors import Code, Origin


class Cause(StrEnum):
    """Whose fault it was, and what."""

    MODEL_MALFORMED_CALL = "model.malformed_call"
    """Arguments that are no JSON object."""
    MODEL_UNKNOWN_TOOL = "model.unknown_tool"
    """A tool that was not offered."""
    TRANSPORT = "transport"
    """The answer, or the connection, was lost."""
    TIMEOUT_DRIVER = "timeout.driver"
    """No answer within the driver's own timeout."""
    PROTOCOL = "protocol"
    """The request was refused, or its answer was none, at the level of JSON-RPC."""
    TIMEOUT_TOOL = "timeout.tool"
    """What the tool did ran out of time."""
    MODEL_BAD_ARGUMENTS = "model.bad_arguments"
    """Arguments that the tool does not take."""
    MODEL_OTHER = "model.other"
    """Another failure that the server puts down to the model: a file that is not there."""
    POLICY = "policy"
    """Not allowed."""
    ENVIRONMENT = "environment"
    """Disk, database or network."""
    SERVER = "server"
    """A bug of the server, or a call that is in doubt there."""
    TOOL = "tool"
    """The tool failed, and no more is known."""
    POSTCONDITION = "postcondition"
    """The tool said that it is done, and the result is not what the step is for."""
    SERVER_RETRY = "server.retry"
    """The server needed more than one execution."""


def of_first(first: Answer | Lost, *, offered: bool) -> Cause:
    """The cause, when the first send of a first proposal was not a success.

    Args:
        first: What came of the first send; a success only if the server needed several executions.
        offered: Whether the server lists the tool.
    """
    if not offered:
        return Cause.MODEL_UNKNOWN_TOOL
    if isinstance(first, Lost):
        return _of_loss(first.reason)
    if not first.is_error:
        return Cause.SERVER_RETRY
    if first.protocol_error is not None:
        return Cause.PROTOCOL
    return _of_error(first.error or {})


def _of_loss(reason: LostReason) -> Cause:
    if reason is LostReason.TIMEOUT:
        return Cause.TIMEOUT_DRIVER
    return Cause.PROTOCOL if reason is LostReason.UNREADABLE else Cause.TRANSPORT


def _of_error(error: dict[str, object]) -> Cause:
    code, origin = error.get("code"), error.get("origin")
    if code == Code.DEADLINE_EXCEEDED:
        return Cause.TIMEOUT_TOOL
    if code == Code.INVALID_ARGUMENT and origin == Origin.MODEL:
        return Cause.MODEL_BAD_ARGUMENTS
    by_origin = {
        Origin.MODEL: Cause.MODEL_OTHER,
        Origin.POLICY: Cause.POLICY,
        Origin.ENVIRONMENT: Cause.ENVIRONMENT,
        Origin.PROVIDER: Cause.ENVIRONMENT,
        Origin.SERVER: Cause.SERVER,
        Origin.TRANSPORT: Cause.TRANSPORT,
        Origin.CLIENT: Cause.PROTOCOL,
    }
    return by_origin.get(Origin(origin), Cause.TOOL) if origin in list(Origin) else Cause.TOOL
