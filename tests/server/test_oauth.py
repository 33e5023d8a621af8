"""Access tokens of an authorization server on loopback: what is taken, and what is refused why."""

import json
import logging
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp
from structlog.testing import capture_logs
from tests.support.issuer import (
    KEYS,
    RESOURCE,
    LoopbackIssuer,
    loopback_issuer,
    private,
    published,
    refusal,
)

from surefoot_server.http.bearer import Bearers
from surefoot_server.http.challenge import Decided, ToolScope, exact_url
from surefoot_server.http.issuer import (
    ALGORITHMS,
    Issuer,
)
from surefoot_server.http.oauth import LEEWAY, LONGEST_SUBJECT, OAuth
from surefoot_server.http.scopes import SCOPES, granted
from surefoot_server.http.verifier import Reason
from surefoot_tools.tool import Group

pytestmark = pytest.mark.anyio

BEYOND = LEEWAY + 5
"""Seconds that are more than clocks may differ by, with room for a slow test."""


@pytest.fixture
def issuer() -> Generator[LoopbackIssuer]:
    with loopback_issuer() as running:
        yield running


@pytest.fixture
def oauth(issuer: LoopbackIssuer) -> OAuth:
    return OAuth(Issuer(issuer.url), RESOURCE)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_token_of_each_algorithm_is_taken(
    oauth: OAuth, issuer: LoopbackIssuer, algorithm: str
) -> None:
    issuer.publish(published(private(algorithm), "first"))
    access = await oauth.verify(issuer.token(RESOURCE, "files:read database", algorithm=algorithm))
    assert access.principal == f"{issuer.url}#alice"
    assert access.groups == {Group.FILES, Group.DATABASE, Group.ACCOUNTING}
    assert access.writes == {Group.DATABASE}
    assert access.roots is None


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "https://other.example.com/mcp"}, Reason.WRONG_AUDIENCE),
        ({"aud": RESOURCE + "/"}, Reason.WRONG_AUDIENCE),
        ({"aud": RESOURCE.upper()}, Reason.WRONG_AUDIENCE),
        ({"aud": [RESOURCE + "2", "x"]}, Reason.WRONG_AUDIENCE),
        ({"aud": {RESOURCE: 1}}, Reason.WRONG_AUDIENCE),
        ({"aud": None}, Reason.CLAIMS),
        ({"iss": "https://other.example.com"}, Reason.WRONG_ISSUER),
        ({"iss": None}, Reason.WRONG_ISSUER),
        ({"exp": time.time() - BEYOND}, Reason.EXPIRED),
        ({"exp": None}, Reason.CLAIMS),
        ({"exp": "never"}, Reason.MALFORMED),
        ({"nbf": time.time() + 3600}, Reason.NOT_YET_VALID),
        ({"iat": time.time() + 3600}, Reason.NOT_YET_VALID),
        ({"iat": None}, Reason.CLAIMS),
        ({"sub": None}, Reason.CLAIMS),
        ({"sub": ""}, Reason.CLAIMS),
        ({"sub": "é" * LONGEST_SUBJECT}, Reason.CLAIMS),
    ],
)
async def test_a_token_whose_claims_do_not_fit_is_refused(
    oauth: OAuth, issuer: LoopbackIssuer, claims: dict[str, Any], reason: Reason
) -> None:
    """Guard: the arguments of `jwt.decode` in `OAuth.verify`, `_check_issuer`, `_principal`."""
    assert await refusal(oauth, issuer.token(RESOURCE, **claims)) == reason


async def test_a_token_just_within_the_bounds_is_taken(
    oauth: OAuth, issuer: LoopbackIssuer
) -> None:
    now = time.time()
    bounds: list[dict[str, Any]] = [
        {"exp": now - 1},
        {"nbf": now + LEEWAY - 1},
        {"iat": now + LEEWAY - 1},
        {"aud": ["x", RESOURCE]},
        {"sub": "a" * LONGEST_SUBJECT},
    ]
    for claims in bounds:
        await oauth.verify(issuer.token(RESOURCE, **claims))


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"typ": "JWT"}, Reason.WRONG_TYPE),
        ({"typ": None}, Reason.WRONG_TYPE),
        ({"typ": "dpop+jwt"}, Reason.WRONG_TYPE),
        ({"kid": "second"}, Reason.UNKNOWN_KEY),
        ({"kid": "x" * 257}, Reason.MALFORMED),
        ({"crit": ["exp"], "exp": 1}, Reason.MALFORMED),
    ],
)
async def test_a_token_whose_header_does_not_fit_is_refused(
    oauth: OAuth, issuer: LoopbackIssuer, headers: dict[str, Any], reason: Reason
) -> None:
    """Guard: `OAuth._check_header`."""
    assert await refusal(oauth, issuer.token(RESOURCE, headers=headers)) == reason


