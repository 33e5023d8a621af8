"""A MariaDB server of the tests' own: its own data directory, socket, port and passwords.

The program comes from the system. Before it: the fixture in `tests/conftest.py`. After it:
`mysql_cutter.py`, which cuts its connections.
"""

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from asyncmy.errors import OperationalError
from tests.support.postgres import RunAs, free_port, unprivileged

from surefoot_tools.database.mysql_driver import open_connection, run
from surefoot_tools.database.mysql_url import read_url

START_SECONDS = 60.0
"""Seconds that the server may take to answer after its start, on a loaded machine."""

SYSTEM_TABLES = ("mysql_system_tables.sql", "mysql_system_tables_data.sql")
"""What `mariadb-install-db` feeds to a new server; that script itself needs a client's package."""

SHARE = ("/usr/share/mysql", "/usr/share/mariadb", "/opt/homebrew/opt/mariadb/share/mysql")
"""Folders that may hold them."""

SETTINGS = {
    "bind-address": "127.0.0.1",
    "innodb-buffer-pool-size": "16M",
    "innodb-log-file-size": "8M",
    "innodb-flush-log-at-trx-commit": "1",
    "max-connections": "60",
    "skip-name-resolve": "1",
    "performance-schema": "OFF",
    "log-warnings": "1",
    "character-set-server": "utf8mb4",
}
"""What differs from MariaDB's defaults, and what must be as it is."""


class MariadbMissing(Exception):
    """There is no MariaDB that this user can run."""


def find_program() -> tuple[Path, Path]:
    """`mariadbd`, and the folder of its SQL files.

    Raises:
        MariadbMissing: with what is missing.
    """
    found = shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise MariadbMissing("there is no program mariadbd; apt has it in mariadb-server-core")
    for share in map(Path, SHARE):
        if all((share / name).is_file() for name in SYSTEM_TABLES):
            return Path(found), share
    raise MariadbMissing(f"there is {found}, but {SYSTEM_TABLES[0]} in none of {', '.join(SHARE)}")


@dataclass
class Mariadb:
    """A server; make it with `create`, end it with `close`."""

    program: Path
    share: Path
    folder: Path
    """Holds everything of it: `data`, `socket`, `log`."""
    run_as: RunAs
    password: str
    port: int = 0
    _process: "subprocess.Popen[bytes] | None" = None
    _guard: "subprocess.Popen[bytes] | None" = None
    _made: int = field(default=0)

    @classmethod
    def create(cls) -> "Mariadb":
        """A new server, running.

        Raises:
            MariadbMissing: there is no program.
        """
        program, share = find_program()
        # Not in pytest's own folder: another user can't get into that.
        folder = Path(tempfile.mkdtemp(prefix="surefoot-my-"))
        server = cls(program, share, folder, unprivileged(), secrets.token_hex(8), free_port())
        try:
            server._initialise()
            server.start()
        except BaseException:
            server.close()
            raise
        return server

    @property
    def socket(self) -> Path:
        """Where it listens beside its port."""
        return self.folder / "socket"

    @property
    def url(self) -> str:
        """Where the administrator connects to."""
        return self.url_of("root", self.password, "mysql")

    def url_of(self, user: str, password: str, database: str) -> str:
        """The URL of a database of this server."""
        return f"mysql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def _initialise(self) -> None:
        data = self.folder / "data"
        data.mkdir()
        if self.run_as:
            for path in (self.folder, data):
                os.chown(path, self.run_as.get("user", -1), self.run_as.get("group", -1))
        texts = [(self.share / name).read_text("utf-8") for name in SYSTEM_TABLES]
        account = (
            "FLUSH PRIVILEGES;\nDELETE FROM global_priv;\nFLUSH PRIVILEGES;\n"
            f"CREATE USER root@'127.0.0.1' IDENTIFIED BY '{self.password}';\n"
            "GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;\n"
        )
        opening = "create database if not exists mysql;\nuse mysql;\nSET @auth_root_socket=NULL;\n"
        command = [self.program, "--no-defaults", "--bootstrap", f"--datadir={data}"]
        command += ["--innodb-log-file-size=8M", "--innodb-buffer-pool-size=16M"]
        done = subprocess.run(
            command,
            input="\n".join([opening, *texts, account]).encode(),
            capture_output=True,
            check=False,
            cwd="/",
            **self.run_as,
        )
        assert done.returncode == 0, done.stderr.decode()

    def start(self) -> None:
        """Start it, and wait until it answers; its data directory is ours, or nothing goes on."""
        command = [str(self.program), "--no-defaults", f"--datadir={self.folder / 'data'}"]
        command += [f"--socket={self.socket}", f"--port={self.port}"]
        command += [f"--pid-file={self.folder / 'pid'}"]
        command += [f"--{name}={value}" for name, value in SETTINGS.items()]
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
        guard = 'read line || kill -KILL "$1"'
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
                ((found,),) = self.admin("select @@datadir")
            except OperationalError:
                assert time.monotonic() < ends, (self.folder / "log").read_text()
                time.sleep(0.05)
                continue
            assert Path(found) == self.folder / "data", f"another server answers: {found}"
            return

    def stop(self) -> None:
        """Stop it in order: what is open is rolled back."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Let it die as in a crash: the next start recovers from its log of writes."""
        self._end(signal.SIGKILL)

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
        self._end(signal.SIGKILL)
        shutil.rmtree(self.folder)

    def admin(self, *statements: str) -> list[Any]:
        """Run statements as the administrator, each by itself; the rows of the last."""
        return ask(self.url, *statements)

    def fresh_database(self) -> str:
        """The URL of a new, empty database, as a plain user who may do all in it."""
        self._made += 1
        name, password = f"app_{os.getpid()}_{self._made}", secrets.token_hex(8)
        self.admin(
            f"create database {name}",
            f"create user {name}@'127.0.0.1' identified by '{password}'",
            f"grant all on {name}.* to {name}@'127.0.0.1'",
        )
        return self.url_of(name, password, name)


def ask(url: str, *statements: str) -> list[Any]:
    """Run statements past the tools, each committed by itself; the rows of the last.

    In a thread of its own, since the caller's may have a loop that runs.
    """
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(anyio.run, _ask, url, statements).result()


async def _ask(url: str, statements: tuple[str, ...]) -> list[Any]:
    connection = await open_connection(read_url("main", url), START_SECONDS)
    try:
        rows: list[Any] = []
        for statement in statements:
            rows = await run(connection, statement)
        return rows
    finally:
        await connection.ensure_closed()


@contextmanager
def a_server() -> Generator[Mariadb]:
    """A server for as long as this is open; skips the test, with the reason, where none runs."""
    try:
        server = Mariadb.create()
    except MariadbMissing as missing:
        if "SUREFOOT_CI" in os.environ:
            raise
        pytest.skip(str(missing))
    try:
        yield server
    finally:
        server.close()
