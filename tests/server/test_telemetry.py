"""Spans: joined to the client's trace, without what the caller wrote, and never in the way."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.support.place import Place
from tests.support.web import web_process

from surefoot_server import spans, telemetry


@contextmanager
def collector() -> Generator[tuple[str, list[bytes]]]:
    """An OTLP/HTTP collector: its URL, and the bodies that it was sent."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", bodies
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def traced(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `tests.support.traced` with spans as the environment asks."""
    root = Path(__file__).parents[2]
    own = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-m", "tests.support.traced", str(folder)],
        env=own | environment,
        cwd=root,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


@pytest.mark.slow
def test_the_servers_span_joins_the_clients_trace_and_tells_no_contents(tmp_path: Path) -> None:
    """Guard: `Telemetry.__call__`."""
    with collector() as (url, bodies):
        ran = traced(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=url)
    known = json.loads(ran.stdout)
    assert ran.stderr == ""
    found: list[Any] = []
    services: set[str] = set()
    for body in bodies:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            services |= {
                each.value.string_value
                for each in resource.resource.attributes
                if each.key == "service.name"
            }
            found += [span for scope in resource.scope_spans for span in scope.spans]
        assert b"hidden" not in body
    assert services == {"surefoot"}
    served = [span for span in found if span.kind == span.SPAN_KIND_SERVER]
    calls = {span.name: span for span in served if span.name.startswith("tools/call")}
    write, read = calls["tools/call write_file"], calls["tools/call read_file"]
    assert {write.trace_id.hex(), read.trace_id.hex()} == {known["trace"]}
    edit = calls["tools/call edit_file"]  # its `_meta` names a trace, and nothing else does
    assert edit.trace_id.hex() == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert edit.parent_span_id.hex() == "00f067aa0ba902b7"
    about = {each.key: each.value for each in edit.attributes}
    assert about["surefoot.call_id"].string_value == known["call"]
    assert about["surefoot.disposition"].string_value == "ran"
    assert about["surefoot.attempt"].int_value == 1
    failed = {each.key: each.value.string_value for each in read.attributes}
    assert (failed["error.type"], failed["surefoot.applied"]) == ("NOT_FOUND", "no")
    assert (read.status.code, read.status.message) == (read.status.STATUS_CODE_ERROR, "")
    attempts = [span for span in found if span.name == "attempt"]
    assert {span.parent_span_id for span in attempts} == {each.span_id for each in calls.values()}


@pytest.mark.slow
@pytest.mark.anyio
async def test_over_http_the_trace_of_the_headers_is_joined(place: Place) -> None:
    """Guard: `telemetry._ambient`."""
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    with collector() as (url, bodies):
        async with (
            web_process(place, environment={"OTEL_EXPORTER_OTLP_ENDPOINT": url}) as web,
            web.line({"traceparent": parent}) as line,
        ):
            assert web.process is not None
            assert (await line.call("list_directory", path=".")).status == 200
            web.process.terminate()
            assert await web.process.wait() == 0
    (span,) = [
        span
        for body in bodies
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
        if span.name == "tools/call list_directory"
    ]
    assert span.parent_span_id.hex() == "00f067aa0ba902b7"


@pytest.mark.slow
def test_a_collector_that_is_away_is_said_once_and_stops_nothing(tmp_path: Path) -> None:
    """Guard: `telemetry._quieten` and `Telemetry.close`."""
    ran = traced(
        tmp_path,
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9",
        OTEL_BSP_SCHEDULE_DELAY="10",
    )
    assert json.loads(ran.stdout)["call"]
    lines = [json.loads(line) for line in ran.stderr.splitlines()]
    assert [line["event"] for line in lines] in ([], ["spans do not arrive"])


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
        {"OTEL_TRACES_EXPORTER": "console"},
        {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ],
)
def test_without_a_destination_that_we_speak_to_there_are_no_spans(
    environment: dict[str, str],
) -> None:
    assert telemetry.setup(environment) is None
    with spans.attempt("read_file", "c" * 32, 1) as tell:
        tell(None)
