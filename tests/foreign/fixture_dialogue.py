"""What the conformance suite asks a server for, second part: tools that ask the client back.

In the 2025 versions a server sends requests of its own; from 2026-07-28 on it answers with what it
needs, and the client sends the call again (SEP-2322).
"""

import json
from typing import Any

import mcp_types as types
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.prompts.base import Prompt, UserMessage
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel, Field

NEEDS = "test_input_required_result_"
MISSING_CAPABILITY = -32021


def add_back_channel(server: MCPServer[Any]) -> None:
    """Tools that send requests to the client."""
    server.add_tool(test_sampling)
    server.add_tool(test_elicitation)
    server.add_tool(test_elicitation_sep1034_defaults)
    server.add_tool(test_elicitation_sep1330_enums)


async def test_sampling(prompt: str, ctx: Context) -> str:
    """Asks the client's model."""
    words = types.TextContent(type="text", text=prompt)
    result = await ctx.session.create_message(  # pyright: ignore[reportDeprecated] - the 2025 versions have it
        messages=[types.SamplingMessage(role="user", content=words)],
        max_tokens=100,
        related_request_id=ctx.request_id,
    )
    assert isinstance(result.content, types.TextContent)
    return f"LLM response: {result.content.text}"


class Person(BaseModel):
    """Who is there."""

    username: str = Field(description="User's response")
    email: str = Field(description="User's email address")


class Defaults(BaseModel):
    """A field of each primitive type that has a default."""

    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: str = Field("active", json_schema_extra={"enum": ["active", "inactive", "pending"]})
    verified: bool = True


def _titled(*names: str) -> list[Any]:
    return [{"const": name, "title": name.title()} for name in names]


class Choices(BaseModel):
    """A field of each kind of choice."""

    untitledSingle: str = Field(json_schema_extra={"enum": ["a", "b", "c"]})
    titledSingle: str = Field(json_schema_extra={"oneOf": _titled("a", "b", "c")})
    untitledMulti: list[str] = Field(
        json_schema_extra={"items": {"type": "string", "enum": ["a", "b", "c"]}}
    )
    titledMulti: list[str] = Field(json_schema_extra={"items": {"anyOf": _titled("a", "b", "c")}})
    legacyEnum: str = Field(
        json_schema_extra={"enum": ["a", "b", "c"], "enumNames": ["A", "B", "C"]}
    )


async def _elicited(ctx: Context, message: str, schema: type[BaseModel]) -> str:
    result = await ctx.elicit(message, schema)
    content = result.data.model_dump_json() if result.action == "accept" else "{}"
    return f"Elicitation completed: action={result.action}, content={content}"


async def test_elicitation(message: str, ctx: Context) -> str:
    """Asks the user."""
    return await _elicited(ctx, message, Person)


async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
    """Asks the user, with defaults."""
    return await _elicited(ctx, "Who are you?", Defaults)


async def test_elicitation_sep1330_enums(ctx: Context) -> str:
    """Asks the user to choose."""
    return await _elicited(ctx, "What do you take?", Choices)


def add_rounds(server: MCPServer[Any]) -> None:
    """Tools and a prompt that answer with what they need, and end when they have it."""
    simple: list[tuple[str, types.InputRequests, str | None]] = [
        ("elicitation", {"user_name": _ask("What is your name?", "name")}, None),
        ("sampling", {"capital_question": _sample("What is the capital of France?")}, None),
        ("list_roots", {"client_roots": types.ListRootsRequest()}, None),
        ("request_state", {"confirm": _ask("Please confirm", "ok", "boolean")}, "confirming"),
        ("tampered_state", {"confirm": _ask("Please confirm", "ok", "boolean")}, "confirming"),
        (
            "multiple_inputs",
            {
                "user_name": _ask("What is your name?", "name"),
                "greeting": _sample("Generate a greeting"),
                "client_roots": types.ListRootsRequest(),
            },
            "asking",
        ),
    ]
    for tool, needed, state in simple:
        server.add_tool(_needing(needed, state), name=NEEDS + tool)
    server.add_tool(multi_round, name=f"{NEEDS}multi_round")
    server.add_tool(capabilities, name=f"{NEEDS}capabilities")
    server.add_tool(streaming_elicitation, name="test_streaming_elicitation")
    server.add_tool(test_missing_capability)
    server.add_prompt(Prompt.from_function(prompt, name=f"{NEEDS}prompt"))


