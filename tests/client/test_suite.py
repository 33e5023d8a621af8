"""`surefoot_client.suite`: each mistake in a suite is named by file and line; nothing runs."""

from pathlib import Path

import apsw
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from surefoot_client import document
from surefoot_client.suite import (
    DatabaseFixture,
    Fixture,
    FixtureError,
    ReferenceCall,
    Suite,
    SuiteError,
    find,
    lay_out,
    load,
)

HEAD = """surefoot: 1
name: small
version: "1.0.0"
sequences: [one.yaml]
"""

ONE = """surefoot: 1
id: one
title: One
class: operate
difficulty: 1
goal: Do it.
fixture:
  files:
    a.txt: "a\\n"
    docs/b.txt: |
      b
  databases:
    app: {file: data/app.db, sql: "CREATE TABLE t (x)"}
turns:
  - prompt: Look.
    calls:
      - tool: read_file
        arguments: {path: a.txt}
        expect: {truncated: false}
  - prompt: Write.
    calls:
      - tool: write_file
        arguments: {path: a.txt, content: no, mode: append}
        once: true
      - tool: run_command
        arguments: {command: [cat, a.txt], timeout: 1.5}
        probe: true
checks:
  - tree: {exclude: ["data/*"], files: {}}
  - rows: {database: app, sql: "SELECT 1", equals: [[1]]}
  - command: {argv: [python3, -c, pass]}
"""


def _suite(folder: Path, one: str = ONE, head: str = HEAD, **others: str) -> Path:
    (folder / "suite.yaml").write_text(head)
    (folder / "one.yaml").write_text(one)
    for name, text in others.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def _mistake(folder: Path) -> SuiteError:
    with pytest.raises(SuiteError) as caught:
        load(folder)
    assert str(caught.value).startswith(f"{caught.value.file}:{caught.value.line}: ")
    return caught.value


def _line(text: str, wanted: str) -> int:
    return text.count("\n", 0, text.index(wanted)) + 1


def test_a_suite_is_read_with_its_sequences_in_order(tmp_path: Path) -> None:
    head = HEAD.replace("[one.yaml]", "[two.yaml, one.yaml]")
    suite = load(_suite(tmp_path, head=head, two=ONE.replace("id: one", "id: two")))
    assert (suite.name, suite.version, suite.path) == ("small", "1.0.0", tmp_path)
    assert [sequence.id for sequence in suite.sequences] == ["two", "one"]
    one = suite.sequences[1]
    assert one.kind == "operate"
    assert one.fixture.files == {"a.txt": "a\n", "docs/b.txt": "b\n"}
    assert [call.effectful for turn in one.turns for call in turn.calls] == [False, True, False]
    assert one.checks[2].command is not None
    assert one.checks[2].command.exit_code == 0


def test_words_that_only_yaml_1_1_takes_for_values_stay_text(tmp_path: Path) -> None:
    arguments = "{path: a.txt, content: no, when: 2026-01-01, at: 1:30, on: off, x: 0x1f}"
    suite = load(
        _suite(tmp_path, ONE.replace("{path: a.txt, content: no, mode: append}", arguments))
    )
    expected = {"content": "no", "when": "2026-01-01", "at": "1:30", "on": "off", "x": "0x1f"}
    assert suite.sequences[0].turns[1].calls[0].arguments == {"path": "a.txt", **expected}


def test_a_tool_of_another_server_is_no_mistake_and_counts_as_effectful(tmp_path: Path) -> None:
    suite = load(_suite(tmp_path, ONE.replace("tool: write_file", "tool: fetch_url")))
    assert suite.sequences[0].turns[1].calls[0].effectful


