"""`surefoot journal verify` names what was changed past the journal."""

import re
from pathlib import Path

import pytest
from tests.support.in_doubt import leave_in_doubt
from tests.support.journal_door import APPEND, anchors, journal, path, tamper, work
from tests.support.place import Place, keyed

from surefoot_server.config import Retention
from surefoot_server.journal.opening import open_journal

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE call SET tool = 'read_file' WHERE key = 'work:1'", "is not as it was written"),
        ("UPDATE attempt SET state = 'failed' WHERE number = 1", "is not as it was written"),
        ("DELETE FROM receipt WHERE key = 'work:2'", "is missing"),
        ("UPDATE event SET at = at + 1 WHERE kind = 'begin'", "is not as it was written"),
        ("UPDATE event SET rows = '{}' WHERE kind = 'begin'", "is not as it was written"),
        ("DELETE FROM event WHERE kind = 'begin'", "what was between is missing"),
        ("DELETE FROM event WHERE id = (SELECT max(id) FROM event)", "last events are missing"),
    ],
)
async def test_verify_names_what_was_changed_past_the_journal(
    place: Place, change: str, said: str
) -> None:
    """Guard: `chain.verify`."""
    await work(place)
    assert journal(place, "verify").code == 0
    tamper(place, change)
    done = journal(place, "verify")
    assert done.code == 1
    assert said in done.out
    assert not journal(place, "verify", "--json").json["good"]


async def test_heads_kept_elsewhere_tell_a_history_that_was_written_anew(
    place: Place, tmp_path: Path
) -> None:
    await work(place)
    heads = tmp_path / "heads"
    heads.write_text(journal(place, "verify", "--heads").out)
    (tmp_path / "heads.json").write_text(journal(place, "verify", "--json").out)
    leave_in_doubt(place, "later:1", "true")
    for file in ("heads", "heads.json"):
        assert journal(place, "verify", "--against", tmp_path / file).code == 0
    for file in place.config.state.glob("journal.db*"):
        file.unlink()
    await work(place)
    assert journal(place, "verify").code == 0
    done = journal(place, "verify", "--against", heads)
    assert done.code == 1
    assert "its chain is missing" in done.out


async def test_a_head_before_the_anchor_is_no_problem(place: Place, tmp_path: Path) -> None:
    heads = tmp_path / "heads"
    async with place.client() as client:
        await client.call_tool("run_command", {"command": APPEND}, meta=keyed("work:1"))
        heads.write_text(journal(place, "verify", "--heads").out)
        pruning = open_journal(path(place), state=place.config.state, version="test")
        await pruning.retain(Retention(0.0, 0.0), pruning.now() + 60)
        pruning.close()
        assert journal(place, "show", "work:1").code == 1
        assert int(re.findall(r"^head \S+ (\d+)", heads.read_text(), re.M)[0]) <= max(
            anchors(place)
        )
        done = journal(place, "verify", "--against", heads)
    assert done.code == 0, done.out
