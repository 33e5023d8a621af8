"""`surefoot token`: made once, listed without secrets, revoked."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from surefoot_cli.token import command


def run(home: Path, *arguments: str) -> Result:
    """What the command says."""
    return CliRunner().invoke(command, list(arguments), env={"SUREFOOT_HOME": str(home)})


def test_a_token_is_printed_once_and_listed_without_its_text(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    made = run(tmp_path, "add", "ci", "--tools", "files", "--root", str(root), "--expires", "30d")
    assert made.exit_code == 0
    text = made.stdout.strip()
    assert text.startswith("sft_")
    for listed in (run(tmp_path, "list"), run(tmp_path, "list", "--json")):
        assert "ci" in listed.output
        assert text not in listed.output
        assert str(root) in listed.output
    (row,) = json.loads(run(tmp_path, "list", "--json").stdout)
    assert row["tools"] == ["accounting", "files"]
    assert (row["read_only"], row["expired"]) == (False, False)


def test_a_revoked_token_is_not_listed_and_a_second_time_there_is_none(tmp_path: Path) -> None:
    run(tmp_path, "add", "ci")
    assert run(tmp_path, "revoke", "ci").exit_code == 0
    # click's runner gives what a command returns only as its result
    gone = CliRunner().invoke(
        command, ["revoke", "ci"], env={"SUREFOOT_HOME": str(tmp_path)}, standalone_mode=False
    )
    assert gone.return_value == 1
    assert json.loads(run(tmp_path, "list", "--json").stdout) == []


@pytest.mark.parametrize(
    "arguments",
    [["ci", "--tools", "nothing"], ["a b"], ["ci", "--expires", "0s"], ["ci", "--root", "no"]],
)
def test_what_makes_no_token_is_refused(tmp_path: Path, arguments: list[str]) -> None:
    assert run(tmp_path, "add", *arguments).exit_code == 2
    assert not (tmp_path / "tokens.json").exists()


def test_a_token_for_commands_in_some_roots_is_warned_about(tmp_path: Path) -> None:
    warned = run(tmp_path, "add", "a", "--root", str(tmp_path))
    assert "not confined" in warned.stderr
    assert "not confined" not in run(tmp_path, "add", "b", "--tools", "files").stderr


def test_a_file_that_others_may_read_is_refused_with_its_mending(tmp_path: Path) -> None:
    run(tmp_path, "add", "ci")
    (tmp_path / "tokens.json").chmod(0o644)
    ended = run(tmp_path, "list")
    assert ended.exit_code == 3
    assert "chmod 600" in ended.output
