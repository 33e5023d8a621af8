"""What a caller's statement may do in SQLite: the authorizer, and the functions it denies.

SQLite asks the authorizer about every action of a statement while it compiles it, also about those
of views, triggers and virtual tables. What is not allowed here by name is denied. `mode=ro` alone
would not do: ATTACH and VACUUM INTO create files through a read-only connection.
Source: https://sqlite.org/c3ref/set_authorizer.html
"""

import apsw

from surefoot_tools.database.engine import INBOX

READ_ACTIONS = frozenset(
    {
        apsw.SQLITE_SELECT,
        apsw.SQLITE_READ,
        apsw.SQLITE_FUNCTION,
        apsw.SQLITE_RECURSIVE,
        apsw.SQLITE_PRAGMA,
    }
)
"""What a query may do; functions and pragmas are looked at further."""

WRITE_ACTIONS = READ_ACTIONS | {
    apsw.SQLITE_INSERT,
    apsw.SQLITE_UPDATE,
    apsw.SQLITE_DELETE,
    apsw.SQLITE_CREATE_TABLE,
    apsw.SQLITE_CREATE_INDEX,
    apsw.SQLITE_CREATE_VIEW,
    apsw.SQLITE_CREATE_TRIGGER,
    apsw.SQLITE_CREATE_VTABLE,
    apsw.SQLITE_CREATE_TEMP_TABLE,
    apsw.SQLITE_CREATE_TEMP_INDEX,
    apsw.SQLITE_CREATE_TEMP_VIEW,
    apsw.SQLITE_CREATE_TEMP_TRIGGER,
    apsw.SQLITE_DROP_TABLE,
    apsw.SQLITE_DROP_INDEX,
    apsw.SQLITE_DROP_VIEW,
    apsw.SQLITE_DROP_TRIGGER,
    apsw.SQLITE_DROP_VTABLE,
    apsw.SQLITE_DROP_TEMP_TABLE,
    apsw.SQLITE_DROP_TEMP_INDEX,
    apsw.SQLITE_DROP_TEMP_VIEW,
    apsw.SQLITE_DROP_TEMP_TRIGGER,
    apsw.SQLITE_ALTER_TABLE,
    apsw.SQLITE_REINDEX,
    apsw.SQLITE_ANALYZE,
}
"""What a statement of a transaction may do: rows and schema, but neither transaction control nor
other files."""

READ_PRAGMAS = frozenset(
    {"table_info", "table_xinfo", "index_list", "index_info", "foreign_key_list"}
)
"""Pragmas whose argument names what to show, never what to set."""

CHECK_PRAGMAS = READ_PRAGMAS | {"quick_check", "foreign_key_check"}
"""And those that only look; ALTER TABLE ADD COLUMN with a CHECK runs quick_check itself."""

DENIED_FUNCTIONS = frozenset(
    {
        "edit",
        "fts3_tokenizer",
        "fsdir",
        "load_extension",
        "lsdir",
        "readfile",
        "sqlite_log",
        "writefile",
    }
)
"""Functions that reach files, native code or the log."""

DENIED_TABLES = frozenset({"sqlite_dbpage", "sqlite_stmt", "sqlite_memvfs"})
"""Built-in virtual tables that show raw pages or the process."""

VTABLE_MODULES = frozenset({"fts3", "fts4", "fts5", "fts5vocab", "rtree", "rtree_i32", "geopoly"})
"""Modules that keep their data in the database itself."""

_CONTROL = frozenset({apsw.SQLITE_TRANSACTION, apsw.SQLITE_SAVEPOINT})
_OTHER_FILES = frozenset({apsw.SQLITE_ATTACH, apsw.SQLITE_DETACH})


class Guard:
    """The authorizer of one connection. It remembers why it said no.

    Args:
        writing: Whether the statements are those of `execute_sql`.
    """

    def __init__(self, *, writing: bool) -> None:
        self._actions = WRITE_ACTIONS if writing else READ_ACTIONS
        self._pragmas = CHECK_PRAGMAS if writing else READ_PRAGMAS
        self.writing = writing
        self.refusal: str | None = None
        """Why the last statement was refused, if it was."""

    def __call__(
        self,
        action: int,
        first: str | None,
        second: str | None,
        _database: str | None,
        _within: str | None,
    ) -> int:
        """SQLite's question; the meaning of the arguments depends on the action."""
        if action == apsw.SQLITE_ANALYZE and _is_inbox(first):
            # Skipped, not refused: a plain ANALYZE is about all tables. The statistics would
            # hold samples of the keys.
            return apsw.SQLITE_IGNORE
        refusal = self._refusal(action, (first or "").lower(), (second or "").lower())
        if refusal is None:
            return apsw.SQLITE_OK
        self.refusal = self.refusal or refusal
        return apsw.SQLITE_DENY

    def _refusal(self, action: int, first: str, second: str) -> str | None:
        if action in _CONTROL:
            if not self.writing:
                return "a query takes no transaction control"
            return "transaction control is not for statements: each call is one transaction"
        if action in _OTHER_FILES:
            return "ATTACH, DETACH and VACUUM are not allowed: they reach other files"
        if action not in self._actions:
            return "query_database only reads" if not self.writing else "this is not allowed here"
        if _is_inbox(first) or _is_inbox(second):
            return f"the table {INBOX} is surefoot's own and cannot be used"
        if action == apsw.SQLITE_FUNCTION and second in DENIED_FUNCTIONS:
            return f"the function {second} is not allowed"
        if action == apsw.SQLITE_READ and first in DENIED_TABLES:
            return f"the table {first} is not allowed"
        if action == apsw.SQLITE_PRAGMA and first not in self._pragmas:
            return f"PRAGMA {first} is not allowed; allowed are: {', '.join(sorted(self._pragmas))}"
        if action == apsw.SQLITE_CREATE_VTABLE and second not in VTABLE_MODULES:
            return f"virtual tables of module {second} are not allowed"
        return None


def _is_inbox(name: str | None) -> bool:
    return name is not None and name.lower() == INBOX
