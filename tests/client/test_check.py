"""`surefoot_client.check`: looks at the final state, whatever was done to it."""

import hashlib
import os
import py_compile
from collections.abc import Sequence as Items
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot_client import check
from surefoot_client.check import CheckResult, matches, run_checks
from surefoot_client.suite import (
    Check,
    CommandCheck,
    DatabaseFixture,
    Fixture,
    ReferenceCall,
    RowsCheck,
    Sequence,
    TreeCheck,
    Turn,
)

pytestmark = pytest.mark.anyio


def _sequence(*checks: Check) -> Sequence:
    turn = Turn(prompt="p", calls=(ReferenceCall(tool="t", arguments={}),))
    fixture = Fixture(databases={"app": DatabaseFixture(file="app.db", sql="")})
    facts = {
        "surefoot": 1,
        "id": "one",
        "title": "t",
        "class": "data",
        "difficulty": 1,
        "goal": "g",
    }
    return Sequence.model_validate(
        {**facts, "fixture": fixture, "turns": (turn,), "checks": checks}
    )


async def _look(workspace: Path, one: TreeCheck | RowsCheck | CommandCheck) -> CheckResult:
    match one:
        case TreeCheck():
            wrapped = Check(tree=one)
        case RowsCheck():
            wrapped = Check(rows=one)
        case CommandCheck():
            wrapped = Check(command=one)
    [found] = await run_checks(_sequence(wrapped), workspace)
    return found


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _tree(workspace: Path, *, exclude: Items[str] = (), **files: str) -> TreeCheck:
    expected = {name.replace("_", "/"): _sha(text) for name, text in files.items()}
    for path, text in zip(expected, files.values(), strict=True):
        (workspace / path).parent.mkdir(exist_ok=True)
        (workspace / path).write_text(text)
    return TreeCheck(exclude=tuple(exclude), files=expected)


async def test_exactly_the_expected_files_pass_and_empty_folders_do_not_count(
    tmp_path: Path,
) -> None:
    tree = _tree(tmp_path, a="1", b_c="2")
    (tmp_path / "empty").mkdir()
    assert await _look(tmp_path, tree) == CheckResult("tree", True, "all 2 files as expected")


async def test_missing_extra_and_altered_files_are_named(tmp_path: Path) -> None:
    tree = _tree(tmp_path, a="1", b_c="2", d="3")
    (tmp_path / "a").unlink()
    (tmp_path / "b/c").write_text("two")
    (tmp_path / "b/new").write_text("")
    found = await _look(tmp_path, tree)
    assert not found.passed
    assert found.detail == "missing: a; not expected: b/new; with other content: b/c"


async def test_long_lists_are_cut(tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / f"x{number}").touch()
    found = await _look(tmp_path, TreeCheck(files={}))
    assert found.detail == "not expected: x0, x1, x2, x3, x4 and 2 more"


@pytest.mark.parametrize("make", ["link", "link to a folder", "fifo", "folder"])
async def test_what_stands_in_for_a_file_does_not_pass(tmp_path: Path, make: str) -> None:
    workspace = tmp_path / "w"
    workspace.mkdir()
    tree = _tree(workspace, a="1", b="2")
    (tmp_path / "real").write_text("1")
    (workspace / "a").unlink()
    match make:
        case "link":
            (workspace / "a").symlink_to(tmp_path / "real")
        case "link to a folder":
            (workspace / "a").symlink_to(tmp_path)
        case "fifo":
            os.mkfifo(workspace / "a")
        case _:
            (workspace / "a").mkdir()
    found = await _look(workspace, tree)
    assert not found.passed
    assert "a" in found.detail


@pytest.mark.parametrize(
    ("glob", "path", "excluded"),
    [
        ("data/app.db*", "data/app.db", True),
        ("data/app.db*", "data/app.db-wal", True),
        ("data/app.db*", "data/app.db/x", False),
        ("data/app.db*", "app.db", False),
        ("*", "x/y", False),
        ("**/__pycache__/**", "__pycache__/a.pyc", True),
        ("**/__pycache__/**", "x/y/__pycache__/a.pyc", True),
        ("**/__pycache__/**", "x/__pycache__y/a.pyc", False),
        ("**/*.log", "a.log", True),
        ("**/*.log", "x/y/a.log", True),
        ("x/**/z", "x/z", True),
        ("x/?[ab]", "x/ca", True),
        ("x/?[ab]", "x/a", False),
    ],
)
async def test_a_glob_excludes_by_whole_segments(
    tmp_path: Path, glob: str, path: str, excluded: bool
) -> None:
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).touch()
    found = await _look(tmp_path, TreeCheck(exclude=(glob,), files={}))
    assert found.passed is excluded


