"""Attacks on the file tools, one a line of `attacks.jsonl`, and what happens with a guard off."""

import json
import os
import signal
import subprocess
import unicodedata
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from pydantic import ValidationError
from tests.tools.files_door import Door, open_door, ripgrep

from surefoot_tools.errors import Code, ToolError
from surefoot_tools.files import roots, special
from surefoot_tools.files.beneath import has_openat2
from surefoot_tools.files.file_info import FileInfoResult

pytestmark = pytest.mark.anyio

CANARY = "CANARY-7f3a"
SWAP = """
import ctypes, sys, os, time
libc = ctypes.CDLL(None)
one, two, until = *map(os.fsencode, sys.argv[1:3]), time.monotonic() + float(sys.argv[3])
print("on", flush=True)
while time.monotonic() < until:
    libc.renameat2(-100, one, -100, two, 2)
"""
"""Swaps two names as fast as it can (RENAME_EXCHANGE) for some seconds."""
REPEATS = {"read_file": 2000, "write_file": 200}
"""How often a race is tried here; an unguarded open leaks in 4 to 5 of 100 tries."""


def cases() -> list[Any]:
    lines: list[str] = []
    for name in ("attacks.jsonl", "attacks-moves.jsonl"):
        lines += Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines()
    return [pytest.param(case, id=case["id"]) for case in map(json.loads, lines)]


def filled(value: Any, places: dict[str, str]) -> Any:
    """The value with `{WS}`, `{OUT}` and `{"$repeat": [text, number]}` filled in."""
    match value:
        case str():
            for name, place in places.items():
                value = value.replace(f"{{{name}}}", place)
            return value
        case {"$repeat": [str() as text, int() as number]}:
            return text * number
        case dict():
            return {key: filled(each, places) for key, each in cast(dict[str, Any], value).items()}
        case list():
            return [filled(each, places) for each in cast(list[Any], value)]
        case _:
            return value


def break_up(top: Path) -> None:
    """Put a tree `d/d/d/...` into pieces: as a whole it is too deep for pytest to clean up."""
    if not top.exists():
        return
    root = here = os.open(top, os.O_RDONLY)
    level = 0
    with suppress(FileNotFoundError):
        while True:
            level += 1
            if level % 50 == 0:
                os.rename("d", f"piece{level}", src_dir_fd=here, dst_dir_fd=root)
                below = os.open(f"piece{level}", os.O_RDONLY, dir_fd=root)
            else:
                below = os.open("d", os.O_RDONLY, dir_fd=here)
            if here != root:
                os.close(here)
            here = below
    for each in {root, here}:
        os.close(each)


