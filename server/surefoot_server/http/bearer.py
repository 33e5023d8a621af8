"""Fits the kinds of bearer tokens that are taken here into the SDK's middleware."""

from collections.abc import Sequence

from mcp.server.auth.provider import AccessToken
from pydantic import ConfigDict

from surefoot_server import log
from surefoot_server.access import Access
from surefoot_server.http.verifier import Reason, Refused, Verifier

_log = log.get("bearer")


class Granted(AccessToken):
    """A token that was verified. Its text is not kept: nothing may forward or log it."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    access: Access
    """What its bearer may use."""


class Bearers:
    """The SDK's `TokenVerifier` over one or more kinds of tokens.

    Args:
        verifiers: A token belongs to the first that takes it.
    """

    def __init__(self, verifiers: Sequence[Verifier]) -> None:
        self._verifiers = verifiers

    async def verify_token(self, token: str) -> AccessToken | None:
        """What a token grants; None for one that is refused, whose reason only the log is told.

        Raises:
            Undecided: it cannot be told now.
        """
        try:
            access = await self._access(token)
        except Refused as e:
            _log.info("a token was refused", reason=e.reason.value, detail=e.detail)
            return None
        # Sessions are their principal's: the SDK compares these two.
        return Granted(
            token="",
            client_id=access.principal,
            subject=access.principal,
            scopes=sorted(group.value for group in access.groups),
            access=access,
        )

    async def _access(self, token: str) -> Access:
        for verifier in self._verifiers:
            if verifier.takes(token):
                return await verifier.verify(token)
        raise Refused(Reason.NO_KIND_OF_OURS)
