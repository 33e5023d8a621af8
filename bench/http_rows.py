"""A no-op call over Streamable HTTP, of one caller and of many at once, on warm connections."""

from collections.abc import Callable
from contextlib import ExitStack

from http_client import HttpClient
from paired import COMPILED, Absent, Arm, Row, measure
from place import Place

from surefoot_server.http.tokens import new_token

CALLERS = 16
EACH = 4
"""Calls of each of many callers in one turn."""
FEWER = 10
"""Turns of many callers take longer, so each round has by this factor fewer of them."""


def http_rows(place: Place, rounds: int, calls: int, bound: float) -> list[Row]:
    """A row of one caller, and one of many.

    Args:
        place: Where the servers run.
        rounds: How many at most.
        calls: Of each arm in each round.
        bound: Seconds after which no other round of a row begins.
    """
    with ExitStack() as stack:

        def one(name: str, client: HttpClient) -> tuple[str, HttpClient]:
            return name, stack.enter_context(client)

        clients = [
            one("surefoot: noop", place.noop_http(CALLERS)),
            one("bare SDK: noop", place.bare_http(CALLERS)),
            one("raw: asyncio and json (http_floor.py)", place.floor_http(CALLERS)),
            one(
                "surefoot: noop, by bearer token",
                place.noop_http(CALLERS, token=new_token()),
            ),
        ]
        absent: list[Absent] = []
        name, found = "TypeScript SDK: noop", place.typescript
        if isinstance(found, str):
            absent = [Absent(name, found)]
        else:
            clients.append(one(name, found.http(CALLERS)))

        def row(what: str, once: Callable[[HttpClient], float], fewer: int) -> Row:
            arms = [_arm(name, client, once) for name, client in clients]
            return measure(
                what,
                [*arms, *absent],
                rounds=rounds,
                calls=max(1, calls // fewer),
                bound=bound,
                warm_up=COMPILED // fewer,
            )

        return [
            row("no-op call over HTTP, 1 caller", lambda client: client.call("noop", {}), 1),
            row(
                f"no-op call over HTTP, {CALLERS} callers at once: time by number of calls",
                lambda client: client.crowd("noop", {}, EACH),
                FEWER,
            ),
        ]


def _arm(name: str, client: HttpClient, once: Callable[[HttpClient], float]) -> Arm:
    return Arm(name, lambda: once(client))