def _ask(message: str, field: str, kind: str = "string") -> types.ElicitRequest:
    schema = {"type": "object", "properties": {field: {"type": kind}}, "required": [field]}
    return types.ElicitRequest(
        params=types.ElicitRequestFormParams(message=message, requested_schema=schema)
    )


def _sample(words: str) -> types.CreateMessageRequest:
    content = types.TextContent(type="text", text=words)
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(
            messages=[types.SamplingMessage(role="user", content=content)], max_tokens=100
        )
    )


def _told(answer: Any) -> str:
    """What an answer of the client says, in words."""
    if isinstance(answer, types.ElicitResult):
        return ", ".join(str(each) for each in (answer.content or {}).values())
    if isinstance(answer, types.CreateMessageResult):
        return getattr(answer.content, "text", "")
    return f"{len(answer.roots)} roots"


def _needing(needed: types.InputRequests, state: str | None) -> Any:
    """A tool that ends once it has all that it needs, and the state that it gave."""

    async def tool(ctx: Context) -> str | types.InputRequiredResult:
        """Asks back."""
        given = ctx.input_responses or {}
        if not needed.keys() <= given.keys() or ctx.request_state != state:
            return types.InputRequiredResult(input_requests=needed, request_state=state)
        words = "; ".join(_told(given[name]) for name in needed)
        return f"state-ok: {words}" if state else f"Hello, {words}!"

    return tool


async def multi_round(ctx: Context) -> str | types.InputRequiredResult:
    """Asks back twice, and keeps the first answer in its state."""
    state = json.loads(ctx.request_state or "{}")
    given = ctx.input_responses or {}
    if "name" in state and "step2" in given:
        return f"{state['name']} likes {_told(given['step2'])}."
    asked: types.InputRequests
    if state and "step1" in given:
        asked = {"step2": _ask("Step 2: What is your favorite color?", "color")}
        kept = {"name": _told(given["step1"])}
    else:
        asked = {"step1": _ask("Step 1: What is your name?", "name")}
        kept = {"asked": True}
    return types.InputRequiredResult(input_requests=asked, request_state=json.dumps(kept))


async def capabilities(ctx: Context) -> types.InputRequiredResult:
    """Asks back only for what the client can do."""
    able = ctx.client_capabilities
    asked: types.InputRequests = {}
    if able is not None and able.sampling is not None:
        asked["sample"] = _sample("Say hello")
    if able is not None and able.elicitation is not None:
        asked["ask"] = _ask("What is your name?", "name")
    return types.InputRequiredResult(input_requests=asked, request_state="asking")


async def streaming_elicitation(ctx: Context) -> str | types.InputRequiredResult:
    """Tells its progress on the stream of its answer, then asks back."""
    await ctx.report_progress(1, 2)
    if ctx.input_responses:
        return "done"
    return types.InputRequiredResult(input_requests={"name": _ask("Your name?", "name")})


async def test_missing_capability(ctx: Context) -> str:
    """Needs a client that can sample."""
    able = ctx.client_capabilities
    if able is None or able.sampling is None:
        raise MCPError(
            code=MISSING_CAPABILITY,
            message="the client must be able to sample",
            data={"requiredCapabilities": {"sampling": {}}},
        )
    return "able"


async def prompt(ctx: Context) -> list[UserMessage] | types.InputRequiredResult:
    """A prompt that asks back."""
    given = ctx.input_responses or {}
    if "user_context" not in given:
        asked: types.InputRequests = {
            "user_context": _ask("What context should the prompt use?", "context")
        }
        return types.InputRequiredResult(input_requests=asked)
    words = f"Use the following context: {_told(given['user_context'])}"
    return [UserMessage(content=types.TextContent(type="text", text=words))]
