"""MCP out: tools as they are listed, answers as results of `tools/call`. Before it: `app`."""

from typing import Any

import mcp_types as types
from mcp.shared.exceptions import MCPError

from surefoot_server.call import REPEAT, Answer, error_fields, foreign_result, protocol_error
from surefoot_server.consent import CONSENT, FORM, Question
from surefoot_tools import meta
from surefoot_tools.outcome import Error
from surefoot_tools.registry import AnyTool
from surefoot_tools.tool import Effect

LONGEST_ERROR = 8000
"""Characters of an error's text; hosts cut it near 11,000."""
INPUT_REQUIRED = "input_required"
"""The result type of a question."""
COMPLETE = "complete"
"""The result type of an answer; the SDK leaves it out for the versions before 2026-07-28."""


class Passed(MCPError):
    """A protocol error that a tool that is not ours answered with: it has its receipt."""


_REPEAT_SCHEMA = {
    "type": "boolean",
    "default": False,
    "description": "Run it once more on purpose, although the answer to an equal call was lost.",
}


def describe(tool: AnyTool) -> types.Tool:
    """A tool as MCP lists it."""
    safe = tool.effect is Effect.SAFE
    schema = tool.Arguments.model_json_schema()
    if not safe:
        schema = with_repeat(schema)
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=schema,
        output_schema=tool.Result.model_json_schema(mode="serialization"),
        annotations=types.ToolAnnotations(
            title=tool.title,
            read_only_hint=safe,
            destructive_hint=tool.destructive,
            idempotent_hint=safe or tool.repeatable,
            open_world_hint=tool.open_world,
        ),
    )


def with_repeat(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema of arguments that takes `repeat`, too."""
    return {**schema, "properties": {**schema.get("properties", {}), REPEAT: _REPEAT_SCHEMA}}


def to_result(answer: Answer) -> dict[str, Any]:
    """An answer as a `CallToolResult` on the wire; no structuredContent on an error.

    Not the SDK's model: the SDK checks what goes out against the protocol's version in any case.

    Raises:
        Passed: the answer is a protocol error.
    """
    passed = protocol_error(answer.outcome)
    if passed is not None:
        raise Passed(passed["code"], passed["message"], passed.get("data"))
    about: dict[str, Any] = {
        meta.CALL: {
            "call_id": answer.call_id,
            "attempt": answer.attempt,
            "disposition": answer.disposition.value,
        }
    }
    if answer.replayed:
        about[meta.REPLAYED] = True
    if answer.question is not None:
        return _asked(answer.question, about)
    error = answer.outcome.error
    foreign = foreign_result(answer.outcome)
    if foreign is not None:
        return _foreign(foreign, answer, about)
    if error is None:
        text = f"{answer.text}\n\n{answer.note}" if answer.note and answer.text else answer.text
        return {
            "resultType": COMPLETE,
            "content": [{"type": "text", "text": text}],
            "structuredContent": answer.outcome.result,
            "isError": False,
            "_meta": about,
        }
    about[meta.ERROR] = error_fields(error) | {"call_id": answer.call_id}
    text = error_text(error, answer.call_id)
    return {
        "resultType": COMPLETE,
        "content": [{"type": "text", "text": text}],
        "isError": True,
        "_meta": about,
    }


def _asked(question: Question, about: dict[str, Any]) -> dict[str, Any]:
    """A question in place of a result. Source: MCP 2026-07-28, SEP-2322."""
    params = {"mode": "form", "message": question.text, "requestedSchema": FORM}
    return {
        "resultType": INPUT_REQUIRED,
        "inputRequests": {CONSENT: {"method": "elicitation/create", "params": params}},
        "requestState": question.seal,
        "_meta": about,
    }


def _foreign(result: dict[str, Any], answer: Answer, about: dict[str, Any]) -> dict[str, Any]:
    """What a tool that is not ours said, as it said it: only `_meta` is ours, and the note."""
    if answer.outcome.error is not None and result.get("resultType", COMPLETE) == COMPLETE:
        fields = error_fields(answer.outcome.error)
        about[meta.ERROR] = fields | {"call_id": answer.call_id}
    whole: dict[str, Any] = {"resultType": COMPLETE, **result}
    whole["_meta"] = {**(result.get("_meta") or {}), **about}
    if answer.note:
        note = {"type": "text", "text": answer.note}
        whole["content"] = [*result.get("content", []), note]
    return whole


def error_text(error: Error, call_id: str | None) -> str:
    """An error for the model: code, applied and call id on the first line, then what to do."""
    lines = [f"{error.code} applied={error.applied} call_id={call_id or '-'}", error.message]
    text = "\n".join(lines)
    if len(text) > LONGEST_ERROR:
        text = text[:LONGEST_ERROR] + f"\n[... {len(text) - LONGEST_ERROR} characters left out]"
    if error.retry_after is not None:
        text += f"\nRetry after {error.retry_after:g} s."
    return f"{text}\nHint: {error.hint}" if error.hint else text
