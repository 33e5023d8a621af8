"""The options of `surefoot serve` that say where it listens, and who may call."""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Any

import anyio
import click

if TYPE_CHECKING:
    from surefoot_server.app import App
    from surefoot_server.executor import Executor
    from surefoot_server.http.address import Address
    from surefoot_server.http.serving import Authority
    from surefoot_server.http.verifier import Verifier
    from surefoot_server.journal.records import Journal

_OPTIONS = [
    click.option(
        "--metrics",
        metavar="HOST:PORT",
        help="Answer /healthz, /readyz and /metrics here, beside either transport.",
    ),
    click.option(
        "--http",
        "address",
        metavar="HOST:PORT",
        help="Serve Streamable HTTP here instead of stdio; port 0 takes a free one.",
    ),
    click.option(
        "--allow-host",
        "hosts",
        multiple=True,
        metavar="HOST[:PORT]",
        help="A further name by which it may be spoken to, as a proxy before it is.",
    ),
    click.option(
        "--allow-origin",
        "origins",
        multiple=True,
        metavar="URL",
        help="A web page's origin that may call it.",
    ),
    click.option(
        "--tokens",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Ask for the bearer tokens of this file; `surefoot token` keeps it.",
    ),
    click.option(
        "--oauth-issuer",
        "issuer",
        metavar="URL",
        help="Take access tokens (JWT) of this OAuth 2.1 authorization server.",
    ),
    click.option(
        "--oauth-resource",
        "resource",
        metavar="URL",
        help="This server's own URL, which those tokens must be issued for.",
    ),
    click.option(
        "--oauth-plain-type",
        "plain_type",
        is_flag=True,
        help="Also take tokens of type JWT, or of none, as some issuers give out.",
    ),
]


def http_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; their values make an `HttpChoice`."""
    return reduce(lambda wrapped, option: option(wrapped), reversed(_OPTIONS), command)


@dataclass(frozen=True, slots=True)
class HttpChoice:
    """What the options say; fields as they are named there."""

    metrics: str | None
    address: str | None
    hosts: tuple[str, ...]
    origins: tuple[str, ...]
    tokens: Path | None
    issuer: str | None
    resource: str | None
    plain_type: bool

    def __post_init__(self) -> None:
        others = (self.hosts, self.origins, self.tokens, self.issuer, self.resource)
        if self.plain_type and self.issuer is None:
            raise click.UsageError("--oauth-plain-type is of --oauth-issuer")
        if self.address is None and any(others):
            raise click.UsageError(
                "--allow-host, --allow-origin, --tokens and --oauth-* are of --http"
            )
        if (self.issuer is None) is not (self.resource is None):
            raise click.UsageError("--oauth-issuer and --oauth-resource go together")

    def serve(self, app: "App") -> None:
        """Serve an app where the options say, until a signal.

        Raises:
            UsageError: an option is not what it should be.
            ClickException: the address cannot be listened on.
        """
        from surefoot_server.http.serving import HttpApp, serve

        address = _parsed(self.address or "", "--http")
        authority = self._authority()
        if authority is None and not address.is_loopback:
            raise click.UsageError(
                f"{address.host} can be reached from other machines: name --tokens FILE"
                " (`surefoot token add` makes one) or --oauth-issuer, or listen on 127.0.0.1"
            )
        self._check_hosts(address)
        bound, listening = _bound(address)
        web = HttpApp(app.server, app.door, bound.security(self.hosts, self.origins), authority)

        self.observe(app, lambda: web.exchanges.ending)

        def announce() -> None:
            click.echo(json.dumps({"event": "listening", "url": bound.url}), err=True)

        anyio.run(serve, web, app.door, [listening], announce)

    def observe(self, app: "App", ending: Callable[[], bool] = lambda: False) -> None:
        """Have the second port served beside an app, if the options name one.

        Args:
            app: To be asked about.
            ending: Whether it takes nothing more.

        Raises:
            UsageError: the address is none.
            ClickException: it cannot be listened on, or a package is missing.
        """
        if self.metrics is None:
            return
        if importlib.util.find_spec("prometheus_client") is None:
            raise Unreachable("--metrics needs a package: pip install 'surefoot[metrics]'")
        from surefoot_server.observe.serving import Observation, serve_observation

        address, listening = _bound(_parsed(self.metrics, "--metrics"))

        async def beside(journal: "Journal", executor: "Executor") -> None:
            names = executor.registry.names()
            observation = Observation(journal, names, app.server.version or "", ending=ending)
            await serve_observation(observation, address, listening, hosts=self.hosts)

        app.beside = beside

    def _authority(self) -> "Authority | None":
        if self.tokens is None and self.issuer is None:
            return None
        from surefoot_server.http.serving import Authority
        from surefoot_server.http.tokens import TokenFile, TokensUnusable

        verifiers: list[Verifier] = []
        if self.tokens is not None:
            tokens = TokenFile(self.tokens)
            try:
                tokens.check()
            except TokensUnusable as e:
                raise Unreachable(str(e)) from e
            verifiers.append(tokens)
        if self.issuer is not None and self.resource is not None:
            verifiers.append(self._oauth(self.issuer, self.resource))
        issuers = () if self.issuer is None else (self.issuer,)
        return Authority(tuple(verifiers), self.resource, issuers)

    def _oauth(self, issuer: str, resource: str) -> "Verifier":
        if importlib.util.find_spec("cryptography") is None:
            raise Unreachable("--oauth-issuer needs a package: pip install 'surefoot[oauth]'")
        from surefoot_server.http.issuer import Issuer
        from surefoot_server.http.oauth import OAuth

        try:
            return OAuth(Issuer(issuer), resource, plain_type=self.plain_type)
        except ValueError as e:
            raise click.UsageError(str(e)) from e

    def _check_hosts(self, address: "Address") -> None:
        """A wildcard address is no name: which names are ours, only the person knows."""
        if address.host in ("0.0.0.0", "::") and not self.hosts:  # noqa: S104 - compared only
            raise click.UsageError(
                f"{address.host} is every address of this machine: name with --allow-host by which"
                " HOST:PORT it will be spoken to"
            )


def _parsed(text: str, option: str) -> "Address":
    from surefoot_server.http.address import parse_address

    try:
        return parse_address(text)
    except ValueError as e:
        raise click.BadParameter(str(e), param_hint=option) from e


def _bound(address: "Address") -> "tuple[Address, socket]":
    try:
        return address.bind()
    except OSError as e:
        raise Unreachable(f"cannot listen on {address.authority}: {e.strerror}") from e


class Unreachable(click.ClickException):
    """What is around us does not allow it."""

    exit_code = 3
