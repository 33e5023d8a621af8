"""Why a sandbox cannot be had, and what whoever owns the machine can do about it."""

from contextlib import suppress
from pathlib import Path

OFF_HINT = "Only whoever starts the server can let them run unconfined: --sandbox off."
_MISSING = "bubblewrap is not installed"
_SWITCHES = (
    ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
    ("kernel/unprivileged_userns_clone", "0", "1"),
    ("user/max_user_namespaces", "0", "15000"),
)
"""Below /proc/sys: at which value no user may make namespaces, and at which they may."""


def why(complaint: str, *, missing: bool) -> str:
    """One line of what the probe said.

    Args:
        complaint: Its stderr.
        missing: Whether there is no bubblewrap.
    """
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    return _MISSING if missing else f"bubblewrap fails: {lines[0] if lines else 'it says nothing'}"


def fix(reason: str, settings: Path = Path("/proc/sys")) -> str:
    """What would help.

    Args:
        reason: From `why`.
        settings: Where the kernel's settings are.
    """
    if reason == _MISSING:
        return (
            "Install it: apt install bubblewrap, dnf install bubblewrap, apk add bubblewrap or"
            " pacman -S bubblewrap."
        )
    for name, bad, good in _SWITCHES:
        with suppress(OSError):
            if (settings / name).read_text().strip() == bad:
                setting = name.replace("/", ".")
                return (
                    f"The kernel keeps users from making namespaces ({setting} = {bad}):"
                    f" sudo sysctl -w {setting}={good}"
                    + (", or an AppArmor profile for bwrap." if "apparmor" in name else ".")
                )
    if "Linux alone" in reason:
        return "Run it on Linux, or in a virtual machine or container with Linux."
    return (
        "In a container, allow namespaces and a /proc of their own: docker run"
        " --security-opt seccomp=unconfined --security-opt systempaths=unconfined."
    )
