"""An MCP server that knows nothing of keys, nor of any SDK: plain JSON lines. Run as a program.

    python bare_server.py LOG legacy|modern

Each call that it carries out is a line in LOG. It answers in its own way: with fields that nobody
knows, and without ones that are optional. BARE_STAYS, BARE_DIES and BARE_LISTS in its environment
make it worse.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

Json = dict[str, Any]

LOG, ERA = sys.argv[1], sys.argv[2]
MODERN = ERA == "modern"
COMPLETE: Json = {"resultType": "complete"} if MODERN else {}
FRESH: Json = {"ttlMs": 7, "cacheScope": "private"} | COMPLETE if MODERN else {}
READS, TWICE = {"readOnlyHint": True}, {"idempotentHint": True}
FORM = {"type": "object", "properties": {"sure": {"type": "boolean"}}}
OWN: Json = {"repeat": {"type": "boolean"}}
LISTENS: list[Any] = []
WAITING: list[Any] = []


def tool(name: str, **fields: Any) -> Json:
    """A tool as it is listed."""
    return {"name": name, "inputSchema": {"type": "object", "x-theirs": 1}, **fields}


TOOLS = [
    tool("send", theirs={"deep": [None, 1.5]}, _meta={"theirs/mark": True}),
    tool("fail"),
    tool("refuse"),
    tool("ask"),
    tool("wait"),
    tool("progress"),
    tool("change"),
    tool("garbage"),
    tool("die"),
    tool("look", annotations=READS),
    tool("look_and_die", annotations=READS),
    tool("put", annotations=TWICE),
    tool("put_and_die", annotations=TWICE),
    tool("broken", inputSchema=None, annotations="none"),
    tool("blurred", inputSchema={"type": "object", "properties": OWN}, annotations="none"),
    tool("ask_and_die"),
]


def write(**message: Any) -> None:
    """One message."""
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def read() -> Json:
    """The next message; ends with the input."""
    line = sys.stdin.readline()
    while not line:  # the end; some never notice it
        if "BARE_STAYS" not in os.environ:
            sys.exit(0)
        time.sleep(1)
    return json.loads(line)


def part(message: Json, name: str) -> Json:
    """An object in a message; an empty one where there is none."""
    return message.get(name) or {}


def note(line: str) -> None:
    """A line in the log."""
    with open(LOG, "a") as file:
        file.write(line + "\n")


def before(line: str) -> bool:
    """Whether the log has this line."""
    with open(LOG) as file:
        return line in file.read().split("\n")


def text(said: str) -> Json:
    """The result of a call."""
    return {"content": [{"type": "text", "text": said}], **COMPLETE}


def tell(kind: str, **params: Any) -> None:
    """News, to whoever listens."""
    if not MODERN:
        write(method=f"notifications/{kind}", params=params)
    for name in LISTENS:
        about = {"io.modelcontextprotocol/subscriptionId": name}
        write(method=f"notifications/{kind}", params={**params, "_meta": about})


def sure(request: Json) -> Json | None:
    """What the client says when asked; None if it has been asked by an answer."""
    asked = {
        "method": "elicitation/create",
        "params": {"mode": "form", "message": "Sure?", "requestedSchema": FORM},
    }
    if not MODERN:
        write(id="theirs-1", **asked)
        while True:
            answer = read()
            if answer.get("id") == "theirs-1":
                return answer.get("result", {"action": "error"})
    params = request["params"]
    if params.get("requestState") == "asked":
        return params["inputResponses"]["sure"]
    result = {"resultType": "input_required", "inputRequests": {"sure": asked}}
    write(id=request["id"], result={**result, "requestState": "asked"})
    return None


def send() -> Json:
    """Sends, and says so in every kind of way."""
    image = {"type": "image", "data": "iVBORw0KGgo=", "mimeType": "image/png", "x": 1}
    content = [{"type": "text", "text": "sent"}, image]
    extra = {"structuredContent": {"n": 1}, "_meta": {"theirs/n": 7}, "theirs": [None]}
    return {"content": content, **extra, **COMPLETE}


def progress(token: Any) -> None:
    """Tells it twice."""
    for done in (1, 2):
        given = {"progressToken": token, "progress": done, "total": 2, "theirs": done}
        write(method="notifications/progress", params=given)


def change() -> None:
    """Tells who listens."""
    tell("tools/list_changed")
    tell("resources/updated", uri="test://a")


def die() -> None:
    """Ends at once, with a word."""
    print("the disk is on fire", file=sys.stderr, flush=True)
    os._exit(3)


def unanswered(name: str, request_id: Any) -> bool:
    """Whether a tool gives no result, but something else."""
    if name == "refuse":
        write(id=request_id, error={"code": 4001, "message": "not like this", "data": [1]})
    elif name == "wait":
        WAITING.append(request_id)
    elif name == "garbage":
        sys.stdout.write(f'{{"jsonrpc":"2.0","id":{request_id},"result":{{"a":"\\ud800"}}}}\n')
        sys.stdout.flush()
    return name in ("refuse", "wait", "garbage")


def call(request: Json) -> Json | None:
    """Carry a call out; None if it is answered otherwise."""
    params = part(request, "params")
    name, arguments = params["name"], part(params, "arguments")
    if name.startswith("ask"):
        said = sure(request)
        if name == "ask_and_die":
            die()
        if said is None:
            return None
        note(f"ask {said.get('action')}")
        return text(f"asked: {said.get('action')}")
    line = f"{name} {json.dumps(arguments)}"
    second = before(line)
    note(line)
    if name.endswith("die") and not second:
        die()
    elif name == "progress":
        progress(part(params, "_meta").get("progressToken"))
    elif name == "change":
        change()
    if unanswered(name, request["id"]):
        return None
    if name == "fail":
        return {**text("the line is dead"), "isError": True, "theirs": 1}
    return send() if name == "send" else text("done")


ABOUT: Json = {"name": "bare", "version": "1", "theirs": 1}
OFFERED: Json = {
    "tools": {"listChanged": True},
    "resources": {"subscribe": True, "listChanged": True},
    "prompts": {},
    "completions": {},
}


def initialize(params: Json) -> Json:
    """The greeting of the era of handshakes."""
    client = part(params, "clientInfo")["name"]
    note(f"initialize {client} {sorted(part(params, 'capabilities'))}")
    said = {"serverInfo": ABOUT, "instructions": "Send little.", "theirs": 1}
    logging: Json = {}
    more = {"capabilities": {**OFFERED, "logging": logging}}
    return {"protocolVersion": params["protocolVersion"], **said, **more}


def discover(_params: Json) -> Json:
    """The greeting of the later era."""
    about = {"io.modelcontextprotocol/serverInfo": ABOUT}
    more = {"capabilities": OFFERED, "instructions": "Send little.", "theirs": 1}
    return {"supportedVersions": ["2026-07-28"], **more, "_meta": about, **FRESH}


def tools(params: Json) -> Json | None:
    """The tools, on two pages; in its own way where BARE_LISTS says so."""
    note("list")
    match os.environ.get("BARE_LISTS"):
        case "dying":
            die()
        case "never":
            return None
        case "on and on":
            return {"tools": TOOLS, "nextCursor": f"{params.get('cursor')}8", **FRESH}
        case "in a circle":
            return {"tools": TOOLS, "nextCursor": "8", **FRESH}
        case _:
            pass
    if "cursor" in params:
        return {"tools": TOOLS[8:], **FRESH}
    return {"tools": TOOLS[:8], "nextCursor": "8", "theirs": None, **FRESH}


def prompt(params: Json) -> Json:
    """A prompt."""
    said = {"type": "text", "text": f"Hello {part(params, 'arguments')['who']}"}
    return {"messages": [{"role": "user", "content": said}], **COMPLETE}


def remember(params: Json) -> Json:
    """What a session is told."""
    note(f"told {params.get('level') or params.get('uri')}")
    return {}


TEMPLATES = [{"uriTemplate": "test://{name}", "name": "any"}]
KNOWN: dict[str, Callable[[Json], Json | None]] = {
    "tools/list": tools,
    "resources/list": lambda _: {"resources": [{"uri": "test://a", "name": "a", "x": 1}], **FRESH},
    "resources/templates/list": lambda _: {"resourceTemplates": TEMPLATES, **FRESH},
    "resources/read": lambda p: {"contents": [{"uri": p["uri"], "blob": "AA==", "x": 1}], **FRESH},
    "prompts/list": lambda _: {"prompts": [{"name": "greet", "x": [None]}], **FRESH},
    "prompts/get": prompt,
    "completion/complete": lambda _: {"completion": {"values": ["one"], "x": 1}, **COMPLETE},
}
LEGACY: dict[str, Callable[[Json], Json | None]] = {
    "initialize": initialize,
    "ping": lambda _: {},
    "logging/setLevel": remember,
    "resources/subscribe": remember,
    "resources/unsubscribe": remember,
}
ANSWERS = KNOWN | ({"server/discover": discover} if MODERN else LEGACY)


def answer(request: Json) -> Json | None:
    """The result of a request; None if it is answered otherwise."""
    method, params = request["method"], part(request, "params")
    if method == "tools/call":
        return call(request)
    if method == "subscriptions/listen" and MODERN:
        LISTENS.append(request["id"])
        tell("subscriptions/acknowledged", notifications=params["notifications"])
        return None
    if method in ANSWERS:
        return ANSWERS[method](params)
    error = {"code": -32601, "message": "no such method", "data": method}
    write(id=request["id"], error=error)
    return None


def main() -> None:
    """Answer until the input ends."""
    note(f"pid {os.getpid()} {os.getppid()}")
    if os.environ.get("BARE_DIES"):
        print("no licence", file=sys.stderr, flush=True)
        sys.exit(4)
    while True:
        message = read()
        if "id" in message and "method" in message:
            result = answer(message)
            if result is not None:
                write(id=message["id"], result=result)
        elif message.get("method") == "notifications/cancelled":
            cancelled = message["params"]["requestId"]
            note(f"cancelled {cancelled in WAITING or cancelled in LISTENS}")
        elif "method" in message:
            note(message["method"])


if __name__ == "__main__":
    main()
