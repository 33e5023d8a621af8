"""An issuer's keys: where they are found, which are used, how often it is asked for them."""

import json
from collections.abc import Generator
from typing import Any

import anyio
import pytest
from tests.support.issuer import (
    KEYS,
    METADATA,
    OPENID,
    RESOURCE,
    Clock,
    LoopbackIssuer,
    loopback_issuer,
    private,
    published,
    refusal,
)

from surefoot_server.http.issuer import (
    FRESH,
    LONGEST,
    PAUSE,
    STALE,
    Issuer,
    metadata_urls,
    public_keys,
)
from surefoot_server.http.oauth import OAuth
from surefoot_server.http.verifier import Reason, Undecided

pytestmark = pytest.mark.anyio


@pytest.fixture
def issuer() -> Generator[LoopbackIssuer]:
    with loopback_issuer() as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def oauth(issuer: LoopbackIssuer, clock: Clock) -> OAuth:
    return OAuth(Issuer(issuer.url, clock), RESOURCE)


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
