"""Where surefoot keeps its state."""

from collections.abc import Mapping
from pathlib import Path

from platformdirs import user_state_path


def state_directory(environment: Mapping[str, str]) -> Path:
    """`SUREFOOT_HOME`, else the platform's user state directory."""
    home = environment.get("SUREFOOT_HOME")
    return Path(home).absolute() if home else user_state_path("surefoot")
