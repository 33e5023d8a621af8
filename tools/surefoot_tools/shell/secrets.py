"""A command as people see it in a list: short, and without what is known for a secret."""

import re

from surefoot_tools.secrets import MASK, NAMES, redact_text

LONGEST = 300
"""Characters that are shown."""

_NAME = rf"[\w.-]*(?:{NAMES})"
_GIVEN = re.compile(
    rf"(?P<name>\b{_NAME}[\w-]*\s*=\s*['\"]?|--?{_NAME}[\s=]+['\"]?)[^\s'\"]+"
    r"|(?P<header>authorization:\s*(?:\w+\s+)?)[^\s'\"]+",
    re.IGNORECASE,
)
"""A secret that is given by its name: a variable, an option, a header."""


def without_secrets(command: str | list[str]) -> str:
    """The command on one line, without passwords and tokens that are known for such."""
    line = command if isinstance(command, str) else " ".join(command)
    line = " ".join(line[: 4 * LONGEST].split())
    line = redact_text(_GIVEN.sub(_masked, line))
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."


def _masked(found: re.Match[str]) -> str:
    return f"{found['name'] or found['header']}{MASK}"
