"""`surefoot install` and `uninstall`: the host finds the server, all else in its file stays."""

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.support.hosts import Home, holder, lay_traps

from surefoot_cli.install.hosts import HOSTS

CLIENTS = ["claude-desktop", "claude-code", "vscode", "cursor"]
PLACES = [
    *((client, "user") for client in CLIENTS),
    *((client, "project") for client in CLIENTS[1:]),
]
RUN = ["-E", "-P", "-m", "surefoot_cli", "serve"]
MACOS = "Library/Application Support"
TOKEN = "ghp_" + "a" * 30
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the paths are those of Linux")


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    home = Home.make(tmp_path)
    monkeypatch.chdir(home.project)
    for name in ("XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR", "UV"):
        monkeypatch.delenv(name, raising=False)
    return home


def install(user: Home, client: str, scope: str = "user", *words: object) -> None:
    root = [] if scope == "project" else ["--root", user.project]
    done = user.surefoot("install", client, "--scope", scope, "--no-check", *root, *words)
    assert done.code == 0, done.err


@pytest.mark.parametrize(("client", "scope"), PLACES)
def test_each_host_finds_the_server_in_a_new_file(user: Home, client: str, scope: str) -> None:
    install(user, client, scope)
    entry = user.servers(client, scope)["surefoot"]
    opened = "." if client == "claude-code" else "${workspaceFolder}"
    root = opened if scope == "project" else str(user.project)
    assert entry.pop("type", None) == (None if client == "claude-desktop" else "stdio")
    assert entry == {"command": sys.executable, "args": [*RUN, "--root", root]}
    mode = stat.S_IMODE(user.file(client, scope).stat().st_mode)
    assert mode == (0o600 if scope == "user" else 0o644)


STRICT = [
    b"",
    b"{}",
    b"{}\n",
    b'{"other": {"mcpServers": {"surefoot": 1}, "servers": {"surefoot": 2}}}',
    '{"ü🦭": "ü", "HOLDER": {"other": {"command": "x", "env": {}}}}'.encode(),
    b'{\r\n\t"HOLDER": {\r\n\t\t"other": {"command": "x"}\r\n\t}\r\n}\r\n',
    b'\xef\xbb\xbf{\n    "HOLDER": {}\n}',
    b'{"HOLDER": {"dup": 1}, "HOLDER": {"other":1,\n\n  "other":2}}',
]
LENIENT = [
    b'// mine\n{\n  "HOLDER": {\n    "other": {}, // of other\n    /* last */\n  },\n}',
    b"{ /* nothing */ }",
    b'{"inputs": [{"id": "k"}], // keys\r\n "HOLDER": {\r\n }}',
]


@pytest.mark.parametrize("client", CLIENTS)
def test_all_else_survives_byte_for_byte_there_and_back(user: Home, client: str) -> None:
    texts = STRICT if client.startswith("claude") else [*STRICT, *LENIENT]
    for text in texts:
        old = text.replace(b"HOLDER", holder(client).encode())
        file = user.write(client, old)
        before = user.read(client) if old else {}
        install(user, client)
        after = user.read(client)
        assert after[holder(client)].pop("surefoot")["command"] == sys.executable
        assert after == {holder(client): {}, **before}
        assert user.surefoot("uninstall", client).code == 0
        assert file.read_bytes() == (old or b"{}\n"), old


def test_the_inputs_of_vs_code_and_its_comments_stay(user: Home) -> None:
    old = b'{\n  // asked for once\n  "inputs": [{"id": "k", "type": "promptString"}],\n}\n'
    file = user.write("vscode", old, "project")
    install(user, "vscode", "project")
    new = file.read_bytes()
    assert new.startswith(old[: old.index(b"\n}")])
    assert set(user.servers("vscode", "project")) == {"surefoot"}


