"""The way of a run from one end to the other: the standard suite, our own server, real processes.

Through the command line alone, as whoever uses surefoot: run, report, reconcile.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
STANDARD = ROOT / "suites" / "standard"
ROUGH = ROOT / "suites" / "faults" / "rough.toml"


def surefoot(*arguments: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "surefoot_cli", *(str(each) for each in arguments)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=900)


def run(out: Path, *arguments: object) -> dict[str, Any]:
    """The summary of a run that ends in order."""
    ran = surefoot("run", *arguments, "--out", out, "--json")
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def balances(out: Path) -> dict[str, int]:
    """The balance of a run whose books balance."""
    ran = surefoot("reconcile", out, "--json")
    balance = json.loads(ran.stdout)
    assert ran.returncode == 0, balance["problems"]
    return balance


@pytest.fixture
def one_sequence(tmp_path: Path) -> Path:
    """The standard suite, but for all its sequences save the first."""
    head = yaml.safe_load((STANDARD / "suite.yaml").read_text())
    first = head["sequences"][0]
    folder = tmp_path / "suite"
    folder.mkdir()
    (folder / "suite.yaml").write_text(yaml.safe_dump({**head, "sequences": [first]}))
    (folder / first).write_bytes((STANDARD / first).read_bytes())
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_one_sequence_passes_over_a_rough_connection_and_its_books_balance(
    tmp_path: Path, one_sequence: Path, transport: str
) -> None:
    out = tmp_path / "run"
    options = ["--model", "scripted", "--faults", ROUGH, "--transport", transport]
    summary = run(out, one_sequence, *options)
    (model,) = summary["models"]
    assert model["trials_passed"]["count"] == 1
    assert model["calls"] >= 50
    assert model["recovered_by_driver"]["count"] > 0
    assert model["lost"]["closed"] == 5
    assert model["resends"] == sum(model["lost"].values())
    balance = balances(out)
    assert balance["sends"] == model["sends"]
    assert balance["calls"] == model["calls"]
    report = surefoot("report", out)
    assert report.returncode == 0
    assert report.stdout.startswith("# surefoot report\n\n> **Simulated.**")


@pytest.mark.slow
def test_the_standard_suite_passes_with_the_scripted_model_at_the_first_attempt(
    tmp_path: Path,
) -> None:
    out = tmp_path / "run"
    (model,) = run(out, "--model", "scripted")["models"]
    assert model["first_attempt"]["count"] == model["calls"]
    assert model["trials_passed"]["count"] == model["trials_passed"]["total"] >= 4
    assert model["sends"] == model["calls"]
    balance = balances(out)
    assert balance["matched"] == balance["sends"] == balance["receipts"]


@pytest.mark.slow
def test_over_a_rough_connection_every_trial_passes_or_ends_in_doubt(tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ["--model", "scripted", "--model", "sim:hasty", "--faults", ROUGH]
    for model in run(out, *options, "--seed", 5)["models"]:
        assert model["trials_interrupted"] == 0
        accounted = model["trials_passed"]["count"] + model["trials_in_doubt"]["count"]
        if model["model"] == "scripted":
            assert accounted == model["trials_passed"]["total"]
        assert model["failed"]["count"] <= model["trials_failed"]["count"]
    balances(out)


@pytest.mark.slow
def test_ten_drivers_keep_one_shop_over_a_rough_connection(tmp_path: Path) -> None:
    """What is common to all is a file, a board and a ledger: a lost or doubled line shows."""
    out = tmp_path / "run"
    (model,) = run(out, "shared", "--model", "scripted", "--faults", ROUGH)["models"]
    assert model["trials_passed"]["count"] == 1
    assert model["recovered_by_driver"]["count"] > 0
    assert model["lost"]["closed"] > 10
    balance = balances(out)
    assert balance["sends"] == model["sends"]
    assert balance["calls"] == model["calls"]


@pytest.mark.slow
def test_the_measured_interval_covers_the_rate_of_the_profile(tmp_path: Path) -> None:
    out = tmp_path / "run"
    summary = run(out, "--seed", 7)
    rates = {"sim:steady": 0.914, "sim:hasty": 0.836}
    assert {model["model"] for model in summary["models"]} == set(rates)
    for model in summary["models"]:
        measured = model["first_attempt"]
        assert measured["low"] <= rates[model["model"]] <= measured["high"]
    balances(out)
