"""Access tokens of an authorization server on loopback: what is taken, and what is refused why."""

import json
import logging
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Generator
from pathlib import Path
from typing import Any

import anyio
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
    METADATA,
    OPENID,
    LoopbackIssuer,
    loopback_issuer,
    private,
    published,
)

from surefoot_server.http.bearer import Bearers
from surefoot_server.http.challenge import Decided, ToolScope, exact_url
from surefoot_server.http.issuer import (
    ALGORITHMS,
    FRESH,
    LONGEST,
    PAUSE,
    STALE,
    Issuer,
    metadata_urls,
    public_keys,
)
from surefoot_server.http.oauth import LEEWAY, LONGEST_SUBJECT, OAuth
from surefoot_server.http.scopes import SCOPES, granted
from surefoot_server.http.verifier import Reason, Refused, Undecided
from surefoot_tools.tool import Group

pytestmark = pytest.mark.anyio

RESOURCE = "https://tools.example.com/mcp"
BEYOND = LEEWAY + 5
"""Seconds that are more than clocks may differ by, with room for a slow test."""


class Clock:
    """Time that stands still until it is moved."""

    now = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def issuer() -> Generator[LoopbackIssuer]:
    with loopback_issuer() as running:
        yield running


@pytest.fixture
def oauth(issuer: LoopbackIssuer, clock: Clock) -> OAuth:
    return OAuth(Issuer(issuer.url, clock), RESOURCE)


async def refusal(oauth: OAuth, token: str) -> Reason:
    """Why a token is refused."""
    with pytest.raises(Refused) as found:
        await oauth.verify(token)
    return found.value.reason


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


async def test_a_key_is_used_for_no_algorithm_but_its_own(
    oauth: OAuth, issuer: LoopbackIssuer
) -> None:
    issuer.publish(published(private("RS256"), "first", alg="PS256"))
    assert await refusal(oauth, issuer.token(RESOURCE, algorithm="RS256")) == Reason.UNKNOWN_KEY


@pytest.mark.parametrize(
    "key",
    [
        published(private("ES256"), "k", use="enc"),
        published(private("ES256"), "k", key_ops=["sign"]),
        published(private("ES256"), "k", alg="HS256"),
        published(private("weak"), "k"),
        {"kty": "oct", "k": "c2VjcmV0", "kid": "k"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "k"},
        {"kty": "RSA", "n": 1, "e": [], "kid": "k"},
        {"kty": ["RSA"], "kid": "k"},
        {**published(private("ES256"), "k"), "kid": 1},
        "k",
        None,
    ],
)
async def test_a_key_that_may_not_verify_is_none(key: Any) -> None:
    """Guard: `public_keys`."""
    assert not public_keys(key)


async def test_without_a_key_id_the_only_key_is_meant_and_of_two_none(
    oauth: OAuth, issuer: LoopbackIssuer, clock: Clock
) -> None:
    token = issuer.token(RESOURCE, headers={"kid": None})
    await oauth.verify(token)
    issuer.publish(published(private("ES256"), "first"), published(private("ES256", 1), "second"))
    clock.now += FRESH
    assert await refusal(oauth, token) == Reason.UNKNOWN_KEY


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


async def test_keys_are_fetched_once_for_many_requests_at_once(
    oauth: OAuth, issuer: LoopbackIssuer
) -> None:
    token = issuer.token(RESOURCE)
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(oauth.verify, token)
    assert issuer.asked == {METADATA: 1, KEYS: 1}


async def test_unknown_keys_make_us_ask_no_more_than_once_a_pause(
    oauth: OAuth, issuer: LoopbackIssuer, clock: Clock
) -> None:
    """Guard: the look at `_tried` in `Issuer._refresh`."""
    await oauth.verify(issuer.token(RESOURCE))
    for number in range(20):
        garbage = issuer.token(RESOURCE, headers={"kid": f"x{number}"})
        assert await refusal(oauth, garbage) == Reason.UNKNOWN_KEY
    assert issuer.asked[KEYS] == 1
    clock.now += PAUSE
    assert await refusal(oauth, issuer.token(RESOURCE, headers={"kid": "y"})) == Reason.UNKNOWN_KEY
    assert issuer.asked[KEYS] == 2


