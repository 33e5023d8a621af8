"""Calls without a key: the same on purpose is another effect; one whose answer was lost is not.

A caller without a key that sends the same again may mean the same once more, or may never have got
the answer to the first. The journal tells them apart by what became of the answers.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest
from tests.support.books import broken_chain, out_of_balance
from tests.support.core import Setup
from tests.support.lives import GONE, Forge, Life, Said, a_folder, forge, lay_out, until
from tests.support.torture import figure, rounds

pytestmark = pytest.mark.anyio


def lines(setup: Setup, tool: str) -> list[str]:
    """The effects that are there."""
    workspace = Path(setup.workspace)
    path = workspace.parent / "notes" if tool == "note" else workspace / "log"
    return path.read_text().splitlines() if path.exists() else []


def asked(tool: str, line: str) -> dict[str, Any]:
    """The arguments that add a line."""
    if tool == "note":
        return {"line": line}
    return {"path": "log", "content": f"{line}\n", "mode": "append"}


async def test_the_same_again_after_a_delivered_answer_is_another_effect(tmp_path: Path) -> None:
    """Guard: `doubt._arrived`; whoever got the answer and asks again means it."""
    times = rounds(fast=50, ci=200, full=1000)
    with a_folder(tmp_path) as folder:
        setup = lay_out(folder)
        async with forge() as born, born.life(setup) as life:
            for tool in ("note", "write_file"):
                for _ in range(times):
                    said = await life.ask(tool, asked(tool, "same"))
                    assert (said["status"], said["disposition"]) == ("succeeded", "ran")
                assert lines(setup, tool) == ["same"] * times
        assert not out_of_balance(Path(setup.state) / "journal.db")
    figure("the same on purpose, answers delivered", calls=times, effects=times)


async def test_equal_calls_at_the_same_time_are_calls_of_their_own(tmp_path: Path) -> None:
    """Guard: `doubt._may_arrive`; agents send equal calls at once on purpose."""
    with a_folder(tmp_path) as folder:
        setup = lay_out(folder)
        async with forge() as born, born.life(setup) as one, born.life(setup) as other:
            sent = [
                (life, await life.send("note", {"line": "same"}))
                for _ in range(8)
                for life in (one, other)
            ]
            for life, request in sent:
                assert (await life.answer(request))["disposition"] == "ran"
        assert lines(setup, "note") == ["same"] * 16


Loss = Callable[[Forge, Setup, str, dict[str, Any]], Awaitable[None]]
"""A way in which the answer to a call is lost."""


async def unwritten(born: Forge, setup: Setup, tool: str, arguments: dict[str, Any]) -> None:
    """The transport could not write it."""
    async with born.life(setup) as life:
        await life.write(
            {"id": "lost", "tool": tool, "arguments": arguments, "key": None, "quiet": True}
        )
        await there(setup, tool, arguments)
        await life.ask(tool, asked(tool, "another"))


async def hung_up(born: Forge, setup: Setup, tool: str, arguments: dict[str, Any]) -> None:
    """The connection went away while the server was about to answer."""
    async with born.life(setup) as life:
        await life.send(tool, arguments, fault="delay:0.3")
        await there(setup, tool, arguments)


async def cancelled_late(born: Forge, setup: Setup, tool: str, arguments: dict[str, Any]) -> None:
    """The call was done in spite of a cancel."""
    async with born.life(setup) as life:
        sent = await life.send(tool, arguments, fault="delay:0.3")
        await there(setup, tool, arguments)
        await life.write({"cancel": sent})
        assert (await life.answer(sent)).get("cancelled")


def killed(point: str) -> Loss:
    """The server died at a point of the call."""

    async def lose(born: Forge, setup: Setup, tool: str, arguments: dict[str, Any]) -> None:
        with pytest.raises(GONE):
            async with born.life(setup) as life:
                await life.ask(tool, arguments, fault=f"kill:{point}")

    return lose


async def there(setup: Setup, tool: str, arguments: dict[str, Any]) -> None:
    """Wait until the effect is there."""
    line = arguments["line"] if tool == "note" else arguments["content"].strip()
    await until(lambda: line in lines(setup, tool))
    await anyio.sleep(0.05)  # its outcome is recorded meanwhile, or it is not: both are fine


LOSSES: dict[str, Loss] = {
    "unwritten": unwritten,
    "hung up": hung_up,
    "cancelled late": cancelled_late,
    "killed after intent": killed("after_intent"),
    "killed after effect": killed("after_effect"),
    "killed before answer": killed("before_answer"),
}
IN_DOUBT = {("note", "killed after intent"), ("note", "killed after effect")}
"""Where nobody can tell what became of it."""
RUNS = {("write_file", "killed after intent")}
"""Where it is known that nothing happened, so that it runs."""


async def again(life: Life, tool: str, line: str, loss: str) -> Said:
    """Send a call again without a key whose answer was lost; it must not run blindly."""
    said = await life.ask(tool, asked(tool, line))
    where = f"{tool}, {loss}: {said}"
    if (tool, loss) in IN_DOUBT:
        assert said["status"] == "in_doubt", where
        assert said["error"]["applied"] == "unknown", where
        assert "repeat" in said["error"]["hint"], where
    elif (tool, loss) in RUNS:
        assert (said["status"], said["disposition"]) == ("succeeded", "ran"), where
    else:
        assert (said["status"], said["disposition"]) == ("succeeded", "replayed"), where
    return said


async def test_the_same_again_after_a_lost_answer_is_never_run_blindly(tmp_path: Path) -> None:
    """On the next server, or on another one of the same state directory; until it is repeated.

    Guard: `doubt.doubtful`, `Executor._in_doubt_of`, `Executor._gone`, `Exchange.lost`.
    """
    turns = rounds(fast=12, ci=60, full=996)
    seen = 0
    with a_folder(tmp_path) as folder:
        setup = lay_out(folder)
        async with forge() as born, born.life(setup) as other:
            for turn in range(turns):
                loss = list(LOSSES)[turn % len(LOSSES)]
                tool = ("note", "write_file")[turn // len(LOSSES) % 2]
                line = f"turn{turn}"
                await LOSSES[loss](born, setup, tool, asked(tool, line))
                before = lines(setup, tool).count(line)
                if turn % 4 < 2:
                    await again(other, tool, line, loss)
                else:
                    async with born.life(setup) as life:
                        await again(life, tool, line, loss)
                ran = (tool, loss) in RUNS
                assert lines(setup, tool).count(line) == before + ran, f"{tool}, {loss}"
                seen += not ran
                said = await other.ask(tool, {**asked(tool, line), "repeat": True})
                assert (said["status"], said["disposition"]) == ("succeeded", "ran"), said
                assert lines(setup, tool).count(line) == before + ran + 1
        assert not out_of_balance(Path(setup.state) / "journal.db")
        assert not broken_chain(Path(setup.state) / "journal.db")
    figure("the same again, answers lost", calls=turns, not_run_again=seen, silent_reruns=0)


async def test_a_call_cancelled_at_any_time_and_sent_again_has_one_effect(tmp_path: Path) -> None:
    """Stopped before it could happen it runs now; done in spite of the cancel it is replayed.

    Guard: `Execution._carry_out` where a cancel came too late, `Executor._gone`.
    """
    turns = rounds(fast=12, ci=60, full=400)
    random = Random(turns)
    seen: Counter[str] = Counter()
    with a_folder(tmp_path) as folder:
        setup = lay_out(folder)
        async with forge() as born, born.life(setup) as life:
            for turn in range(turns):
                path = f"turn{turn}"
                content = f"{turn}\n" * 10_000
                asked = {"path": path, "content": content, "mode": "append"}
                sent = await life.send("write_file", asked)
                if turn % 2:
                    await anyio.sleep(random.uniform(0.0, 0.02))
                else:  # the effect is there, its outcome is not recorded yet, or just now
                    file = Path(setup.workspace) / path
                    await until(file.exists, every=0)
                await life.write({"cancel": sent})
                first = await life.answer(sent)
                again = await life.ask("write_file", asked)
                assert again["status"] == "succeeded", again
                answered = "cancelled" not in first  # then it is another effect, on purpose
                assert (Path(setup.workspace) / path).read_text() == content * (1 + answered)
                seen["answered" if answered else f"cancelled_then_{again['disposition']}"] += 1
        assert not out_of_balance(Path(setup.state) / "journal.db")
    figure("cancelled at any time, sent again", calls=turns, **seen)


async def test_what_had_no_effect_runs_when_it_is_sent_again(tmp_path: Path) -> None:
    """Guard: `doubt._had_no_effect`."""
    asked = {"path": "log", "content": "x\n", "mode": "create"}
    with a_folder(tmp_path) as folder:
        setup = lay_out(folder)
        there = Path(setup.workspace) / "log"
        async with forge() as born, born.life(setup) as life:
            there.write_text("")
            await life.write(
                {"id": "lost", "tool": "write_file", "arguments": asked, "quiet": True}
            )
            await life.ask("write_file", {**asked, "path": "another"})
            there.unlink()
            said = await life.ask("write_file", asked)
        assert said["disposition"] == "ran"
        assert lines(setup, "write_file") == ["x"]
