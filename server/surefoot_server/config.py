"""What a server is started with. Read from the command line by the composition root, never here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from surefoot_tools.tool import Group


@dataclass(frozen=True, slots=True)
class Config:
    """All that one server needs to know."""

    roots: tuple[Path, ...]
    """Folders that the file tools are confined to, and commands start in; at least one."""
    state: Path
    """State directory: journal, locks. Never inside a root."""
    databases: tuple[str, ...] = ()
    """`NAME=URL`, each `?mode=rw` to be writable."""
    journal: Path | None = None
    """The journal file; by default `journal.db` in the state directory."""
    read_only: bool = False
    groups: frozenset[Group] = frozenset(Group)
    """Groups of tools on offer."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """The server's own; commands see the harmless part of it."""
    ripgrep: str | None = None
    """Path of the `rg` program, if there is one."""
    allow_faults: bool = False
    """Whether requests may ask for failures; for tests and measured runs only."""
    version: str = "0"

    @property
    def journal_path(self) -> Path:
        """Where the journal lies."""
        return self.journal if self.journal is not None else self.state / "journal.db"
