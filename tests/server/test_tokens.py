"""The file of tokens: what it keeps, what it refuses, and how soon a change of it counts."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.tokens import give

from surefoot_server.http import tokens
from surefoot_server.http.tokens import (
    LONGEST_FILE,
    Stored,
    TokenFile,
    TokensUnusable,
    hashed,
    is_whole,
    new_token,
)
from surefoot_server.http.verifier import Reason, Refused
from surefoot_server.redact import redact
from surefoot_tools.tool import Group

pytestmark = pytest.mark.anyio

FILES = frozenset({Group.FILES})
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> TokenFile:
    """An empty file of tokens."""
    return TokenFile(tmp_path / "state" / "tokens.json")


async def refusal(file: TokenFile, token: str) -> Reason:
    """Why a token is refused."""
    with pytest.raises(Refused) as found:
        await file.verify(token)
    assert token not in str(found.value)
    return found.value.reason


async def test_a_token_gives_what_was_said_when_it_was_made(
    file: TokenFile, tmp_path: Path
) -> None:
    text = give(file, "ci", groups=FILES, writes=frozenset(), roots=(tmp_path,))
    access = await file.verify(text)
    assert access.principal == "token:ci"
    assert access.groups == {Group.FILES, Group.ACCOUNTING}
    assert access.writes == frozenset()
    assert access.roots == (tmp_path,)


async def test_what_may_write_is_never_more_than_what_may_be_called(file: TokenFile) -> None:
    """Guard: `Stored.access`."""
    text = give(file, "ci", groups=FILES, writes=frozenset(Group))
    assert (await file.verify(text)).writes == FILES


def test_the_file_is_its_owner_s_alone_and_holds_no_token(file: TokenFile) -> None:
    text = give(file, "ci", groups=FILES, writes=FILES)
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.path.parent.stat().st_mode & 0o777 == 0o700
    for each in file.path.parent.iterdir():
        assert text[tokens.SHOWN :] not in each.read_text()
    (kept,) = json.loads(file.path.read_text())["tokens"]
    assert kept["sha256"] == hashed(text)


def test_tokens_differ_and_have_their_shape() -> None:
    made = {new_token() for _ in range(50)}
    assert len(made) == 50
    assert all(is_whole(each) for each in made)


async def test_one_wrong_character_anywhere_makes_a_token_malformed(file: TokenFile) -> None:
    """Guard: `is_whole`."""
    text = give(file, "ci", groups=FILES, writes=FILES)
    for at in range(len(tokens.PREFIX), len(text)):
        wrong = "0" if text[at] != "0" else "1"
        assert not is_whole(text[:at] + wrong + text[at + 1 :])
    for odd in (text[:-1], text + "0", text + "\n", text.upper(), "sft_é"):
        assert await refusal(file, odd) == Reason.MALFORMED


async def test_a_token_ends_at_the_second_that_was_said(tmp_path: Path) -> None:
    """Guard: `Stored.expired`."""
    now = BEGAN.timestamp()
    file = TokenFile(tmp_path / "tokens.json", clock=lambda: now)
    text = give(file, "ci", groups=FILES, writes=FILES, lasting=60, now=BEGAN)
    now += 59.9
    await file.verify(text)
    now += 0.1
    assert await refusal(file, text) == Reason.EXPIRED


async def test_a_token_is_known_by_a_running_server_as_soon_as_it_is_made_or_revoked(
    file: TokenFile,
) -> None:
    """Guard: the stamps in `TokenFile._current`; also of a file that has long been the same."""
    running = TokenFile(file.path)
    last = give(file, "last", groups=FILES, writes=FILES)
    os.utime(file.path, (1_000_000_000, 1_000_000_000))
    await running.verify(last)
    assert file.revoke("last")
    assert await refusal(running, last) == Reason.UNKNOWN
    for number in range(20):
        text = give(file, f"t{number}", groups=FILES, writes=FILES)
        await running.verify(text)
        assert file.revoke(f"t{number}")
        assert await refusal(running, text) == Reason.UNKNOWN


async def test_each_of_many_changes_within_one_tick_of_the_clock_counts(file: TokenFile) -> None:
    """Written in place: only times tell, and many kernels' clocks tick every few milliseconds."""
    texts = [give(file, "a", groups=FILES, writes=FILES), new_token()]
    written = file.path.read_text()
    for number in range(60):
        known, unknown = texts[number % 2], texts[1 - number % 2]
        file.path.write_text(written.replace(hashed(texts[0]), hashed(known)))
        await file.verify(known)
        assert await refusal(file, unknown) == Reason.UNKNOWN


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
async def test_a_file_that_others_may_use_lets_nobody_in(file: TokenFile, mode: int) -> None:
    """Guard: `_refuse_others`; also when it becomes so while the server runs."""
    text = give(file, "ci", groups=FILES, writes=FILES)
    await file.verify(text)
    file.path.chmod(mode)
    assert await refusal(file, text) == Reason.FILE_UNUSABLE
    with pytest.raises(TokensUnusable, match="chmod 600"):
        file.check()
    file.path.chmod(0o600)
    await file.verify(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"version": 2, "tokens": []}',
        '{"version": 1, "tokens": [{"name": "x"}]}',
        '{"version": 1, "tokens": [], "more": 1}',
        " " * (LONGEST_FILE + 1),
    ],
)
async def test_a_file_that_is_something_else_lets_nobody_in(file: TokenFile, text: str) -> None:
    token = give(file, "ci", groups=FILES, writes=FILES)
    file.path.write_text(text)
    assert await refusal(file, token) == Reason.FILE_UNUSABLE
    with pytest.raises(TokensUnusable):
        file.check()
    with pytest.raises(TokensUnusable):
        give(file, "another", groups=FILES, writes=FILES)
    assert file.path.read_text() == text


