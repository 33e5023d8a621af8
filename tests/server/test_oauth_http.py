"""A resource server end to end: a real issuer, real tokens, the whole way of a request."""

import json

import httpx2
import pytest
from tests.support.issuer import LoopbackIssuer, loopback_issuer, private
from tests.support.place import Place
from tests.support.web import Web, a_call, a_web, named

from surefoot_server.http.issuer import Issuer
from surefoot_server.http.oauth import OAuth
from surefoot_server.http.serving import Authority

pytestmark = pytest.mark.anyio

RESOURCE = "https://tools.example/mcp"


def authority(issuer: LoopbackIssuer) -> Authority:
    """Takes that issuer's tokens."""
    return Authority((OAuth(Issuer(issuer.url), RESOURCE),), RESOURCE, (issuer.url,))


async def status(web: Web, token: str | None) -> tuple[int, str]:
    """Of a call with a token, and the challenge."""
    given = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with web.line(given) as line:
        reply = await line.ask(a_call("run_command", command="touch ran"), **named("run_command"))
        return reply.status, reply.headers.get("www-authenticate", "")


async def test_the_metadata_is_told_without_a_token_and_names_the_issuer(place: Place) -> None:
    with loopback_issuer() as issuer:
        async with a_web(place, authority(issuer)) as web:
            where = f"http://{web.address.authority}/.well-known/oauth-protected-resource/mcp"
            async with httpx2.AsyncClient(trust_env=False) as client:
                told = (await client.get(where)).json()
    assert told["resource"] == RESOURCE
    assert told["authorization_servers"] == [issuer.url]
    assert "files:read" in told["scopes_supported"]


async def test_a_token_that_is_not_good_for_us_is_refused_with_the_metadata(place: Place) -> None:
    with loopback_issuer() as issuer:
        bad = {
            "none": None,
            "another audience": issuer.token("https://other.example/mcp", "shell"),
            "expired": issuer.token(RESOURCE, "shell", exp=1),
            "another key": issuer.token(RESOURCE, "shell", key=private("ES256", 7)),
            "another issuer": issuer.token(RESOURCE, "shell", iss="https://evil.example"),
            "no token": "x.y.z",
        }
        async with a_web(place, authority(issuer)) as web:
            for case, token in bad.items():
                found, challenge = await status(web, token)
                assert found == 401, case
                assert "/.well-known/oauth-protected-resource/mcp" in challenge, case
            found, challenge = await status(web, issuer.token(RESOURCE, "openid"))
            assert found == 403
            assert "/.well-known/oauth-protected-resource/mcp" in challenge
    assert not (place.workspace / "ran").exists()


async def test_scopes_say_what_may_be_called_and_subjects_are_apart(place: Place) -> None:
    with loopback_issuer() as issuer:
        async with a_web(place, authority(issuer)) as web:

            async def told(subject: str, scope: str, key: str) -> str:
                token = issuer.token(RESOURCE, scope, sub=subject)
                sent = a_call("write_file", key, path="x", content="x")
                async with web.line({"Authorization": f"Bearer {token}"}) as line:
                    result = (await line.ask(sent, **named("write_file"))).result
                return result["_meta"]["dev.surefoot/call"]["disposition"]

            assert await told("alice", "files", "k") == "ran"
            assert await told("alice", "files", "k") == "replayed"
            assert await told("ben", "files", "k") == "ran"
            assert await told("alice", "files:read", "other") == "denied"
            assert await told("alice", "database", "other") == "denied"


async def test_a_token_is_nowhere_but_in_its_request(
    place: Place, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with loopback_issuer() as issuer:
        token = issuer.token(RESOURCE, "shell")
        bearing = {"Authorization": f"Bearer {token}"}
        async with a_web(place, authority(issuer)) as web, web.line(bearing) as line:
            reply = await line.call("run_command", command="env; cat /proc/self/environ")
            assert reply.status == 200
    written = b"".join(
        each.read_bytes() for each in place.config.state.rglob("*") if each.is_file()
    )
    printed = capsys.readouterr()
    for part in (token, token.rpartition(".")[2]):
        assert part.encode() not in written
        assert part not in json.dumps(reply.message)
        assert part not in caplog.text + printed.out + printed.err
