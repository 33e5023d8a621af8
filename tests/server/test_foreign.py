"""A tool that is not ours: what its result means to a call."""

import math
from typing import Any

import anyio
import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from surefoot_server.foreign import (
    ForeignArguments,
    ForeignResult,
    ForeignTool,
    carried_by,
    effect_key,
    effect_of,
    repeat_is_ours,
)
from surefoot_tools import meta
from surefoot_tools.errors import Applied, Code, Origin, ToolError
from surefoot_tools.retry import Next, decide
from surefoot_tools.tool import Context, Effect, Happened, Recovery, Unknown

pytestmark = pytest.mark.anyio

TEXT = [{"type": "text", "text": "no"}]
ASKS = {"resultType": "input_required", "requestState": "secret"}


def context(deadline: float = math.inf) -> Context:
    """Of a call."""
    return Context("0" * 32, "local/k", deadline)


async def ran(effect: Effect, result: dict[str, Any] | Exception) -> ForeignResult:
    """What a tool comes to whose carrier says this."""

    async def carry(_arguments: dict[str, Any], _context: Context) -> dict[str, Any]:
        if isinstance(result, Exception):
            raise result
        return result

    with carried_by(carry):
        arguments = ForeignArguments.model_validate({"a": 1})
        return await ForeignTool("t", effect).run(arguments, {}, context())


async def failure(effect: Effect, result: dict[str, Any] | Exception) -> ToolError:
    """The error of one that fails."""
    with pytest.raises(ToolError) as raised:
        await ran(effect, result)
    return raised.value


def says(**fields: Any) -> dict[str, Any]:
    """An error that says more than that it is one."""
    return {"content": TEXT, "isError": True, "_meta": {meta.ERROR: fields}}


FAILED = {"content": TEXT, "isError": True}
NO, UNKNOWN = Applied.NO, Applied.UNKNOWN


@pytest.mark.parametrize(
    ("effect", "result", "code", "applied", "then"),
    [
        (Effect.SAFE, FAILED, Code.UNKNOWN, NO, Next.FINAL),
        (Effect.IDEMPOTENT, FAILED, Code.UNKNOWN, UNKNOWN, Next.FINAL),
        (Effect.AT_MOST_ONCE, FAILED, Code.UNKNOWN, UNKNOWN, Next.IN_DOUBT),
        (Effect.AT_MOST_ONCE, says(applied="no"), Code.UNKNOWN, NO, Next.FINAL),
        (Effect.AT_MOST_ONCE, says(applied="yes"), Code.UNKNOWN, Applied.YES, Next.FINAL),
        (Effect.AT_MOST_ONCE, says(applied="no", retry_after=5), Code.UNKNOWN, NO, Next.LATER),
        (Effect.AT_MOST_ONCE, says(applied=1, code="odd"), Code.UNKNOWN, UNKNOWN, Next.IN_DOUBT),
        (Effect.AT_MOST_ONCE, says(retry_after=math.nan), Code.INTERNAL, UNKNOWN, Next.IN_DOUBT),
        (Effect.IDEMPOTENT, says(code="NOT_FOUND"), Code.NOT_FOUND, UNKNOWN, Next.FINAL),
        (Effect.AT_MOST_ONCE, ASKS, Code.ABORTED, NO, Next.NOW),
        (Effect.AT_MOST_ONCE, MCPError(-32042, "x"), Code.FAILED_PRECONDITION, NO, Next.NOW),
        (Effect.AT_MOST_ONCE, MCPError(-32602, "x"), Code.INVALID_ARGUMENT, UNKNOWN, Next.IN_DOUBT),
        (Effect.SAFE, MCPError(9, "x"), Code.UNKNOWN, NO, Next.FINAL),
    ],
)
async def test_what_a_tool_says_decides_what_its_key_gets(
    effect: Effect, result: dict[str, Any] | Exception, code: Code, applied: Applied, then: Next
) -> None:
    error = await failure(effect, result)
    assert (error.code, error.applied) == (code, applied)
    from surefoot_tools.outcome import Error

    assert decide(Error.of(error), effect).next is then
    if isinstance(result, dict) and code is not Code.INTERNAL:
        assert error.result is not None
        assert error.result["call_tool_result"] == result


async def test_an_error_is_the_tools_own_and_its_text_is_the_message() -> None:
    error = await failure(Effect.AT_MOST_ONCE, FAILED)
    assert (error.origin, error.message) == (Origin.TOOL, "no")
    told = await failure(Effect.AT_MOST_ONCE, says(message="why", hint="so", origin="environment"))
    assert (told.origin, told.message, told.hint) == (Origin.ENVIRONMENT, "why", "so")


async def test_an_error_of_the_carrier_stays_what_it_is() -> None:
    lost = ToolError(Code.UNAVAILABLE, "gone", applied=Applied.NO, retry_after=1)
    assert await failure(Effect.AT_MOST_ONCE, lost) is lost


