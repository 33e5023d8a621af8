"""The official conformance suite, offline, for both requirement sets and both of our servers.

`surefoot serve --http` itself passes every scenario that asks for nothing of the suite's own. The
others run against a server with the tools, prompts and resources that they ask for, behind the same
HTTP. What fails is listed under `expected/`; the suite itself refuses a list that is too long.
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.foreign import kit
from tests.support.place import Place

pytestmark = pytest.mark.slow

EXPECTED = Path(__file__).parent / "expected"
FIXTURES = [sys.executable, "-P", "-m", "tests.foreign.fixture_server"]
PASSED = {
    ("fixtures", "2025-11-25"): 81,
    ("fixtures", "2026-07-28"): 169,
    ("surefoot", "2025-11-25"): 43,
    ("surefoot", "2026-07-28"): 105,
}
"""Checks that pass at least, by server and requirement set."""
OURS: dict[str, dict[str, int]] = {
    "2025-11-25": {
        "server-initialize": 3,
        "server-session-lifecycle": 3,
        "ping": 2,
        "tools-list": 3,
        "server-sse-multiple-streams": 2,
        "dns-rebinding-protection": 2,
    },
    "2026-07-28": {
        "server-stateless": 23,
        "tools-list": 4,
        "server-sse-multiple-streams": 1,
        "dns-rebinding-protection": 2,
        "caching": 4,
        "http-header-validation": 14,
        "input-required-result-unsupported-methods": 2,
    },
}
"""Scenarios that ask for nothing of the suite's own, and how many of their checks pass."""
EMPTY = {"tasks-status-notifications"}
"""Scenarios of the suite that leave all of their checks out where tasks are missing."""


class Results:
    """What the suite found: checks by scenario."""

    def __init__(self, folder: Path) -> None:
        self.checks: dict[str, list[dict[str, Any]]] = {}
        for path in folder.glob("*/checks.json"):
            found = re.fullmatch(r"server-(.+)-\d{4}-\d\d-\d\dT[\d-]+Z", path.parent.name)
            assert found, path.parent.name
            self.checks[found[1]] = json.loads(path.read_text())

    def count(self, scenario: str, status: str = "SUCCESS") -> int:
        """How many checks of a scenario ended so."""
        return sum(check["status"] == status for check in self.checks[scenario])

    @property
    def passed(self) -> int:
        """Checks that passed, of all scenarios."""
        return sum(self.count(scenario) for scenario in self.checks)

    @property
    def failed(self) -> set[str]:
        """Scenarios with a check that failed, or warns."""
        return {
            scenario
            for scenario in self.checks
            if self.count(scenario, "FAILURE") or self.count(scenario, "WARNING")
        }


def run(
    room: kit.Room,
    server: list[str],
    name: str,
    revision: str,
    variables: Mapping[str, str] | None = None,
) -> tuple[Results, set[str]]:
    """Run a requirement set whole; what was found, and the scenarios expected to fail."""
    kit.need(kit.CONFORMANCE)
    listed = EXPECTED / f"{name}-{revision}.yml"
    folder = room.home / "results"
    done = room.run_against(
        server,
        *(kit.node(), kit.CONFORMANCE, "server", "--url", "URL", "--requirements", revision),
        *("--expected-failures", listed, "-o", folder),
        variables=variables,
    )
    assert done.code == 0, done.said
    results = Results(folder)
    expected: list[str] = yaml.safe_load(listed.read_text())["server"]
    assert results.passed >= PASSED[name, revision], done.said
    return results, {entry.partition(":")[0] for entry in expected}


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
def test_surefoot_passes_what_asks_for_nothing_of_the_suites_own(
    revision: str, room: kit.Room, place: Place
) -> None:
    server = place.command("--http", "127.0.0.1:0")
    results, expected = run(room, server, "surefoot", revision, place.environment())
    assert results.failed == expected
    for scenario, passes in OURS[revision].items():
        assert results.count(scenario) >= passes, results.checks[scenario]


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
def test_the_server_stack_with_fixtures_passes_every_scored_scenario(
    revision: str, room: kit.Room
) -> None:
    results, expected = run(room, FIXTURES, "fixtures", revision)
    assert results.failed == expected
    for scenario in results.checks.keys() - expected - EMPTY:
        assert results.count(scenario) > 0, scenario
