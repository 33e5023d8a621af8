"""The options of `surefoot serve` reach the server, and bad ones are refused in one line."""

from pathlib import Path

import anyio
import apsw
import pytest
from tests.support.in_doubt import leave_in_doubt
from tests.support.journal_door import journal
from tests.support.place import Place, disposition, keyed
from tests.support.surefoot import surefoot


def stored_arguments(file: Path) -> str:
    """Of the only call of a journal."""
    db = apsw.Connection(str(file))
    try:
        (row,) = db.execute("SELECT arguments FROM call").fetchall()
        return str(row[0])
    finally:
        db.close()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        pytest.param("none", "null", marks=pytest.mark.slow),
        ("redacted", '{"command": ["true", "[redacted]"]}'),
        pytest.param("all", None, marks=pytest.mark.slow),
    ],
)
async def test_arguments_are_stored_as_asked_in_the_journal_that_was_named(
    place: Place, tmp_path: Path, stored: str, expected: str | None
) -> None:
    file = tmp_path / "elsewhere.db"
    secret = "ghp_" + "a" * 30
    options = ("--journal", str(file), "--store-arguments", stored)
    async with place.process(*options) as client:
        arguments = {"command": ["true", secret]}
        await client.call_tool("run_command", arguments, meta=keyed("k"))
    if expected is None:
        assert secret in stored_arguments(file)
    else:
        assert stored_arguments(file) == expected
    assert not (place.config.state / "journal.db").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--keep-keys", "0s"],
        ["--keep-results", "0d"],
        ["--keep-results", "a week"],
        ["--keep-results", "7d", "--keep-keys", "1d"],
        ["--grace", "-1"],
        ["--store-arguments", "some"],
        ["--journal", "mysql://host/db"],
        ["--journal", "/nonexistent/folder/journal.db"],
    ],
    ids=" ".join,
)
def test_bad_options_are_refused_with_2(place: Place, words: list[str]) -> None:
    done = surefoot("serve", "--root", place.workspace, *words, home=place.config.state)
    assert (done.code, done.out) == (2, "")
    assert words[0] in done.err


@pytest.mark.anyio
async def test_a_key_is_forgotten_after_the_span_that_was_asked_for(place: Place) -> None:
    leave_in_doubt(place, "old", "true", ago=3600.0)
    leave_in_doubt(place, "young", "true")
    async with place.process("--keep-keys", "30m") as client:
        for _ in range(600):  # until the first round of housekeeping is over
            if journal(place, "show", "old").code == 1:
                break
            await anyio.sleep(0.05)
        result = await client.call_tool("run_command", {"command": "true"}, meta=keyed("old"))
        assert disposition(result) == "ran"
    assert journal(place, "show", "young").code == 0
    assert journal(place, "verify").code == 0