@pytest.mark.parametrize(
    ("system", "variables", "desktop", "code"),
    [
        ("Linux", {}, "/u/.config/Claude", "/u/.claude.json"),
        ("Linux", {"XDG_CONFIG_HOME": "/x"}, "/x/Claude", "/u/.claude.json"),
        ("Linux", {"XDG_CONFIG_HOME": "x"}, "/u/.config/Claude", "/u/.claude.json"),
        ("Linux", {"CLAUDE_CONFIG_DIR": "/c"}, "/u/.config/Claude", "/c/.claude.json"),
        ("Darwin", {"XDG_CONFIG_HOME": "/x"}, f"/u/{MACOS}/Claude", "/u/.claude.json"),
    ],
)
def test_the_files_lie_where_the_hosts_look(
    monkeypatch: pytest.MonkeyPatch,
    system: str,
    variables: dict[str, str],
    desktop: str,
    code: str,
) -> None:
    monkeypatch.setattr("platform.system", lambda: system)
    monkeypatch.setenv("HOME", "/u")
    found = {name: host.user_file(variables) for name, host in HOSTS.items()}
    assert found["claude-desktop"] == Path(desktop) / "claude_desktop_config.json"
    assert found["vscode"] == Path(desktop).with_name("Code") / "User" / "mcp.json"
    assert found["claude-code"] == Path(code)
    assert found["cursor"] == Path("/u/.cursor/mcp.json")


def test_the_diff_of_a_long_file_shows_the_change_and_counts_the_lines(user: Home) -> None:
    """Guard: `diff.difference` shifts the hunks."""
    lines = {f"k{n}": n for n in range(50)}
    tail = {f"z{n}": n for n in range(50)}
    user.write("cursor", json.dumps({**lines, "mcpServers": {}, **tail}, indent=2).encode())
    words = ["install", "cursor", "--root", ".", "--dry-run", "--json"]
    shown = user.surefoot(*words).json["diff"].splitlines()
    assert shown[2] == "@@ -49,7 +49,19 @@"
    assert shown[3] == '   "k47": 47,'
    assert [line for line in shown if line.startswith("-")][1:] == ['-  "mcpServers": {},']


def test_a_second_time_changes_nothing_and_keeps_no_backup(user: Home) -> None:
    file = user.write("cursor", b'{"mcpServers": {"other": {}}}')
    install(user, "cursor")
    first, files = file.read_bytes(), sorted(file.parent.iterdir())
    done = user.surefoot("install", "cursor", "--root", user.project)
    assert done.code == 0
    assert "already installed" in done.out
    assert (file.read_bytes(), sorted(file.parent.iterdir())) == (first, files)


def test_an_entry_of_the_same_name_keeps_what_the_user_added(user: Home) -> None:
    install(user, "claude-code")
    file = user.file("claude-code")
    found = json.loads(file.read_text())
    found["mcpServers"]["surefoot"] |= {"env": {"SUREFOOT_HOME": "/s"}, "timeout": 60000}
    file.write_text(json.dumps(found, indent=2))
    install(user, "claude-code", "user", "--", "--read-only")
    entry = user.servers("claude-code")["surefoot"]
    assert entry["args"][-1] == "--read-only"
    assert (entry["env"], entry["timeout"]) == ({"SUREFOOT_HOME": "/s"}, 60000)


def test_a_dry_run_shows_the_change_and_writes_nothing(user: Home) -> None:
    secrets = {"other": {"env": {"API_TOKEN": "hunter2", "ANY": TOKEN}}}
    old = json.dumps({"mcpServers": secrets}, indent=1).encode()
    file = user.write("claude-desktop", old)
    done = user.surefoot("install", "claude-desktop", "--root", user.project, "--dry-run")
    assert done.code == 0
    assert '+  "surefoot": {' in done.out
    assert "nothing was written" in done.out
    assert "hunter2" not in done.out and TOKEN not in done.out
    assert file.read_bytes() == old
    assert list(file.parent.iterdir()) == [file]
    told = user.surefoot("uninstall", "claude-desktop", "--dry-run", "--json").json
    assert (told["changed"], told["written"], told["backup"]) == (False, False, None)


