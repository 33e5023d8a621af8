"""A tool that is not ours: somebody else does the work, the executor sees to the rest.

`extension` (the tools of an `MCPServer`) and `wrap` (those of a server behind a proxy) share it:

    with carried_by(carrier):
        answer = await door.call(context, name, arguments)
    return to_result(answer)

What a tool says, what its call has come to, and what its key gets when it comes again (a safe call
always runs again):

| the tool says | the call | its key gets |
|---|---|---|
| a result | succeeded | that result, replayed |
| an error | is in doubt, applied unknown; of a safe tool: failed, applied no | that error |
| an error whose `_meta["dev.surefoot/error"]` says more | ended as it says | what that means |
| it needs input (MRTR), or a client that can do more | failed, applied no | the next attempt |
| another protocol error | as an error | that protocol error |

An error is never retried here: who carries the call out knows when that makes sense.
"""

import json
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, Self, TypeVar, cast

import anyio
import mcp_types as types
from mcp.shared.exceptions import MCPError
from pydantic import model_validator

from surefoot_server.call import FOREIGN, REPEAT
from surefoot_tools import meta
from surefoot_tools.errors import Applied, Code, Origin, ToolError
from surefoot_tools.tool import (
    Arguments,
    Context,
    Effect,
    Evidence,
    Group,
    Recovery,
    Result,
    Tool,
)

Carrier = Callable[[dict[str, Any], Context], Awaitable[dict[str, Any]]]
"""Does the work of one request: arguments in, the result of `tools/call` out as it is on the wire.

A cancel ends it. It may raise `ToolError` for what it knows better, such as a server that is gone;
an `MCPError` reaches the caller as the protocol error that it is.
"""
Recover = Callable[[str], Awaitable[Recovery]]
"""Finds out by its effect key what became of a call whose server died."""

MOST_KEPT = 1024 * 1024
"""Bytes of a result that is kept. A larger one reaches who waits for it; its key is told later that
it was done, and that its result is not kept."""
LONGEST_MESSAGE = 2000
"""Characters of an error that the accounts show."""
EFFECTS = frozenset({Effect.SAFE, Effect.IDEMPOTENT, Effect.AT_MOST_ONCE})
"""What a tool that is not ours can be: the others need evidence, or an inbox, of their own."""
INPUT_REQUIRED = "input_required"
"""The result type of an answer that asks back. Source: MCP 2026-07-28, SEP-2322."""

_REFUSED = {
    -32042: "the client must open a URL first",
    -32021: "the client lacks a capability that this call needs",
}
"""Protocol errors by which a server refuses before it begins, so that the call may come again."""
_CODES = {
    -32602: Code.INVALID_ARGUMENT,
    -32601: Code.UNIMPLEMENTED,
    -32603: Code.INTERNAL,
}

_carrier: ContextVar[Carrier] = ContextVar("surefoot_carrier")
_effect_key: ContextVar[str] = ContextVar("surefoot_effect_key")


@contextmanager
def carried_by(carrier: Carrier) -> Generator[None]:
    """A block in which calls of foreign tools are carried out so.

    A run is a task of its own, with the context of the request that began it: who joins it later
    does not change its carrier.
    """
    token = _carrier.set(carrier)
    try:
        yield
    finally:
        _carrier.reset(token)


def effect_key() -> str:
    """The name of the call that is being carried out, the same for each of its attempts.

    For a tool that reaches a service with idempotency keys of its own: passed on, it makes the tool
    idempotent.

    Raises:
        RuntimeError: no call with a journal is being carried out here.
    """
    try:
        return _effect_key.get()
    except LookupError:
        raise RuntimeError("no call is being carried out here") from None


