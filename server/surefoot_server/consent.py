"""Asking a person before a call begins: the question, who can put it, what an answer is held to.

Before it: a rule that says `ask`. The door makes a `Consent` for each request, which knows how its
caller can be asked; `asking` uses it. From 2026-07-28 on, a server puts no question by itself: the
answer to the call is the question, and the call comes again with what the person said. What ties
the two together is a seal that only this journal's servers can make.
"""

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from surefoot_server.digest import canonical

LIFETIME = 300.0
"""Seconds that a person has for an answer."""
CONSENT = "consent"
"""The name of the question where several might be."""
FORM: dict[str, Any] = {"type": "object", "properties": {}}
"""The JSON Schema of its answer: yes or no, and no fields."""
_PURPOSE = b"dev.surefoot/consent/1"
"""No canonical JSON begins so: what the journal's secret is used for elsewhere never meets this."""
_SEAL = re.compile(r"[0-9]{1,12}\.[0-9a-f]{64}", re.ASCII)


class Said(StrEnum):
    """What came of a question."""

    YES = "yes"
    NO = "no"
    NOTHING = "nothing"
    """Nobody answered in time, or the question was put away."""
    CANNOT_ASK = "cannot ask"
    """This caller has nobody that could be asked."""
    LATER = "later"
    """The question goes out as the answer, and the call comes again with what was said."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked."""

    text: str
    seal: str
    """What the call comes again with."""


class NotOurs(Exception):
    """A request brings a seal that no server of this journal gave out for such a call."""


class Consent(Protocol):
    """How one request's caller can be asked."""

    given: bool
    """Whether a person has said yes to this very request."""
    brought: str | None
    """The seal that the request came with, if it comes again."""
    answer: Said | None
    """What it says that the person said; None: it does not say."""

    async def ask(self, question: Question) -> Said:
        """Put a question."""
        ...


class Seals:
    """Makes and opens seals.

    Args:
        secret: The journal's own key: the next server opens what this one has sealed.
        now: Seconds since the epoch.
    """

    def __init__(self, secret: bytes, now: Callable[[], float]) -> None:
        self._key = hmac.new(secret, _PURPOSE, hashlib.sha256).digest()
        self._now = now
        self._used: dict[str, float] = {}

    def seal(self, call: Any) -> str:
        """A seal for a call that is good for `LIFETIME`; `call`: what it is held to, as JSON."""
        until = f"{self._now() + LIFETIME:.0f}"
        return f"{until}.{self._mac(call, until)}"

    def opens(self, seal: str, call: Any) -> bool:
        """Whether a seal is good for a call; False: it was, and its time is over.

        Raises:
            NotOurs: it was not made for this call.
        """
        until, _, mac = seal.partition(".")
        if not _SEAL.fullmatch(seal) or not hmac.compare_digest(mac, self._mac(call, until)):
            raise NotOurs
        return float(until) > self._now()

    def use(self, seal: str) -> bool:
        """Use a seal up; False if it was used before in this server."""
        now = self._now()
        self._used = {each: until for each, until in self._used.items() if until > now}
        if seal in self._used:
            return False
        self._used[seal] = float(seal.partition(".")[0])
        return True

    def _mac(self, call: Any, until: str) -> str:
        text = canonical({"call": call, "until": until})
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()