@pytest.mark.parametrize(
    ("client", "raw", "said"),
    [
        ("claude-desktop", b'{"mcpServers": {},}', "line 1, column 19"),
        ("claude-code", b'{\n  // mine\n  "a": 1\n}', "line 2, column 3"),
        ("vscode", b'{"servers": []}', "should be an object"),
        ("cursor", b'{"a": 1', "line 1"),
        ("cursor", b'{"a": "\xff"}', "not UTF-8"),
    ],
)
def test_a_file_that_its_host_cannot_read_is_refused_and_left_alone(
    user: Home, client: str, raw: bytes, said: str
) -> None:
    file = user.write(client, raw)
    for words in (["install", client, "--root", user.project], ["uninstall", client]):
        done = user.surefoot(*words)
        assert (done.code, done.out) == (2, "")
        assert said in done.err
        assert str(file) in done.err
    assert file.read_bytes() == raw
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(
    "words",
    [
        ["claude-desktop", "--scope", "project"],
        ["claude-desktop"],
        ["emacs"],
        ["cursor", "--root", "/nonexistent"],
        ["cursor", "--root", ".", "--name", "a b"],
        ["cursor", "--root", ".", "--name", ""],
        ["cursor", "--root", ".", "--", "--database", "a=postgresql://u:secret@h/d"],
        ["cursor", "--root", ".", "--", "--database", "a=postgresql://u@h/d?password=secret"],
    ],
    ids=" ".join,
)
def test_bad_usage_is_refused_with_2_and_writes_nothing(user: Home, words: list[str]) -> None:
    done = user.surefoot("install", *words)
    assert done.code == 2
    assert "secret@" not in done.err
    assert list(user.folder.iterdir()) == []


def test_a_server_that_does_not_answer_is_not_installed(user: Home) -> None:
    """Guard: `verb._tools` before `Change.write`."""
    file = user.write("cursor", b"{}")
    done = user.surefoot("install", "cursor", "--root", ".", "--", "--no-such-option")
    assert done.code == 3
    assert "nothing was written" in done.err
    assert "No such option" in done.err
    assert file.read_bytes() == b"{}"
    assert list(file.parent.iterdir()) == [file]


def test_what_is_installed_was_seen_to_answer_in_a_folder_of_traps(user: Home) -> None:
    """Guard: `launch.ALONE`; the server starts where the project has modules of our names."""
    lay_traps(user.project)
    done = user.surefoot("install", "claude-code", "--scope", "project", "--json")
    assert done.code == 0, done.err
    assert "run_command" in done.json["tools"]
    assert "surefoot" in user.servers("claude-code", "project")
    assert not (user.project / "sprung").exists()


def doctor(user: Home) -> dict[str, dict[str, Any]]:
    return {finding["name"]: finding for finding in user.surefoot("doctor", "--json").json}


def test_doctor_tells_of_each_host_if_surefoot_is_there_and_starts(user: Home) -> None:
    user.write("cursor", b"{} // ")
    user.write("vscode", b"{")
    install(user, "claude-code", "project")
    install(user, "claude-desktop")
    file = user.file("claude-desktop")
    file.write_text(file.read_text().replace(sys.executable, f"{user.folder}/gone/python"))
    found = doctor(user)
    assert found["Cursor"]["fix"] == "surefoot install cursor"
    assert "cannot be read" in found["VS Code"]["found"]
    assert str(user.file("claude-code", "project")) in found["Claude Code"]["found"]
    assert not found["Claude Desktop"]["good"]
    assert "gone/python" in found["Claude Desktop"]["found"]
    assert found["Claude Desktop"]["fix"].startswith("surefoot install claude-desktop")
    assert [name for name in found if not found[name]["good"]] == ["Claude Desktop"]


def test_doctor_finds_hosts_that_are_not_there(user: Home) -> None:
    assert "not found" in doctor(user)["Cursor"]["found"]
    assert os.listdir(user.folder) == []
