"""The inbox: the table that records, in the transaction of an effect, that the effect happened.

What all engines share of it: what a row holds. Before it: an engine. The pattern is the idempotent
consumer of C. Richardson, 'Microservices Patterns', 2018.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict

from surefoot_tools.database.engine import Rows, Statement
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


def encode(results: Sequence[Rows]) -> str:
    """The results as the row keeps them."""
    return json.dumps([asdict(rows) for rows in results])


def decode(result: object) -> list[Rows]:
    """The results that a row keeps.

    Raises:
        ToolError: the row has none: a statement of the transaction ended it before its end.
    """
    if result is None:
        raise ToolError(
            Code.DATA_LOSS,
            "the statements were committed in part: one of them ended the transaction",
            applied=Applied.YES,
            hint="look at what is there; the key will not run again",
        )
    return [Rows(**rows) for rows in json.loads(str(result))]


def same_call(found: object, wanted: str) -> None:
    """Whether the row is of the same statements.

    Raises:
        ToolError: it is not.
    """
    if found != wanted:
        raise ToolError(
            Code.INVALID_ARGUMENT, "this key was used for another call", origin=Origin.CLIENT
        )
