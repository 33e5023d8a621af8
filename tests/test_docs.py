"""The docs say all there is, and what they show works."""

import json
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from tests.support.place import Place

from surefoot_cli.main import VERBS, cli
from surefoot_server.journal import diagram

REPOSITORY = Path(__file__).parent.parent
REFERENCE = (REPOSITORY / "docs" / "reference.md").read_text()
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language on a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def commands(verb: str) -> Iterator[tuple[str, click.Command]]:
    """A verb, or the verbs of a group, each with the words that call it."""
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None
    if not isinstance(command, click.Group):
        yield verb, command
        return
    for name, below in command.commands.items():
        yield f"{verb} {name}", below


@pytest.mark.parametrize("verb", VERBS)
def test_every_command_and_option_is_in_the_reference(verb: str) -> None:
    for words, command in commands(verb):
        (row,) = (
            line
            for line in REFERENCE.splitlines()
            if line.startswith((f"| `surefoot {words} ", f"| `surefoot {words}`"))
        )
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert any(f"`{name}" in row for name in parameter.opts), (words, parameter.name)


def test_the_page_of_states_is_what_is_drawn_from_the_code() -> None:
    told = "python -m surefoot_server.journal.diagram > docs/states.md makes it anew"
    assert (REPOSITORY / "docs" / "states.md").read_text() == diagram.page(), told


@pytest.mark.anyio
async def test_every_tool_and_argument_is_in_the_reference(place: Place) -> None:
    async with place.client() as client:
        tools = (await client.list_tools()).tools
    for tool in tools:
        row = next(line for line in REFERENCE.splitlines() if line.startswith(f"| `{tool.name}`"))
        for argument in tool.input_schema["properties"]:
            assert f"`{argument}`" in row, (tool.name, argument)


def test_every_link_inside_the_repository_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), (page.name, target)


def test_the_lines_to_paste_name_a_command_that_serves() -> None:
    pasted = [json.loads(block) for block in blocks(REPOSITORY / "README.md", "json")]
    assert len(pasted) == 3
    for registration in [*pasted, json.loads((REPOSITORY / "mcp.json").read_text())]:
        (servers,) = registration.values()
        assert "serve" in servers["surefoot"]["args"]


def test_the_program_of_the_tutorial_says_what_the_tutorial_says(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (program,) = blocks(REPOSITORY / "docs" / "tutorial.md", "python")
    file = tmp_path / "again.py"
    file.write_text(program)
    runpy.run_path(str(file))
    printed = capfd.readouterr().out
    assert printed.splitlines() == ["ran once", "", "replayed once", "", "once", ""]


def test_mcp_json_starts_the_server_of_this_checkout(tmp_path: Path) -> None:
    server = json.loads((REPOSITORY / "mcp.json").read_text())["mcpServers"]["surefoot"]
    program = REPOSITORY / server["command"]
    if not program.exists():
        pytest.skip("this checkout has no .venv; `make setup` makes it")
    assert Path(sys.executable).parent == program.parent
    done = subprocess.run(
        [program, *server["args"]],
        cwd=tmp_path,
        env={"SUREFOOT_HOME": str(tmp_path.parent / "state")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=30,
    )
    assert done.stdout == b""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_line_in_the_docs_names_a_verb_and_options_that_exist(page: Path) -> None:
    for block in blocks(page, "sh"):
        for line in block.splitlines():
            words = line.partition("#")[0].partition(" -- ")[0].split()
            if not words or not words[0].endswith("surefoot"):
                continue
            found = dict(commands(words[1]))
            command = found.get(words[1]) or found[f"{words[1]} {words[2]}"]
            options = {name for parameter in command.params for name in parameter.opts}
            assert {word for word in words[2:] if word.startswith("--")} <= options, line