# (what is replaced, by what, the line that the mistake is on, what is said of it)
MISTAKES = [
    ("goal: Do it.", "gaol: Do it.", "gaol", "unknown field 'gaol'; expected one of"),
    ("goal: Do it.", "gaol: Do it.", "gaol", "did you mean 'goal'?"),
    ("goal: Do it.\n", "", "surefoot", "field 'goal' is missing"),
    (
        "        probe: true",
        "        probes: true",
        "probes",
        "unknown field 'turns.1.calls.1.probes'",
    ),
    (
        "  - prompt: Write.\n    calls",
        "  - calls",
        "  - calls",
        "field 'turns.1.prompt' is missing",
    ),
    ("difficulty: 1", "difficulty: one", "difficulty", 'difficulty is "one"; expected an integer'),
    ("difficulty: 1", "difficulty: 4", "difficulty", "less than or equal to 3"),
    ("title: One", "title: 1", "title", "title is 1; expected text"),
    (
        "class: operate",
        "class: play",
        "class",
        "'scan', 'scaffold', 'refactor', 'data' or 'operate'",
    ),
    ("class: operate", "kind: operate", "kind", "unknown field 'kind'"),
    ("id: one", "id: One!", "id:", "should match pattern"),
    ("surefoot: 1", "surefoot: 2", "surefoot", "surefoot is 2; input should be 1"),
    ("once: true", "once: yes", "once", 'once is "yes"; expected true or false'),
    ("{path: a.txt}", "[a.txt]", "arguments: [", "expected a mapping"),
    ("prompt: Look.", "prompt: ''", "prompt: ''", "at least 1 character"),
    ('a.txt: "a', '../a.txt: "a', "../a.txt", "'../a.txt' is not a path inside the workspace"),
    ('a.txt: "a', '/etc/a: "a', "/etc/a", "'/etc/a' is not a path inside the workspace"),
    ('a.txt: "a', 'docs/../a: "a', "docs/../a", "is not a path inside the workspace"),
    ("file: data/app.db", "file: data//app.db", "app:", "is not a path inside the workspace"),
    ("file: data/app.db", "file: a.txt", "app:", "something else is at 'a.txt' already"),
    ("docs/b.txt: |", "a.txt/b: |", "a.txt/b", "'a.txt/b' is below 'a.txt', which is a file"),
    (
        "        probe: true",
        "        probe: true\n        once: true",
        "        once: true\nchecks",
        "no effect",
    ),
    (
        "        expect: {",
        "        once: true\n        expect: {",
        "once",
        "expected no 'once' here",
    ),
    (
        "        expect: {",
        "        probe: true\n        expect: {",
        "probe",
        "expected no 'probe' here",
    ),
    ("rows: {database: app", "rows: {database: other", "rows", "there is no database 'other'"),
    ("files: {}}", "files: {a.txt: beef}}", "tree", "should match pattern"),
    ("  - tree:", "  - trees:", "trees", "did you mean 'tree'?"),
    (
        "- command: {argv: [python3, -c, pass]}",
        "- {}",
        "- {}",
        "expected one of: tree, rows, command",
    ),
    ("goal: Do it.", "id: two", "id: two", "key 'id' is there twice, first on line 2"),
    ("goal: Do it.", "7: Do it.", "7:", "a key is text"),
    (
        "goal: Do it.",
        "goal: &g Do it.\nalso: *g",
        "also",
        "alias *g: expected the value written out",
    ),
    ("goal: Do it.", "goal: [Do it.", "", "not YAML"),
    ("goal: Do it.", "goal: !!binary aGk=", "goal", "expected what JSON has"),
    ("goal: Do it.", "goal: \u0007", "goal", "control character"),
    ("timeout: 1.5", "timeout: 9007199254740993", "timeout", "beyond 2**53 - 1"),
    ("timeout: 1.5", "timeout: 1e999", "timeout", "too large"),
    ("timeout: 1.5", 'timeout: "\\ud800"', "timeout", ""),
]


@pytest.mark.parametrize(("old", "new", "at", "said"), MISTAKES)
def test_a_mistake_is_named_by_file_line_and_what_is_expected(
    tmp_path: Path, old: str, new: str, at: str, said: str
) -> None:
    assert ONE.count(old) >= 1
    text = ONE.replace(old, new, 1)
    error = _mistake(_suite(tmp_path, text))
    assert error.file == tmp_path / "one.yaml"
    assert said in error.message
    if at:
        assert error.line == _line(text, at)


def test_the_first_of_several_mistakes_is_told(tmp_path: Path) -> None:
    text = ONE.replace("title: One", "title: 1").replace("once: true", "once: 1")
    assert _mistake(_suite(tmp_path, text)).line == _line(text, "title")


