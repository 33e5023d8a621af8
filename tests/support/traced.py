"""A server and its client in one process, both traced: run as `python -m tests.support.traced DIR`.

Prints what the client knows of the spans, as JSON.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import anyio
from mcp import Client
from opentelemetry import trace
from tests.support.place import Place, keyed

from surefoot_server import log
from surefoot_server.app import App
from surefoot_tools import meta

EDIT = {
    "path": "hidden-path.txt",
    "edits": [{"old_text": "hidden-content", "new_text": "hidden-new"}],
}
FOREIGN = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
"""The example of W3C Trace Context, section 3.2."""


async def go(folder: Path) -> None:
    """Make calls under a span of the client's, and one that is refused."""
    place = Place.make(folder)
    app = App(replace(place.config, environment=dict(os.environ)))
    async with Client(app.server) as client:
        with trace.get_tracer("client").start_as_current_span("plan") as plan:
            arguments = {"path": "hidden-path.txt", "content": "hidden-content"}
            await client.call_tool("write_file", arguments, meta=keyed("hidden-key"))
            absent = {"path": "hidden-absent"}
            await client.call_tool("read_file", absent)
        about = keyed("hidden-other")
        about["traceparent"] = FOREIGN
        ok = await client.call_tool("edit_file", EDIT, meta=about)
    found = plan.get_span_context()
    print(
        json.dumps(
            {
                "trace": trace.format_trace_id(found.trace_id),
                "span": trace.format_span_id(found.span_id),
                "call": (ok.meta or {})[meta.CALL]["call_id"],
            }
        )
    )


if __name__ == "__main__":
    log.configure()
    anyio.run(go, Path(sys.argv[1]))
