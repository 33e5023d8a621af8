"""What the clients of the bench say and take for an answer: JSON-RPC of the 2026-07-28 era."""

import json
from collections.abc import Mapping
from typing import Any

ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
}
"""`_meta` of every request of the 2026-07-28 era."""
ANSWER_BOUND = 30.0
"""Seconds that a server may take to answer; start included."""
EXIT_BOUND = 10.0
"""Seconds that a server may take to exit once it was told to; then it is killed."""


class Refused(Exception):
    """A server did not do what the bench asked; its numbers would mean nothing."""


def request(
    request_id: int, method: str, params: Mapping[str, Any], about: Mapping[str, Any] | None = None
) -> bytes:
    """A request, encoded.

    Args:
        request_id: Its id.
        method: Of MCP.
        params: The parameters but for `_meta`.
        about: More fields of `_meta`.
    """
    whole = {**params, "_meta": {**ENVELOPE, **(about or {})}}
    message = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": whole}
    return json.dumps(message).encode()


def opened(answer: bytes) -> tuple[Any, dict[str, Any]]:
    """The id of the request that an answer is to, and its result.

    Raises:
        Refused: it is an error, or no answer.
    """
    try:
        message: dict[str, Any] = json.loads(answer)
    except ValueError as e:
        raise Refused(f"no JSON: {shown(answer)}") from e
    result = message.get("result")
    if result is None or result.get("isError"):
        raise Refused(_error(result) or shown(answer))
    return message.get("id"), result


def check(answer: bytes) -> Any:
    """As `opened`; the id alone."""
    return opened(answer)[0]


def _error(result: dict[str, Any] | None) -> str:
    """What an error says, if it says anything."""
    texts = [part.get("text", "") for part in (result or {}).get("content", [])]
    return "\n".join(texts)[:400]


def shown(answer: bytes) -> str:
    """The beginning of an answer, for a message about it."""
    return answer[:400].decode(errors="replace")
