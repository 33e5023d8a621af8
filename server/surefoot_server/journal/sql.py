"""The journal's SQL, read from the `.sql` files beside this one, each statement by its name."""

import re
from functools import cache
from importlib import resources

_NAMED = re.compile(r"^-- name: (\w+)\n(?:--.*\n)*", re.MULTILINE)


@cache
def statements(file: str) -> dict[str, str]:
    """The statements of one file of this package, by name."""
    text = resources.files(__package__ or "").joinpath(file).read_text(encoding="utf-8")
    heads = list(_NAMED.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    return {
        head.group(1): text[head.end() : end].strip() for head, end in zip(heads, ends, strict=True)
    }


QUERIES = statements("queries.sql")
TABLES = statements("schema.sql")
SCHEMA = f"{TABLES['schema']}\n{TABLES['jobs']}"
