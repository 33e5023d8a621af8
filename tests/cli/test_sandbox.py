"""What the command line says of the sandbox, and does where there can be none."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.client.mini_suite import write_suite
from tests.support.level import found
from tests.support.surefoot import surefoot

from surefoot_cli.run import command
from surefoot_client import manifest
from surefoot_tools.sandbox import sandbox


def played(tmp_path: Path, *options: str) -> Result:
    """A run of one command; its folder is `run`."""
    line = {"command": "echo > made", "cwd": "."}
    suite = write_suite(tmp_path / "suite", [[("run_command", line, {})]], files={"made": "\n"})
    words = [str(suite), "--out", str(tmp_path / "run"), *options]
    return CliRunner().invoke(command, words, catch_exceptions=False)


def test_a_run_is_confined_unless_this_machine_cannot(tmp_path: Path) -> None:
    """Guard: `confinement.confinement`."""
    result = played(tmp_path, "--model", "scripted")
    assert result.exit_code == 0, result.output
    records = (tmp_path / "run" / "records.jsonl").read_text()
    reached = found().reached if found().reached is not sandbox.Reached.REFUSED else "off"
    assert f'"sandbox":"{reached}"' in records


def test_where_nothing_can_be_confined_a_simulated_run_says_so_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: `confinement.confinement`."""
    monkeypatch.setattr(sandbox, "LINUX", False)
    result = played(tmp_path, "--model", "scripted")
    assert result.exit_code == 0, result.output
    assert "commands of this run are not confined" in result.stderr
    assert manifest.read(tmp_path / "run").server[-2:] == ["--sandbox", "off"]
    assert '"sandbox":"off"' in (tmp_path / "run" / "records.jsonl").read_text()


def test_doctor_tells_the_level_and_how_to_get_a_better_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: `doctor._sandbox`."""

    def finding() -> dict[str, object]:
        every = surefoot("doctor", "--json", home=tmp_path).json
        return next(each for each in every if each["name"] == "sandbox")

    assert finding()["found"].startswith(("bubblewrap", "landlock", "none"))  # type: ignore[union-attr]
    monkeypatch.setattr(sandbox, "LINUX", False)
    refused = finding()
    assert refused["good"] is False
    assert "commands need --sandbox off" in str(refused["found"])
    assert "Run it on Linux" in str(refused["fix"])
