"""The file tools as the executor calls them: validate, prepare, run, let go of the locks."""

import math
import shutil
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from surefoot_tools.files import file_tools
from surefoot_tools.files.locks import PathLocks
from surefoot_tools.files.roots import Roots
from surefoot_tools.tool import Context, Evidence, Recovery, Result, Tool


def ripgrep() -> str | None:
    """The program beside this Python, or on the path."""
    beside = Path(sys.executable).with_name("rg")
    return str(beside) if beside.exists() else shutil.which("rg")


def new_context(deadline: float = math.inf) -> Context:
    """A context of a call of its own."""
    return Context(call_id=uuid4().hex, effect_key="k", deadline=deadline)


@dataclass
class Door:
    """The file tools over some roots."""

    tools: dict[str, Tool[Any, Any]]

    def arguments(self, name: str, arguments: dict[str, Any]) -> Any:
        """The validated arguments."""
        return self.tools[name].Arguments.model_validate(arguments)

    async def call(self, tool: str, /, **arguments: Any) -> Any:
        """Carry out a call and return its result."""
        validated = self.arguments(tool, arguments)
        context = new_context()
        async with AsyncExitStack() as context.held:
            evidence = await self.tools[tool].prepare(validated, context)
            result: Result = await self.tools[tool].run(validated, evidence, context)
            return result

    async def prepare(self, tool: str, context: Context, /, **arguments: Any) -> Evidence:
        """Only prepare; the caller lets go of `context.held`."""
        return await self.tools[tool].prepare(self.arguments(tool, arguments), context)

    async def run(
        self, tool: str, evidence: Evidence, context: Context, /, **arguments: Any
    ) -> Any:
        """Only run."""
        return await self.tools[tool].run(self.arguments(tool, arguments), evidence, context)

    async def recover(self, tool: str, evidence: Evidence) -> Recovery:
        """Only recover."""
        return await self.tools[tool].recover(evidence)


def open_door(
    *roots: Path, locks: Path, openat2: bool | None = None, program: str | None = None
) -> Door:
    """The tools over these roots."""
    tools = file_tools(Roots(roots, openat2=openat2), PathLocks(locks), program)
    return Door({tool.name: tool for tool in tools})
