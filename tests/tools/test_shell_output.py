"""What commands print, as it is told: apart and in order, visible, bounded, and all of it kept."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.tools.shell_door import Door, release, until

from surefoot_tools.errors import Code, ToolError
from surefoot_tools.shell.order import Order
from surefoot_tools.shell.output import excerpt, page
from surefoot_tools.shell.pieces import Pieces
from surefoot_tools.shell.record import Record
from surefoot_tools.shell.secrets import without_secrets
from surefoot_tools.shell.shown import shown, whole_characters
from surefoot_tools.supervisor.sink import Sink
from surefoot_tools.supervisor.stream import TURN, Turns

pytestmark = pytest.mark.anyio


@pytest.fixture
def door(tmp_path: Path) -> Door:
    door = Door(tmp_path / "root", tmp_path / "jobs")
    os.mkfifo(door.root / "gate")
    return door


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("plain ünïcödé 🦭\ttab", "plain ünïcödé 🦭\ttab"),
        ("\x1b]0;t\x07\x1b[8mhidden\x1b[0m", r"\x1b]0;t\x07\x1b[8mhidden\x1b[0m"),
        ("a\x00b\x08\x7f\x9b", r"a\x00b\x08\x7f\x9b"),
        ("\u202eevil\u2066\u200b\ufeff\U000e0041", r"\u202eevil\u2066\u200b\ufeff\U000e0041"),
        ("10%\r50%\r100%", "100%"),
        ("100%\r", "100%"),
        ("\r", ""),
    ],
)
def test_nothing_in_a_line_is_hidden_and_a_progress_bar_is_folded(line: str, seen: str) -> None:
    """Guard: `shown`."""
    assert shown(line) == seen


def test_what_a_terminal_obeys_is_left_out_of_its_output() -> None:
    line = "\x1b]0;title\x07\x1b[?2004h\x1b[31m$ \x1b[0mls\x1b(B\r"
    assert shown(line, terminal=True) == "$ ls"


@given(st.text(max_size=30), st.integers(0, 90))
def test_a_cut_leaves_whole_characters(text: str, cut: int) -> None:
    data = text.encode("utf-8", "surrogatepass")
    if data.decode("utf-8", "replace") != text:
        return
    whole_characters(data[:cut], head=True).decode()
    whole_characters(data[cut:], head=False).decode()


@given(
    st.lists(st.binary(max_size=40), max_size=20),
    st.integers(2, 60),
    st.integers(0, 40),
    st.integers(1, 20),
)
def test_head_and_tail_are_the_ends_of_the_stream(
    chunks: list[bytes], limit: int, head: int, piece: int
) -> None:
    """Also when the middle is not kept. Guard: `Sink._turn_over` and `Pieces.read`."""
    chunks = [bytes(32 + byte % 64 for byte in chunk) for chunk in chunks]
    stream = b"".join(chunks)
    limit = min(limit, 2 * head, 4 * piece) if len(stream) > head + piece * 3 else limit
    with tempfile.TemporaryDirectory() as folder:
        sink = Sink(head, piece, 3)
        sink.path = f"{folder}/out"
        for chunk in chunks:
            sink.write(chunk)
        sink.close()
        pieces = Pieces(Path(sink.path))
        assert pieces.size() == len(stream)
        kept = excerpt(pieces, len(stream), limit)
        gap = pieces.gap()
        assert pieces.read(0, gap[0]) == stream[: gap[0]]
        assert pieces.read(gap[1], len(stream)) == stream[gap[1] :]
    assert kept.size == len(stream)
    assert kept.truncated == (len(stream) > limit)
    if not kept.truncated:
        assert kept.text == stream.decode()
    else:
        assert kept.text.startswith(stream[: limit - limit // 2].decode())
        assert kept.text.endswith(stream[len(stream) - limit // 2 :].decode())
        assert f"[... {len(stream) - limit} bytes left out ...]" in kept.text


async def test_both_streams_are_told_apart_and_in_the_order_in_which_they_came(door: Door) -> None:
    """Guard: `Turns.take`."""
    command = "echo 1; echo 2; cat < gate; echo 3 >&2; cat < gate; echo 4; echo 5"
    job = await door.call("start_job", command=command)
    for size in (4, 6):
        await until(lambda size=size: _come(door, job.job_id) == size)
        release(door.root / "gate")
    await until(lambda: _come(door, job.job_id) == 10)
    page = await door.call("read_job", job_id=job.job_id)
    assert page.output == "1\n2\n3\n4\n5\n"
    assert (page.cursor, page.rest, page.missing) == (10, 0, 0)


def _come(door: Door, job: str) -> int:
    names = ("stdout", "stderr")
    return sum(Pieces(door.jobs / job / name).size() for name in names)


async def test_the_text_shows_both_streams_in_order(door: Door) -> None:
    """Guard: `runs`."""
    record = "until [ -s $J/stdout ]; do :; done"
    result = await door.run(
        command=f"J=$(echo {door.jobs}/*/); echo out; {record}; echo an error >&2;"
        " until [ -s $J/stderr ]; do :; done; echo more"
    )
    assert (result.stdout, result.stderr, result.order) == ("out\nmore\n", "an error\n", [1, 1, 1])
    told = "--- stdout\nout\n--- stderr\nan error\n--- stdout\nmore"
    assert result.as_text().endswith(told)


async def test_what_is_no_utf_8_is_replaced_and_counted(door: Door) -> None:
    """Guard: `invalid`."""
    result = await door.run(command=r"printf 'a\377b\357\277\275\303'")
    assert (result.stdout, result.replaced) == ("a\ufffdb\ufffd\ufffd", 2)
    assert "2 times no UTF-8" in result.as_text()


async def test_all_of_a_long_output_can_be_read_page_by_page(door: Door) -> None:
    """Guard: `page`."""
    result = await door.run(command="seq 100000 | tee /dev/stderr", max_output=256)
    assert result.truncated
    read, cursor, pages = "", 0, 0
    while True:
        page = await door.call("read_job", job_id=result.job_id, cursor=cursor, max_output=300_000)
        read, cursor, pages = read + page.output, page.cursor, pages + 1
        if not page.rest:
            break
        assert page.output.endswith("\n")
    assert (len(read), pages) == (2 * 588895, 4)
    last = await door.call("read_job", job_id=result.job_id, cursor=-7)
    assert last.output == "100000\n"


async def test_output_beyond_the_quota_says_what_is_gone(door: Door) -> None:
    """Guard: the gap in `output.page`."""
    command = "echo head; head -c 90000000 /dev/zero | tr '\\0' x; echo; echo tail"
    result = await door.run(command=command, max_output=1024)
    assert result.stdout_bytes == 90_000_011
    head = 32 * 1024 * 1024
    page = await door.call("read_job", job_id=result.job_id, cursor=head - 500, max_output=1000)
    assert page.output == "x" * 1000
    assert page.missing > 10_000_000
    assert page.cursor == head + 500 + page.missing
    rest = await door.call("read_job", job_id=result.job_id, cursor=page.cursor, max_output=256)
    assert (rest.missing, rest.rest) == (0, 90_000_011 - page.cursor - 256)


async def test_names_that_load_code_are_refused_and_others_are_not(door: Door) -> None:
    """Guard: `refuse_code`."""
    loads = ("LD_PRELOAD", "DYLD_INSERT_LIBRARIES", "BASH_ENV", "PYTHONSTARTUP", "GIT_SSH_COMMAND")
    for name in (*loads, "NODE_OPTIONS", "PERL5OPT", "BASH_FUNC_ls%%", "ld_audit"):
        with pytest.raises(ToolError, match=name) as caught:
            await door.run(command="true", env={name: "x"})
        assert caught.value.code is Code.PERMISSION_DENIED
    harmless = {"DEBUG": "1", "PAGER": "cat", "PYTHONUNBUFFERED": "1", "GIT_AUTHOR_NAME": "n"}
    result = await door.run(command="env", env=harmless)
    assert {f"{name}={value}" for name, value in harmless.items()} <= set(result.stdout.split())


@pytest.mark.parametrize(
    ("command", "seen"),
    [
        ("curl https://me:hunter2@host/x", "curl https://me:[redacted]@host/x"),
        ("API_TOKEN=abc make  it", "API_TOKEN=[redacted] make it"),
        ("psql --password 'abc' -l", "psql --password '[redacted]' -l"),
        (["curl", "-H", "Authorization: Bearer abc"], "curl -H Authorization: Bearer [redacted]"),
        ("echo ghp_0123456789abcdefghij0123", "echo [redacted]"),
        ("tokens=3 count passes", "tokens=[redacted] count passes"),
        ("x" * 400, "x" * 297 + "..."),
    ],
)
def test_a_listed_command_shows_no_known_secret(command: str | list[str], seen: str) -> None:
    assert without_secrets(command) == seen


@given(
    st.lists(st.tuples(st.integers(0, 1), st.integers(1, 9)), max_size=200),
    st.integers(1, 50),
    st.booleans(),
)
def test_however_often_the_streams_change_each_byte_is_read_once(
    turns: list[tuple[int, int]], limit: int, short: bool
) -> None:
    """Guard: `order._between`: where the middle of the list of turns is gone."""
    sent = [bytearray(), bytearray()]
    with tempfile.TemporaryDirectory() as folder:
        head = TURN.size if short else 1 << 20
        listed = Turns(head, head)
        listed.set_path(f"{folder}/turns")
        for whose, size in turns:
            listed.take(whose, len(sent[whose]), size)
            letters = (b"abcdefgh\n", b"ABCDEFGH\n")[whose]
            sent[whose] += bytes(letters[(len(sent[whose]) + n) % 9] for n in range(size))
        listed.close()
        for name, data in zip(("stdout", "stderr"), sent, strict=True):
            Path(folder, name).write_bytes(data)
        record = Record(Path(folder))
        read, cursor = "", 0
        while cursor < len(sent[0]) + len(sent[1]):
            found = page(record, cursor, limit, None)
            assert found.cursor > cursor
            assert found.missing == 0
            read, cursor = read + found.text, found.cursor
        for data, mine in zip(sent, ("abcdefgh", "ABCDEFGH"), strict=True):
            got = "".join(each for each in read if each in mine)
            assert got == data.decode().replace("\n", "")
        assert read.count("\n") == sum(data.count(b"\n") for data in sent)
        ends = [list(range(0, len(data), 3)) for data in sent]
        order = Order(record)
        places = [order.places(whose, each) for whose, each in enumerate(ends)]
        assert all(each == sorted(each) for each in places)
        assert not set(places[0]) & set(places[1])
