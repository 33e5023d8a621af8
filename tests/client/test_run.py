"""The command `surefoot run`: what it refuses, what it leaves behind, how it goes on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from tests.client.mini_suite import FOREIGN, Call, counting, mixed, write_suite

from surefoot_cli.run import command
from surefoot_client.record import TrialEnded, TrialStarted, read
from surefoot_client.run import slugs
from surefoot_client.serving import RunError
from surefoot_client.serving import command as fill
from surefoot_client.suite import load


def surefoot_run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(each) for each in arguments])


def ended(folder: Path) -> list[tuple[str, str]]:
    """Trial and outcome of each trial that ended, in their order."""
    records = read(folder / "records.jsonl")
    return [(each.trial, each.outcome) for each in records if isinstance(each, TrialEnded)]


def test_a_run_leaves_manifest_records_and_workspaces_and_prints_its_table(tmp_path: Path) -> None:
    suite, out = counting(tmp_path / "suite", 2), tmp_path / "run"
    ran = surefoot_run(suite, "--model", "scripted", "--out", out, "--", *FOREIGN)
    assert ran.exit_code == 0, ran.output
    assert ran.stdout.startswith("Simulated.")
    assert "first-attempt success  2 of 2, 100.0 %" in ran.stdout
    assert f"surefoot reconcile {out}" in ran.stdout
    assert "1/1 work.scripted.r0.0: passed; 2 calls, first attempt 100.0%" in ran.stderr
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["suite"]["hash"] == load(suite).hash
    assert manifest["models"][0] == {
        "spec": "scripted",
        "slug": "scripted",
        "simulated": True,
        "settings": {},
    }
    assert manifest["server"] == FOREIGN
    assert manifest["prices"] == {}
    assert set(manifest["versions"]) == {"surefoot", "python", "mcp"}
    assert (out / "workspaces" / "work.scripted.r0.0" / "counted").read_text() == "once\n" * 2
    assert (out / "server.log").read_text() == "a foreign server starts\n"


@pytest.mark.slow
def test_json_is_the_summary_and_nothing_else_on_stdout(tmp_path: Path) -> None:
    suite = counting(tmp_path / "suite", 1)
    ran = surefoot_run(
        *(suite, "--model", "scripted", "--out", tmp_path / "run", "--json", "--", *FOREIGN)
    )
    assert json.loads(ran.stdout)["models"][0]["first_attempt"]["count"] == 1


@pytest.mark.slow
def test_models_take_turns_and_each_repeat_is_a_trial_of_its_own(tmp_path: Path) -> None:
    suite, out = counting(tmp_path / "suite", 1), tmp_path / "run"
    options = ["--model", "scripted", "--model", "scripted", "--repeat", 2, "--concurrency", 1]
    ran = surefoot_run(suite, *options, "--out", out, "--", *FOREIGN)
    assert ran.exit_code == 0, ran.output
    assert ended(out) == [
        ("work.scripted.r0.0", "passed"),
        ("work.scripted-2.r0.0", "passed"),
        ("work.scripted.r1.0", "passed"),
        ("work.scripted-2.r1.0", "passed"),
    ]


@pytest.mark.slow
def test_the_same_seed_slips_in_the_same_places(tmp_path: Path) -> None:
    suite, profile = counting(tmp_path / "suite", 12), tmp_path / "profile.toml"
    profile.write_text(
        'name = "half"\nabout = ""\nfirst_attempt = 0.5\nrecovers = 1.0\n'
        "[rates]\nmalformed_call = 0.5\n"
    )
    seen: list[list[str | None]] = []
    for number, seed in enumerate((3, 3, 4)):
        out = tmp_path / f"run{number}"
        ran = surefoot_run(
            suite, "--model", "sim:hasty", "--repeat", 3, "--seed", seed, "--out", out
        )
        assert ran.exit_code == 0, ran.output
        seen.append(
            [
                f"{each.trial} {each.step} {each.slip}"
                for each in sorted(
                    (each for each in read(out / "records.jsonl") if each.kind == "proposal"),
                    key=lambda each: each.key,
                )
            ]
        )
    assert seen[0] == seen[1]
    assert seen[0] != seen[2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["SUITE", "--model", "gpt"], "no model 'gpt'; there are: scripted"),
        (["SUITE", "--model", "claude:x"], "not built yet"),
        (["SUITE/work.yaml"], "a suite is a folder; did you mean "),
        (["nowhere"], "nowhere: there is no such suite; shipped are: shared, standard"),
        (["SUITE", "--faults", "none.toml"], "none.toml: there is no such file"),
        (["SUITE", "--faults", "ELSEWHERE"], "elsewhere.toml:4: no sequence 'elsewhere' in suite"),
        (["SUITE", "--out", "TAKEN"], "is not empty; expected a new directory, or --resume"),
        (["SUITE", "--", "server", "{database:x}"], "has no such database; it has: none"),
        (["SUITE", "--"], "after -- comes the command of the server"),
        (["--resume", "EMPTY"], "is not the directory of a run: no manifest.json"),
        (["--resume", "EMPTY", "--seed", "1"], "as it began, without --seed"),
        (["SUITE", "--resume", "EMPTY"], "as it began, without SUITE"),
        (["--resume", "EMPTY", "--", "server"], "as it began, without a server"),
        (["SUITE", "--repeat", "0"], "0 is not in the range"),
    ],
)
def test_bad_input_is_named_and_nothing_is_begun(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    suite = counting(tmp_path / "suite", 1)
    taken, empty = tmp_path / "taken", tmp_path / "empty"
    for folder in (taken, empty):
        folder.mkdir()
    (taken / "file").touch()
    elsewhere = tmp_path / "elsewhere.toml"
    elsewhere.write_text('[[fault]]\nkind = "cut_pipe"\ncall = 1\nsequence = "elsewhere"\n')
    names = {
        "ELSEWHERE": str(elsewhere),
        "SUITE": str(suite),
        "TAKEN": str(taken),
        "EMPTY": str(empty),
    }
    given_out = [] if "--resume" in arguments or "--out" in arguments else ["--out", "OUT"]
    names["OUT"] = str(tmp_path / "out")
    at = arguments.index("--") if "--" in arguments else len(arguments)
    whole = [*arguments[:at], *given_out, *arguments[at:]]
    names["SUITE/work.yaml"] = str(suite / "work.yaml")
    ran = surefoot_run(*(names.get(each, each) for each in whole))
    assert ran.exit_code == 2, ran.output
    assert said in ran.stderr.replace("\n", " ")
    assert ran.stdout == ""
    assert not (tmp_path / "out").exists()


def test_a_mistake_in_a_suite_is_named_by_file_and_line(tmp_path: Path) -> None:
    suite = counting(tmp_path / "suite", 1)
    work = suite / "work.yaml"
    work.write_text(work.read_text().replace("tool: count", "tol: count"))
    ran = surefoot_run(suite, "--out", tmp_path / "out")
    assert ran.exit_code == 2
    assert "work.yaml:" in ran.stderr


def test_a_server_that_does_not_start_is_the_environments_fault(tmp_path: Path) -> None:
    suite, out = counting(tmp_path / "suite", 1), tmp_path / "run"
    ran = surefoot_run(suite, "--model", "scripted", "--out", out, "--", "/nonexistent/server")
    assert ran.exit_code == 3
    assert "the server '/nonexistent/server' did not start" in ran.stderr
    assert "resume with" not in ran.stderr
    assert ended(out) == [("work.scripted.r0.0", "interrupted")]


def test_a_directory_that_cannot_be_made_is_the_environments_fault(tmp_path: Path) -> None:
    suite = counting(tmp_path / "suite", 1)
    out = suite / "work.yaml" / "run"
    ran = surefoot_run(suite, "--out", out)
    assert ran.exit_code == 3
    assert f"cannot create the run directory {out}: Not a directory; pass --out DIR" in ran.stderr


def test_placeholders_of_a_server_command_are_filled_in(tmp_path: Path) -> None:
    sequence = load(mixed(tmp_path / "suite")).sequences[0]
    template = ["server", "--in={workspace}", "{database:app}", "{databases}", "{other}"]
    assert fill(template, sequence, Path("/w")) == [
        "server",
        "--in=/w",
        "/w/app.db",
        "--database",
        "app=sqlite:////w/app.db?mode=rw",
        "{other}",
    ]
    with pytest.raises(RunError, match="has no such database; it has: app"):
        fill(["{database:other}"], sequence, Path("/w"))


@given(st.lists(st.text(max_size=100), max_size=6))
def test_names_of_models_are_fit_for_keys_and_all_different(specs: list[str]) -> None:
    made = slugs(specs)
    assert len(set(made)) == len(specs)
    for slug in made:
        assert slug
        assert all(char.isascii() and (char.isalnum() or char in "._-") for char in slug)
        assert not slug.startswith(".")


def test_the_name_of_a_profile_does_not_depend_on_its_folder() -> None:
    """Draws depend on it: elsewhere the same run would slip in other places."""
    assert slugs(["sim:/a/b/mine.toml", "sim:mine.toml", "sim:hasty"]) == [
        "sim-mine",
        "sim-mine-2",
        "sim-hasty",
    ]


def wait_for(folder: Path, text: str, process: subprocess.Popen[str]) -> None:
    """Until a record holds `text`; bounded by the test's own patience of two minutes."""
    deadline = time.monotonic() + 120
    log = folder / "records.jsonl"
    while not (log.exists() and text in log.read_text()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def start(*arguments: object) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "surefoot_cli", "run", *(str(each) for each in arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(argv, stdout=pipe, stderr=pipe, text=True, env=os.environ)


@pytest.fixture
def stuck(tmp_path: Path) -> Path:
    """A suite whose second call is answered only once the file `go` is in the workspace."""
    calls: list[list[Call]] = [[("count", {}, {})], [("sleep", {}, {})], [("count", {}, {})]]
    return write_suite(
        tmp_path / "suite", calls, files={"counted": "once\n" * 2}, exclude=("lists", "go")
    )


@pytest.mark.slow
def test_an_interrupted_run_says_so_and_is_resumed_under_the_next_number(
    tmp_path: Path, stuck: Path
) -> None:
    out = tmp_path / "run"
    options = ["--model", "scripted", "--out", out, "--concurrency", 1]
    process = start(stuck, *options, "--repeat", 2, "--", *FOREIGN)
    wait_for(out, '"tool":"sleep"', process)
    second = surefoot_run("--resume", out)
    assert second.exit_code == 2
    assert f"this run is still going on (process {process.pid}); wait for it" in second.stderr
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"resume with: {sys.executable} -m surefoot_cli run --resume {out}" in stderr
    assert "Traceback" not in stderr
    assert ended(out) == [("work.scripted.r0.0", "interrupted")]

    process = start("--resume", out, "--concurrency", 1)
    for trial in ("work.scripted.r0.1", "work.scripted.r1.0"):
        wait_for(out, f'"trial":"{trial}","driver":null,"kind":"turn","turn":2', process)
        (out / "workspaces" / trial / "go").touch()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    assert ended(out)[1:] == [("work.scripted.r0.1", "passed"), ("work.scripted.r1.0", "passed")]


def test_a_run_whose_driver_was_killed_is_resumed_and_keeps_what_had_ended(tmp_path: Path) -> None:
    suite, out = counting(tmp_path / "suite", 1), tmp_path / "run"
    options = ["--model", "scripted", "--repeat", 2, "--concurrency", 1]
    assert surefoot_run(suite, *options, "--out", out, "--", *FOREIGN).exit_code == 0
    log = out / "records.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    cut = next(n for n, line in enumerate(lines) if "r1.0" in line and '"kind":"send"' in line)
    log.write_text("".join(lines[:cut]) + lines[cut][:20])
    ran = surefoot_run("--resume", out)
    assert ran.exit_code == 0, ran.output
    assert ended(out) == [("work.scripted.r0.0", "passed"), ("work.scripted.r1.1", "passed")]
    begun = [each.trial for each in read(log) if isinstance(each, TrialStarted)]
    assert begun == ["work.scripted.r0.0", "work.scripted.r1.0", "work.scripted.r1.1"]


def test_a_run_of_a_suite_that_has_changed_is_not_resumed(tmp_path: Path) -> None:
    suite, out = counting(tmp_path / "suite", 1), tmp_path / "run"
    surefoot_run(suite, "--model", "scripted", "--out", out, "--", "/nonexistent/server")
    work = suite / "work.yaml"
    changed = yaml.safe_load(work.read_text()) | {"title": "another work"}
    work.write_text(yaml.safe_dump(changed))
    ran = surefoot_run("--resume", out)
    assert ran.exit_code == 2
    assert "the suite 'mini' has changed since the run began" in ran.stderr
