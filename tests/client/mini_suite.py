"""Small suites for tests of the driver, written as files: the public form of a suite."""

import hashlib
import sys
from pathlib import Path
from typing import Any

import yaml

FOREIGN = [sys.executable, str(Path(__file__).with_name("foreign_server.py"))]
"""The command of a server that is not ours, for what comes after `--`."""

Call = tuple[str, dict[str, Any], dict[str, Any]]
"""Tool, arguments, and the rest of a reference call: expect, probe, once."""


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def write_suite(
    folder: Path,
    turns: list[list[Call]],
    *,
    files: dict[str, str] | None = None,
    fixture: dict[str, Any] | None = None,
    rows: dict[str, Any] | None = None,
    exclude: tuple[str, ...] = (),
    drivers: int = 1,
) -> Path:
    """A suite `mini` of one sequence `work`; `files` is the final state, path to text."""
    folder.mkdir(parents=True, exist_ok=True)
    hashes = {path: digest(text) for path, text in (files or {}).items()}
    checks: list[dict[str, Any]] = [{"tree": {"exclude": list(exclude), "files": hashes}}]
    if rows is not None:
        checks.append({"rows": rows})
    sequence = {
        "surefoot": 1,
        "id": "work",
        "title": "a little work",
        "class": "operate",
        "difficulty": 1,
        "goal": "do it",
        "fixture": fixture or {},
        "turns": [
            {
                "prompt": f"turn {number}",
                "calls": [
                    {"tool": tool, "arguments": arguments, **rest}
                    for tool, arguments, rest in calls
                ],
            }
            for number, calls in enumerate(turns, 1)
        ],
        "checks": checks,
    }
    head: dict[str, Any] = {"surefoot": 1, "name": "mini", "version": "1.0.0"}
    head |= {"sequences": ["work.yaml"]} | ({"drivers": drivers} if drivers > 1 else {})
    (folder / "suite.yaml").write_text(yaml.safe_dump(head))
    (folder / "work.yaml").write_text(yaml.safe_dump(sequence))
    return folder


def counting(folder: Path, times: int) -> Path:
    """For the foreign server: count up to `times`, one call a turn, each of which must be new."""
    turns: list[list[Call]] = [
        [("count", {"n": number}, {"expect": {"count": number}})] for number in range(1, times + 1)
    ]
    return write_suite(folder, turns, files={"counted": "once\n" * times}, exclude=("lists",))


def mixed(folder: Path) -> Path:
    """For our server: files and a database, each step of which shows when it is done twice."""
    turns: list[list[Call]] = [
        [
            ("write_file", {"path": "a.txt", "content": "one\n"}, {}),
            ("write_file", {"path": "a.txt", "content": "two\n", "mode": "append"}, {"once": True}),
            ("read_file", {"path": "a.txt"}, {"expect": {"text": "one\ntwo\n"}}),
        ],
        [
            (
                "edit_file",
                {"path": "a.txt", "edits": [{"old_text": "two", "new_text": "two two"}]},
                {"expect": {"replacements": 1}, "once": True},
            ),
            (
                "execute_sql",
                {"database": "app", "statements": [{"sql": "INSERT INTO n VALUES (1)"}]},
                {"once": True},
            ),
            (
                "query_database",
                {"database": "app", "sql": "SELECT count(*) FROM n"},
                {"expect": {"rows": [[1]]}},
            ),
        ],
        [
            (
                "execute_sql",
                {"database": "app", "statements": [{"sql": "UPDATE n SET v = v + 1"}]},
                {"once": True},
            ),
            ("run_command", {"command": ["sh", "-c", "echo x >> log"]}, {"once": True}),
            ("write_file", {"path": "b.txt", "content": "b\n"}, {}),
        ],
    ]
    return write_suite(
        folder,
        turns,
        files={"a.txt": "one\ntwo two\n", "b.txt": "b\n", "log": "x\n"},
        fixture={"databases": {"app": {"file": "app.db", "sql": "CREATE TABLE n (v INTEGER)"}}},
        rows={"database": "app", "sql": "SELECT v FROM n", "equals": [[2]]},
        exclude=("app.db*",),
    )


def shared(folder: Path, drivers: int, rounds: int) -> Path:
    """For our server: several drivers in one workspace, each step of which shows when done twice.

    Each appends to a file of its own, and counts in a database that is common to all.
    """
    own, counted = "d{driver}.txt", "UPDATE n SET v = v + 1"
    turns: list[list[Call]] = [[("write_file", {"path": own, "content": "begun\n"}, {})]]
    for number in range(rounds):
        append = {"path": own, "content": f"{number}\n", "mode": "append"}
        statements = [{"sql": counted}, {"sql": f"INSERT INTO done VALUES ({{driver}}, {number})"}]
        turns.append(
            [
                ("write_file", append, {"once": True}),
                ("execute_sql", {"database": "app", "statements": statements}, {"once": True}),
            ]
        )
    text = "begun\n" + "".join(f"{number}\n" for number in range(rounds))
    sql = "CREATE TABLE n (v INTEGER); INSERT INTO n VALUES (0); CREATE TABLE done (driver, round)"
    return write_suite(
        folder,
        turns,
        files={f"d{number}.txt": text for number in range(drivers)},
        fixture={"databases": {"app": {"file": "app.db", "sql": sql}}},
        rows={
            "database": "app",
            "sql": "SELECT n.v, count(*), count(DISTINCT driver || '/' || round) FROM done, n",
            "equals": [[drivers * rounds] * 3],
        },
        exclude=("app.db*",),
        drivers=drivers,
    )
