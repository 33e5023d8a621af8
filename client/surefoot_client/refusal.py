"""HTTP responses that turn a request away before it comes to MCP, and what that means for a call.

Raised to `connection.py` by `streamable_http.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from surefoot_tools.errors import Applied, Code, Origin

DEFAULT_WAIT = 1.0
"""Seconds after which to come again where 429 or 503 do not say."""
_COME_AGAIN = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a status says of the call."""

    code: Code
    origin: Origin
    applied: Applied


MEANINGS: Mapping[int, Meaning] = {
    301: Meaning(Code.FAILED_PRECONDITION, Origin.CLIENT, Applied.UNKNOWN),
    302: Meaning(Code.FAILED_PRECONDITION, Origin.CLIENT, Applied.UNKNOWN),
    303: Meaning(Code.FAILED_PRECONDITION, Origin.CLIENT, Applied.UNKNOWN),
    307: Meaning(Code.FAILED_PRECONDITION, Origin.CLIENT, Applied.NO),
    308: Meaning(Code.FAILED_PRECONDITION, Origin.CLIENT, Applied.NO),
    401: Meaning(Code.UNAUTHENTICATED, Origin.CLIENT, Applied.NO),
    403: Meaning(Code.PERMISSION_DENIED, Origin.POLICY, Applied.NO),
    404: Meaning(Code.NOT_FOUND, Origin.CLIENT, Applied.NO),
    405: Meaning(Code.UNIMPLEMENTED, Origin.CLIENT, Applied.NO),
    413: Meaning(Code.INVALID_ARGUMENT, Origin.CLIENT, Applied.NO),
    421: Meaning(Code.INVALID_ARGUMENT, Origin.CLIENT, Applied.NO),
    429: Meaning(Code.RESOURCE_EXHAUSTED, Origin.SERVER, Applied.NO),
    503: Meaning(Code.UNAVAILABLE, Origin.SERVER, Applied.UNKNOWN),
}
"""By status, after RFC 9110 section 15 and RFC 6585. A redirect is not followed: 307 and 308 say
that the request is to be made elsewhere, the older ones may come after it was carried out. A
gateway may send 503 when it lost a server that had begun."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that HTTP itself answered."""

    status: int
    retry_after: float | None
    """Seconds after which it is worth while to come again; None: it is not."""

    @property
    def meaning(self) -> Meaning:
        """What it says of the call."""
        return MEANINGS[self.status]


def refusal(status: int, headers: Mapping[str, str]) -> Refusal | None:
    """The refusal that a response is; None if it is none, whatever else it may be."""
    if status not in MEANINGS:
        return None
    if status not in _COME_AGAIN:
        return Refusal(status, None)
    # the other form, a date, would need the server's clock
    asked = headers.get("retry-after", "").strip()
    return Refusal(status, float(asked) if asked.isascii() and asked.isdigit() else DEFAULT_WAIT)
