"""Messages that mean one thing to every reader: no name twice in an object, no odd id.

Of `{"name": "read_file", "name": "run_command"}` Python takes the last and others the first, so
that a gateway could check one tool and a server run the other. RFC 8259, section 4, calls such an
object unpredictable; RFC 7493 (I-JSON), section 2.3, forbids it.
"""

import json
from typing import Any, cast

LONGEST_SHOWN = 80


class _Doubled(ValueError):
    """A name stands twice in an object."""


def flaw(text: bytes | bytearray) -> str | None:
    """What is wrong with a message that parsers would take in more than one way, or None.

    What is no JSON has no flaw here: whoever parses it will say so.
    """
    try:
        message = json.loads(text, object_pairs_hook=_once)
    except _Doubled as e:
        return f"the name {str(e)[:LONGEST_SHOWN]!r} stands twice in one object"
    except (ValueError, RecursionError):
        return None
    if isinstance(message, dict) and "method" in message and "id" in message:
        request_id = cast(dict[str, Any], message)["id"]
        if not isinstance(request_id, str | int) or isinstance(request_id, bool):
            return "the id of a request is a text or a whole number"
    return None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _Doubled(name)
            seen.add(name)
    return found
