"""Commands that a rule denies, or wants a person asked about, through every door in both eras."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import anyio
import mcp_types as types
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.context import ClientRequestContext
from mcp.shared.exceptions import MCPError
from tests.support.journal_door import journal
from tests.support.place import Place, about, body, disposition, error, keyed
from tests.support.web import a_web

from surefoot_server.app import App
from surefoot_tools.commandline.rules import Action, Rule, Rules

pytestmark = pytest.mark.anyio

RULES = Rules(
    [
        Rule(Action.ASK, ("touch",), "it leaves a file"),
        Rule(Action.DENY, ("git", "push", "--force*"), "rewrites what others have"),
    ]
)
ERAS = ["2026-07-28", "legacy"]


@dataclass
class Person:
    """Whoever is asked."""

    says: Literal["accept", "decline", "cancel"] = "accept"
    asked: list[str] = field(default_factory=list[str])
    waits: bool = False
    """Whether no answer comes before `answers` is set."""
    answers: anyio.Event = field(default_factory=anyio.Event)
    expected: int = 1
    heard: anyio.Event = field(default_factory=anyio.Event)
    """Set once that many questions have come."""

    async def __call__(
        self, context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult:
        assert isinstance(params, types.ElicitRequestFormParams)
        self.asked.append(params.message)
        if len(self.asked) >= self.expected:
            self.heard.set()
        if self.waits:
            await self.answers.wait()
        return types.ElicitResult(action=self.says)


def a_client(place: Place, era: str, person: Person | None) -> Client:
    """A client of a new server in this process that has these rules."""
    server = App(replace(place.config, commands=RULES)).server
    return Client(server, mode=era, elicitation_callback=person)


def touched(place: Place) -> bool:
    """Whether the command ran."""
    return (place.workspace / "x").exists()


def times_run(place: Place) -> int:
    """How often `echo >> times` ran."""
    file = place.workspace / "times"
    return len(file.read_text().splitlines()) if file.exists() else 0


@pytest.mark.parametrize("era", ERAS)
async def test_what_a_rule_denies_is_refused_with_its_reason_and_leaves_the_key_free(
    place: Place, era: str
) -> None:
    """Guard: `Policy.refusal`."""
    async with a_client(place, era, Person()) as client:
        denied = {"command": "true && git push origin --force"}
        result = await client.call_tool("run_command", denied, meta=keyed("k"))
        told = error(result)
        assert (told["code"], told["origin"], told["applied"]) == (
            "PERMISSION_DENIED",
            "policy",
            "no",
        )
        assert "git push origin --force" in told["message"]
        assert "rewrites what others have" in told["message"]
        assert disposition(result) == "denied"
        again = await client.call_tool("run_command", {"command": "true"}, meta=keyed("k"))
        assert disposition(again) == "ran"


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("tool", ["run_command", pytest.param("start_job", marks=pytest.mark.slow)])
async def test_a_yes_runs_the_command_once_and_its_key_replays_without_asking_again(
    place: Place, era: str, tool: str
) -> None:
    person = Person()
    async with a_client(place, era, person) as client:
        asked = {"command": "touch x && echo >> times"}
        if tool == "start_job":
            asked = {"command": ["touch", "x"]}
        first = await client.call_tool(tool, asked, meta=keyed("k"))
        assert disposition(first) == "ran"
        assert len(person.asked) == 1
        assert "touch x" in person.asked[0]
        assert "it leaves a file" in person.asked[0]
        again = await client.call_tool(tool, asked, meta=keyed("k", attempt=2))
        assert disposition(again) == "replayed"
        assert len(person.asked) == 1
        if tool == "run_command":
            assert touched(place)
            assert times_run(place) == 1


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(("says", "words"), [("decline", "said no"), ("cancel", "nobody answered")])
async def test_a_no_runs_nothing_and_leaves_the_key_free(
    place: Place, era: str, says: Literal["decline", "cancel"], words: str
) -> None:
    person = Person(says=says)
    async with a_client(place, era, person) as client:
        result = await client.call_tool("run_command", {"command": "touch x"}, meta=keyed("k"))
        told = error(result)
        assert (told["code"], told["origin"]) == ("PERMISSION_DENIED", "policy")
        assert words in told["message"]
        assert disposition(result) == "denied"
        assert not touched(place)
        person.says = "accept"
        again = await client.call_tool("run_command", {"command": "touch x"}, meta=keyed("k"))
        assert disposition(again) == "ran"
        assert touched(place)


@pytest.mark.parametrize("era", ERAS)
async def test_a_client_that_cannot_ask_is_refused_with_the_reason(place: Place, era: str) -> None:
    """Guard: `Elicitation.ask`."""
    async with a_client(place, era, None) as client:
        told = error(await client.call_tool("run_command", {"command": "touch x"}))
    assert told["code"] == "PERMISSION_DENIED"
    assert "elicitation" in told["message"]
    assert "config file" in told["hint"]
    assert not touched(place)


@pytest.mark.parametrize("era", ["2026-07-28"])
async def test_what_nothing_speaks_of_runs_unasked(place: Place, era: str) -> None:
    person = Person(says="decline")
    async with a_client(place, era, person) as client:
        assert body(await client.call_tool("run_command", {"command": "echo touch"}))
    assert person.asked == []


@pytest.mark.parametrize("era", ["legacy", pytest.param("2026-07-28", marks=pytest.mark.slow)])
async def test_over_http_a_person_is_asked_too(place: Place, era: str) -> None:
    person = Person()
    ruled = Place(place.workspace, replace(place.config, commands=RULES))
    async with a_web(ruled) as web:
        url = f"http://{web.address.authority}/mcp"
        async with Client(url, mode=era, elicitation_callback=person) as client:
            result = await client.call_tool("run_command", {"command": "touch x"}, meta=keyed("k"))
            assert disposition(result) == "ran"
        async with Client(url, mode=era) as client:
            result = await client.call_tool("run_command", {"command": "touch y"})
            assert "elicitation" in error(result)["message"]
    assert len(person.asked) == 1
    assert touched(place)


CONFIG = """
[[commands.rules]]
action = "ask"
run = "touch"
"""


@pytest.mark.parametrize("era", ["legacy", pytest.param("2026-07-28", marks=pytest.mark.slow)])
async def test_over_stdio_a_person_is_asked_as_the_config_file_says(
    place: Place, tmp_path: Path, era: str
) -> None:
    file = tmp_path / "surefoot.toml"
    file.write_text(CONFIG)
    command = place.command("--config", str(file))
    server = StdioServerParameters(
        command=command[0], args=command[1:], env=dict(place.environment())
    )
    person = Person()
    async with Client(server, mode=era, elicitation_callback=person) as client:
        result = await client.call_tool("run_command", {"command": "touch x"}, meta=keyed("k"))
        assert disposition(result) == "ran"
        person.says = "decline"
        result = await client.call_tool("run_command", {"command": "touch y"})
        assert error(result)["code"] == "PERMISSION_DENIED"
    assert len(person.asked) == 2
    assert touched(place)


async def ask_only(client: Client, command: str, **more: Any) -> types.InputRequiredResult:
    """The first round of a call that a person is asked about."""
    result = await client.session.call_tool(
        "run_command", {"command": command}, allow_input_required=True, **more
    )
    assert isinstance(result, types.InputRequiredResult)
    return result


async def answered(
    client: Client, state: str | None, command: str = "touch x", action: Any = "accept", **more: Any
) -> types.Result:
    """The second round, with a person's answer."""
    return await client.session.call_tool(
        "run_command",
        {"command": command},
        input_responses={"consent": types.ElicitResult(action=action, content={})},
        request_state=state,
        allow_input_required=True,
        **more,
    )