async def test_the_type_may_be_written_in_full_and_in_capitals(
    oauth: OAuth, issuer: LoopbackIssuer
) -> None:
    for kind in ("application/at+jwt", "AT+JWT"):
        await oauth.verify(issuer.token(RESOURCE, headers={"typ": kind}))


@pytest.mark.parametrize("kind", ["JWT", None])
async def test_plain_tokens_are_taken_only_where_that_was_asked_for(
    issuer: LoopbackIssuer, kind: str | None
) -> None:
    lenient = OAuth(Issuer(issuer.url), RESOURCE, plain_type=True)
    await lenient.verify(issuer.token(RESOURCE, headers={"typ": kind}))
    other = issuer.token(RESOURCE, headers={"typ": "dpop+jwt"})
    assert await refusal(lenient, other) == Reason.WRONG_TYPE


async def test_a_signature_by_another_key_is_bad(oauth: OAuth, issuer: LoopbackIssuer) -> None:
    """Guard: `jwt.decode` in `OAuth.verify`."""
    forged = issuer.token(RESOURCE, key=private("ES256", 1))
    assert await refusal(oauth, forged) == Reason.BAD_SIGNATURE
    head, body, signature = issuer.token(RESOURCE).split(".")
    claims = json.loads(urlsafe_b64decode(body + "=="))
    changed = urlsafe_b64encode(json.dumps({**claims, "scope": "shell"}).encode())
    mixed = f"{head}.{changed.decode().rstrip('=')}.{signature}"
    assert await refusal(oauth, mixed) == Reason.BAD_SIGNATURE


async def test_a_key_that_a_token_brings_along_is_not_used(
    oauth: OAuth, issuer: LoopbackIssuer
) -> None:
    mine = private("ES256", 1)
    headers = {"jwk": published(mine, "first"), "jku": issuer.url + "/mine"}
    forged = issuer.token(RESOURCE, key=mine, headers=headers)
    assert await refusal(oauth, forged) == Reason.BAD_SIGNATURE
    assert issuer.asked["/mine"] == 0


async def test_no_algorithm_without_a_public_key_is_taken(
    oauth: OAuth, issuer: LoopbackIssuer
) -> None:
    """Guard: `OAuth._check_header`; `none`, and a public key as the secret of an HMAC."""
    shown: str = issuer.documents[KEYS]["keys"][0]["x"]
    for algorithm, key in (("none", ""), ("HS256", shown), ("RS512", private("RS512"))):
        token = issuer.token(RESOURCE, algorithm=algorithm, key=key)
        assert await refusal(oauth, token) == Reason.WRONG_ALGORITHM
    assert not issuer.asked


@pytest.mark.parametrize("token", ["a.b.c", "..", "e30.e30.", "é.b.c", "a" * 20_000 + ".b.c"])
async def test_what_is_no_token_is_malformed_and_asks_the_issuer_nothing(
    oauth: OAuth, issuer: LoopbackIssuer, token: str
) -> None:
    assert await refusal(oauth, token) in (Reason.MALFORMED, Reason.WRONG_ALGORITHM)
    assert not issuer.asked


async def test_tokens_of_others_ask_the_issuer_nothing(
    oauth: OAuth, issuer: LoopbackIssuer
) -> None:
    """Guard: `OAuth._check_issuer`."""
    stranger = issuer.token(RESOURCE, headers={"kid": "x"}, iss="https://x")
    assert await refusal(oauth, stranger) == Reason.WRONG_ISSUER
    assert not issuer.asked


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example.com",
        "https://",
        "login.example.com",
        "https://x.example?a=b",
        "https://x.example#",
        "https://u:p@x.example",
        "https://x.example:port",
        "https://x.example/a b",
        "ftp://127.0.0.1",
    ],
)
def test_a_url_that_no_issuer_and_no_server_may_have_is_refused(url: str) -> None:
    """Guard: `checked_url`."""
    with pytest.raises(ValueError, match=r".+"):
        Issuer(url)
    with pytest.raises(ValueError, match=r".+"):
        OAuth(Issuer("https://x.example"), url)


async def test_two_subjects_are_two_principals_whatever_they_are_called(
    oauth: OAuth, issuer: LoopbackIssuer
) -> None:
    """Guard: `_principal`."""
    names = ["a", "a#b", "a%23b", "é", "%C3%A9", "a\nb", "a b", "A"]
    found = [(await oauth.verify(issuer.token(RESOURCE, sub=name))).principal for name in names]
    assert len(set(found)) == len(names)
    assert all(each.isascii() and each.isprintable() for each in found)
    assert {each.count("#") for each in found} == {1}


