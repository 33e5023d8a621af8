"""Attacks by commands, one a line of `attacks-shell.jsonl`, also with the sandbox off.

`without` is what the answer must not have, `with` what it must. `confined` is tried only so.
"""

import json
import os
import shutil
import socket
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest
from mcp import Client
from tests.support.level import found
from tests.support.place import about
from tests.tools.test_files_attacks import CANARY, filled

from surefoot_server.app import App
from surefoot_server.config import Config
from surefoot_tools.sandbox.sandbox import DEFAULT, Level, Reached

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
SECRET = "SECRET-c41d"
BOMBS = {"shell-041"}
"""What nobody should run unconfined; besides what is marked as such."""
ESCAPES = 28
"""How many cases get out with the sandbox off, at least."""


def cases() -> list[dict[str, Any]]:
    lines = Path(__file__).with_name("attacks-shell.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@dataclass
class Answer:
    """What one send of a case came to."""

    wrong: bool
    text: str
    code: str
    exit_code: int | None
    signal: str | None
    replayed: bool


@dataclass
class Field:
    """A workspace, a folder outside of it, a service on loopback, and a server."""

    top: Path
    level: Level

    def __post_init__(self) -> None:
        self.ws, self.out = self.top / "ws", self.top / "out"
        self.service = socket.create_server(("127.0.0.1", 0))
        self.abstract = f"surefoot-{uuid4().hex}"
        hidden = socket.socket(socket.AF_UNIX)
        hidden.bind(f"\0{self.abstract}")
        self.services = [self.service, hidden]
        for each in self.services:
            each.listen()
            each.setblocking(False)
        self.app = App(
            Config(
                roots=(self.ws,),
                state=self.top / "state",
                environment={"PATH": os.environ["PATH"], "API_KEY": SECRET},
                sandbox=self.level,
            )
        )

    def arrange(self, case: dict[str, Any]) -> dict[str, Any]:
        """A fresh workspace as the case wants it; the case with its places filled in."""
        for folder in (self.ws, self.out):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        (self.out / "secret").write_text(f"{CANARY}\n")
        for each in self.services[2:]:
            each.close()
        named = socket.socket(socket.AF_UNIX)
        named.bind(str(self.out / "docker.sock"))
        named.listen()
        named.setblocking(False)
        self.services[2:] = [named]
        own = json.loads(json.dumps(case).replace("sleep 1000", f"sleep 1000.{uuid4().int}"))
        port = self.service.getsockname()[1]
        places = {
            "WS": str(self.ws),
            "OUT": str(self.out),
            "PORT": str(port),
            "STATE": str(self.top / "state"),
            "ABSTRACT": self.abstract,
        }
        shell(own["setup"] or "true", self.variables())
        return filled(own, places)

    def variables(self) -> dict[str, str]:
        return {**os.environ, "WS": str(self.ws), "OUT": str(self.out)}

    def held(self, case: dict[str, Any]) -> list[str]:
        """What of the case got out."""
        found: list[str] = []
        if case.get("check") and not shell(case["check"], self.variables()):
            found.append("its check fails")
        for each in self.services:
            with suppress(BlockingIOError):
                each.accept()[0].close()
                found.append(f"it reached a service: {each.getsockname()!r}")
        return found

    def close(self) -> None:
        """Close the services."""
        for each in self.services:
            each.close()


def shell(script: str, environment: dict[str, str]) -> bool:
    """Run a script from stdin: what it looks for is then not among its own arguments."""
    done = subprocess.run(
        ["sh"], input=script.encode(), env=environment, stdout=subprocess.DEVNULL, check=False
    )
    return done.returncode == 0


async def send(client: Client, case: dict[str, Any], arguments: dict[str, Any]) -> Answer:
    meta = about(IDEMPOTENCY_KEY=case["key"], ATTEMPT=1) if "key" in case else None
    result = await client.call_tool(case["tool"], arguments, meta=meta)
    told: dict[str, Any] = result.structured_content or {}
    marks: dict[str, Any] = dict(result.meta or {})
    error = marks.get("dev.surefoot/error", {})
    return Answer(
        wrong=bool(result.is_error),
        text="".join(getattr(part, "text", "") for part in result.content) + json.dumps(told),
        code=error.get("code", ""),
        exit_code=told.get("exit_code"),
        signal=told.get("signal"),
        replayed=bool(marks.get("dev.surefoot/replayed")),
    )


async def sends(client: Client, case: dict[str, Any]) -> list[Answer]:
    """All sends of a case, one after the other or at once."""
    run: dict[str, Any] = case.get("run", {})
    answers: list[Answer] = []

    async def one(arguments: dict[str, Any]) -> None:
        answers.append(await send(client, case, arguments))

    if "parallel" in run:
        async with anyio.create_task_group() as tasks:
            for _ in range(run["parallel"]):
                tasks.start_soon(one, case["arguments"])
        return answers
    for _ in range(run.get("repeat", 1)):
        await one(case["arguments"])
    if "then" in run:
        await one({"command": run["then"]["command"]})
    return answers


def faults(case: dict[str, Any], answers: list[Answer]) -> list[str]:
    """What of the answers is not as expected."""
    first, last = answers[0], answers[-1]
    told = "".join(answer.text for answer in answers)
    good = not first.wrong and first.exit_code == 0
    match case["expect"]:
        case "ok":
            right = all(not each.wrong and each.exit_code == 0 for each in answers)
            right = right and case.get("with", "") in told
        case "ok-contained":
            right = CANARY not in told and SECRET not in told
            right = right and case.get("without", CANARY) not in told
        case "ok-sanitized":
            bad = {"\x1b", "\x07", "\u202e", "\u200b", "\U000e0041"}
            right = good and not bad & set(told)
        case "denied":
            right = first.wrong and first.code == "PERMISSION_DENIED"
        case "error":
            right = first.wrong
        case "killed":
            ended = first.signal is not None or first.exit_code not in (0, None)
            right = ended if not first.wrong else first.code == "DEADLINE_EXCEEDED"
        case "replay":
            right = good and all(each.replayed for each in answers[1:])
        case "conflict":
            right = good and last.wrong and last.code == "INVALID_ARGUMENT"
        case "in-flight":
            right = good and (last.exit_code == 0 or last.code == "UNAVAILABLE")
        case other:
            raise AssertionError(f"{case['id']}: what is {other}?")
    return [] if right else [f"expected {case['expect']}: {told[:400]}"]


async def played(field: Field, left_out: frozenset[str] = frozenset()) -> dict[str, list[str]]:
    """All cases on one server; what was wrong with each that was wrong."""
    wrong: dict[str, list[str]] = {}
    async with Client(field.app.server) as client:
        for case in cases():
            if case["id"] not in left_out and not (left_out and case.get("confined")):
                own = field.arrange(case)
                answers = await sends(client, own)
                found = [*faults(own, answers), *field.held(own)]
                if found:
                    wrong[case["id"]] = found
    field.close()
    return wrong


async def test_every_attack_is_answered_as_expected_and_none_gets_out(tmp_path: Path) -> None:
    """Guard: `enter.start`, and `environment.refuse_code`."""
    (tmp_path / "ws").mkdir()
    if found().reached is not Reached.BUBBLEWRAP:
        pytest.skip(f"bubblewrap does not work here: {found().reason}")
    assert await played(Field(tmp_path, DEFAULT)) == {}


async def test_without_the_sandbox_attacks_get_out(tmp_path: Path) -> None:
    """The guard is `enter.start`: with the sandbox off the same cases write and read outside."""
    (tmp_path / "ws").mkdir()
    wrong = await played(Field(tmp_path, Level.OFF), frozenset(BOMBS))
    assert len(wrong) >= ESCAPES, wrong
