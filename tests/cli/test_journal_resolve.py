"""`surefoot journal resolve`: a person says what became of a call, and its key comes back."""

import pytest
from tests.support.in_doubt import leave_in_doubt
from tests.support.journal_door import APPEND, journal, tamper, work
from tests.support.place import Place, body, disposition, error, keyed

pytestmark = pytest.mark.anyio


async def test_a_call_that_happened_is_done_and_its_key_says_so(place: Place) -> None:
    call_id = leave_in_doubt(place, "doubt:1", APPEND)
    done = journal(place, "resolve", "doubt:1", "happened", "--reason", "the line is there")
    assert (done.code, done.err) == (0, "")
    assert call_id in done.out
    async with place.client() as client:
        told = await client.call_tool("run_command", {"command": APPEND}, meta=keyed("doubt:1"))
    assert (error(told)["code"], error(told)["applied"]) == ("FAILED_PRECONDITION", "yes")
    assert "the line is there" in error(told)["message"]
    assert not (place.workspace / "log").exists()
    (call,) = journal(place, "show", "doubt:1", "--json").json["calls"]
    assert call["state"] == "succeeded"
    assert call["resolved"].startswith("happened, said by ")
    assert "resolve" in [event["kind"] for event in call["events"]]
    assert journal(place, "verify").code == 0


async def test_a_call_that_did_not_happen_may_run_again_under_its_key(place: Place) -> None:
    leave_in_doubt(place, "doubt:1", APPEND)
    words = ("resolve", "doubt:1", "not-happened", "--reason", "no such line", "--json")
    told = journal(place, *words).json
    assert told["state"] == "failed"
    async with place.client() as client:
        for expected in ("ran", "replayed"):
            result = await client.call_tool(
                "run_command", {"command": APPEND}, meta=keyed("doubt:1")
            )
            assert body(result)["exit_code"] == 0
            assert disposition(result) == expected
    assert (place.workspace / "log").read_text() == "once\n"
    assert journal(place, "verify").code == 0


async def test_a_live_server_answers_by_what_was_said_meanwhile(place: Place) -> None:
    async with place.client() as client:
        leave_in_doubt(place, "doubt:1", APPEND)
        told = await client.call_tool("run_command", {"command": APPEND}, meta=keyed("doubt:1"))
        assert error(told)["code"] == "UNKNOWN"
        assert "surefoot journal resolve doubt:1" in error(told)["hint"]
        assert journal(place, "resolve", "doubt:1", "not-happened", "--reason", "no").code == 0
        result = await client.call_tool("run_command", {"command": APPEND}, meta=keyed("doubt:1"))
        assert body(result)["exit_code"] == 0
    assert journal(place, "verify").code == 0


async def test_a_call_that_is_not_in_doubt_is_refused_with_what_it_is(place: Place) -> None:
    await work(place)
    leave_in_doubt(place, "doubt:1", APPEND)
    for key, said in (("work:1", "it succeeded at"), ("work:4", "it failed at")):
        done = journal(place, "resolve", key, "happened", "--reason", "seen")
        assert (done.code, done.out) == (1, "")
        assert said in done.err
    assert journal(place, "resolve", "doubt:1", "happened", "--reason", "seen").code == 0
    again = journal(place, "resolve", "doubt:1", "not-happened", "--reason", "seen")
    assert again.code == 1
    assert "happened, said by" in again.err


async def test_a_running_call_is_refused_and_a_dead_server_is_named(place: Place) -> None:
    leave_in_doubt(place, "doubt:1", APPEND)
    tamper(place, "UPDATE call SET state = 'running', ended_at = NULL, error = NULL")
    done = journal(place, "resolve", "doubt:1", "happened", "--reason", "seen")
    assert done.code == 1
    assert "has been running since" in done.err
    assert "its server died" in done.err


async def test_a_key_of_two_principals_is_not_guessed_and_both_are_listed(place: Place) -> None:
    ids = [leave_in_doubt(place, "same", APPEND, principal=name) for name in ("ann", "ben")]
    done = journal(place, "resolve", "same", "happened", "--reason", "seen")
    assert done.code == 2
    assert all(each in done.err for each in [*ids, "ann", "ben"])
    assert journal(place, "resolve", ids[1], "happened", "--reason", "seen").code == 0
    states = [call["state"] for call in journal(place, "show", "same", "--json").json["calls"]]
    assert states == ["in_doubt", "succeeded"]
