"""The options of `surefoot serve --http` that do not go together, or would be unsafe."""

import socket

import pytest
from click.testing import CliRunner, Result
from tests.support.place import Place

from surefoot_cli.serve import command


def serve(place: Place, *options: str) -> Result:
    """What the command says; none of these gets as far as listening."""
    given = ["--root", str(place.workspace), *options]
    return CliRunner().invoke(command, given, env={"SUREFOOT_HOME": str(place.config.state)})


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.0.2.1", "example.com"])
def test_beyond_loopback_nobody_is_served_without_showing_who_they_are(
    place: Place, host: str
) -> None:
    """Guard: `HttpChoice.serve`."""
    ended = serve(place, "--http", f"{host}:0", "--allow-host", "example.com")
    assert ended.exit_code == 2
    assert "--tokens FILE" in ended.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--http", "nowhere"], "HOST:PORT"),
        (["--allow-host", "x"], "are of --http"),
        (["--allow-origin", "http://x"], "are of --http"),
        (["--http", "127.0.0.1:0", "--oauth-issuer", "https://x"], "go together"),
        (["--metrics", "127.0.0.1:port"], "HOST:PORT"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    place: Place, options: list[str], said: str
) -> None:
    ended = serve(place, *options)
    assert ended.exit_code == 2
    assert said in ended.output


def test_an_address_that_is_taken_is_said(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = serve(place, "--http", f"127.0.0.1:{taken.getsockname()[1]}")
    assert ended.exit_code == 3
    assert "cannot listen on 127.0.0.1" in ended.output