@pytest.mark.parametrize(
    "change",
    ["command", "key", "state", "time", "none", "unasked"],
)
async def test_a_yes_counts_for_the_call_that_was_asked_about_alone(
    place: Place, change: str
) -> None:
    """Guard: `Seals.opens`, and `Asking.check` for a call that needs no question."""
    async with a_client(place, "2026-07-28", Person()) as client:
        state = (await ask_only(client, "touch y", meta=keyed("k"))).request_state
        assert state is not None
        key, command = "k", "touch y"
        if change == "command":
            command = "touch x"
        elif change == "unasked":
            command = "true"
        elif change == "key":
            key = "other"
        elif change == "state":
            state = state[:-1] + ("0" if state[-1] != "0" else "1")
        elif change == "time":
            until, _, mac = state.partition(".")
            state = f"{int(until) + 1}.{mac}"
        else:
            state = None
        with pytest.raises(MCPError) as caught:
            await answered(client, state, command, meta=keyed(key))
        assert caught.value.error.code == types.INVALID_PARAMS
    assert not touched(place)
    assert not (place.workspace / "y").exists()


async def test_a_seal_whose_time_is_over_has_the_person_asked_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: `Seals.opens`."""
    async with a_client(place, "2026-07-28", Person()) as client:
        with monkeypatch.context() as changed:
            changed.setattr("surefoot_server.consent.LIFETIME", -1.0)
            state = (await ask_only(client, "touch x", meta=keyed("k"))).request_state
        again = await answered(client, state, meta=keyed("k"))
        assert isinstance(again, types.InputRequiredResult)
        assert not touched(place)
        done = await answered(client, again.request_state, meta=keyed("k"))
        assert isinstance(done, types.CallToolResult)
    assert touched(place)


async def test_without_a_key_a_yes_counts_once(place: Place) -> None:
    """Guard: `Seals.use`."""
    async with a_client(place, "2026-07-28", Person()) as client:
        command = "touch x && echo >> times"
        state = (await ask_only(client, command)).request_state
        assert isinstance(await answered(client, state, command), types.CallToolResult)
        assert isinstance(await answered(client, state, command), types.InputRequiredResult)
    assert times_run(place) == 1


async def test_the_next_server_takes_the_answer_to_a_question_of_the_one_before(
    place: Place,
) -> None:
    async with a_client(place, "2026-07-28", Person()) as client:
        state = (await ask_only(client, "touch x", meta=keyed("k"))).request_state
    async with a_client(place, "2026-07-28", Person()) as client:
        done = await answered(client, state, meta=keyed("k"))
        assert isinstance(done, types.CallToolResult)
        assert disposition(done) == "ran"
    assert touched(place)


async def test_a_key_that_two_people_say_yes_to_runs_once(place: Place) -> None:
    """Guard: `Asking.ask`."""
    person = Person(waits=True, expected=2)
    results: list[types.CallToolResult] = []

    async def call(client: Client, attempt: int) -> None:
        command = {"command": "touch x && echo >> times"}
        meta = keyed("k", attempt=attempt)
        results.append(await client.call_tool("run_command", command, meta=meta))

    async with a_client(place, "legacy", person) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(call, client, 1)
        tasks.start_soon(call, client, 2)
        with anyio.fail_after(20):
            await person.heard.wait()
        person.answers.set()
    assert times_run(place) == 1
    assert sorted(map(disposition, results)) in (["joined", "ran"], ["ran", "replayed"])


async def test_a_round_that_ends_in_a_question_has_a_receipt_and_the_books_add_up(
    place: Place,
) -> None:
    async with a_client(place, "2026-07-28", Person()) as client:
        await client.call_tool("run_command", {"command": "touch x"}, meta=keyed("k"))
        totals = body(await client.call_tool("failure_report", {}))["totals"]
    # The second receipt of the report itself is written before it is read.
    assert totals["receipts"] == sum(
        totals[name]
        for name in ("ran", "joined", "replayed", "in_doubt", "conflict", "denied", "invalid")
    )
    assert totals["denied"] == 1
    shown = journal(place, "export", "--format", "jsonl", "--table", "receipts").out
    assert "a person is asked first" in shown


async def test_a_question_that_nobody_answers_ends_after_a_while(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: `Asking._put`."""
    monkeypatch.setattr("surefoot_server.asking.LIFETIME", 0.05)
    async with a_client(place, "legacy", Person(waits=True)) as client:
        result = await client.call_tool("run_command", {"command": "touch x"})
    assert "nobody answered" in error(result)["message"]
    assert not touched(place)


@pytest.mark.slow
async def test_a_question_that_nobody_answers_ends_at_the_deadline_of_the_call(
    place: Place,
) -> None:
    """Guard: `Asking._put`."""
    meta = about(IDEMPOTENCY_KEY="k", DEADLINE=time.time() + 5)
    async with a_client(place, "legacy", Person(waits=True)) as client:
        result = await client.call_tool("run_command", {"command": "touch x"}, meta=meta)
    assert "nobody answered" in error(result)["message"]


async def test_a_call_that_is_cancelled_while_a_person_is_asked_has_its_receipt(
    place: Place,
) -> None:
    """Guard: `Asking._gone`."""
    person = Person(waits=True)
    async with a_client(place, "legacy", person) as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.call_tool, "run_command", {"command": "touch x"})
        await person.heard.wait()
        tasks.cancel_scope.cancel()
    assert not touched(place)
    shown = journal(place, "export", "--format", "jsonl", "--table", "receipts").out
    assert "cancelled while a person was asked" in shown