async def test_a_new_key_is_taken_and_a_dropped_one_no_longer(
    oauth: OAuth, issuer: LoopbackIssuer, clock: Clock
) -> None:
    old = issuer.token(RESOURCE)
    await oauth.verify(old)
    issuer.publish(published(private("ES256", 1), "second"))
    clock.now += PAUSE
    await oauth.verify(issuer.token(RESOURCE, key=private("ES256", 1), headers={"kid": "second"}))
    assert await refusal(oauth, old) == Reason.UNKNOWN_KEY


async def test_a_dropped_key_is_forgotten_after_a_while_though_nobody_names_another(
    oauth: OAuth, issuer: LoopbackIssuer, clock: Clock
) -> None:
    """Guard: `Issuer._is_fresh`."""
    old = issuer.token(RESOURCE)
    await oauth.verify(old)
    issuer.publish(published(private("ES256", 1), "second"))
    clock.now += FRESH - 1
    await oauth.verify(old)
    clock.now += 1
    assert await refusal(oauth, old) == Reason.UNKNOWN_KEY


async def test_known_keys_outlast_an_issuer_that_does_not_answer_but_not_for_ever(
    oauth: OAuth, issuer: LoopbackIssuer, clock: Clock
) -> None:
    """Guard: `Issuer.key`."""
    token = issuer.token(RESOURCE)
    await oauth.verify(token)
    issuer.documents.clear()
    clock.now += FRESH
    await oauth.verify(token)
    with pytest.raises(Undecided):
        await oauth.verify(issuer.token(RESOURCE, headers={"kid": "second"}))
    clock.now += STALE
    with pytest.raises(Undecided):
        await oauth.verify(token)


async def test_the_metadata_of_openid_does_as_well(oauth: OAuth, issuer: LoopbackIssuer) -> None:
    issuer.documents[OPENID] = issuer.documents[METADATA]
    issuer.documents[METADATA] = b"<html>Nothing here</html>"
    await oauth.verify(issuer.token(RESOURCE))


def test_metadata_of_an_issuer_with_a_path_is_looked_for_as_mcp_says() -> None:
    assert metadata_urls("https://x.example/a/") == [
        "https://x.example/.well-known/oauth-authorization-server/a",
        "https://x.example/.well-known/openid-configuration/a",
        "https://x.example/a/.well-known/openid-configuration",
    ]
    assert metadata_urls("https://x.example") == [
        "https://x.example/.well-known/oauth-authorization-server",
        "https://x.example/.well-known/openid-configuration",
    ]


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://other.example.com", "jwks_uri": "{url}/keys"},
        {"issuer": "{url}/", "jwks_uri": "{url}/keys"},
        {"jwks_uri": "{url}/keys"},
        {"issuer": "{url}"},
        {"issuer": "{url}", "jwks_uri": "http://keys.example.com/keys"},
        {"issuer": "{url}", "jwks_uri": "file:///etc/passwd"},
        {"issuer": "{url}", "jwks_uri": "{url}/moved"},
        {"issuer": "{url}", "jwks_uri": "{url}/much"},
        {"issuer": "{url}", "jwks_uri": "{url}/list"},
    ],
)
async def test_metadata_that_cannot_be_trusted_gives_no_keys(
    oauth: OAuth, issuer: LoopbackIssuer, metadata: dict[str, str]
) -> None:
    """Guard: `Issuer._fetch_keys`, `checked_url` and `Issuer._fetch`."""
    issuer.redirects["/moved"] = issuer.url + KEYS
    issuer.documents["/much"] = json.dumps(issuer.documents[KEYS]).encode() + b" " * LONGEST
    issuer.documents["/list"] = [issuer.documents[KEYS]]
    issuer.documents[METADATA] = {
        name: value.replace("{url}", issuer.url) for name, value in metadata.items()
    }
    with pytest.raises(Undecided):
        await oauth.verify(issuer.token(RESOURCE))
    assert issuer.asked[KEYS] == 0


async def test_a_document_of_the_greatest_length_is_read(
    oauth: OAuth, issuer: LoopbackIssuer
) -> None:
    issuer.documents[KEYS] = json.dumps(issuer.documents[KEYS]).encode().ljust(LONGEST)
    await oauth.verify(issuer.token(RESOURCE))


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