@pytest.mark.parametrize(
    ("head", "line", "said"),
    [
        ("", 1, "empty"),
        ("- one.yaml\n", 1, "the file is"),
        (HEAD.replace("one.yaml", "one.yaml, none.yaml"), 4, "there is no file 'none.yaml'"),
        (HEAD.replace("one.yaml", "one.yaml, one.yaml"), 4, "'one.yaml' is listed twice"),
        (HEAD.replace("one.yaml", "../one.yaml"), 4, "is not a path inside"),
        (HEAD.replace('"1.0.0"', "1.0"), 3, "expected text"),
        (HEAD.replace("[one.yaml]", "one.yaml"), 4, "expected a list"),
        (HEAD + "drivers: 0\n", 5, "greater than or equal to 1"),
        (HEAD + "drivers: 101\n", 5, "less than or equal to 100"),
        (HEAD + "drivers: ten\n", 5, "expected an integer"),
    ],
)
def test_a_mistake_in_the_head_is_named(tmp_path: Path, head: str, line: int, said: str) -> None:
    error = _mistake(_suite(tmp_path, head=head))
    assert (error.file.name, error.line) == ("suite.yaml", line)
    assert said in error.message


def test_an_id_used_twice_is_named_with_both_files(tmp_path: Path) -> None:
    head = HEAD.replace("one.yaml", "one.yaml, two.yaml")
    error = _mistake(_suite(tmp_path, head=head, two=ONE))
    assert (error.file.name, error.line) == ("two.yaml", 2)
    assert "'one' is also that of one.yaml" in error.message


def test_a_file_that_is_not_utf_8_is_named_with_the_line(tmp_path: Path) -> None:
    _suite(tmp_path)
    (tmp_path / "one.yaml").write_bytes(ONE.encode().replace(b"title: One", b"title: \xff"))
    error = _mistake(tmp_path)
    assert (error.line, error.message) == (3, "not UTF-8; a suite's files are")


def test_deep_nesting_is_refused(tmp_path: Path) -> None:
    """Fails (the interpreter crashes) without the bound in `_Reader._value`."""
    for depth in (5_000, 200_000):
        error = _mistake(_suite(tmp_path, ONE.replace("Do it.", "[" * depth + "]" * depth)))
        assert error.line == _line(ONE, "goal")
        assert "nested more than 100 deep" in error.message


def test_a_second_document_is_refused(tmp_path: Path) -> None:
    error = _mistake(_suite(tmp_path, ONE + "---\nsurefoot: 1\n"))
    assert error.line == len(ONE.splitlines()) + 1


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(ONE)), text=st.text(max_size=12))
def test_any_text_anywhere_gives_a_suite_or_a_mistake_with_a_line(
    tmp_path: Path, at: int, text: str
) -> None:
    _suite(tmp_path)
    (tmp_path / "one.yaml").write_bytes((ONE[:at] + text + ONE[at:]).encode(errors="surrogatepass"))
    try:
        assert isinstance(load(tmp_path), Suite)
    except SuiteError as error:
        assert error.line is not None
        assert error.line >= 1


def test_without_libyaml_the_same_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = load(_suite(tmp_path))
    monkeypatch.setattr(document, "_PARSER", yaml.SafeLoader)
    assert load(tmp_path) == fast


def test_the_hash_is_of_what_is_said_and_not_of_how(tmp_path: Path) -> None:
    before = load(_suite(tmp_path)).hash
    other = ONE.replace(
        "arguments: {path: a.txt}", "# a comment\n        arguments:\n          path: 'a.txt'"
    )
    assert other != ONE
    explicit = other.replace("goal: Do it.", "goal: >-\n  Do\n  it.").replace(
        "probe: true", "probe: true\n        once: false"
    )
    assert load(_suite(tmp_path, explicit)).hash == before
    assert load(_suite(tmp_path, ONE.replace("content: no", "content: yes"))).hash != before
    assert load(_suite(tmp_path, head=HEAD.replace("1.0.0", "1.0.1"))).hash != before
    assert len(before) == 64


@pytest.mark.parametrize("drivers", [1, 2, 100])
def test_a_suite_says_how_many_drivers_share_a_workspace(tmp_path: Path, drivers: int) -> None:
    alone = load(_suite(tmp_path))
    suite = load(_suite(tmp_path, head=f"{HEAD}drivers: {drivers}\n"))
    assert (alone.drivers, suite.drivers) == (1, drivers)
    # a suite that says nothing of drivers has the hash that it had before they were thought of
    assert (suite.hash == alone.hash) is (drivers == 1)


