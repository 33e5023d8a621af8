"""The server's side: which level there is, and a plan for each command or why not.

What this machine can do is found by doing it: a child process confines `true` as a supervisor
would. It runs beside the start of the server; whoever asks first waits for the rest of it.
"""

import errno
import json
import os
import subprocess
import sys
import weakref
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import surefoot_tools
from surefoot_tools.errors import Code, Origin, ToolError
from surefoot_tools.sandbox import plan
from surefoot_tools.sandbox.filter import supported
from surefoot_tools.sandbox.kernel import LINUX
from surefoot_tools.sandbox.reasons import OFF_HINT, fix, why

_PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]);"
    " from surefoot_tools.sandbox.probe import main; main()"
)
_FOR_PYTHON = ("LD_LIBRARY_PATH",)
"""What an interpreter may need to start."""
_TRUSTED = ("/usr/bin/bwrap", "/bin/bwrap", "/usr/local/bin/bwrap")
"""Tried first: where a distribution puts it, and where AppArmor's profile expects it."""
_KNOWN: "dict[tuple[object, ...], tuple[Reached, str]]" = {}
"""What was found before in this process: servers of one process are confined alike, as far as they
are asked for the same and their roots lie on the same file systems."""
PATIENCE = 10.0
"""Seconds that the probe may take; it takes some tens of milliseconds."""


class Level(StrEnum):
    """How commands are to be confined."""

    STRICT = "strict"
    """By bubblewrap, or not run."""
    AUTO = "auto"
    """By bubblewrap, else by landlock, or not run."""
    OFF = "off"
    """Not at all."""


DEFAULT = Level.AUTO
"""What a server starts with unless it is told."""


class Reached(StrEnum):
    """How commands are confined."""

    BUBBLEWRAP = "bubblewrap"
    LANDLOCK = "landlock"
    OFF = "off"
    REFUSED = "refused"
    """They are not run."""