def _database(workspace: Path, *statements: str) -> apsw.Connection:
    connection = apsw.Connection(str(workspace / "app.db"))
    for statement in statements:
        connection.execute(statement)
    return connection


ENDLESS = (
    "CREATE VIEW t AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"
    " SELECT x FROM n"
)


def _rows(sql: str, *equals: Items[Any]) -> RowsCheck:
    return RowsCheck(database="app", sql=sql, equals=tuple(tuple(row) for row in equals))


async def test_rows_are_compared_as_json_values_in_order(tmp_path: Path) -> None:
    _database(
        tmp_path,
        "CREATE TABLE t (x, y)",
        "INSERT INTO t VALUES (1, 'a'), (2.5, NULL), (x'6869', 9007199254740993)",
    ).close()
    rows: list[list[Any]] = [[1, "a"], [2.5, None], [{"base64": "aGk="}, 9007199254740993]]
    assert (await _look(tmp_path, _rows("SELECT x, y FROM t", *rows))).passed
    for wrong in (rows[:2], rows[::-1], [*rows, [1, "a"]], [[True, "a"], *rows[1:]], []):
        assert not (await _look(tmp_path, _rows("SELECT x, y FROM t", *wrong))).passed


async def test_a_row_that_differs_is_shown(tmp_path: Path) -> None:
    _database(tmp_path, "CREATE TABLE t (x)", "INSERT INTO t VALUES (1), (3)").close()
    found = await _look(tmp_path, _rows("SELECT x FROM t", [1], [2]))
    assert found.detail == "row 2 is [3], expected [2]"


async def test_a_table_that_never_ends_is_not_read_to_its_end(tmp_path: Path) -> None:
    _database(tmp_path, ENDLESS).close()
    found = await _look(tmp_path, _rows("SELECT x FROM t", [1], [2]))
    assert found.detail == "more than the 2 rows expected"


