"""What a server is started with. Read from the command line by the composition root, never here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from surefoot_tools.sandbox.sandbox import DEFAULT, Level
from surefoot_tools.tool import Group

if TYPE_CHECKING:  # a command that has no rules need not load them
    from surefoot_tools.commandline.rules import Rules


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what is kept in the journal; seconds."""

    results: float = 7 * 86400.0
    """After its end a call is known to be done, but its result is not kept any more."""
    keys: float = 90 * 86400.0
    """After its end a call, its key and all about it are forgotten."""


@dataclass(frozen=True, slots=True)
class Config:
    """All that one server needs to know."""

    roots: tuple[Path, ...]
    """Folders that the file tools are confined to, and commands start in; at least one."""
    root_names: Mapping[str, Path] = field(default_factory=dict[str, Path], kw_only=True)
    """Some of them by name: a relative path that begins with a name means that one."""
    read_only_roots: tuple[Path, ...] = field(default=(), kw_only=True)
    """Roots in which nothing is changed."""
    state: Path
    """State directory: journal, locks. Never inside a root."""
    databases: tuple[str, ...] = ()
    """`NAME=URL`, each `?mode=rw` to be writable."""
    journal: str | Path | None = None
    """A file, or `postgresql://...`; by default `journal.db` in the state directory."""
    read_only: bool = False
    groups: frozenset[Group] = frozenset(Group)
    """Groups of tools on offer."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """The server's own; commands see the harmless part of it."""
    sandbox: Level = DEFAULT
    """How commands are confined. Chosen by whoever starts the server, never by a tool."""
    network: bool = False
    """Whether commands that are confined may use the network."""
    commands: "Rules | None" = None
    """Rules about commands; None: there are none."""
    ripgrep: str | None = None
    """Path of the `rg` program, if there is one."""
    store_arguments: str = "redacted"
    """How much of the arguments the journal keeps: none, redacted or all."""
    grace: float = 30.0
    """Seconds that a call whose connection or whose server is gone is kept for its key."""
    job_grace: float | None = 30.0
    """Seconds that a job lives on when its server is gone; None for ever."""
    retention: Retention = field(default_factory=Retention)
    """How long results and keys are kept."""
    allow_faults: bool = False
    """Whether requests may ask for failures; for tests and measured runs only."""
    version: str = "0"

    @property
    def journal_place(self) -> str | Path:
        """Where the journal lies: a file, or a URL."""
        return self.journal if self.journal is not None else self.state / "journal.db"

    @property
    def journal_path(self) -> Path:
        """The journal's file; of one that is none, where its spool lies."""
        place = self.journal_place
        return self.state / "journal.db" if "://" in str(place) else Path(place)