class Sandbox:
    """Confines the commands of one server.

    Args:
        level: Chosen by whoever starts the server, and by nobody else.
        roots: What commands may write to.
        hidden: What they must not see: the state directory.
        environment: The server's own.
        network: Whether they may use the network.
        read_only: Folders in the roots, or roots, in which they change nothing.
        limits: How much one of them may take.
    """

    def __init__(
        self,
        level: Level,
        roots: Sequence[Path] = (),
        hidden: Sequence[Path] = (),
        environment: Mapping[str, str] | None = None,
        *,
        network: bool = False,
        read_only: Sequence[Path] = (),
        limits: plan.Limits | None = None,
    ) -> None:
        self.level = level
        self._network = network
        env = environment or {}
        self._path = env.get("PATH", os.defpath)
        self._place = plan.Place(
            roots=tuple(Path(os.path.realpath(root)) for root in roots),
            hidden=tuple(Path(os.path.realpath(each)) for each in hidden),
            path=self._path,
            home=os.path.realpath(env.get("HOME", "/")),
            network=network,
            limits=limits or plan.Limits(),
            read_only=tuple(Path(os.path.realpath(each)) for each in read_only),
        )
        self._probe: subprocess.Popen[bytes] | None = None
        can = LINUX and supported()
        lies = {root.stat().st_dev for root in self._place.roots if root.exists()}
        self._key = (level, network, can, self.program, self._path, frozenset(lies))
        if level is not Level.OFF and can and self._key not in _KNOWN:
            self._probe = self._begin_probe(env)
            weakref.finalize(self, _end, self._probe)

    @cached_property
    def program(self) -> str | None:
        """Where bubblewrap lies. Never in a root: there a command could have put it."""
        roots = [str(root) for root in self._place.roots]
        places = [f"{folder}/bwrap" for folder in self._path.split(os.pathsep) if folder[:1] == "/"]
        for each in (*_TRUSTED, *places):
            real = os.path.realpath(each)
            inside = any(real.startswith(f"{root}/") for root in roots)
            if os.access(real, os.X_OK) and not inside:
                return each
        return None

    def _plan(self, kind: Reached, job: str, roots: Sequence[Path] = ()) -> dict[str, Any]:
        place = self._place.narrowed(roots) if roots else self._place
        if kind is Reached.BUBBLEWRAP:
            arguments = plan.bubblewrap(place, self.program or "")
            return plan.in_room(place, arguments)
        return plan.by_landlock(place, f"/tmp/surefoot-{os.getuid()}-{job}")  # noqa: S108

    def _begin_probe(self, env: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        plans: list[dict[str, Any]] = []
        if self.program is not None:
            plans.append(self._plan(Reached.BUBBLEWRAP, "probe"))
        if self.level is Level.AUTO:
            plans.append(self._plan(Reached.LANDLOCK, f"probe-{os.getpid()}-{id(self)}"))
        above = Path(surefoot_tools.__file__).parents[1]
        asked = _file_of(json.dumps(plans).encode())
        process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-I", "-S", "-X", "utf8", "-c", _PROGRAM, str(above)],
            stdin=asked,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env={name: env[name] for name in _FOR_PYTHON if name in env},
            start_new_session=True,
        )
        os.close(asked)
        return process

    @cached_property
    def _found(self) -> tuple[Reached, str]:
        """What works, and what was said against the rest."""
        if self.level is Level.OFF:
            return Reached.OFF, ""
        if self._key not in _KNOWN:
            _KNOWN[self._key] = self._look()
        return _KNOWN[self._key]

    def _look(self) -> tuple[Reached, str]:
        if self._probe is None:
            return Reached.REFUSED, "commands can be confined on Linux alone (x86-64 and ARM64)"
        try:
            said, complaint = self._probe.communicate(timeout=PATIENCE)
            works: str | None = json.loads(said)["works"] if said else None
        except subprocess.TimeoutExpired:
            self._probe.kill()
            works, complaint = None, b"the probe hung"
            self._probe.communicate()
        self._probe = None
        text = complaint.decode("utf-8", "replace").strip()
        missing = self.program is None
        return Reached(works or "refused"), "" if works == "bubblewrap" else why(
            text, missing=missing
        )

    @property
    def reached(self) -> Reached:
        """How commands are confined here."""
        return self._found[0]

    @property
    def reason(self) -> str:
        """Why it is no better; empty if it is the best."""
        return self._found[1]

    @property
    def fix(self) -> str | None:
        """What would make it better."""
        return fix(self.reason) if self.reason else None

    def plan(self, job: str, roots: Sequence[Path] = ()) -> dict[str, Any] | None:
        """How to confine a command; None for not at all.

        Args:
            job: A name that no other command has.
            roots: What it may write to; by default all.

        Raises:
            ToolError: it must not run, and what would help.
        """
        match self.reached:
            case Reached.OFF:
                return None
            case Reached.REFUSED:
                raise ToolError(
                    Code.FAILED_PRECONDITION,
                    f"commands are refused: they cannot be confined here: {self.reason}",
                    origin=Origin.ENVIRONMENT,
                    hint=f"{self.fix or ''} {OFF_HINT} The other tools work.".strip(),
                )
            case Reached.BUBBLEWRAP | Reached.LANDLOCK as kind:
                try:
                    return self._plan(kind, job, roots)
                except OSError as e:
                    passing = e.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
                    raise ToolError(
                        Code.UNAVAILABLE if passing else Code.FAILED_PRECONDITION,
                        f"the roots cannot be looked at: {e.strerror}",
                        origin=Origin.ENVIRONMENT,
                    ) from e

    def describe(self) -> str:
        """For a model: what its commands can and cannot do."""
        network = (
            "with the network" if self._network else "without any network, also among each other"
        )
        match self.reached:
            case Reached.OFF:
                return "Commands start in the root but are NOT confined to it (sandbox: off)."
            case Reached.REFUSED:
                return f"Commands are refused here: they cannot be confined ({self.reason})."
            case Reached.BUBBLEWRAP:
                return (
                    f"Commands are confined (sandbox: bubblewrap), {network}: they see the root,"
                    " the system's programs read-only, and an empty home and /tmp that go when"
                    " they end. Files that others run or trust (.git/hooks, .git/config, .vscode"
                    " and the like) are read-only to them."
                )
            case Reached.LANDLOCK:
                return (
                    f"Commands are confined (sandbox: landlock), {network}: they may write to"
                    " the root and to $TMPDIR, and read the system's programs; they see other"
                    " processes. Leave alone what others run or trust (.git/hooks, .git/config,"
                    " .vscode and the like): a change is told in the result."
                )


def _file_of(content: bytes) -> int:
    """A descriptor to read it from; a file, so that nobody has to feed it."""
    descriptor = os.memfd_create("plans")
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _end(probe: "subprocess.Popen[bytes]") -> None:
    """Leave no probe behind that nobody asked."""
    if probe.returncode is None:
        probe.kill()
        probe.communicate()
