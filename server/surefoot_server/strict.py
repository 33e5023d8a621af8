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


class Ambiguous(ValueError):
    """A message that parsers would take in more than one way."""


def read(text: bytes | bytearray) -> dict[str, Any]:
    """The message; empty for what is none, which whoever parses it will say.

    Raises:
        Ambiguous: it has more than one meaning.
    """
    try:
        found = json.loads(text, object_pairs_hook=_once)
    except _Doubled as e:
        shown = str(e)[:LONGEST_SHOWN]
        raise Ambiguous(f"the name {shown!r} stands twice in one object") from e
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    message = cast(dict[str, Any], found)
    if "method" in message and "id" in message:
        request_id = message["id"]
        if not isinstance(request_id, str | int) or isinstance(request_id, bool):
            raise Ambiguous("the id of a request is a text or a whole number")
    return message


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _Doubled(name)
            seen.add(name)
    return found
