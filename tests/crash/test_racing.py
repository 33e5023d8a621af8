"""Two servers on one journal get the same keys at the same time; each effect happens once."""

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import anyio
import apsw
import pytest
from tests.support.books import broken_chain, out_of_balance
from tests.support.core import Setup
from tests.support.lives import Life, Said, a_folder, forge, lay_out
from tests.support.torture import figure, rounds

pytestmark = pytest.mark.anyio

CLIENTS = 4
"""Sends of each key to each of the two servers."""
KEYS_AT_ONCE = 4


def asked(number: int) -> tuple[str, dict[str, Any]]:
    """The n-th call: a note, an append, or rows."""
    label = f"k{number}"
    match number % 3:
        case 0:
            return "note", {"line": label}
        case 1:
            return "write_file", {"path": "log", "content": f"{label}\n", "mode": "append"}
        case _:
            insert = {"sql": "INSERT INTO mark VALUES (?)", "parameters": [label]}
            return "execute_sql", {"database": "app", "statements": [insert]}


def happened(setup: Setup) -> Counter[str]:
    """How often each effect is there, past any server."""
    workspace = Path(setup.workspace)
    lines = (workspace.parent / "notes").read_text().splitlines()
    lines += (workspace / "log").read_text().splitlines()
    db = apsw.Connection(str(workspace / "app.db"))
    lines += [str(row[0]) for row in db.execute("SELECT label FROM mark")]
    db.close()
    return Counter(lines)


async def race(servers: list[Life], numbers: range, random: Random) -> list[Said]:
    """Send the calls with these numbers from all clients to all servers at once; the answers."""
    runners = [(server, n) for server in servers for n in numbers for _ in range(CLIENTS)]
    random.shuffle(runners)
    sent: list[tuple[Life, int, str]] = []
    for server, n in runners:
        tool, arguments = asked(n)
        sent.append((server, n, await server.send(tool, arguments, f"k{n}")))
    return [{**await server.answer(each), "number": n} for server, n, each in sent]


async def test_two_servers_that_race_for_the_same_keys_have_one_effect_each(
    tmp_path: Path,
) -> None:
    """Guard: the unique key of `Operations.begin`, `Executor._keyed`, `_join_elsewhere`."""
    calls = rounds(fast=192, ci=1000, full=10000)
    keys = calls // (2 * CLIENTS)
    random = Random(calls)
    seen: Counter[str] = Counter()
    with a_folder(tmp_path) as folder:
        setup = lay_out(folder)
        async with forge() as born, born.life(setup) as one, born.life(setup) as other:
            with anyio.fail_after(calls):
                for first in range(0, keys, KEYS_AT_ONCE):
                    numbers = range(first, min(first + KEYS_AT_ONCE, keys))
                    answers = await race([one, other], numbers, random)
                    for n in numbers:
                        told = [said for said in answers if said["number"] == n]
                        assert {said["status"] for said in told} == {"succeeded"}, told
                        assert all(said["result"] == told[0]["result"] for said in told), told
                        ways = Counter(said["disposition"] for said in told)
                        assert ways["ran"] == 1, told
                        seen.update(ways)
        assert happened(setup) == {f"k{n}": 1 for n in range(keys)}
        assert not out_of_balance(Path(setup.state) / "journal.db")
        assert not broken_chain(Path(setup.state) / "journal.db")
    figure("racing calls of two servers", calls=calls, keys=keys, effects=keys, **seen)
    assert seen["joined"] > 0
    assert seen["ran"] + seen["joined"] + seen["replayed"] == keys * 2 * CLIENTS
