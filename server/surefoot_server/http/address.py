"""Where a server listens, and by which names it may be spoken to."""

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mcp.server.transport_security import TransportSecuritySettings

PATH = "/mcp"
"""The endpoint."""
BACKLOG = 512
"""Connections that wait to be taken."""
UNREAD = 256 * 1024
"""Bytes that the kernel takes for a client that does not read: an answer counts as delivered when
the kernel has it all, and by itself it would take up to 4 MiB."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port to listen on."""

    host: str
    """A name or a numeric address, an IPv6 one without brackets."""
    port: int
    """0: one that is free."""

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def authority(self) -> str:
        """As in a URL and in the header `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Of the endpoint."""
        return f"http://{self.authority}{PATH}"

    def bind(self) -> tuple["Address", socket.socket]:
        """Listen; the address with the port that it came to be, and the socket.

        Raises:
            OSError: it is taken, not ours, or no such host.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        listening = socket.create_server((self.host, self.port), family=family, backlog=BACKLOG)
        # Handed on to each connection.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD)
        # asyncio does not see that this is TCP; without it a body waits 40 ms for its head's ACK.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return replace(self, port=listening.getsockname()[1]), listening

    def security(
        self, hosts: Sequence[str] = (), origins: Sequence[str] = ()
    ) -> TransportSecuritySettings:
        """Which `Host` and `Origin` a request may have.

        A page that a browser has open can make it send requests here; it then says from where. A
        name that an attacker lets point here (DNS rebinding) shows in `Host`.

        Args:
            hosts: Further names, as `HOST` or `HOST:PORT`.
            origins: Further origins, as `SCHEME://HOST[:PORT]`.
        """
        own = [self.authority]
        if self.is_loopback:
            own += [f"{name}:{self.port}" for name in ("localhost", "127.0.0.1", "[::1]")]
        return TransportSecuritySettings(
            allowed_hosts=[*dict.fromkeys(own), *hosts],
            allowed_origins=[*dict.fromkeys(f"http://{name}" for name in own), *origins],
        )


def parse_address(text: str) -> Address:
    """`HOST:PORT`, `[IPV6]:PORT`, or a port of this machine alone.

    Raises:
        ValueError: it is none of these.
    """
    host, colon, port = text.rpartition(":")
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is no HOST:PORT; a port is a number up to 65535")
    if not colon:
        return Address("127.0.0.1", int(port))
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: an IPv6 address is written in brackets, as [::1]:8080")
    if not host:
        raise ValueError(f"{text!r} names no host; 127.0.0.1:{port} is this machine alone")
    return Address(host, int(port))
