"""An authorization server on loopback that signs access tokens with keys made here.

It has no endpoint to ask for tokens: a test takes what it wants, good or bad.
"""

import json
import time
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt import algorithms

from surefoot_server.http.oauth import OAuth
from surefoot_server.http.verifier import Reason, Refused

METADATA = "/.well-known/oauth-authorization-server"
OPENID = "/.well-known/openid-configuration"
KEYS = "/keys"
RESOURCE = "https://tools.example.com/mcp"
"""The server that the tests' tokens are for."""
Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@cache
def private(algorithm: str, number: int = 0) -> Private:
    """A key for an algorithm; another one for another number."""
    del number
    if algorithm in ("RS256", "PS256", "RS512"):
        return rsa.generate_private_key(65537, 2048)
    if algorithm == "weak":
        return rsa.generate_private_key(65537, 1024)
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP384R1() if algorithm == "ES384" else ec.SECP256R1())


def published(key: Private, key_id: str | None, **more: Any) -> dict[str, Any]:
    """A key as its issuer shows it."""
    public: Any = key.public_key()
    if isinstance(key, rsa.RSAPrivateKey):
        form = algorithms.RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        form = algorithms.OKPAlgorithm.to_jwk(public, as_dict=True)
    else:
        form = algorithms.ECAlgorithm.to_jwk(public, as_dict=True)
    named = {} if key_id is None else {"kid": key_id}
    return {**form, **named, "use": "sig", **more}


class LoopbackIssuer:
    """What it answers can be changed while it runs.

    Args:
        url: Its issuer identifier.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: Counter[str] = Counter()
        """Requests by path."""
        self.documents: dict[str, Any] = {
            METADATA: {"issuer": url, "jwks_uri": url + KEYS},
            KEYS: {"keys": [published(private("ES256"), "first")]},
        }
        """Answers by path; bytes are sent as they are, anything else as JSON."""
        self.redirects: dict[str, str] = {}
        """Where paths lead instead."""

    def publish(self, *keys: Mapping[str, Any]) -> None:
        """Show these keys from now on."""
        self.documents[KEYS] = {"keys": list(keys)}

    def token(
        self,
        resource: str,
        scope: str | None = "files",
        *,
        algorithm: str = "ES256",
        key: Private | str | None = None,
        headers: Mapping[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """An access token; a claim or header that is None is left out."""
        now = int(time.time())
        given = {
            "iss": self.url,
            "sub": "alice",
            "aud": resource,
            "exp": now + 600,
            "iat": now,
            "client_id": "client",
            "jti": "1",
            "scope": scope,
            **claims,
        }
        head = {"typ": "at+jwt", "kid": "first", **(headers or {})}
        return jwt.encode(
            {name: value for name, value in given.items() if value is not None},
            private(algorithm) if key is None else key,
            algorithm,
            {name: value for name, value in head.items() if value is not None or name == "typ"},
        )


@contextmanager
def loopback_issuer() -> Generator[LoopbackIssuer]:
    """An issuer, for the block."""

    class Handler(BaseHTTPRequestHandler):
        """Answers from `documents`."""

        def do_GET(self) -> None:
            """Answer."""
            issuer.asked[self.path] += 1
            moved = issuer.redirects.get(self.path)
            document = issuer.documents.get(self.path)
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(302 if moved else 404 if document is None else 200)
            if moved:
                self.send_header("Location", moved)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = LoopbackIssuer(f"http://127.0.0.1:{server.server_address[1]}")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Clock:
    """Time that stands still until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


async def refusal(oauth: OAuth, token: str) -> Reason:
    """Why a token is refused."""
    with pytest.raises(Refused) as found:
        await oauth.verify(token)
    return found.value.reason