def test_two_tokens_of_one_name_or_relative_roots_are_refused(file: TokenFile) -> None:
    give(file, "ci", groups=FILES, writes=FILES, roots=(Path("/a"),))
    written = json.loads(file.path.read_text())
    changes: list[dict[str, object]] = [
        {"roots": ["a"]},
        {"roots": []},
        {"name": "a b"},
        {"sha256": "x"},
    ]
    for change in changes:
        one = {**written["tokens"][0], **change}
        file.path.write_text(json.dumps({**written, "tokens": [one]}))
        with pytest.raises(TokensUnusable):
            file.check()
    file.path.write_text(json.dumps({**written, "tokens": written["tokens"] * 2}))
    with pytest.raises(TokensUnusable, match="one name"):
        file.check()


async def test_a_file_that_is_gone_lets_nobody_in_and_says_how_one_is_made(
    file: TokenFile,
) -> None:
    with pytest.raises(TokensUnusable, match="surefoot token add"):
        file.check()
    assert file.tokens() == ()
    assert not file.revoke("ci")
    text = give(file, "ci", groups=FILES, writes=FILES)
    file.path.unlink()
    assert await refusal(file, text) == Reason.FILE_UNUSABLE


def test_a_pipe_in_its_place_holds_nobody_up(file: TokenFile) -> None:
    file.path.parent.mkdir()
    os.mkfifo(file.path, 0o600)
    with pytest.raises(TokensUnusable):
        file.check()


def test_a_name_is_given_once(file: TokenFile) -> None:
    give(file, "ci", groups=FILES, writes=FILES)
    before = file.path.read_bytes()
    with pytest.raises(TokensUnusable, match="revoke ci"):
        give(file, "ci", groups=FILES, writes=FILES)
    assert file.path.read_bytes() == before


def test_there_are_as_many_as_the_file_holds_and_no_more(
    file: TokenFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guard: `TokenFile.add`."""
    monkeypatch.setattr(tokens, "MOST", 2)
    for name in ("a", "b"):
        give(file, name, groups=FILES, writes=FILES)
    with pytest.raises(TokensUnusable, match="no more"):
        give(file, "c", groups=FILES, writes=FILES)


def test_a_link_stays_a_link(file: TokenFile, tmp_path: Path) -> None:
    real = tmp_path / "real.json"
    file.path.parent.mkdir()
    file.path.symlink_to(real)
    give(file, "ci", groups=FILES, writes=FILES)
    assert file.path.is_symlink()
    assert "ci" in real.read_text()


ADDS = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from surefoot_server.http.tokens import Stored, TokenFile
file = TokenFile(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for n in range(10):
    file.add(Stored(name=f"{sys.argv[2]}{n}", id="x", sha256="0" * 64, groups=frozenset(),
        writes=frozenset(), roots=None, created=datetime.now(UTC), expires=None))
"""


def test_processes_that_add_at_once_lose_none(file: TokenFile) -> None:
    """Guard: the lock of `TokenFile._changing`."""
    command = [sys.executable, "-P", "-c", ADDS, str(file.path)]
    running = [
        subprocess.Popen([*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in ("a", "b", "c")
    ]
    for each in running:
        assert each.stdout is not None
        assert each.stdout.readline() == "ready\n"
    for each in running:
        assert each.stdin is not None
        each.stdin.write("go\n")
        each.stdin.flush()
    for each in running:
        each.communicate(timeout=60)
    assert [each.returncode for each in running] == [0, 0, 0]
    names = {each.name for each in file.tokens()}
    assert names == {f"{who}{n}" for who in "abc" for n in range(10)}
    left = {each.name for each in file.path.parent.iterdir()}
    assert left == {"tokens.json", "tokens.json.lock"}


def test_a_stored_token_says_when_it_ends() -> None:
    kept = Stored(
        name="ci",
        id="sft_abc",
        sha256="0" * 64,
        groups=FILES,
        writes=FILES,
        roots=None,
        created=BEGAN,
        expires=BEGAN + timedelta(days=1),
    )
    assert not kept.expired(BEGAN.timestamp())
    assert kept.expired((BEGAN + timedelta(days=1)).timestamp())


def test_a_token_of_ours_in_an_argument_is_not_stored() -> None:
    """Guard: the pattern of `redact._SECRET_SHAPES`."""
    token = new_token()
    assert token not in str(redact({"command": f"curl -H 'Authorization: Bearer {token}' x"}))
