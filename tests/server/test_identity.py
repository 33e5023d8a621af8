"""The answers table: what a key that is known, or not, or another's, is answered."""

from functools import partial

import anyio
import mcp_types as types
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client
from tests.support.place import Place, body, disposition, error, keyed

from surefoot_server.call import KeyMalformed, fingerprint
from surefoot_server.digest import canonical
from surefoot_server.incoming import find_key
from surefoot_tools import meta

pytestmark = pytest.mark.anyio

APPEND = {"command": "echo x >> log; wc -l < log"}


def lines(place: Place) -> int:
    return len((place.workspace / "log").read_text().splitlines())


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_repeated_key_replays_the_outcome_and_does_not_run_again(
    place: Place, mode: str
) -> None:
    """Guard: `Executor._replay`."""
    async with place.client(mode=mode) as client:
        first = await client.call_tool("run_command", APPEND, meta=keyed("k"))
        second = await client.call_tool("run_command", APPEND, meta=keyed("k", 2))
    assert (disposition(first), disposition(second)) == ("ran", "replayed")
    assert second.structured_content == first.structured_content
    assert second.content == first.content
    assert (second.meta or {})[meta.REPLAYED] is True
    assert lines(place) == 1


async def test_a_key_is_replayed_by_the_next_server_too(place: Place) -> None:
    async with place.client() as client:
        first = await client.call_tool("run_command", APPEND, meta=keyed("k"))
    async with place.client() as client:
        second = await client.call_tool("run_command", APPEND, meta=keyed("k", 2))
    assert disposition(second) == "replayed"
    assert second.structured_content == first.structured_content
    assert lines(place) == 1


async def test_a_failure_is_replayed_as_well(place: Place) -> None:
    edit = {"path": "absent", "edits": [{"old_text": "a", "new_text": "b"}]}
    async with place.client() as client:
        first = await client.call_tool("edit_file", edit, meta=keyed("k"))
        (place.workspace / "absent").write_text("a")
        second = await client.call_tool("edit_file", edit, meta=keyed("k", 2))
    assert error(first) == error(second)
    assert disposition(second) == "replayed"
    assert (place.workspace / "absent").read_text() == "a"


async def test_the_same_key_sent_many_times_at_once_runs_once_and_answers_the_same(
    place: Place,
) -> None:
    """Guard: `Executor._join`."""
    results: list[types.CallToolResult] = []

    async def send(client: Client, attempt: int) -> None:
        result = await client.call_tool("run_command", APPEND, meta=keyed("k", attempt))
        results.append(result)

    async with place.client() as client, anyio.create_task_group() as senders:
        for attempt in range(1, 9):
            senders.start_soon(send, client, attempt)
    assert sorted(map(disposition, results)) == ["joined"] * 7 + ["ran"]
    assert len({str(result.structured_content) for result in results}) == 1
    assert lines(place) == 1


async def test_two_servers_on_one_journal_run_a_key_once(place: Place) -> None:
    """Guard: `Executor._join_elsewhere`."""
    results: list[types.CallToolResult] = []

    async def send(client: Client, attempt: int) -> None:
        result = await client.call_tool("run_command", APPEND, meta=keyed("k", attempt))
        results.append(result)

    async with place.client() as one, place.client() as other, anyio.create_task_group() as tasks:
        tasks.start_soon(send, one, 1)
        tasks.start_soon(send, other, 2)
    assert "ran" in map(disposition, results)
    assert len({str(result.structured_content) for result in results}) == 1
    assert lines(place) == 1


async def test_a_key_of_another_call_is_refused_and_shows_nothing_of_it(place: Place) -> None:
    """Guard: the row 'known, with another fingerprint' of `states.ANSWERS`."""
    async with place.client() as client:
        await client.call_tool("run_command", {"command": "echo s3cret"}, meta=keyed("k"))
        other = await client.call_tool("run_command", APPEND, meta=keyed("k", 2))
        tool = await client.call_tool("write_file", {"path": "a", "content": ""}, meta=keyed("k"))
    for result in (other, tool):
        assert (error(result)["code"], error(result)["origin"]) == ("INVALID_ARGUMENT", "client")
        assert "s3cret" not in str(result)
        assert disposition(result) == "conflict"
    assert not (place.workspace / "log").exists()


