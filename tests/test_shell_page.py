"""The session that docs/shell.md shows is what happens."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from tests.support.place import Place
from tests.test_docs import blocks

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parent.parent / "docs" / "shell.md"
CHANGING = re.compile(
    r"\b[0-9a-f]{16}\b|127\.0\.0\.1:\d+|\d+(?:\.\d+)? s\b|pid \d+|\d+ bytes|\[\d\d/.*?\]"
    r"|cursor \d+|sandbox \w+"
)
"""What is another each time: names of jobs, ports, spans, processes, sizes, dates."""


@pytest.mark.skipif(shutil.which("curl") is None, reason="the session uses curl")
async def test_the_session_of_the_page_goes_as_it_shows(place: Place) -> None:
    (session,), (program,) = blocks(PAGE, "text"), blocks(PAGE, "python")
    (place.workspace / "dev.py").write_text(program)
    (place.workspace / "page.txt").write_text("Hello {name}\n")
    command = place.command("--network")
    parameters = StdioServerParameters(
        command=command[0], args=command[1:], env=place.environment()
    )
    now: dict[str, str] = {}
    told = ""
    async with Client(parameters, read_timeout_seconds=60) as client:
        for line, shown in turns(session):
            tool, _, arguments = line.partition(" ")
            result = await client.call_tool(tool, filled(arguments, now))
            text = "\n".join(getattr(block, "text", "") for block in result.content)
            told += f"> {line}\n{text}\n"
            for old, new in zip(CHANGING.findall(shown), CHANGING.findall(text), strict=False):
                now.setdefault(old, new)
            assert CHANGING.sub("...", shown).split() == CHANGING.sub("...", text).split(), told


def turns(session: str) -> list[tuple[str, str]]:
    """The calls of a session, and what was answered."""
    found = re.split(r"^> ", session, flags=re.MULTILINE)[1:]
    return [(turn.partition("\n")[0], turn.partition("\n")[2]) for turn in found]


def filled(arguments: str, now: dict[str, str]) -> dict[str, Any]:
    """Arguments with the names that things have this time."""
    for old, new in now.items():
        arguments = arguments.replace(old, new)
    return json.loads(arguments)
