"""Where a server listens, and by which names it may be spoken to."""

import socket

import pytest

from surefoot_server.http.address import UNREAD, Address, parse_address


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:8000", "127.0.0.1", 8000, True),
        ("127.9.9.9:1", "127.9.9.9", 1, True),
        ("localhost:0", "localhost", 0, True),
        ("[::1]:80", "::1", 80, True),
        ("8000", "127.0.0.1", 8000, True),
        ("0.0.0.0:80", "0.0.0.0", 80, False),
        ("[::]:80", "::", 80, False),
        ("192.0.2.1:80", "192.0.2.1", 80, False),
        ("example.com:443", "example.com", 443, False),
        ("localhost.example.com:443", "localhost.example.com", 443, False),
        ("[::ffff:192.0.2.1]:80", "::ffff:192.0.2.1", 80, False),
    ],
)
def test_an_address_is_read_and_known_as_loopback_or_not(
    text: str, host: str, port: int, loopback: bool
) -> None:
    """Guard: `Address.is_loopback`; what it takes for loopback is served without a token."""
    found = parse_address(text)
    assert (found.host, found.port, found.is_loopback) == (host, port, loopback)


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":80", "host:x", "host:70000", "::1:80", "host:-1", "host:\u0661"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_address(text)


def test_connections_are_written_at_once_and_not_far_ahead() -> None:
    """Guard: the options of `Address.bind`; without the first an answer waits 40 ms."""
    address, listening = Address("127.0.0.1", 0).bind()
    with listening, socket.create_connection((address.host, address.port)):
        taken, _ = listening.accept()
        with taken:
            assert taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert taken.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * UNREAD


def test_only_its_own_names_are_taken_unless_more_are_given() -> None:
    own = Address("127.0.0.1", 8000).security()
    assert own.allowed_hosts == ["127.0.0.1:8000", "localhost:8000", "[::1]:8000"]
    assert own.allowed_origins == [f"http://{name}" for name in own.allowed_hosts]
    more = Address("192.0.2.1", 80).security(["mcp.example"], ["https://app.example"])
    assert more.allowed_hosts == ["192.0.2.1:80", "mcp.example"]
    assert more.allowed_origins == ["http://192.0.2.1:80", "https://app.example"]
