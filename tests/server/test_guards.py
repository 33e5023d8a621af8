"""What no tool may touch, and what a server refuses to be started with."""

from dataclasses import replace

import pytest
from tests.support.place import Place, error

from surefoot_server.app import App

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("name", ["app.db", "app.db-wal", "./sub/../app.db", "alias.db"])
async def test_the_files_of_a_database_are_not_written_by_the_file_tools(
    place: Place, name: str
) -> None:
    """Guard: `refuse_reserved`."""
    (place.workspace / "sub").mkdir()
    (place.workspace / "alias.db").symlink_to("app.db")
    async with place.client() as client:
        written = await client.call_tool("write_file", {"path": name, "content": "boom"})
    assert error(written)["code"] == "PERMISSION_DENIED"
    assert "execute_sql" in error(written)["hint"]
    assert place.rows("SELECT n FROM counter") == [(0,)]


@pytest.mark.parametrize("inside", ["state", "journal"])
def test_a_journal_inside_a_root_is_refused(place: Place, inside: str) -> None:
    """Guard: the first check of `app.tools`."""
    where = place.workspace / "here"
    config = (
        replace(place.config, state=where)
        if inside == "state"
        else replace(place.config, journal=where / "journal.db")
    )
    with pytest.raises(ValueError, match="inside the root"):
        App(config)


async def test_a_read_only_server_offers_only_tools_that_read(place: Place) -> None:
    async with place.client(read_only=True) as client:
        tools = (await client.list_tools()).tools
    assert tools
    for tool in tools:
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint is True


async def test_annotations_are_true_to_the_effects(place: Place) -> None:
    async with place.client() as client:
        tools = {tool.name: tool.annotations for tool in (await client.list_tools()).tools}
    reading = {name for name, hints in tools.items() if hints and hints.read_only_hint}
    assert reading == {
        "describe_database",
        "failure_report",
        "file_info",
        "list_directory",
        "list_jobs",
        "query_database",
        "read_file",
        "read_job",
        "search_files",
    }
    for name in tools.keys() - reading:
        hints = tools[name]
        assert hints is not None
        # To stop twice is to stop once, even without a key.
        expected = (name == "stop_job", True)
        assert (hints.idempotent_hint, hints.destructive_hint) == expected, name
    assert {name for name, hints in tools.items() if hints and hints.open_world_hint} == {
        "run_command",
        "start_job",
        "write_job",
    }
