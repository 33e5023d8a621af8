"""What no statement for MySQL or MariaDB may be, told from its first words before it is sent.

Not a wall against writes: that is the read-only transaction, and the privileges of the user. Here
are statements that would end our transaction, or reach past it.
"""

import re

from surefoot_tools.database.engine import INBOX
from surefoot_tools.errors import Code, ToolError

READING = frozenset({"select", "with", "values", "table", "show", "explain", "describe", "desc"})
"""First words that `query_database` takes; what follows runs in a read-only transaction."""

ENDING = frozenset(
    {"begin", "start", "commit", "rollback", "savepoint", "release", "xa", "lock", "unlock"}
)
"""First words that would begin, end or split the transaction."""

OUTSIDE = frozenset(
    {"use", "kill", "handler", "load", "prepare", "execute", "deallocate", "shutdown", "install"}
)
"""First words of what reaches past the statement: the session, the server, the client's files."""

PLAIN = frozenset({"select", "insert", "update", "delete", "replace", "with", "values", "table"})
"""First words of statements that cannot end a transaction, whatever triggers and functions they
run: those may not COMMIT. Source: MySQL's manual, 'Restrictions on Stored Programs'."""

_FILES = re.compile(r"\bload_file\s*\(|\binto\s+(outfile|dumpfile)\b", re.IGNORECASE)
_EXECUTABLE = re.compile(r"/\*M?!")
_AUTOCOMMIT = re.compile(r"set\b.*\bautocommit\b", re.IGNORECASE | re.DOTALL)
_COMMENT = re.compile(r"#[^\n]*|--(?=[\s\x00-\x1f]|\Z)[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL)
_WORD = re.compile(r"[A-Za-z_]+")


def first_words(sql: str, most: int = 4) -> str:
    """The first words in lower case, one space between; parentheses before them do not matter."""
    words: list[str] = []
    at = 0
    while at < len(sql) and len(words) < most:
        if comment := _COMMENT.match(sql, at):
            at = comment.end()
        elif sql[at].isspace() or (not words and sql[at] in ";("):
            at += 1
        elif word := _WORD.match(sql, at):
            words.append(word[0].lower())
            at = word.end()
        elif words:
            break
        else:
            return sql[at]
    return " ".join(words)


def check(sql: str, *, writing: bool) -> str:
    """Look at one statement.

    Returns:
        Its first word.

    Raises:
        ToolError: it is empty, or must not run.
    """
    if _EXECUTABLE.search(sql):
        raise _refused(
            "'/*!' and '/*M!' begin comments that the server executes",
            "write the statement itself; a text with these signs goes to `parameters`",
        )
    words = first_words(sql)
    if not words:
        raise ToolError(Code.INVALID_ARGUMENT, "the SQL is empty: pass one statement")
    if "\0" in sql:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            "the SQL has a NUL character",
            hint="pass a text with NUL in `parameters`",
        )
    first = words.split(" ", 1)[0]
    if INBOX in sql.lower():
        raise _refused(f"{INBOX} is the record of what has run, and nobody else's")
    if _FILES.search(sql):
        raise _refused("files of the database server are out of reach")
    if not writing and first not in READING:
        raise _refused(
            f"query_database only reads, and {first.upper()[:40]} is none of "
            + ", ".join(sorted(READING)).upper(),
            "to change something, use execute_sql",
        )
    if first in ENDING or (first == "set" and _AUTOCOMMIT.search(sql)):
        raise _refused(
            f"{first.upper()}: the transaction is execute_sql's own",
            "pass the statements alone; they all take effect, or none",
        )
    if first in OUTSIDE or words.startswith("set role"):
        raise _refused(f"{first.upper()} reaches past the statement")
    return first


def _refused(reason: str, hint: str | None = None) -> ToolError:
    return ToolError(Code.PERMISSION_DENIED, f"refused: {reason}", hint=hint)
