"""The file of `surefoot serve --config`: what it says holds, and what is wrong in it is named."""

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from tests.support.place import Place, body, disposition, error, keyed
from tests.support.surefoot import Done, surefoot

from surefoot_cli.serve import command
from surefoot_cli.settings import SETTINGS
from surefoot_tools.commandline import grammar
from surefoot_tools.commandline.rules import Rules

DENY = """
[[commands.rules]]
action = "deny"
run = ["git", "push"]
reason = "people push"
"""


def serve(place: Place, file: Path, *words: object) -> Done:
    """Serve with a file; nothing is said on stdin."""
    return surefoot("serve", "--config", file, *words, home=place.config.state)


def written(tmp_path: Path, text: str) -> Path:
    """A file outside of the workspace."""
    file = tmp_path / "surefoot.toml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("grace = = 1", "at line 1"),
        ("\nroots = ['.']", ":2: roots: unknown name; allowed are: allow-host"),
        ("grace = 'long'", ":1: grace: 'long' is not"),
        ("grace = -1", ":1: grace: -1"),
        ("sandbox = 'some'", ":1: sandbox: 'some' is not"),
        ("read-only = 1", ":1: read-only: true or false is expected"),
        ("root = '.'", ":1: root: a list of texts is expected"),
        ("root = ['nowhere']", "nowhere' does not exist"),
        ("config = 'x'", ":1: config: unknown name"),
        ("[tools]\na = 1", ":1: tools: a text or a number is expected"),
        ("commands = 1", ":1: commands: "),
        ("[commands]\ndefault = 'no'", ":2: commands.default: input should be 'allow', 'ask' or"),
        ("[commands]\n\nallow = []", ":3: commands.allow: unknown name; allowed are: default"),
        (DENY + DENY.replace("deny", "no"), ":8: commands.rules[1].action: input should be"),
        (DENY.replace("run", "runs"), "commands.rules[0].run: field required"),
        ("[[commands.rules]]\naction='ask'\nrun=' '", ":3: commands.rules[0].run: a text is"),
        ("[[commands.rules]]\naction='ask'\nrun=[]", ":3: commands.rules[0].run: a text is"),
        ("[[commands.rules]]\naction='ask'\nrun=[1]", ":3: commands.rules[0].run: a text is"),
        (
            "[[commands.rules]]\naction='ask'\nrun='a'\nif='b'",
            ":4: commands.rules[0].if: unknown name",
        ),
    ],
)
def test_what_is_wrong_in_the_file_is_named_with_its_place(
    place: Place, tmp_path: Path, text: str, words: str
) -> None:
    done = serve(place, written(tmp_path, text))
    assert (done.code, done.out) == (2, "")
    assert words in done.err


def test_a_file_that_is_not_there_is_refused(place: Place, tmp_path: Path) -> None:
    done = serve(place, tmp_path / "none.toml")
    assert done.code == 2
    assert "No such file" in done.err


def test_a_file_that_tools_could_change_is_refused(place: Place) -> None:
    """Guard: `check_outside`."""
    file = place.workspace / "surefoot.toml"
    file.write_text(DENY)
    done = serve(place, file, "--root", place.workspace)
    assert done.code == 2
    assert "inside the root" in done.err


def test_without_the_parser_rules_are_refused_and_none_are_needed_without_rules(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: `Rules.__init__`."""
    parser = grammar.__dict__["_parser"]
    monkeypatch.setitem(sys.modules, "tree_sitter", None)
    parser.cache_clear()
    done = serve(place, written(tmp_path, DENY))
    assert done.code == 2
    assert "pip install 'surefoot[policy]'" in done.err
    file = written(tmp_path, "grace = -1\n[commands]\ndefault = 'allow'")
    assert "surefoot[policy]" not in serve(place, file).err


PAGE = Path(__file__).parents[2] / "docs" / "policy.md"


def of_the_page(tmp_path: Path) -> Rules:
    """The rules of the file that the page shows."""
    (shown,) = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "project").mkdir()
    context = click.Context(command)
    rules = SETTINGS.convert(written(tmp_path, shown), None, context)
    assert rules is not None
    assert context.default_map == {"sandbox": "strict", "roots": [str(tmp_path / "project")]}
    return rules


def test_the_ways_around_the_rules_of_the_page_are_as_it_says(tmp_path: Path) -> None:
    rules = of_the_page(tmp_path)
    assert rules.judge("cd x && git push origin --force").action == "deny"
    assert rules.judge("npm publish").action == "ask"
    listed = PAGE.read_text().partition("Four ways around")[2].partition("## ")[0]
    shown = re.findall(r"`([^`]*--force[^`]*)`", listed)
    assert len(shown) == 3
    for way in shown:
        assert rules.judge(way).action == "allow", way


@pytest.mark.anyio
async def test_the_file_speaks_for_options_and_rules_and_the_command_line_wins(
    place: Place, tmp_path: Path
) -> None:
    text = f"read-only = false\nstore-arguments = 'none'\nroot = ['nowhere/..']\n{DENY}"
    (tmp_path / "nowhere").mkdir()
    options = ("--config", str(written(tmp_path, text)), "--store-arguments", "all")
    async with place.process(*options) as client:
        denied = await client.call_tool("run_command", {"command": "true; git push"})
        assert "people push" in error(denied)["message"]
        ran = await client.call_tool("run_command", {"command": "pwd"}, meta=keyed("k"))
        assert disposition(ran) == "ran"
        assert body(ran)["stdout"].strip() == str(place.workspace)


@pytest.mark.slow
def test_a_server_without_rules_loads_no_parser(place: Place) -> None:
    probe = (
        "import sys, surefoot_cli.serve, surefoot_server.app;"
        "print(sorted(name for name in sys.modules if name.startswith('tree_sitter')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == "[]"
