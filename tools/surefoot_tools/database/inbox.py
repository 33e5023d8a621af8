"""The inbox: the table that records, in the transaction of an effect, that the effect happened.

What all engines share of it: what a row holds. Before it: an engine. The pattern is the idempotent
consumer of C. Richardson, 'Microservices Patterns', 2018.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

from surefoot_tools.database.engine import Executed, Rows, Statement
from surefoot_tools.database.values import Blob
from surefoot_tools.errors import Applied, Code, Origin, ToolError


def fingerprint(statements: Sequence[Statement]) -> str:
    """SHA-256 over the statements: tells another call under a key from the same one again."""

    def plain(value: object) -> object:
        return value.model_dump() if isinstance(value, Blob) else value

    listed: list[object] = []
    for statement in statements:
        parameters = statement.parameters
        if isinstance(parameters, dict):
            listed.append([statement.sql, {name: plain(v) for name, v in parameters.items()}])
        else:
            listed.append([statement.sql, [plain(v) for v in parameters or []]])
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()


def encode(executed: Executed) -> str:
    """The results as the row keeps them."""
    results = [asdict(rows) for rows in executed.results]
    return json.dumps(results if executed.atomic else {"in_part": results})


def decode(result: object) -> Executed:
    """The results that a row keeps.

    Raises:
        ToolError: the row has none: a statement committed by itself, and nobody knows how far the
            others came.
    """
    if result is None:
        raise ToolError(
            Code.DATA_LOSS,
            "the statements began and were committed in part: not all of them are one transaction,"
            " and how far they came is not known",
            applied=Applied.UNKNOWN,
            hint="look at what is there; the key will not run again",
        )
    kept: Any = json.loads(str(result))
    in_part = isinstance(kept, dict)
    listed = cast("list[dict[str, Any]]", kept["in_part"] if in_part else kept)
    return Executed([Rows(**rows) for rows in listed], atomic=not in_part)


def same_call(found: object, wanted: str) -> None:
    """Whether the row is of the same statements.

    Raises:
        ToolError: it is not.
    """
    if found != wanted:
        raise ToolError(
            Code.INVALID_ARGUMENT, "this key was used for another call", origin=Origin.CLIENT
        )
