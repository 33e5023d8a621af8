"""Commands that only read are marked in the journal, so that the accounts can tell them apart."""

import json
from typing import Any

import apsw
import pytest
from tests.support.place import Place, body

pytestmark = pytest.mark.anyio


def evidence(place: Place) -> list[dict[str, Any]]:
    """Of each attempt, oldest first."""
    db = apsw.Connection(str(place.config.state / "journal.db"))
    try:
        rows = db.execute("SELECT evidence FROM call ORDER BY begun_at").fetchall()
    finally:
        db.close()
    return [json.loads(str(row[0])) for row in rows]


@pytest.mark.parametrize("tool", ["run_command", "start_job"])
async def test_the_record_of_a_command_that_only_reads_says_so(place: Place, tool: str) -> None:
    """Guard: `Begins._name_job`."""
    async with place.client() as client:
        for arguments in (
            {"command": "ls -la | head -3"},
            {"command": ["ls"]},
            {"command": "touch x"},
            {"command": "ls", "env": {"A": "b"}},
        ):
            assert body(await client.call_tool(tool, arguments))
        told = body(await client.call_tool("failure_report", {}))
    assert [each.get("probe") for each in evidence(place)[:4]] == [True, True, None, None]
    assert {each["tool"]: each["probes"] for each in told["by_tool"]}[tool] == 2