@pytest.mark.parametrize(
    "claims",
    [
        {"scope": None, "scp": "files:read"},
        {"scope": None, "scp": ["files:read", 1]},
        {"scope": "files:read", "scp": "shell"},
    ],
)
async def test_scopes_are_read_in_each_of_their_forms(
    oauth: OAuth, issuer: LoopbackIssuer, claims: dict[str, Any]
) -> None:
    access = await oauth.verify(issuer.token(RESOURCE, **claims))
    assert (access.groups, access.writes) == ({Group.FILES, Group.ACCOUNTING}, frozenset())


ROOTS = st.sampled_from(
    ["root:/a", "root:/a%20b", "root:/a/../b", "root:a", "root:", "root:/%ff", "root:/%zz"]
)


@given(st.lists(st.sampled_from(SCOPES) | ROOTS | st.text(max_size=8)))
def test_scopes_grant_no_more_than_they_list(scopes: list[str]) -> None:
    """Guard: `granted`."""
    access = granted("p", scopes)
    listed = set(scopes)
    if access is None:
        readable = {"root:/a", "root:/a%20b"} & listed
        named = any(scope.startswith("root:") for scope in listed)
        assert not listed & set(SCOPES) or (named and not readable)
        return
    for group in access.groups - {Group.ACCOUNTING}:
        assert {group.value, f"{group.value}:read"} & listed
    assert {group.value for group in access.writes} <= listed
    if access.roots is None:
        assert not any(scope.startswith("root:") for scope in listed)
    else:
        assert access.roots
        assert set(access.roots) <= {Path("/a"), Path("/a b")}


def guarded(oauth: OAuth) -> ASGIApp:
    """An application behind the same parts as the server's."""
    metadata = exact_url("https://tools.example.com/.well-known/oauth-protected-resource/mcp")
    reached = ToolScope(PlainTextResponse("reached"), SCOPES, metadata)
    required = RequireAuthMiddleware(reached, [], metadata)
    return Decided(AuthenticationMiddleware(required, BearerAuthBackend(Bearers((oauth,)))))


async def ask(oauth: OAuth, token: str) -> httpx2.Response:
    """Send a request with a token."""
    transport = httpx2.ASGITransport(guarded(oauth))
    async with httpx2.AsyncClient(transport=transport, base_url="http://x") as client:
        return await client.get("/", headers={"Authorization": f"Bearer {token}"})


async def test_a_token_without_a_scope_of_ours_is_told_which_there_are(
    oauth: OAuth, issuer: LoopbackIssuer
) -> None:
    """Guard: `ToolScope`."""
    for scope in (None, "", "openid", "files root:relative", "failure_report accounting"):
        answer = await ask(oauth, issuer.token(RESOURCE, scope))
        assert answer.status_code == 403
        challenge = answer.headers["www-authenticate"]
        assert 'error="insufficient_scope"' in challenge
        assert f'scope="{" ".join(SCOPES)}"' in challenge
        assert "resource_metadata=" in challenge
    assert (await ask(oauth, issuer.token(RESOURCE, "files:read"))).text == "reached"


async def test_a_token_that_cannot_be_judged_now_may_be_sent_again(
    oauth: OAuth, issuer: LoopbackIssuer
) -> None:
    """Guard: `Decided`."""
    issuer.documents.clear()
    answer = await ask(oauth, issuer.token(RESOURCE))
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0


async def test_neither_log_nor_answer_shows_a_token_or_says_why_it_is_refused(
    oauth: OAuth, issuer: LoopbackIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    good = issuer.token(RESOURCE)
    tokens = [
        good,
        issuer.token(RESOURCE, aud="https://other"),
        issuer.token(RESOURCE, exp=1),
        issuer.token(RESOURCE, key=private("ES256", 1)),
        issuer.token(RESOURCE, None),
        good.replace(".", "!.", 1),
    ]
    with caplog.at_level(logging.DEBUG), capture_logs() as logs:
        answers = [await ask(oauth, token) for token in tokens]
    assert [each.status_code for each in answers] == [200, 401, 401, 401, 403, 401]
    refused = [each for each in answers if each.status_code == 401]
    assert len({(each.text, each.headers["www-authenticate"]) for each in refused}) == 1
    shown = json.dumps(logs, default=str) + caplog.text
    shown += "".join(f"{each.headers}{each.text}" for each in answers)
    for token in tokens:
        for part in token.split("."):
            assert part not in shown


def test_a_url_keeps_its_form() -> None:
    for url in ("https://x.example", "https://x.example/", "https://x.example/a"):
        assert str(exact_url(url)) == url
