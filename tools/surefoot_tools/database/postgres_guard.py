"""What no statement for PostgreSQL may be, told from its first words before it is sent.

Not a wall against writes: that is the read-only transaction, and the rights of the role. Here are
statements that would end our transaction, and those that cannot run inside of one.
"""

import re

from surefoot_tools.database.engine import INBOX
from surefoot_tools.errors import Code, ToolError

READING = frozenset({"select", "with", "values", "table", "show", "explain"})
"""First words that `query_database` takes; what follows runs in a read-only transaction."""

ENDING = frozenset({"begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release"})
"""First words that would begin, end or split the transaction."""

OUTSIDE = frozenset({"vacuum", "copy", "listen", "checkpoint"})
"""First words of what runs outside of a transaction, or speaks a protocol of its own (COPY)."""

_OUTSIDE = re.compile(
    r"(create|drop) (database|tablespace)\b|alter (system|database)\b|discard all\b"
    r"|(create (unique )?|drop |re)index\b.*\bconcurrently\b"
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_WORD = re.compile(r"[A-Za-z_]+")


def _skip_comment(sql: str, start: int) -> int:
    """The position after a block comment, which PostgreSQL lets nest."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(sql, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(sql)


def first_words(sql: str, most: int = 8) -> str:
    """The first words in lower case, one space between; parentheses before them do not matter."""
    words: list[str] = []
    at = 0
    while at < len(sql) and len(words) < most:
        if sql.startswith("--", at):
            at = sql.find("\n", at) % (len(sql) + 1)
        elif sql.startswith("/*", at):
            at = _skip_comment(sql, at)
        elif sql[at].isspace() or sql[at] in ";(":
            if words and sql[at] in ";(":
                break
            at += 1
        elif word := _WORD.match(sql, at):
            words.append(word[0].lower())
            at = word.end()
        elif words:
            break
        else:
            return sql[at]
    return " ".join(words)


def check(sql: str, *, writing: bool) -> None:
    """Look at one statement.

    Raises:
        ToolError: it is empty, or must not run.
    """
    words = first_words(sql)
    if not words:
        raise ToolError(Code.INVALID_ARGUMENT, "the SQL is empty: pass one statement")
    if "\0" in sql:
        raise ToolError(
            Code.INVALID_ARGUMENT, "the SQL has a NUL character, which PostgreSQL cannot read"
        )
    if INBOX in sql.lower():
        raise _refused(f"{INBOX} is the record of what has run, and nobody else's")
    first = words.split(" ", 1)[0]
    if not writing and first not in READING:
        raise _refused(
            f"query_database only reads, and {first.upper()[:40]} is none of "
            + ", ".join(sorted(READING)).upper(),
            "to change something, use execute_sql",
        )
    if first in ENDING or words.startswith("prepare transaction"):
        raise _refused(
            f"{first.upper()}: the transaction is execute_sql's own",
            "pass the statements alone; they all take effect, or none",
        )
    if first in OUTSIDE or _OUTSIDE.match(words):
        raise _refused(
            f"{words.upper()[:60]} cannot be part of a transaction",
            "its effect cannot be recorded with it; run it with the database's own client",
        )


def _refused(reason: str, hint: str | None = None) -> ToolError:
    return ToolError(Code.PERMISSION_DENIED, f"refused: {reason}", hint=hint)
