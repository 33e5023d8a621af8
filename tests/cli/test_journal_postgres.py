"""`surefoot journal` and its neighbours over a journal in PostgreSQL."""

import json
from collections import Counter

import psycopg
import pytest
from tests.support.in_doubt import leave_in_doubt
from tests.support.place import Place, body, error, keyed
from tests.support.postgres import Postgres
from tests.support.surefoot import Done, surefoot

pytestmark = pytest.mark.anyio
APPEND = "echo once >> log"


@pytest.fixture
def url(postgres: Postgres) -> str:
    """Of an empty database."""
    return postgres.fresh_database()


def ask(place: Place, url: str, *words: object) -> Done:
    """`surefoot WORDS` about the journal in PostgreSQL; its password is in no output."""
    done = surefoot(*words, "--journal", url, home=place.config.state)
    password = url.partition("@")[0].rpartition(":")[2]
    assert password not in done.out + done.err
    return done


async def test_each_verb_reads_a_journal_in_postgresql(place: Place, url: str) -> None:
    async with place.client(journal=url) as client:
        await client.call_tool("run_command", {"command": APPEND}, meta=keyed("work:1"))
        await client.call_tool("read_file", {"path": "missing"}, meta=keyed("work:2"))
        # A server that writes is not in the way.
        assert ask(place, url, "journal", "verify").code == 0
    assert "work:1" in ask(place, url, "journal", "tail", "-n", "100").out
    (call,) = ask(place, url, "journal", "show", "work:1", "--json").json["calls"]
    assert [event["kind"] for event in call["events"]][:2] == ["begin", "finish"]
    lines = ask(place, url, "journal", "export").out.splitlines()
    counts = Counter(json.loads(line)["table"] for line in lines)
    assert (counts["calls"], counts["attempts"], counts["receipts"]) == (2, 2, 2)
    assert "NOT_FOUND" in ask(place, url, "failures").out
    found = ask(place, url, "doctor", "--json").json
    assert next(each for each in found if each["name"] == "journal")["good"]
    assert ask(place, url, "journal", "show", "nobody").code == 1


async def test_a_database_without_a_journal_exits_with_3(place: Place, url: str) -> None:
    for words in (["tail"], ["verify"], ["resolve", "k", "happened", "--reason", "seen"]):
        done = ask(place, url, "journal", *words)
        assert (done.code, done.out) == (3, "")


async def test_a_call_in_doubt_is_resolved_in_postgresql(place: Place, url: str) -> None:
    for key in ("doubt:1", "doubt:2"):
        leave_in_doubt(place, key, APPEND, journal=url)
    how = ("--reason", "I looked")
    assert ask(place, url, "journal", "resolve", "doubt:1", "happened", *how).code == 0
    assert ask(place, url, "journal", "resolve", "doubt:2", "not-happened", *how).code == 0
    async with place.client(journal=url) as client:
        told = await client.call_tool("run_command", {"command": APPEND}, meta=keyed("doubt:1"))
        assert error(told)["code"] == "FAILED_PRECONDITION"
        ran = await client.call_tool("run_command", {"command": APPEND}, meta=keyed("doubt:2"))
        assert body(ran)["exit_code"] == 0
    assert (place.workspace / "log").read_text() == "once\n"
    assert ask(place, url, "journal", "verify").code == 0


async def test_verify_names_a_row_that_was_changed_in_postgresql(place: Place, url: str) -> None:
    """Guard: `chain.verify`."""
    call_id = leave_in_doubt(place, "doubt:1", APPEND, journal=url)
    assert ask(place, url, "journal", "verify").code == 0
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE surefoot.call SET state = 'succeeded'")
    done = ask(place, url, "journal", "verify")
    assert done.code == 1
    assert f"call/{call_id}: is not as it was written" in done.out
