"""`surefoot failures` and `surefoot doctor` over a journal that real servers wrote."""

import pytest
from tests.support.in_doubt import leave_in_doubt
from tests.support.journal_door import path, tamper, work
from tests.support.place import Place
from tests.support.surefoot import surefoot

pytestmark = pytest.mark.anyio


async def test_failures_names_the_calls_in_doubt_and_how_to_resolve_them(place: Place) -> None:
    await work(place)
    call_id = leave_in_doubt(place, None, "true")
    leave_in_doubt(place, "doubt:1", "true")
    done = surefoot("failures", home=place.config.state)
    assert done.code == 0
    assert "2 calls in doubt" in done.out
    assert call_id in done.out
    assert "surefoot journal resolve KEY happened|not-happened" in done.out
    listed = surefoot("failures", "--json", home=place.config.state).json["calls_in_doubt"]
    assert {call["key"] or call["call_id"] for call in listed} == {"doubt:1", call_id}


@pytest.mark.parametrize(
    ("by", "row"),
    [
        ("tool", "run_command"),
        ("code", "NOT_FOUND"),
        ("origin", "model"),
        ("client", "mcp"),
        ("principal", "local"),
    ],
)
async def test_failures_are_counted_by_what_is_asked(place: Place, by: str, row: str) -> None:
    await work(place)
    lines = surefoot("failures", "--by", by, home=place.config.state).out.splitlines()
    assert lines[0].split()[0] == by
    assert any(line.split()[0].startswith(row) for line in lines[1:])


async def test_doctor_tells_the_health_of_the_journal(place: Place) -> None:
    assert "none yet" in surefoot("doctor", home=place.config.state).out
    leave_in_doubt(place, "doubt:1", "true")
    async with place.client():
        found = surefoot("doctor", "--json", home=place.config.state).json
    said = {finding["name"]: finding for finding in found}
    assert said["calls in doubt"]["found"] == "1"
    assert "surefoot journal resolve" in said["calls in doubt"]["fix"]
    assert said["journal pages"]["found"] == "whole"
    assert "mode 0600" in said["journal file"]["found"]
    assert said["reserve"]["found"] == "1 servers, 1 with ballast"
    assert said["retention"]["good"]


async def test_doctor_finds_a_journal_that_others_may_read_and_one_that_is_damaged(
    place: Place,
) -> None:
    await work(place)
    path(place).chmod(0o644)
    assert surefoot("doctor", home=place.config.state).code == 1
    path(place).chmod(0o600)
    tamper(place, "PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(path(place).read_bytes())
    data[4096 * 4 : 4096 * 6] = b"\xff" * 8192
    path(place).write_bytes(data)
    done = surefoot("doctor", home=place.config.state)
    assert done.code == 1
    assert "BAD" in done.out
