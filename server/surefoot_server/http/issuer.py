"""An authorization server's public keys: found through its metadata, fetched within bounds, kept.

RFC 8414 (metadata), RFC 7517 (JSON Web Key). Only `oauth` uses it.
"""

import ipaddress
import json
import time
from collections.abc import Callable, Sequence
from typing import Any, cast
from urllib.parse import SplitResult, urlsplit

import anyio
import httpx2
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from surefoot_server import log
from surefoot_server.http.verifier import Undecided

_log = log.get("oauth")

LONGEST = 256 * 1024
"""Bytes of a document of the issuer's."""
FETCH_TIME = 5.0
"""Seconds to fetch the keys, with all that leads to them."""
OK = 200
"""The HTTP status of a document that is there."""
PUBLIC = ("kty", "crv", "x", "y", "n", "e")
"""What is read of a key: nothing private, should an issuer show it."""
FRESH = 600.0
"""Seconds after which keys are fetched anew: as long as a key that the issuer drops is taken."""
STALE = 6 * 3600.0
"""Seconds that keys are used while the issuer does not answer."""
PAUSE = 10.0
"""Seconds between two tries to fetch them, however many unknown keys tokens name."""
MOST_KEYS = 64
ALGORITHMS = ("RS256", "PS256", "ES256", "ES384", "EdDSA")
"""What a signature may be made with: public keys only, as RFC 9068, 2.1, and RFC 8725, 3.1, say."""
_FITTING = {
    ("RSA", None): ("RS256", "PS256"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
"""By key type and curve: the algorithms that a key of it can be for."""
SHORTEST_RSA = 2048
"""Bits; RFC 7518, 3.3."""


class IssuerUnusable(Exception):
    """What an issuer answers cannot be used; says why."""


def is_loopback(url: SplitResult) -> bool:
    """Whether a URL's host is this machine."""
    if url.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(url.hostname or "").is_loopback
    except ValueError:
        return False


def checked_url(text: str, what: str) -> SplitResult:
    """The parts of a URL of an issuer or resource: https, or http on this machine.

    Raises:
        ValueError: it is something else, or has a query, a fragment or a password in it.
    """
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError as e:
        raise ValueError(f"{what}: {e}") from e
    if url.hostname is None or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError(f"{what}: {text!r} is no URL such as https://login.example.com")
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url)):
        raise ValueError(f"{what}: https:// is needed, or http:// on this machine")
    if "?" in text or "#" in text or "@" in url.netloc:
        raise ValueError(f"{what}: a URL without query, fragment and user name")
    return url


def metadata_urls(issuer: str) -> list[str]:
    """Where an issuer's metadata may lie, in the order that MCP's 'Authorization' has them."""
    url = urlsplit(issuer)
    origin, path = f"{url.scheme}://{url.netloc}", url.path.rstrip("/")
    openid = "/.well-known/openid-configuration"
    places = (
        f"/.well-known/oauth-authorization-server{path}",
        f"{openid}{path}",
        f"{path}{openid}",
    )
    return [origin + place for place in dict.fromkeys(places)]


