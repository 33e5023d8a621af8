"""Plays reference calls with the real tools, in process: no server, no journal, no model.

Used by `generate.py`, to learn what a sequence leads to, and by the tests of the suite.
"""

import json
import math
import os
import shutil
import sys
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from surefoot_client.suite import ReferenceCall, Sequence
from surefoot_tools.database import database_tools
from surefoot_tools.database.databases import Database, Databases
from surefoot_tools.errors import ToolError
from surefoot_tools.files import file_tools
from surefoot_tools.files.locks import PathLocks
from surefoot_tools.files.roots import Roots
from surefoot_tools.shell import shell_tools
from surefoot_tools.tool import Context, Tool


def calls_of(sequence: Sequence) -> list[ReferenceCall]:
    """All reference calls, in order."""
    return [call for turn in sequence.turns for call in turn.calls]


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a call: a result, or an error."""

    call: ReferenceCall
    result: dict[str, Any] | None = None
    error: ToolError | None = None


class Player:
    """Carries calls out in one workspace.

    Args:
        sequence: Whose databases there are.
        workspace: Laid out.
        state: A folder outside of it, for locks.
    """

    def __init__(self, sequence: Sequence, workspace: Path, state: Path) -> None:
        state.mkdir(parents=True, exist_ok=True)
        roots = Roots([workspace])
        databases = Databases(
            Database(name, f"sqlite:///{(workspace / fixture.file).absolute()}", writable=True)
            for name, fixture in sequence.fixture.databases.items()
        )
        # commands find this interpreter as python3, like the checks do
        folder = os.path.dirname(sys.executable)
        environment = {**os.environ, "PATH": f"{folder}:{os.environ.get('PATH', '')}"}
        tools: list[Tool[Any, Any]] = [
            *shell_tools(roots, environment, state / "jobs"),
            *file_tools(roots, PathLocks(state), None),
            *database_tools(databases),
        ]
        self._tools = {tool.name: tool for tool in tools}

    async def call(self, call: ReferenceCall) -> Played:
        """Carry one out. What fails is reported, not raised."""
        tool = self._tools[call.tool]
        # as JSON, since that is how arguments come over the wire
        arguments = tool.Arguments.model_validate_json(json.dumps(call.arguments))
        name = uuid.uuid4().hex
        context = Context(name, name, math.inf, recorded=True)
        try:
            async with context.held:
                evidence = await tool.prepare(arguments, context)
                result = await tool.run(arguments, evidence, context)
        except ToolError as error:
            return Played(call, error=error)
        return Played(call, result=result.model_dump(mode="json"))

    async def play(self, calls: Iterable[ReferenceCall]) -> list[Played]:
        """Carry them out, one after the other; a failure stops nothing."""
        return [await self.call(call) for call in calls]


def copy_workspace(source: Path, target: Path) -> None:
    """A copy of all that is in a workspace, to go on from in another way."""
    shutil.copytree(source, target, symlinks=True)
