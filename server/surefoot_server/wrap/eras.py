"""The two eras of MCP, and how to say in one what was said in the other.

Until 2025-11-25 a connection begins with `initialize`; from 2026-07-28 on each request brings an
envelope in its `_meta`, and results say of what type they are and how long they may be kept. Where
both sides speak the same era nothing here is used: messages pass as they are.
"""

from collections.abc import Mapping
from typing import Any, cast

import mcp_types as types
from mcp_types.methods import CACHEABLE_METHODS
from mcp_types.version import LATEST_MODERN_VERSION, MODERN_PROTOCOL_VERSIONS

Message = Mapping[str, Any]
"""Parameters or a result, as they are on the wire."""
INPUT_REQUIRED = "input_required"
_ENVELOPE = frozenset(
    {
        types.PROTOCOL_VERSION_META_KEY,
        types.CLIENT_INFO_META_KEY,
        types.CLIENT_CAPABILITIES_META_KEY,
        types.LOG_LEVEL_META_KEY,
    }
)
_CALLS_BACK = frozenset({"sampling", "elicitation", "roots", "tasks"})
"""Capabilities by which a server calls its client, which it cannot do from 2026-07-28 on."""
_NEWS = frozenset({"listChanged", "subscribe"})
_MODERN_FIELDS = frozenset({"resultType", "ttlMs", "cacheScope"})


def is_modern(version: str) -> bool:
    """Whether a version is of the era without a handshake."""
    return version in MODERN_PROTOCOL_VERSIONS


def part(message: Message | None, name: str) -> Mapping[str, Any]:
    """An object in a message; an empty one where it is none."""
    found = (message or {}).get(name)
    return cast("Mapping[str, Any]", found) if isinstance(found, Mapping) else {}


def envelope_of(params: Message | None) -> dict[str, Any]:
    """The envelope of a request."""
    return {name: value for name, value in part(params, "_meta").items() if name in _ENVELOPE}


def envelope_for(hello: Message) -> dict[str, Any]:
    """The envelope that says what an `initialize` said."""
    return {
        types.PROTOCOL_VERSION_META_KEY: LATEST_MODERN_VERSION,
        types.CLIENT_INFO_META_KEY: hello.get("clientInfo"),
        types.CLIENT_CAPABILITIES_META_KEY: part(hello, "capabilities"),
    }


def hello_for(envelope: Message, version: str) -> dict[str, Any]:
    """The parameters of an `initialize` that says what an envelope said."""
    capabilities = part(envelope, types.CLIENT_CAPABILITIES_META_KEY)
    info = envelope.get(types.CLIENT_INFO_META_KEY) or {"name": "surefoot wrap", "version": ""}
    kept = {name: each for name, each in capabilities.items() if name not in _CALLS_BACK}
    return {"protocolVersion": version, "capabilities": kept, "clientInfo": info}


def with_envelope(params: Message | None, envelope: Message) -> dict[str, Any]:
    """A request with an envelope, if it has none."""
    about = {**envelope, **part(params, "_meta")}
    return {**(params or {}), "_meta": about}


def without_envelope(params: Message | None) -> dict[str, Any] | None:
    """A request without its envelope."""
    if params is None or "_meta" not in params:
        return None if params is None else dict(params)
    kept = {name: each for name, each in part(params, "_meta").items() if name not in _ENVELOPE}
    others = {name: each for name, each in params.items() if name != "_meta"}
    return {**others, "_meta": kept} if kept else others or None


def newer(method: str, result: Message) -> dict[str, Any]:
    """A result of the era of handshakes, for a client of the later one."""
    fields: dict[str, Any] = {"resultType": "complete"}
    if method in CACHEABLE_METHODS:
        fields |= {"ttlMs": 0, "cacheScope": "private"}
    return {**fields, **result}


def older(result: Message) -> dict[str, Any]:
    """A result of the later era, for a client of the era of handshakes."""
    return {name: each for name, each in result.items() if name not in _MODERN_FIELDS}


def discovery(greeting: Message) -> dict[str, Any]:
    """The result of `server/discover` that says what that of `initialize` said."""
    found: dict[str, Any] = {
        "supportedVersions": list(MODERN_PROTOCOL_VERSIONS),
        "capabilities": {
            name: each
            for name, each in part(greeting, "capabilities").items()
            if name not in ("logging", "tasks")  # neither exists there as it did
        },
    }
    if "instructions" in greeting:
        found["instructions"] = greeting["instructions"]
    about = {**part(greeting, "_meta"), types.SERVER_INFO_META_KEY: greeting["serverInfo"]}
    return newer("server/discover", {**found, "_meta": about})


def greeting(found: Message, version: str) -> dict[str, Any]:
    """The result of `initialize` that says what that of `server/discover` said."""
    about = dict(part(found, "_meta"))
    info = about.pop(types.SERVER_INFO_META_KEY, {"name": "server", "version": ""})
    capabilities: dict[str, Any] = {}
    offered = part(found, "capabilities")
    for name in offered.keys() - {"extensions"}:
        # News of changes come there by `subscriptions/listen` alone.
        kept = {key: each for key, each in part(offered, name).items() if key not in _NEWS}
        capabilities[name] = kept
    said: dict[str, Any] = {
        "protocolVersion": version,
        "capabilities": capabilities,
        "serverInfo": info,
    }
    if "instructions" in found:
        said["instructions"] = found["instructions"]
    return {**said, "_meta": about} if about else said
