"""A process that runs one command as a server would, to be killed or cut off.

It takes its orders from the file of its first argument. Its first line is the evidence of the call,
which is what a journal would hold, its second the outcome. The end of its standard input cancels
the call.
"""

import json
import os
import sys
from pathlib import Path

import anyio
from tests.tools.shell_door import Door, new_context

from surefoot_tools.errors import ToolError
from surefoot_tools.sandbox.sandbox import Level


async def main() -> None:
    orders = json.loads(Path(sys.argv[1]).read_text())
    door = Door(
        Path(orders["root"]),
        Path(orders["jobs"]),
        orders["grace"],
        orders["job_grace"],
        level=Level(orders["level"]),
    )
    arguments = door.arguments(**orders["arguments"])
    context = new_context(anyio.current_time() + orders["deadline"])
    # `context.held` stays open: nobody records the outcome, so nothing is cleared away.
    async with anyio.create_task_group() as tasks:
        evidence = await door.tool.prepare(arguments, context)
        print(json.dumps(evidence), flush=True)
        tasks.start_soon(_watch, tasks.cancel_scope)
        try:
            result = await door.tool.run(arguments, evidence, context)
            print(result.model_dump_json(), flush=True)
        except ToolError as e:
            print(json.dumps({"code": e.code, "applied": e.applied}), flush=True)
        tasks.cancel_scope.cancel()


async def _watch(scope: anyio.CancelScope) -> None:
    """Cancel when standard input ends."""
    await anyio.wait_readable(0)
    assert not os.read(0, 1)
    scope.cancel()


if __name__ == "__main__":
    anyio.run(main)