class Issuer:
    """One authorization server, by the keys that it signs with.

    Args:
        url: Its issuer identifier, exactly as its tokens have it.
        clock: Seconds, as of `time.monotonic`.

    Raises:
        ValueError: the URL is none that an issuer may have.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._loopback = is_loopback(checked_url(url, "the issuer"))
        self.url = url
        self._clock = clock
        self._keys: Sequence[tuple[str | None, PyJWK]] = ()
        self._fetched: float | None = None
        self._tried: float | None = None
        self._failed = False
        self._fetching = anyio.Lock()

    async def key(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        """The key that a token's header names, or the only one there is if it names none.

        Raises:
            Undecided: the issuer's keys are not known, and cannot be fetched now.
        """
        if not self._is_fresh() or self._find(key_id, algorithm) is None:
            await self._refresh(key_id, algorithm)
        if self._fetched is None or self._clock() - self._fetched > STALE:
            raise Undecided(f"the keys of {self.url} cannot be fetched")
        found = self._find(key_id, algorithm)
        if found is None and self._failed:
            raise Undecided(f"{self.url} does not answer, and may have new keys")
        return found

    def _is_fresh(self) -> bool:
        return self._fetched is not None and self._clock() - self._fetched < FRESH

    def _find(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        fitting = [
            key
            for name, key in self._keys
            if key.algorithm_name == algorithm and (key_id is None or name == key_id)
        ]
        return fitting[0] if len(fitting) == 1 else None

    async def _refresh(self, key_id: str | None, algorithm: str) -> None:
        """Fetch the keys, unless that was just tried; one request at a time does it for all."""
        async with self._fetching:
            if self._is_fresh() and self._find(key_id, algorithm) is not None:
                return  # another request has
            now = self._clock()
            if self._tried is not None and now - self._tried < PAUSE:
                return
            # A request that is cancelled here has not tried.
            try:
                with anyio.fail_after(FETCH_TIME):
                    self._keys = await self._fetch_keys()
                self._fetched, self._failed = now, False
            except (IssuerUnusable, httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as e:
                self._failed = True
                _log.warning("cannot fetch an issuer's keys", issuer=self.url, error=_said(e))
            self._tried = self._clock()

    async def _fetch_keys(self) -> Sequence[tuple[str | None, PyJWK]]:
        metadata = await self._fetch_metadata()
        # RFC 8414, 3.3: else one issuer could speak for another.
        if metadata.get("issuer") != self.url:
            raise IssuerUnusable("its metadata names another issuer; write it exactly as there")
        where = metadata.get("jwks_uri")
        if not isinstance(where, str):
            raise IssuerUnusable("its metadata has no jwks_uri")
        try:
            found = checked_url(where, "jwks_uri")
        except ValueError as e:
            raise IssuerUnusable(str(e)) from e
        if is_loopback(found) and not self._loopback:
            raise IssuerUnusable("its jwks_uri leads to this machine, where the issuer is not")
        document = await self._fetch(where)
        keys = None if document is None else document.get("keys")
        if not isinstance(keys, list):
            raise IssuerUnusable(f"no keys at {where}")
        return [made for key in cast("list[Any]", keys)[:MOST_KEYS] for made in public_keys(key)]

    async def _fetch_metadata(self) -> dict[str, Any]:
        for url in metadata_urls(self.url):
            try:
                document = await self._fetch(url)
            except IssuerUnusable:
                continue  # a page for people, as some answer to any path
            if document is not None:
                return document
        raise IssuerUnusable(f"no metadata, neither at {metadata_urls(self.url)[0]} nor of OpenID")

    async def _fetch(self, url: str) -> dict[str, Any] | None:
        """A JSON object, or None where there is none.

        Raises:
            IssuerUnusable: it is too long, or something else.
            HTTPError: no answer.
        """
        # Compressed, a few bytes could become many; a redirect could lead anywhere.
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        body = bytearray()
        async with (
            # A proxy of the environment's is for the world outside.
            httpx2.AsyncClient(follow_redirects=False, trust_env=not self._loopback) as client,
            client.stream("GET", url, headers=headers, timeout=FETCH_TIME) as response,
        ):
            if response.status_code != OK:
                return None
            async for part in response.aiter_raw():
                body += part
                if len(body) > LONGEST:
                    raise IssuerUnusable(f"more than {LONGEST} bytes at {url}")
        try:
            document: Any = json.loads(body)
        except (ValueError, RecursionError) as e:
            raise IssuerUnusable(f"no JSON at {url}") from e
        if not isinstance(document, dict):
            raise IssuerUnusable(f"no JSON object at {url}")
        return cast("dict[str, Any]", document)


def public_keys(given: Any) -> Sequence[tuple[str | None, PyJWK]]:
    """A JSON Web Key for each algorithm that it may verify, with its id; none if it may none."""
    if not isinstance(given, dict):
        return ()
    key = cast("dict[str, Any]", given)
    key_id, operations = key.get("kid"), key.get("key_ops", ["verify"])
    if key.get("use", "sig") != "sig" or not isinstance(operations, list):
        return ()
    if "verify" not in operations or not isinstance(key_id, str | None):
        return ()
    kind, curve = key.get("kty"), key.get("crv")
    if not isinstance(kind, str) or not isinstance(curve, str | None):
        return ()
    fitting = _FITTING.get((kind, None if kind == "RSA" else curve), ())
    named = key.get("alg")
    made: list[tuple[str | None, PyJWK]] = []
    # A key that could be for two is one for each; a token cannot choose one that it is not for.
    for algorithm in fitting:
        if named not in (None, algorithm):
            continue
        try:
            one = PyJWK({name: key[name] for name in PUBLIC if name in key}, algorithm)
        except (PyJWTError, ValueError, TypeError, KeyError):
            continue
        if kind != "RSA" or one.key.key_size >= SHORTEST_RSA:
            made.append((key_id, one))
    return made


def _said(error: Exception) -> str:
    """An error, also one that has no words."""
    return str(error) or type(error).__name__
