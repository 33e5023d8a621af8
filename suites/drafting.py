"""A sequence while it is written: turns and reference calls in the order in which they are made.

Each module of `suites/sequences/` fills a `Draft`; `generate.py` plays it, to learn the hashes of
the final files, and writes it down.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from surefoot_client.suite import DRIVER, Sequence

EXCLUDED = ["**/__pycache__/**", "data/app.db*"]
"""What the tree check leaves out: Python's caches, and the database, which has its own checks."""

JsonMap = dict[str, Any]


def sha256(text: str) -> str:
    """Of the text as UTF-8, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass
class Draft:
    """Collects what a sequence consists of. Each method that makes a call adds it to the turn."""

    id: str
    title: str
    kind: str
    difficulty: int
    goal: str
    files: Mapping[str, str]
    database: str
    """The script that makes the database `app`, in `data/app.db`."""
    drivers: int = 1
    """How many share the workspace; of several, each call is made by all of them, with the driver's
    number in the place of `{driver}`."""
    unordered: tuple[str, ...] = ()
    """Files whose lines come in the order in which the drivers happened to write them: the tree
    check leaves them out, other checks must look at them."""
    turns: list[JsonMap] = field(default_factory=list[JsonMap])
    checks: list[JsonMap] = field(default_factory=list[JsonMap])

    @property
    def excluded(self) -> list[str]:
        """Globs of what the tree check leaves out."""
        return [*EXCLUDED, *self.unordered]

    def turn(self, prompt: str) -> None:
        """Begin the next turn."""
        self.turns.append({"prompt": prompt, "calls": []})

    def call(
        self, tool: str, arguments: JsonMap, expect: JsonMap | None = None, **flags: bool
    ) -> None:
        """Any call; `flags` are `probe` and `once`."""
        call: JsonMap = {"tool": tool, "arguments": arguments}
        if expect is not None:
            call["expect"] = expect
        call |= {flag: True for flag, on in flags.items() if on}
        self.turns[-1]["calls"].append(call)

    def read(self, path: str, **arguments: Any) -> None:
        """Read a file; of one that no call can have changed so far, the hash is expected."""
        changed = any(
            path in str(call["arguments"])
            for turn in self.turns
            for call in turn["calls"]
            if call["tool"] not in ("read_file", "search_files")
        )
        expect: JsonMap = {"truncated": False} if not arguments else {"path": path}
        if path in self.files and not changed and self.drivers == 1:
            expect["sha256"] = sha256(self.files[path])
        self.call("read_file", {"path": path, **arguments}, expect)

    def create(self, path: str, content: str) -> None:
        """Write a new file."""
        arguments = {"path": path, "content": content, "mode": "create"}
        expect: JsonMap = {"created": True}
        # what each driver writes has a hash of its own
        if DRIVER not in content:
            expect["sha256"] = sha256(content)
        self.call("write_file", arguments, expect)

    def replace(self, path: str, content: str) -> None:
        """Write a file that is there anew."""
        arguments = {"path": path, "content": content}
        self.call("write_file", arguments, {"created": False, "sha256": sha256(content)})

    def append(self, path: str, content: str) -> None:
        """Add to the end of a file."""
        arguments = {"path": path, "content": content, "mode": "append"}
        self.call("write_file", arguments, {"path": path}, once=True)

    def edit(
        self, path: str, *edits: tuple[str, str], everywhere: int = 0, once: bool = False
    ) -> None:
        """Replace texts that occur once; or, `everywhere`, one that occurs so many times."""
        listed: list[JsonMap] = [{"old_text": old, "new_text": new} for old, new in edits]
        if everywhere:
            listed = [{**listed[0], "replace_all": True}]
        expect = {"replacements": everywhere or len(listed)}
        self.call("edit_file", {"path": path, "edits": listed}, expect, once=once)

    def run(
        self,
        *argv: str,
        exit_code: int = 0,
        stdout: str | None = None,
        probe: bool = False,
        once: bool = False,
    ) -> None:
        """Run a command."""
        arguments: JsonMap = {"command": list(argv)}
        expect: JsonMap = {"exit_code": exit_code}
        if stdout is not None:
            expect["stdout"] = stdout
        self.call("run_command", arguments, expect, probe=probe, once=once)

    def shell(self, script: str, *, exit_code: int = 0, once: bool = False) -> None:
        """Run a command that needs a pipe or a redirection."""
        self.run("sh", "-c", script, exit_code=exit_code, once=once)

    def look(self, *argv: str, exit_code: int = 0, stdout: str | None = None) -> None:
        """Run a command that changes nothing."""
        self.run(*argv, exit_code=exit_code, stdout=stdout, probe=True)

    def folder(self, path: str, **arguments: Any) -> None:
        """List a folder."""
        self.call("list_directory", {"path": path, **arguments}, {"truncated": False})

    def search(self, pattern: str, files: int, **arguments: Any) -> None:
        """Search for a text that so many files contain."""
        expect = {"files": files, "truncated": False}
        self.call("search_files", {"pattern": pattern, **arguments}, expect)

    def query(self, sql: str, rows: list[list[Any]] | None = None, parameters: Any = None) -> None:
        """Ask the database."""
        arguments: JsonMap = {"database": "app", "sql": sql}
        if parameters is not None:
            arguments["parameters"] = parameters
        expect: JsonMap = {"truncated": False} if rows is None else {"rows": rows}
        self.call("query_database", arguments, expect)

    def describe(self, table: str | None = None) -> None:
        """Look at the schema."""
        arguments: JsonMap = {"database": "app"} | ({"table": table} if table else {})
        self.call("describe_database", arguments, {"dialect": "sqlite"})

    def sql(self, *statements: tuple[str, list[Any]] | str, once: bool = False) -> None:
        """Change the database, in one transaction."""
        listed: list[JsonMap] = []
        for statement in statements:
            if isinstance(statement, str):
                listed.append({"sql": statement})
            else:
                listed.append({"sql": statement[0], "parameters": statement[1]})
        arguments = {"database": "app", "statements": listed}
        self.call("execute_sql", arguments, {"committed": True}, once=once)

    def check_rows(self, sql: str, equals: list[list[Any]] | None = None) -> None:
        """Expect these rows in the end; without them, those that the reference calls lead to."""
        self.checks.append({"rows": {"database": "app", "sql": sql, "equals": equals}})

    def check_command(self, *argv: str, exit_code: int = 0) -> None:
        """Expect a command to end so."""
        self.checks.append({"command": {"argv": list(argv), "exit_code": exit_code}})

    def sequence(self, tree: Mapping[str, str], rows: Mapping[str, list[list[Any]]]) -> Sequence:
        """What was drafted.

        Args:
            tree: The files of the final state and their hashes.
            rows: What the queries of row checks without rows give in the final state.
        """
        return Sequence.model_validate_json(json.dumps(self.data(tree, rows)))

    def data(self, tree: Mapping[str, str], rows: Mapping[str, list[list[Any]]]) -> JsonMap:
        """The same as data, in the order in which it is written down."""
        checks: list[JsonMap] = [
            {"tree": {"exclude": self.excluded, "files": dict(sorted(tree.items()))}}
        ]
        for check in self.checks:
            asked = check.get("rows")
            if asked is not None and asked["equals"] is None:
                check = {"rows": {**asked, "equals": rows.get(asked["sql"], [])}}
            checks.append(check)
        return {
            "surefoot": 1,
            "id": self.id,
            "title": self.title,
            "class": self.kind,
            "difficulty": self.difficulty,
            "goal": self.goal,
            "fixture": {
                "files": dict(self.files),
                "databases": {"app": {"file": "data/app.db", "sql": self.database}},
            },
            "turns": self.turns,
            "checks": checks,
        }