async def test_a_query_that_never_gives_a_row_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails (hangs) without the progress handler of `_query`."""
    monkeypatch.setattr(check, "BOUND", 0.05)
    _database(tmp_path, ENDLESS).close()
    found = await _look(tmp_path, _rows("SELECT count(*) FROM t", [1]))
    assert not found.passed
    assert "interrupted" in found.detail.lower()


@pytest.mark.parametrize(
    "sql",
    ["DELETE FROM t", "ATTACH 'stolen.db' AS s", "VACUUM INTO 'stolen.db'", "SELECT y FROM t"],
)
async def test_a_query_that_would_change_anything_or_fails_does_not_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sql: str
) -> None:
    monkeypatch.chdir(tmp_path)
    _database(tmp_path, "CREATE TABLE t (x)", "INSERT INTO t VALUES (1)").close()
    before = (tmp_path / "app.db").read_bytes()
    found = await _look(tmp_path, _rows(sql))
    assert not found.passed
    assert found.detail.startswith("app cannot be asked: ")
    assert (tmp_path / "app.db").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app.db"]


@pytest.mark.parametrize("there", ["nothing", "a link", "no database"])
async def test_a_database_that_is_none_does_not_pass(tmp_path: Path, there: str) -> None:
    workspace = tmp_path / "w"
    workspace.mkdir()
    _database(tmp_path, "CREATE TABLE t (x)").close()
    if there == "a link":
        (workspace / "app.db").symlink_to(tmp_path / "app.db")
    elif there == "no database":
        (workspace / "app.db").write_text("not a database" * 100)
    assert not (await _look(workspace, _rows("SELECT 1 FROM t"))).passed


@pytest.mark.parametrize("mode", ["wal", "delete"])
async def test_what_a_killed_writer_left_is_read_as_sqlite_recovers_it(
    tmp_path: Path, mode: str
) -> None:
    """In WAL, what was committed counts; of a rollback journal, what was not is rolled back."""
    source = tmp_path / "source"
    workspace = tmp_path / "w"
    source.mkdir()
    workspace.mkdir()
    connection = _database(source, f"PRAGMA journal_mode = {mode}", "CREATE TABLE t (x)")
    connection.execute("INSERT INTO t VALUES (1), (2), (3)")
    if mode == "delete":
        # so little cache that uncommitted pages are in the file already, as at a kill
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            "WITH RECURSIVE n(x) AS (SELECT 4 UNION ALL SELECT x + 1 FROM n LIMIT 20000)"
            " INSERT INTO t SELECT x FROM n"
        )
        assert (source / "app.db-journal").exists()
    for file in source.iterdir():
        (workspace / file.name).write_bytes(file.read_bytes())
    connection.close()
    before = sorted(path.name for path in workspace.iterdir())
    found = await _look(workspace, _rows("SELECT count(*), max(x) FROM t", [3, 3]))
    assert found.passed, found.detail
    assert sorted(path.name for path in workspace.iterdir()) == before


async def test_a_command_passes_with_its_status_and_shows_its_output_otherwise(
    tmp_path: Path,
) -> None:
    script = "import sys; print('seen'); sys.exit(3)"
    assert (await _look(tmp_path, CommandCheck(argv=("python3", "-c", script), exit_code=3))).passed
    found = await _look(tmp_path, CommandCheck(argv=("python3", "-c", script)))
    assert found.detail == "exit code 3, expected exit code 0\nseen"


async def test_a_command_is_given_no_secrets_and_leaves_no_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    (tmp_path / "module.py").write_text("import os\nassert 'OPENAI_API_KEY' not in os.environ\n")
    assert (await _look(tmp_path, CommandCheck(argv=("python3", "-c", "import module")))).passed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["module.py"]


async def test_a_planted_cache_is_not_run(tmp_path: Path) -> None:
    """Fails without PYTHONPYCACHEPREFIX: a cache with its source's time and size is believed."""
    source = tmp_path / "module.py"
    source.write_text("x = 0\n")
    py_compile.compile(str(source), invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP)
    planted = source.stat().st_mtime_ns
    source.write_text("x = 1\n")
    os.utime(source, ns=(planted, planted))
    argv = ("python3", "-c", "import module, sys; sys.exit(module.x)")
    assert (await _look(tmp_path, CommandCheck(argv=argv, exit_code=1))).passed


async def test_a_command_that_cannot_be_started_does_not_pass(tmp_path: Path) -> None:
    found = await _look(tmp_path, CommandCheck(argv=("no-such-program",)))
    assert found.detail.startswith("no-such-program cannot be started")


async def test_a_command_is_killed_with_its_group_at_the_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails (hangs) without the `killpg` of `_bounded`: the child would hold the FIFO open."""
    monkeypatch.setattr(check, "BOUND", 0.3)
    os.mkfifo(tmp_path / "alive")
    held = os.open(tmp_path / "alive", os.O_RDONLY | os.O_NONBLOCK)
    script = "exec 9> alive; sleep 600 & wait"
    found = await _look(tmp_path, CommandCheck(argv=("sh", "-c", script)))
    assert found.detail == "killed after 0.3 s, expected exit code 0"
    os.set_blocking(held, True)
    assert os.read(held, 1) == b""  # end of file: nobody has it open any more
    os.close(held)


def test_a_subset_matches_and_anything_else_is_equal() -> None:
    result = {"exit_code": 0, "stdout": "x", "nested": {"a": [1, {"b": 2}], "c": None}}
    assert matches({}, result)
    assert matches({"exit_code": 0, "nested": {"c": None}}, result)
    assert matches({"nested": {"a": [1.0, {"b": 2}]}}, result)
    wrongs: list[dict[str, Any]] = [
        {"exit_code": False},
        {"exit_code": 1},
        {"missing": None},
        {"nested": {"a": [1]}},
        {"nested": {"a": [1, {}]}},
        {"stdout": {"x": 1}},
        {"exit_code": {}},
    ]
    for wrong in wrongs:
        assert not matches(wrong, result)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(value=JSON, extra=JSON)
def test_what_is_there_matches_itself_and_with_more_beside_it(value: Any, extra: Any) -> None:
    assert matches(value, value)
    if isinstance(value, dict):
        assert matches(value, {"beside\0": extra, **value})