@contextmanager
def arranged(case: dict[str, Any], tmp: Path) -> Generator[tuple[Path, Path], None, None]:
    """The workspace as the case wants it; what its setup left running ends with the block."""
    ws, out = tmp / "ws", tmp / "out"
    ws.mkdir()
    out.mkdir()
    (out / "secret").write_text(f"{CANARY}\n")
    swap = tmp / "swap.py"
    swap.write_text(SWAP)
    environment = {**os.environ, "WS": str(ws), "OUT": str(out), "SWAP": str(swap)}
    shell = subprocess.Popen(
        ["sh", "-c", case["setup"] or "true"],
        cwd=tmp,
        env=environment,
        stdout=subprocess.PIPE if case["area"] == "race" else subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        if shell.stdout is not None and case["setup"]:
            assert shell.stdout.readline() == b"on\n"
        assert shell.wait() == 0
        yield ws, out
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        if shell.stdout is not None:
            shell.stdout.close()
        break_up(ws / "deep")


async def outcome(door: Door, case: dict[str, Any], ws: Path, out: Path) -> tuple[str, Any]:
    """`result`, `invalid` (does not validate), or the code of the error; and the thing itself."""
    try:
        return "result", await door.call(
            case["tool"], **filled(case["arguments"], {"WS": str(ws), "OUT": str(out)})
        )
    except ToolError as error:
        return error.code, error
    except ValidationError as error:
        return "invalid", error


def is_visible(text: str) -> bool:
    return all(
        character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")
        for character in text
    )


def judge(case: dict[str, Any], kind: str, found: Any) -> None:
    expected = case["expect"]
    refused = isinstance(found, ToolError)
    if case["id"] == "special-028":
        # `mode` is how to write here, and no right: such a value does not validate.
        assert kind == "invalid"
    elif expected == "denied":
        assert kind == Code.PERMISSION_DENIED
    elif expected == "error":
        assert refused
    elif expected in ("ok", "ok-sanitized"):
        assert kind == "result"
        assert is_visible(found.as_text())
    elif expected == "truncated":
        # NULs are no text: read as `auto` such a file is refused with its size, within bounds.
        assert found.truncated if kind == "result" else "is not text" in found.message
    else:
        assert expected == "ok-contained"
        assert kind == "result" or refused
    if refused:
        assert is_visible(found.message)
        assert len(found.message.encode()) < 8192
    if isinstance(found, FileInfoResult):
        assert found.type != "file"
    assert CANARY not in (found.as_text() if kind == "result" else str(found))


@pytest.mark.parametrize("walk", [False, True], ids=["openat2", "walk"])
@pytest.mark.parametrize("case", cases())
async def test_every_attack_comes_out_as_expected(
    case: dict[str, Any], tmp_path: Path, walk: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surefoot_tools.files.search_files.TIME_LIMIT", 1.0)
    with arranged(case, tmp_path) as (ws, out):
        door = open_door(
            ws,
            locks=tmp_path / "locks",
            openat2=not walk and has_openat2(),
            program=None if walk else ripgrep(),
        )
        run = case.get("run", {})
        if "parallel" in run:
            found = await in_parallel(door, run["parallel"])
            assert (ws / "c").read_text() in found
        for _ in range(REPEATS[case["tool"]] if "repeat" in run else 1):
            kind, result = await outcome(door, case, ws, out)
            judge(case, kind, result)
        if case["expect"] == "truncated" and case["tool"] == "read_file":
            arguments = {**case["arguments"], "encoding": "latin-1", "max_bytes": 1000}
            assert (await door.call("read_file", **arguments)).truncated
        outside = {each.name: each.read_text() for each in out.iterdir()}
        allowed = {"secret": f"{CANARY}\n", "f": f"{CANARY}\n"}
        assert outside.items() <= allowed.items()
        if "check" in case:
            environment = {**os.environ, "WS": str(ws), "OUT": str(out)}
            await anyio.run_process(["sh", "-c", case["check"]], env=environment)


async def in_parallel(door: Door, number: int) -> list[str]:
    contents = [chr(ord("A") + index) * 5000 for index in range(number)]
    async with anyio.create_task_group() as tasks:
        for content in contents:

            async def write(content: str = content) -> None:
                await door.call("write_file", path="c", content=content)

            tasks.start_soon(write)
    return [*contents, "A"]


async def test_no_move_and_no_deletion_is_led_outside_by_a_swapped_directory(
    tmp_path: Path,
) -> None:
    """Guard: `Roots.entry`, whose parent is held open; `Entry.take`; `make_parents`."""
    swap = "python3 $SWAP $WS/d $WS/l 20 &"
    setup = f"mkdir -p $WS/d $WS/e; ln -sfn $OUT $WS/l; cp $OUT/secret $OUT/f; {swap}"
    done: set[str] = set()
    with arranged({"setup": setup, "area": "race"}, tmp_path) as (ws, out):
        door = open_door(ws, locks=tmp_path / "locks")
        steps: list[tuple[str, dict[str, Any]]] = [
            ("write_file", {"path": "d/g", "content": "mine"}),
            ("move_path", {"source": "d/g", "destination": "d/n/h"}),
            ("move_path", {"source": "d/f", "destination": "e/stolen", "overwrite": True}),
            ("move_path", {"source": "d/n/h", "destination": "d/f", "overwrite": True}),
            ("delete_path", {"path": "d/f"}),
            ("delete_path", {"path": "d/secret"}),
        ]
        for _ in range(40):
            for tool, arguments in steps:
                kind, _ = await outcome(door, {"tool": tool, "arguments": arguments}, ws, out)
                done |= {tool} if kind == "result" else set()
    # Looked at once nothing is swapped any more.
    outside = {each.name: each.read_text() for each in out.iterdir()}
    assert outside == {"secret": f"{CANARY}\n", "f": f"{CANARY}\n"}
    inside = [each for each in ws.rglob("*") if each.is_file() and not each.is_symlink()]
    kept = [each for each in inside if out not in each.resolve().parents]
    assert all(CANARY not in each.read_text() for each in kept)


async def test_without_the_confinement_of_the_open_a_link_leads_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard is `beneath.open_beneath`."""
    case = {"setup": "ln -sfn $OUT $WS/link", "area": "path"}
    with arranged(case, tmp_path) as (ws, _):
        door = open_door(ws, locks=tmp_path / "locks")

        def unguarded(directory: int, path: str, flags: int, **_: Any) -> int:
            return os.open(path or ".", flags, dir_fd=directory)

        with pytest.raises(ToolError, match="leads out"):
            await door.call("read_file", path="link/secret")
        monkeypatch.setattr(roots, "open_beneath", unguarded)
        assert CANARY in (await door.call("read_file", path="link/secret")).text


async def test_without_the_check_for_special_files_a_pipe_is_read_as_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard is `refuse_special`; opening with O_NONBLOCK keeps even this from hanging."""
    with arranged({"setup": "mkfifo $WS/fifo", "area": "special"}, tmp_path) as (ws, _):
        door = open_door(ws, locks=tmp_path / "locks")
        with pytest.raises(ToolError, match="is a pipe"):
            await door.call("read_file", path="fifo")

        def unguarded(_found: os.stat_result, _path: str) -> None:
            pass

        monkeypatch.setattr(special, "refuse_special", unguarded)
        with pytest.raises(ToolError) as caught:
            await door.call("read_file", path="fifo")
        assert "ESPIPE" in caught.value.message


async def test_without_the_limit_on_hard_links_a_file_from_outside_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guard is `roots.refuse_unreadable`."""
    case = {"setup": "ln -f $OUT/secret $WS/hard", "area": "special"}
    with arranged(case, tmp_path) as (ws, _):
        door = open_door(ws, locks=tmp_path / "locks")
        monkeypatch.setattr(roots, "refuse_unreadable", special.refuse_special)
        assert CANARY in (await door.call("read_file", path="hard")).text


def test_the_walk_and_openat2_agree_on_what_leads_out(tmp_path: Path) -> None:
    """Relative and absolute links, up and down, inside and out."""
    ws = tmp_path / "ws"
    (ws / "a" / "b").mkdir(parents=True)
    (ws / "a" / "f").write_text("x")
    (tmp_path / "f").write_text("outside")
    links = {
        "in": "a/f",
        "up": "a/b/../f",
        "absolute": str(ws / "a" / "f"),
        "out": "../f",
        "absolute_out": str(tmp_path / "f"),
        "round": "../ws/a/f",
    }
    for name, target in links.items():
        (ws / name).symlink_to(target)
    results: list[dict[str, bool]] = []
    for openat2 in {has_openat2(), False}:
        found: dict[str, bool] = {}
        for name in links:
            try:
                os.close(roots.Roots([ws], openat2=openat2).open_file(name))
                found[name] = True
            except ToolError as error:
                assert error.code is Code.PERMISSION_DENIED
                found[name] = False
        results.append(found)
    expected = dict.fromkeys(("in", "up", "absolute"), True)
    expected |= dict.fromkeys(("out", "absolute_out", "round"), False)
    assert all(found == expected for found in results)
