"""The seam of authentication: what a bearer token lets its caller use, or why it is refused.

Two kinds are built: `tokens` (a file of hashes) and `oauth` (access tokens of an authorization
server). `bearer` fits either or both into the SDK.
"""

from enum import StrEnum
from typing import Protocol

from surefoot_server.access import Access


class Reason(StrEnum):
    """Why a token is refused: for the log alone. Its caller is told nothing but `invalid_token`."""

    NO_KIND_OF_OURS = "no kind of token that is taken here"
    MALFORMED = "malformed"
    UNKNOWN = "unknown, or revoked"
    FILE_UNUSABLE = "the file of tokens cannot be used"
    EXPIRED = "expired"
    NOT_YET_VALID = "not valid yet"
    WRONG_TYPE = "another type of token than at+jwt"
    WRONG_ALGORITHM = "an algorithm that is not taken"
    UNKNOWN_KEY = "signed by a key that the issuer does not name"
    BAD_SIGNATURE = "bad signature"
    WRONG_ISSUER = "of another issuer"
    WRONG_AUDIENCE = "issued for another audience"
    CLAIMS = "a claim is missing, or not what it should be"


class Refused(Exception):
    """A token is refused. Its text holds nothing of the token.

    Args:
        reason: For the log.
        detail: What an operator needs beside it: a name that is ours, never what a caller wrote.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail


class Undecided(Exception):
    """Whether a token is good cannot be told now: its issuer does not answer.

    Args:
        message: Why, without secrets.
    """


class Verifier(Protocol):
    """One kind of bearer token."""

    def takes(self, token: str) -> bool:
        """Whether a token looks like one of this kind; says nothing of its worth."""
        ...

    async def verify(self, token: str) -> Access:
        """What its caller may use.

        Raises:
            Refused: nothing.
            Undecided: it cannot be told now.
        """
        ...
