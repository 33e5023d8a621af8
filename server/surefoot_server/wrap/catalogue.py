"""What the proxy knows of the server's tools: their effects, and which arguments HTTP mirrors.

Effects come from the configuration, else from the tool's own `_meta`, else from its annotations:
hints of a server that nobody has vouched for. A tool without hints may act at most once.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import mcp_types as types
from mcp.shared.inbound import find_invalid_x_mcp_header, mcp_param_headers, x_mcp_header_map
from pydantic import ValidationError

from surefoot_server import log
from surefoot_server.foreign import ForeignTool, repeat_is_ours
from surefoot_server.wrap.eras import part
from surefoot_tools.registry import Registry
from surefoot_tools.tool import Effect

_log = log.get("wrap")


class Catalogue:
    """The tools, as the server has listed them last.

    Args:
        effects: As the one who started the proxy declares them, by name.
    """

    def __init__(self, effects: Mapping[str, Effect]) -> None:
        self._effects = dict(effects)
        self._tools: dict[str, ForeignTool] = {}
        self._mirrored: dict[str, dict[tuple[str, ...], str]] = {}
        self.registry = Registry([])
        """What the executor offers."""
        self.stale = True
        """Whether the list may have changed since."""

    def learn(self, page: Iterable[Mapping[str, Any]], *, whole: bool) -> None:
        """Take a list, or a page of one.

        Args:
            page: Tools as they are on the wire.
            whole: Whether there are no others.
        """
        if whole:
            self._tools, self._mirrored, self.stale = {}, {}, False
        for raw in page:
            name = raw.get("name")
            if isinstance(name, str):
                self._tools[name] = self._tool(name, raw)
                schema = raw.get("inputSchema")
                if find_invalid_x_mcp_header(schema) is None:
                    self._mirrored[name] = x_mcp_header_map(schema)
        self.registry.renew(self._tools.values())
        unknown = sorted(self._effects.keys() - self._tools.keys())
        if whole and unknown:
            _log.warning("an effect is declared of a tool that is not there", tools=unknown)

    def assume(self, name: str) -> None:
        """Take a tool for one that may act at most once: the server cannot be asked for its list.

        What became of an earlier call of it can be told all the same.
        """
        effect = self._effects.get(name, Effect.AT_MOST_ONCE)
        # `repeat` may be an argument of its own.
        self._tools.setdefault(name, ForeignTool(name, effect, repeat_argument=False))
        self.registry.renew(self._tools.values())

    def mirrored(self, params: Mapping[str, Any]) -> Mapping[str, str]:
        """The headers that repeat arguments of a `tools/call`, of its parameters."""
        found = self._mirrored.get(str(params.get("name")))
        return {} if not found else mcp_param_headers(found, part(params, "arguments"))

    def effect(self, name: str) -> Effect:
        """What a tool does to the world, as far as is known."""
        tool = self._tools.get(name)
        return Effect.AT_MOST_ONCE if tool is None else tool.effect

    def _tool(self, name: str, raw: Mapping[str, Any]) -> ForeignTool:
        declared = self._effects.get(name)
        try:
            return ForeignTool.of(types.Tool.model_validate(raw, by_name=False), declared)
        except (ValidationError, ValueError) as e:
            _log.warning("no effect can be read of a tool", tool=name, reason=type(e).__name__)
            ours = repeat_is_ours(raw.get("inputSchema"))
            return ForeignTool(name, declared or Effect.AT_MOST_ONCE, repeat_argument=ours)