@pytest.mark.parametrize("odd", [math.nan, math.inf, "\ud800"])
async def test_what_is_no_json_is_taken_neither_as_argument_nor_as_result(odd: Any) -> None:
    """Guard: `_check_json`."""
    with pytest.raises(ValidationError, match="no JSON"):
        ForeignArguments.model_validate({"a": [odd]})
    error = await failure(Effect.SAFE, {"content": [], "structuredContent": {"a": odd}})
    assert error.code is Code.INTERNAL


def test_arguments_of_every_name_are_taken_as_they_are() -> None:
    given = {"model_config": 1, "given": {"given": None}, "_x": [1.5, True], "2**60": 2**60}
    assert ForeignArguments.model_validate(given).given == given


async def test_a_call_ends_with_the_deadline_of_its_caller() -> None:
    """Guard: `ForeignTool.run`."""

    async def carry(_arguments: dict[str, Any], _context: Context) -> dict[str, Any]:
        await anyio.sleep_forever()
        raise AssertionError

    with carried_by(carry), pytest.raises(ToolError) as raised, anyio.fail_after(10):
        arguments = ForeignArguments.model_validate({})
        tool = ForeignTool("t", Effect.AT_MOST_ONCE)
        await tool.run(arguments, {}, context(anyio.current_time()))
    assert (raised.value.code, raised.value.applied) == (Code.DEADLINE_EXCEEDED, UNKNOWN)


async def test_the_effect_key_is_known_to_who_carries_the_call_and_to_nobody_else() -> None:
    seen: list[str] = []

    async def carry(_arguments: dict[str, Any], _context: Context) -> dict[str, Any]:
        seen.append(effect_key())
        return {"content": []}

    with carried_by(carry):
        arguments = ForeignArguments.model_validate({})
        await ForeignTool("t", Effect.IDEMPOTENT).run(arguments, {}, context())
    assert seen == ["local/k"]
    with pytest.raises(RuntimeError):
        effect_key()


async def test_recovery_asks_who_knows_the_tool_by_the_effect_key() -> None:
    async def found(key: str) -> Recovery:
        return Happened(ForeignResult.of({"content": [{"type": "text", "text": key}]}))

    arguments = ForeignArguments.model_validate({"secret": "x"})
    knows = ForeignTool("t", Effect.AT_MOST_ONCE, recover=found)
    evidence = await knows.prepare(arguments, context())
    assert evidence == {"effect_key": "local/k"}
    recovered = await knows.recover(evidence)
    assert isinstance(recovered, Happened)
    assert recovered.result.as_text() == "local/k"
    silent = ForeignTool("t", Effect.AT_MOST_ONCE)
    assert isinstance(await silent.recover(await silent.prepare(arguments, context())), Unknown)


@pytest.mark.parametrize(
    ("declared", "about", "hints", "effect"),
    [
        (None, None, None, Effect.AT_MOST_ONCE),
        (None, None, {"read_only_hint": True}, Effect.SAFE),
        (None, None, {"read_only_hint": False, "idempotent_hint": True}, Effect.IDEMPOTENT),
        (None, None, {"idempotent_hint": False}, Effect.AT_MOST_ONCE),
        (None, "idempotent", {"read_only_hint": True}, Effect.IDEMPOTENT),
        ("at_most_once", "idempotent", {"read_only_hint": True}, Effect.AT_MOST_ONCE),
        (Effect.SAFE, None, None, Effect.SAFE),
    ],
)
def test_the_effect_is_as_declared_else_as_the_tool_says_else_as_its_hints(
    declared: str | None, about: str | None, hints: dict[str, Any] | None, effect: Effect
) -> None:
    tool = types.Tool(
        name="t",
        input_schema={"type": "object"},
        annotations=None if hints is None else types.ToolAnnotations(**hints),
        _meta=None if about is None else {meta.EFFECT: about},
    )
    assert effect_of(tool, declared) is effect
    assert ForeignTool.of(tool, declared).effect is effect


@pytest.mark.parametrize("declared", ["verifiable", "transactional", "odd"])
def test_an_effect_that_needs_more_than_a_foreign_tool_has_is_refused(declared: str) -> None:
    tool = types.Tool(name="t", input_schema={"type": "object"})
    with pytest.raises(ValueError, match=r"t (cannot be|is declared to be)"):
        ForeignTool.of(tool, declared)


SCHEMAS: list[tuple[object, bool]] = [
    ({"type": "object"}, True),
    ({"properties": {"to": {"type": "string"}}, "additionalProperties": False}, True),
    ({"properties": {"repeat": {"type": "boolean"}}}, False),
    ({"allOf": [{"properties": {"repeat": {}}}]}, False),
    ({"$ref": "#/$defs/A", "$defs": {"A": {"properties": {"repeat": {}}}}}, False),
    ({"additionalProperties": {"type": "boolean"}}, False),
    ({"additionalProperties": True}, False),
    ({"additionalProperties": {}}, False),
    ({"patternProperties": {"^r": {}}}, False),
    (None, False),
]


@pytest.mark.parametrize(("schema", "ours"), SCHEMAS)
def test_an_argument_repeat_is_ours_only_if_the_tool_can_mean_nothing_by_it(
    schema: object, ours: bool
) -> None:
    """Guard: `foreign.repeat_is_ours`."""
    assert repeat_is_ours(schema) is ours
