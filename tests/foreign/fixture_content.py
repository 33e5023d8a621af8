"""What the conformance suite asks a server for, first part: contents, prompts, resources, lists.

Names and texts are those that the suite's scenarios state as their requirements.
"""

import base64
import json
from typing import Annotated, Any

import anyio
import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts.base import Prompt, UserMessage
from pydantic import Field

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
"""One red pixel."""
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA="
"""No sound."""
STEP = 0.05
"""Seconds between notifications, as the suite asks for."""


def add_contents(server: MCPServer[Any]) -> None:
    """Tools whose results have each kind of content, and one that fails."""
    server.add_tool(test_simple_text)
    server.add_tool(test_image_content)
    server.add_tool(test_audio_content)
    server.add_tool(test_embedded_resource)
    server.add_tool(test_multiple_content_types)
    server.add_tool(test_error_handling)
    server.add_tool(test_x_mcp_header)
    server.add_tool(test_tool_with_logging)
    server.add_tool(test_tool_with_logging, name="test_logging_tool")
    server.add_tool(test_tool_with_progress)


def test_simple_text() -> str:
    """A text."""
    return "This is a simple text response for testing."


def test_image_content() -> list[types.ImageContent]:
    """An image."""
    return [_image()]


def test_audio_content() -> list[types.AudioContent]:
    """A sound."""
    return [types.AudioContent(type="audio", data=WAV, mime_type="audio/wav")]


def test_embedded_resource() -> list[types.EmbeddedResource]:
    """A resource."""
    text = "This is an embedded resource content."
    return [_embedded("test://embedded-resource", "text/plain", text)]


def test_multiple_content_types() -> list[
    types.TextContent | types.ImageContent | types.EmbeddedResource
]:
    """A text, an image and a resource."""
    document = json.dumps({"test": "data", "value": 123})
    return [
        types.TextContent(type="text", text="Multiple content types test:"),
        _image(),
        _embedded("test://mixed-content-resource", "application/json", document),
    ]


def test_error_handling() -> str:
    """Always an error."""
    raise ToolError("This tool intentionally returns an error for testing")


def test_x_mcp_header(
    region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})] = "none",
) -> str:
    """Has an argument that clients repeat in a header."""
    return region


async def test_tool_with_logging(ctx: Context) -> str:
    """Logs three times."""
    for number, text in enumerate(("started", "processing data", "completed")):
        if number:
            await anyio.sleep(STEP)
        await ctx.log("info", f"Tool execution {text}")  # pyright: ignore[reportDeprecated] - the 2025 versions have it
    return "logged"


async def test_tool_with_progress(ctx: Context) -> str:
    """Tells its progress three times."""
    for done in (0, 50, 100):
        if done:
            await anyio.sleep(STEP)
        await ctx.report_progress(done, 100)
    return "done"


def _image() -> types.ImageContent:
    return types.ImageContent(type="image", data=PNG, mime_type="image/png")


def _embedded(uri: str, mime_type: str, text: str) -> types.EmbeddedResource:
    resource = types.TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    return types.EmbeddedResource(type="resource", resource=resource)


def add_schema_tool(server: MCPServer[Any]) -> None:
    """A tool whose input schema uses what JSON Schema 2020-12 has beyond properties."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
            }
        },
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": False,
    }

    def described() -> str:
        """Has a schema that nothing may be left out of."""
        return "described"

    name = "json_schema_2020_12_tool"
    server.add_tool(described, name=name)
    server._tool_manager._tools[name].parameters = schema  # pyright: ignore[reportPrivateUsage] - the SDK makes schemas of signatures only


def add_resources(server: MCPServer[Any]) -> None:
    """Resources: a text, bytes, a template, one to watch."""

    @server.resource("test://static-text", mime_type="text/plain")
    def static_text() -> str:
        """A text."""
        return "This is the content of the static text resource."

    @server.resource("test://static-binary", mime_type="image/png")
    def static_binary() -> bytes:
        """Bytes."""
        return base64.b64decode(PNG)

    @server.resource("test://template/{id}/data", mime_type="application/json")
    def template(id: str) -> str:
        """One of many."""
        return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})

    @server.resource("test://watched-resource")
    def watched() -> str:
        """One to watch."""
        return "Watched"

    del static_text, static_binary, template, watched


def add_prompts(server: MCPServer[Any]) -> None:
    """Prompts: plain, with arguments, with a resource, with an image."""

    def text(words: str) -> UserMessage:
        return UserMessage(content=types.TextContent(type="text", text=words))

    def test_simple_prompt() -> list[UserMessage]:
        """A text."""
        return [text("This is a simple prompt for testing.")]

    def test_prompt_with_arguments(arg1: str, arg2: str) -> list[UserMessage]:
        """Repeats its arguments."""
        return [text(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'")]

    def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:
        """A resource and a text."""
        words = "Embedded resource content for testing."
        return [
            UserMessage(content=_embedded(resourceUri, "text/plain", words)),
            text("Please process the embedded resource above."),
        ]

    def test_prompt_with_image() -> list[UserMessage]:
        """An image and a text."""
        return [UserMessage(content=_image()), text("Please analyze the image above.")]

    for function in (
        test_simple_prompt,
        test_prompt_with_arguments,
        test_prompt_with_embedded_resource,
        test_prompt_with_image,
    ):
        server.add_prompt(Prompt.from_function(function))


def add_changes(server: MCPServer[Any]) -> None:
    """Tools that change the lists of tools and prompts, for those who listen to changes."""

    def fleeting() -> str:
        """Comes and goes."""
        return "here"

    async def test_trigger_tool_change(ctx: Context) -> str:
        """The list of tools changes."""
        server.add_tool(fleeting)
        server.remove_tool("fleeting")
        await ctx.notify_tools_changed()
        return "changed"

    async def test_trigger_prompt_change(ctx: Context) -> str:
        """The list of prompts changes."""
        server.add_prompt(Prompt.from_function(fleeting))
        server.remove_prompt("fleeting")
        await ctx.notify_prompts_changed()
        return "changed"

    server.add_tool(test_trigger_tool_change)
    server.add_tool(test_trigger_prompt_change)


def lowlevel(server: MCPServer[Any]) -> Server[Any]:
    """What is under a server of the SDK; it tells once it has made an HTTP application."""
    server.streamable_http_app()
    return server.session_manager.app


def add_requests(server: MCPServer[Any]) -> None:
    """Requests that the SDK's `MCPServer` leaves to its user: completion, log level, watching."""

    @server.completion()
    async def complete(
        ref: types.PromptReference | types.ResourceTemplateReference,
        argument: types.CompletionArgument,
        context: types.CompletionContext | None,
    ) -> types.Completion:
        """Nothing to propose."""
        del ref, argument, context
        return types.Completion(values=[], total=0, has_more=False)

    async def take(context: ServerRequestContext[Any, Any], params: Any) -> types.EmptyResult:
        """Do nothing about it."""
        del context, params
        return types.EmptyResult()

    del complete
    for method, params in {
        "logging/setLevel": types.SetLevelRequestParams,
        "resources/subscribe": types.SubscribeRequestParams,
        "resources/unsubscribe": types.UnsubscribeRequestParams,
    }.items():
        lowlevel(server).add_request_handler(method, params, take)