async def test_equal_calls_without_a_key_are_calls_of_their_own(place: Place) -> None:
    async with place.client() as client, anyio.create_task_group() as senders:
        for _ in range(3):
            senders.start_soon(partial(client.call_tool, "run_command", APPEND))
    assert lines(place) == 3


async def test_a_safe_call_with_a_known_key_runs_again_as_the_next_attempt(place: Place) -> None:
    (place.workspace / "f").write_text("one\n")
    async with place.client() as client:
        first = await client.call_tool("read_file", {"path": "f"}, meta=keyed("k"))
        (place.workspace / "f").write_text("two\n")
        second = await client.call_tool("read_file", {"path": "f"}, meta=keyed("k", 2))
    assert (first.meta or {})[meta.CALL]["attempt"] == 1
    assert (second.meta or {})[meta.CALL]["attempt"] == 2
    assert (second.meta or {})[meta.CALL]["call_id"] == (first.meta or {})[meta.CALL]["call_id"]
    assert body(second)["text"] == "two\n"


async def test_invalid_and_denied_calls_leave_the_key_free(place: Place) -> None:
    async with place.client() as client:
        invalid = await client.call_tool("run_command", {"cmd": "x"}, meta=keyed("k"))
        valid = await client.call_tool("run_command", APPEND, meta=keyed("k", 2))
    assert (disposition(invalid), disposition(valid)) == ("invalid", "ran")
    async with place.client(read_only=True) as client:
        denied = await client.call_tool("run_command", APPEND, meta=keyed("d"))
    async with place.client() as client:
        allowed = await client.call_tool("run_command", APPEND, meta=keyed("d", 2))
    assert (disposition(denied), disposition(allowed)) == ("denied", "ran")


async def test_the_same_sql_under_one_key_counts_once(place: Place) -> None:
    add = {"database": "app", "statements": [{"sql": "UPDATE counter SET n = n + 1"}]}
    async with place.client() as client:
        for attempt in (1, 2, 3):
            await client.call_tool("execute_sql", add, meta=keyed("k", attempt))
    assert place.rows("SELECT n FROM counter") == [(1,)]


async def test_a_malformed_key_of_ours_is_refused(place: Place) -> None:
    for key in ("", "with space", "x" * 256, 7):
        async with place.client() as client:
            result = await client.call_tool("run_command", APPEND, meta={meta.IDEMPOTENCY_KEY: key})
        assert error(result)["code"] == "INVALID_ARGUMENT"
        assert "malformed" in error(result)["message"]
    assert not (place.workspace / "log").exists()


def test_a_key_is_taken_from_the_first_place_that_has_one() -> None:
    host = {meta.CLAUDE_CODE_TOOL_USE: "toolu_01"}
    ours = {meta.IDEMPOTENCY_KEY: "ours"}
    assert find_key({"idempotencyKey": "first", "_meta": ours | host}) == "first"
    assert find_key({"_meta": ours | host}) == "ours"
    assert find_key({"_meta": host}) == "toolu_01"
    assert find_key({}) is None


def test_a_malformed_id_of_the_host_is_ignored_and_a_key_of_ours_is_not() -> None:
    assert find_key({"_meta": {meta.CLAUDE_CODE_TOOL_USE: "not a key"}}) is None
    with pytest.raises(KeyMalformed):
        find_key({"idempotencyKey": "not a key"})


@given(st.dictionaries(st.text(), st.integers() | st.text() | st.lists(st.integers())))
def test_a_fingerprint_does_not_depend_on_the_order_of_arguments(
    arguments: dict[str, int | str | list[int]],
) -> None:
    turned = dict(reversed(arguments.items()))
    one = fingerprint(b"s", "t", 1, arguments, ["/r"])
    assert one == fingerprint(b"s", "t", 1, turned, ["/r"])
    assert one != fingerprint(b"s", "t", 2, arguments, ["/r"])
    assert one != fingerprint(b"other", "t", 1, arguments, ["/r"])


def test_integers_beyond_doubles_keep_their_digits_in_canonical_json() -> None:
    assert canonical({"n": 2**53}) != canonical({"n": 2**53 + 1})
