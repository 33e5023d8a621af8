"""The driver's log: whole lines or nothing, and what was written is what is read."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot_client.record import Record, RecordError, RunStarted, Sent, TrialStarted, read
from surefoot_client.record_log import RecordLog

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def sent(number: int, arguments: dict[str, Any] | None = None) -> Sent:
    return Sent(trial="t", key=f"r:t:1:{number}", attempt=1, tool="echo", arguments=arguments or {})


@given(st.dictionaries(st.text(), JSON))
def test_arguments_come_back_as_they_were_sent(arguments: dict[str, Any]) -> None:
    """Reconcile takes the digest of the logged arguments: a lost null would show as altered."""
    record = sent(0, arguments)
    assert Sent.model_validate_json(record.model_dump_json()) == record


def test_records_are_appended_each_on_a_line_of_its_own(tmp_path: Path) -> None:
    path, seen = tmp_path / "records.jsonl", list[Record]()
    with RecordLog(path, seen.append) as log:
        log.write(sent(0, {"a": "two\nlines"}))
    with RecordLog(path, seen.append) as log:
        log.write(sent(1))
    assert list(read(path)) == seen
    lines = path.read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["send", "send"]


@pytest.mark.parametrize("torn", [b'{"v":1,"kind":"se', b"x", b'{"v":1}'])
def test_a_torn_last_line_is_left_out_and_cut_off_by_the_next_writer(
    tmp_path: Path, torn: bytes
) -> None:
    """Guard: `record._cut_torn_line`."""
    path = tmp_path / "records.jsonl"
    with RecordLog(path) as log:
        log.write(sent(0))
    with path.open("ab") as file:
        file.write(torn)
    assert [record.kind for record in read(path)] == ["send"]
    with RecordLog(path) as log:
        log.write(sent(1))
    assert [record.key for record in read(path) if isinstance(record, Sent)] == [
        "r:t:1:0",
        "r:t:1:1",
    ]


def test_a_log_that_is_one_torn_line_longer_than_a_block_becomes_empty(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(b"x" * 200_000)
    RecordLog(path).close()
    assert path.read_bytes() == b""


def test_records_from_before_there_were_drivers_are_read(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(
        '{"v":1,"at":"2026-11-01T00:00:00.000Z","t":1.0,"trial":"s.m.r0.0","kind":"trial_started",'
        '"sequence":"s","model":"m","simulated":true,"repeat":0,"rerun":0,"turns":1}\n'
        '{"v":1,"at":"2026-11-01T00:00:00.000Z","t":2.0,"trial":"s.m.r0.0","kind":"send",'
        '"key":"r:s.m.r0.0:1:0","attempt":1,"tool":"t","arguments":{},"fault":null,'
        '"fault_rule":null}\n'
    )
    started, sent = read(path)
    assert isinstance(started, TrialStarted)
    assert (started.v, started.drivers, started.transport) == (1, 1, "stdio")
    assert isinstance(sent, Sent)
    assert (sent.driver, sent.scope) == (None, "s.m.r0.0")


def test_a_whole_line_that_is_no_record_is_named(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    with RecordLog(path) as log:
        log.write(sent(0))
    with path.open("a") as file:
        file.write('{"v":3,"kind":"send"}\n')
    said = r"records.jsonl:2: not a record of version 1 or 2: send\.v"
    with pytest.raises(RecordError, match=said):
        list(read(path))


def test_a_line_that_is_no_json_is_named_without_a_stray_colon(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text("not json\n")
    with pytest.raises(RecordError, match=r":1: not a record of version 1 or 2: Invalid JSON"):
        list(read(path))


def test_a_line_that_does_not_fit_on_the_disk_is_an_error() -> None:
    log = RecordLog(Path("/dev/full")) if os.path.exists("/dev/full") else None
    if log is None:
        pytest.skip("no /dev/full here")
    started = RunStarted(run="r", suite="s", suite_hash="h", trials=1)
    with pytest.raises(OSError, match="No space left"):
        log.write(started)
