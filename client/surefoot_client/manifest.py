"""What a run consists of, written once when it is made: `manifest.json`.

A resumed run is held to it: the same suite, models, seed and faults.
"""

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from surefoot_client.record import Transport

FILE_NAME = "manifest.json"
"""Name of the manifest in a run's directory."""


class ManifestError(ValueError):
    """A directory is not a run's, or is a run that cannot be resumed."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SuiteEntry(_Part):
    """The suite that is played."""

    name: str
    version: str
    hash: str
    """SHA-256 of its canonical content."""
    path: str
    """Its folder on the machine that made the run."""


class ModelEntry(_Part):
    """A model as asked for, and as resolved."""

    spec: str
    slug: str
    """Its name as a part of trial names; unique in the run."""
    simulated: bool
    settings: Mapping[str, Any]
    """Resolved id and everything that its answers depend on."""


class FaultsEntry(_Part):
    """The faults file."""

    name: str
    content: str


class ForeignEntry(_Part):
    """A server that somebody else runs."""

    url: str
    """Its endpoint; without user, password and query, which may be secrets."""
    workspace: str
    """The folder on this machine that it works in: fixtures are laid out and checked there."""
    token_env: str | None
    """The environment variable that holds the bearer token; None: none was set."""


class Manifest(_Part):
    """Everything that the trials of a run depend on."""

    v: Literal[1, 2] = 2
    """Version of the format. Version 1 knows stdio only; it is still read."""
    run: str
    """UUIDv7."""
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    """RFC 3339, UTC."""
    suite: SuiteEntry
    models: Sequence[ModelEntry]
    repeat: int
    turns: int | None
    """Only so many turns of each sequence; None for all."""
    seed: int
    server: Sequence[str]
    """The command of the server under measurement, with its placeholders; empty for a foreign
    server."""
    transport: Transport = Transport.STDIO
    foreign: ForeignEntry | None = None
    faults: FaultsEntry | None
    prices: Mapping[str, Any]
    """Model to dated prices; simulated models have none."""
    versions: Mapping[str, str] = Field(default_factory=lambda: versions())

    def write(self, folder: Path) -> None:
        """Write it into a run's directory."""
        (folder / FILE_NAME).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read(folder: Path) -> Manifest:
    """The manifest of a run's directory.

    Raises:
        ManifestError: there is none, or it is not one of this version.
    """
    path = folder / FILE_NAME
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ManifestError(f"{folder} is not the directory of a run: no {FILE_NAME}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        said = ".".join(str(part) for part in first["loc"])
        said = f"{said}: {first['msg']}" if said else first["msg"]
        raise ManifestError(f"{path}: not a manifest of version 1 or 2: {said}") from error


def versions() -> dict[str, str]:
    """Versions that a result may depend on."""
    return {
        "surefoot": importlib.metadata.version("surefoot"),
        "python": platform.python_version(),
        "mcp": importlib.metadata.version("mcp"),
    }
