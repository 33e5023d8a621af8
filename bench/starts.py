"""From the start of a process to the answer of its first `tools/list`."""

from collections.abc import Callable
from time import perf_counter

import typescript
from http_client import HttpClient
from line_client import LineClient
from paired import Arm, Row, measure
from place import Place

BOUND = 25.0
"""Seconds that each row may take."""


def start_rows(place: Place, rounds: int) -> list[Row]:
    """The row of stdio, and that of HTTP."""
    rows = [
        (
            "start to first tools/list, over stdio",
            [
                Arm("surefoot serve", lambda: _first(place.surefoot)),
                Arm("bare SDK", lambda: _first(place.bare)),
                Arm("raw: python that echoes a line", lambda: _echoed(place)),
                typescript.arm("TypeScript SDK", place.typescript, lambda it: _first(it.stdio)),
            ],
        ),
        (
            "start to first tools/list, over HTTP",
            [
                Arm("surefoot serve --http", lambda: _first(place.surefoot_http)),
                Arm("bare SDK", lambda: _first(place.bare_http)),
                Arm("raw: asyncio and json (http_floor.py)", lambda: _first(place.floor_http)),
                typescript.arm("TypeScript SDK", place.typescript, lambda it: _first(it.http)),
            ],
        ),
    ]
    # The first start of each finds its files cold; a single round has nothing to compare anyway.
    warm_up = int(rounds > 1)
    return [
        measure(name, arms, rounds=rounds, calls=1, bound=BOUND, warm_up=warm_up)
        for name, arms in rows
    ]


def _first(make: Callable[[], LineClient | HttpClient]) -> float:
    began = perf_counter()
    with make() as client:
        client.ask("tools/list")
        return perf_counter() - began


def _echoed(place: Place) -> float:
    began = perf_counter()
    with place.echo() as client:
        client.exchange(b"{}\n")
        return perf_counter() - began
