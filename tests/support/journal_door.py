"""`surefoot journal` on the journal of a place, and what a server may have recorded there."""

from pathlib import Path

import apsw
from tests.support.place import Place, keyed
from tests.support.surefoot import Done, surefoot

SECRET = "ghp_" + "s3cr3t" * 6
APPEND = "echo once >> log"


def journal(place: Place, *words: object) -> Done:
    """`surefoot journal WORDS` on the journal of a place."""
    return surefoot("journal", *words, home=place.config.state)


def path(place: Place) -> Path:
    return place.config.state / "journal.db"


def anchors(place: Place) -> list[int]:
    """After which event each chain of the journal begins."""
    db = apsw.Connection(str(path(place)))
    found: list[int] = [row[0] for row in db.execute("SELECT anchor_seq FROM instance")]
    db.close()
    return found


def tamper(place: Place, sql: str) -> None:
    """Change the journal past surefoot."""
    db = apsw.Connection(str(path(place)))
    db.execute(sql)
    db.close()


async def work(place: Place) -> None:
    """Calls of several kinds: with an effect, repeated, safe, refused, with secrets."""
    async with place.client() as client:
        arguments = {"command": APPEND, "env": {"PLAIN": SECRET}}
        await client.call_tool("run_command", arguments, meta=keyed("work:1"))
        await client.call_tool("run_command", arguments, meta=keyed("work:1", attempt=2))
        await client.call_tool("read_file", {"path": "log"})
        await client.call_tool("run_command", {"command": f"true {SECRET}"}, meta=keyed("work:2"))
        await client.call_tool("run_command", {"no": 1}, meta=keyed("work:3"))
        await client.call_tool("read_file", {"path": "missing"}, meta=keyed("work:4"))