def test_a_driver_plays_the_calls_with_its_own_number_and_shares_all_else(tmp_path: Path) -> None:
    text = (
        ONE.replace("prompt: Write.", "prompt: Write as {driver}.")
        .replace(
            "path: a.txt, content: no", "path: 'p{driver}.txt', content: '{driver} of {driver}'"
        )
        .replace(
            "command: [cat, a.txt]", "command: [cat, ['p{driver}'], {'{driver}': '-{driver}'}]"
        )
        .replace("once: true", "once: true\n        expect: {path: 'p{driver}.txt', size: 6}")
    )
    sequence = load(_suite(tmp_path, text, head=HEAD + "drivers: 8\n")).sequences[0]
    part = sequence.for_driver(7)
    write, command = part.turns[1].calls
    assert part.turns[1].prompt == "Write as 7."
    assert write.arguments == {"path": "p7.txt", "content": "7 of 7", "mode": "append"}
    assert write.expect == {"path": "p7.txt", "size": 6}
    assert write.once
    # names of arguments are the tool's, and stay
    assert command.arguments == {"command": ["cat", ["p7"], {"{driver}": "-7"}], "timeout": 1.5}
    assert command.probe
    assert part.turns[0] == sequence.turns[0]
    assert part.model_copy(update={"turns": sequence.turns}) == sequence
    assert sequence.turns[1].prompt == "Write as {driver}."


def test_a_shipped_suite_is_found_by_name_and_any_other_by_path(tmp_path: Path) -> None:
    assert (find("standard") / "suite.yaml").is_file()
    _suite(tmp_path)
    assert find(str(tmp_path)) == tmp_path
    assert find(str(tmp_path / "suite.yaml")) == tmp_path
    for name in ("nonesuch", "../standard", str(tmp_path / "none")):
        with pytest.raises(SuiteError) as raised:
            find(name)
        assert str(raised.value).startswith(
            f"{name}: there is no such suite; shipped are: shared, standard"
        )
    with pytest.raises(SuiteError, match=r"suite\.yaml; shipped are: shared, standard"):
        find(str(tmp_path.parent))


def test_a_file_given_for_a_suite_is_answered_with_its_folder(tmp_path: Path) -> None:
    file = _suite(tmp_path) / "one.yaml"
    with pytest.raises(SuiteError) as raised:
        find(str(file))
    assert str(raised.value) == f"{file}: a suite is a folder; did you mean {tmp_path}?"
    (tmp_path / "empty").mkdir()
    alone = tmp_path / "empty" / "alone.yaml"
    alone.touch()
    with pytest.raises(
        SuiteError, match=r"alone\.yaml: a suite is a folder that holds suite\.yaml"
    ):
        find(str(alone))


def test_a_fixture_is_laid_out_byte_for_byte(tmp_path: Path) -> None:
    fixture = Fixture(
        files={"a/b.txt": "one\r\ntwo\n", "empty": ""},
        databases={"app": DatabaseFixture(file="data/app.db", sql="CREATE TABLE t (x);")},
    )
    lay_out(fixture, tmp_path / "w")
    assert (tmp_path / "w/a/b.txt").read_bytes() == b"one\r\ntwo\n"
    assert (tmp_path / "w/empty").read_bytes() == b""
    connection = apsw.Connection(str(tmp_path / "w/data/app.db"))
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("t",)]
    connection.close()
    with pytest.raises(FileExistsError):
        lay_out(fixture, tmp_path / "w")


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("CREATE TABEL t (x)", "syntax error"),
        ("ATTACH DATABASE 'stolen.db' AS s", "too many attached"),
        ("CREATE TABLE t (x); VACUUM INTO 'stolen.db'", "too many attached"),
    ],
)
def test_a_fixture_script_that_fails_or_reaches_for_another_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sql: str, said: str
) -> None:
    """Fails when the limit in `_make_database` is taken away."""
    monkeypatch.chdir(tmp_path)
    fixture = Fixture(databases={"app": DatabaseFixture(file="app.db", sql=sql)})
    with pytest.raises(FixtureError, match=f"database 'app' fails: .*{said}"):
        lay_out(fixture, tmp_path / "w")
    assert not (tmp_path / "stolen.db").exists()


def test_a_probe_has_no_effect() -> None:
    call = ReferenceCall(tool="run_command", arguments={}, probe=True)
    assert not call.effectful
