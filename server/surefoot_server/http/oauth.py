"""OAuth 2.1 resource server: JSON Web Tokens of one issuer, issued for this server (RFC 9068).

Opaque tokens (RFC 7662, introspection) are not taken. A token that came in is never sent on.
"""

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import quote

import jwt
from jwt import exceptions

from surefoot_server.access import Access
from surefoot_server.http.issuer import ALGORITHMS, Issuer, checked_url
from surefoot_server.http.scopes import granted
from surefoot_server.http.verifier import Reason, Refused

LEEWAY = 30.0
"""Seconds by which the issuer's clock and ours may differ."""
LONGEST_TOKEN = 16 * 1024
"""Characters of a token."""
DOTS = 2
"""In a token, between its three parts."""
LONGEST_ID = 256
"""Characters of a key's id."""
LONGEST_SUBJECT = 255
"""Bytes of a subject: OpenID Connect Core, 2."""
TYPES = ("at+jwt", "application/at+jwt")
"""RFC 9068, 4: a resource server must refuse any other type, so that no ID token passes for one."""
REQUIRED = ["iss", "sub", "aud", "exp", "iat"]
"""RFC 9068, 2.2, but for `client_id` and `jti`, on which nothing here rests."""
PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
UNESCAPED = PRINTABLE.replace("#", "").replace("%", "")
"""What stands for itself in the subject of a principal."""
_REASONS: tuple[tuple[type[exceptions.PyJWTError], Reason], ...] = (
    (exceptions.InvalidSignatureError, Reason.BAD_SIGNATURE),
    (exceptions.InvalidAlgorithmError, Reason.WRONG_ALGORITHM),
    (exceptions.ExpiredSignatureError, Reason.EXPIRED),
    (exceptions.ImmatureSignatureError, Reason.NOT_YET_VALID),
    (exceptions.InvalidIssuerError, Reason.WRONG_ISSUER),
    (exceptions.InvalidAudienceError, Reason.WRONG_AUDIENCE),
    (exceptions.MissingRequiredClaimError, Reason.CLAIMS),
    (exceptions.InvalidSubjectError, Reason.CLAIMS),
    (exceptions.InvalidIssuedAtError, Reason.CLAIMS),
    (exceptions.PyJWTError, Reason.MALFORMED),
)
"""First match wins."""


class OAuth:
    """Access tokens of one authorization server: a `Verifier`.

    Args:
        issuer: Whose tokens are taken.
        resource: The URL by which it knows this server; `aud` must name it, letter by letter.
        plain_type: Also take tokens of type `JWT` or of none, as many issuers give out. What keeps
            an ID token out is then its audience alone.

    Raises:
        ValueError: the resource is no URL that a server may have.
    """

    def __init__(self, issuer: Issuer, resource: str, *, plain_type: bool = False) -> None:
        checked_url(resource, "the resource")
        self._issuer = issuer
        self._resource = resource
        self._types = (*TYPES, "jwt", None) if plain_type else TYPES

    def takes(self, token: str) -> bool:
        """See `Verifier`: three parts of a signed token (RFC 7515, 3.1)."""
        return token.count(".") == DOTS

    async def verify(self, token: str) -> Access:
        """See `Verifier`.

        Raises:
            Refused: it is none of this issuer's for this server, or not now.
            Undecided: the issuer's keys cannot be fetched now.
        """
        if len(token) > LONGEST_TOKEN or not token.isascii():
            raise Refused(Reason.MALFORMED)
        try:
            header = jwt.get_unverified_header(token)
        except exceptions.PyJWTError as e:
            raise _refused(e) from None
        key_id, algorithm = self._check_header(header)
        # Before any key is fetched, so that tokens of others cost the issuer nothing.
        self._check_issuer(token)
        key = await self._issuer.key(key_id, algorithm)
        if key is None:
            raise Refused(Reason.UNKNOWN_KEY)
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self._resource,
                issuer=self._issuer.url,
                leeway=LEEWAY,
                options={"require": REQUIRED, "enforce_minimum_key_length": True},
            )
        except exceptions.PyJWTError as e:
            raise _refused(e) from None
        principal = _principal(self._issuer.url, claims["sub"])
        nothing = Access(principal, frozenset(), frozenset())
        return granted(principal, scopes_of(claims)) or nothing

    def _check_header(self, header: Mapping[str, Any]) -> tuple[str | None, str]:
        """The key's id and the algorithm that a token names; nothing else in there counts.

        Raises:
            Refused: it is not signed as an access token is.
        """
        algorithm, key_id, kind = header.get("alg"), header.get("kid"), header.get("typ")
        if algorithm not in ALGORITHMS:
            raise Refused(Reason.WRONG_ALGORITHM)
        if (kind.lower() if isinstance(kind, str) else kind) not in self._types:
            raise Refused(Reason.WRONG_TYPE)
        # RFC 7515, 4.1.11: what is critical must be understood, and nothing is here. The library
        # looks, too, but not in all the versions that we may run with.
        if "crit" in header or not isinstance(key_id, str | None):
            raise Refused(Reason.MALFORMED)
        if key_id is not None and len(key_id) > LONGEST_ID:
            raise Refused(Reason.MALFORMED)
        return key_id, algorithm

    def _check_issuer(self, token: str) -> None:
        """Look whose token it says to be, which its signature has yet to show."""
        try:
            said: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
        except exceptions.PyJWTError as e:
            raise _refused(e) from None
        if said.get("iss") != self._issuer.url:
            raise Refused(Reason.WRONG_ISSUER)


def scopes_of(claims: Mapping[str, Any]) -> list[str]:
    """The scopes of a token: `scope` (RFC 8693, 4.2), else `scp`, as a text or a list."""
    given = claims.get("scope", claims.get("scp"))
    if isinstance(given, str):
        return given.split(" ")
    if not isinstance(given, list):
        return []
    return [scope for scope in cast("list[Any]", given) if isinstance(scope, str)]


def _principal(issuer: str, subject: str) -> str:
    """`ISSUER#SUBJECT`: no two subjects have one; an issuer's URL has no `#`.

    Raises:
        Refused: the subject is empty, too long, or no text.
    """
    try:
        raw = subject.encode()
    except UnicodeEncodeError:
        raise Refused(Reason.CLAIMS) from None
    if not 0 < len(raw) <= LONGEST_SUBJECT:
        raise Refused(Reason.CLAIMS)
    return f"{issuer}#{quote(raw, safe=UNESCAPED)}"


def _refused(error: exceptions.PyJWTError) -> Refused:
    """The refusal that stands for an error of the library, without its text."""
    reason = next(reason for kind, reason in _REASONS if isinstance(error, kind))
    return Refused(reason)