class ForeignArguments(Arguments):
    """Any JSON object: what it must hold, only the tool itself knows."""

    given: dict[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _whole(cls, given: Any) -> dict[str, Any]:
        _check_json(given)
        return {"given": given}


class ForeignResult(Result):
    """What a tool that is not ours said, whole. Either field is there."""

    call_tool_result: dict[str, Any] | None = None
    """A `CallToolResult` or an `InputRequiredResult` as it is on the wire."""
    protocol_error: dict[str, Any] | None = None
    """`code`, `message` and `data` of a JSON-RPC error."""

    @classmethod
    def of(cls, result: dict[str, Any]) -> Self:
        """The result of a `CallToolResult`."""
        return cls.model_validate({FOREIGN: result})

    def as_text(self) -> str:
        """The texts among its contents."""
        return _texts(self.call_tool_result or {})


class ForeignTool(Tool[ForeignArguments, ForeignResult]):
    """A tool of another server. Its name and effect are the instance's, not the class's.

    Args:
        name: As its server has it.
        effect: What it does to the world.
        title: For people.
        repeat_argument: Whether `repeat` among its arguments is ours; see `repeat_is_ours`.
        recover: Finds out what became of a call whose server died; without it a call of a tool
            that may act at most once stays in doubt.
        most_kept: Bytes of a result that is kept.

    Raises:
        ValueError: the effect is one that a foreign tool cannot have.
    """

    group: ClassVar[Group] = Group.OTHERS
    Arguments = ForeignArguments
    Result = ForeignResult

    def __init__(
        self,
        name: str,
        effect: Effect,
        *,
        title: str | None = None,
        repeat_argument: bool = True,
        recover: Recover | None = None,
        most_kept: int = MOST_KEPT,
    ) -> None:
        if effect not in EFFECTS:
            raise ValueError(
                f"{name} cannot be {effect}: a tool that is not surefoot's own is one of"
                f" {', '.join(sorted(EFFECTS))}"
            )
        # What is a class's own for the tools of surefoot differs here from instance to instance.
        vars(self).update(
            name=name,
            title=title or name,
            description="",
            effect=effect,
            repeat_argument=repeat_argument,
        )
        self._recover = recover
        self._most_kept = most_kept

    @classmethod
    def of(
        cls,
        tool: types.Tool,
        effect: Effect | str | None = None,
        *,
        recover: Recover | None = None,
        most_kept: int = MOST_KEPT,
    ) -> Self:
        """A tool as its server lists it; `effect` is what somebody declares of it, if anybody does.

        Raises:
            ValueError: it is declared to be what no foreign tool can be.
        """
        return cls(
            tool.name,
            effect_of(tool, effect),
            title=tool.title,
            repeat_argument=repeat_is_ours(tool.input_schema),
            recover=recover,
            most_kept=most_kept,
        )

    def keeps(self, result: dict[str, Any]) -> bool:
        """Whether a result is kept: one that asks back is no outcome, and a large one is not."""
        said = result.get(FOREIGN)
        if said is not None and said.get("resultType") == INPUT_REQUIRED:
            return False
        return len(json.dumps(result)) <= self._most_kept

    async def prepare(self, arguments: ForeignArguments, context: Context) -> Evidence:
        """The name of the effect, for `recover`."""
        return {} if self._recover is None else {"effect_key": context.effect_key}

    async def run(
        self, arguments: ForeignArguments, evidence: Evidence, context: Context
    ) -> ForeignResult:
        """Have it carried out by whoever carries the request that began this run."""
        carrier = _carrier.get()
        token = _effect_key.set(context.effect_key)
        try:
            with anyio.CancelScope(deadline=context.deadline) as scope:
                said = await carrier(dict(arguments.given), context)
                return self._take(said)
            assert scope.cancelled_caught  # noqa: S101 - or it has returned, or raised
        except MCPError as e:
            raise self._protocol(e) from e
        finally:
            _effect_key.reset(token)
        raise ToolError(
            Code.DEADLINE_EXCEEDED,
            f"{self.name} had not ended when its caller stopped waiting",
            applied=self._silent,
        )

    async def recover(self, evidence: Evidence) -> Recovery:
        """Ask whoever knows the tool; without anybody it cannot be told."""
        if self._recover is None or "effect_key" not in evidence:
            return await super().recover(evidence)
        return await self._recover(evidence["effect_key"])

    @property
    def _silent(self) -> Applied:
        """Whether the effect of a failure happened that does not say so."""
        return Applied.NO if self.effect is Effect.SAFE else Applied.UNKNOWN

    def _take(self, said: dict[str, Any]) -> ForeignResult:
        """The result, if it is none that stands for a failure.

        Raises:
            ToolError: it is.
        """
        try:
            _check_json(said)
        except ValueError as e:
            raise ToolError(
                Code.INTERNAL, f"the result: {e}", applied=self._silent, origin=Origin.TOOL
            ) from e
        result = ForeignResult.of(said)
        if said.get("resultType") == INPUT_REQUIRED:
            raise ToolError(
                Code.ABORTED,
                f"{self.name} needs more input",
                origin=Origin.CLIENT,
                hint="Send the call again with the input, under the same key.",
                retry_after=0.0,
                result=result.model_dump(mode="json"),
            )
        if said.get("isError") is True:
            raise self._failure(said, result)
        return result

    def _failure(self, said: dict[str, Any], result: ForeignResult) -> ToolError:
        told = _object(_object(said.get("_meta")).get(meta.ERROR))
        message = _text(told.get("message")) or result.as_text() or f"{self.name} failed"
        wait: Any = told.get("retry_after")
        is_wait = isinstance(wait, int | float) and not isinstance(wait, bool) and wait >= 0
        return ToolError(
            _member(Code, told.get("code"), Code.UNKNOWN),
            message[:LONGEST_MESSAGE],
            applied=_member(Applied, told.get("applied"), self._silent),
            origin=_member(Origin, told.get("origin"), Origin.TOOL),
            hint=_text(told.get("hint")),
            retry_after=float(wait) if is_wait else None,
            result=result.model_dump(mode="json"),
        )

    def _protocol(self, error: MCPError) -> ToolError:
        said = error.error.model_dump(mode="json", exclude_none=True)
        result = ForeignResult(protocol_error=said).model_dump(mode="json")
        refused = _REFUSED.get(error.error.code)
        if refused is not None:
            message = f"{refused}: {error.error.message}"[:LONGEST_MESSAGE]
            code = Code.FAILED_PRECONDITION
            return ToolError(code, message, origin=Origin.CLIENT, retry_after=0.0, result=result)
        return ToolError(
            _CODES.get(error.error.code, Code.UNKNOWN),
            error.error.message[:LONGEST_MESSAGE],
            applied=self._silent,
            origin=Origin.TOOL,
            result=result,
        )


def effect_of(tool: types.Tool, declared: Effect | str | None = None) -> Effect:
    """The effect of a tool: as declared, else its own `_meta`, else the hints of MCP.

    Hints may be wrong; without any, a tool may act at most once.

    Raises:
        ValueError: what is declared is no effect.
    """
    said = declared if declared is not None else (tool.meta or {}).get(meta.EFFECT)
    if said is not None:
        if said not in set(Effect):
            raise ValueError(f"{tool.name} is declared to be {said!r}, which is no effect")
        return Effect(said)
    hints = tool.annotations
    if hints is not None and hints.read_only_hint:
        return Effect.SAFE
    return Effect.IDEMPOTENT if hints is not None and hints.idempotent_hint else Effect.AT_MOST_ONCE


def repeat_is_ours(schema: object) -> bool:
    """Whether a tool cannot mean anything by an argument `repeat`, of the schema of its arguments.

    In doubt it can: taken from it by mistake, the argument would be lost.
    """
    if not isinstance(schema, Mapping):
        return False
    top = cast("Mapping[str, Any]", schema)
    takes_any = bool(top.get("patternProperties")) or top.get("additionalProperties", False)
    return takes_any is False and not _names_repeat(top)


def _names_repeat(schema: object) -> bool:
    """Whether a property of that name is anywhere in a schema, also in its alternatives."""
    if isinstance(schema, list):
        return any(map(_names_repeat, cast("list[object]", schema)))
    if not isinstance(schema, Mapping):
        return False
    parts = cast("Mapping[str, object]", schema)
    properties = parts.get("properties")
    if isinstance(properties, Mapping) and REPEAT in properties:
        return True
    return any(map(_names_repeat, parts.values()))


def _check_json(value: Any) -> None:
    """Raise ValueError for what no JSON can say: NaN, half a surrogate pair, endless depth."""
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, TypeError, RecursionError) as e:
        raise ValueError(f"no JSON that can be sent ({type(e).__name__})") from e


def _texts(result: Mapping[str, Any]) -> str:
    content = cast("list[dict[str, Any]]", result.get("content") or [])
    return "\n".join(str(each.get("text", "")) for each in content if each.get("type") == "text")


def _object(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


_E = TypeVar("_E", Code, Applied, Origin)


def _member(kind: type[_E], value: object, otherwise: _E) -> _E:
    return kind(value) if isinstance(value, str) and value in set(kind) else otherwise
