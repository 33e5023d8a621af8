"""The tools that one server offers, by name and in one fixed order."""

from collections.abc import Iterable, Iterator
from typing import Any

from surefoot_tools.tool import Tool

AnyTool = Tool[Any, Any]


class Registry:
    """Tools by name. The order is the alphabet's, so that a list of tools never changes by itself.

    Raises:
        ValueError: two tools share a name.
    """

    def __init__(self, tools: Iterable[AnyTool]) -> None:
        self._tools: dict[str, AnyTool] = {}
        self.renew(tools)

    def renew(self, tools: Iterable[AnyTool]) -> None:
        """Offer these from now on: the tools of a server that is not ours come and go.

        Raises:
            ValueError: two tools share a name.
        """
        named: dict[str, AnyTool] = {}
        for tool in sorted(tools, key=lambda tool: tool.name):
            if tool.name in named:
                raise ValueError(f"two tools are called {tool.name!r}")
            named[tool.name] = tool
        self._tools = named

    def get(self, name: str) -> AnyTool | None:
        """The tool of that name, if it is offered."""
        return self._tools.get(name)

    def names(self) -> list[str]:
        """The names, in order."""
        return list(self._tools)

    def __iter__(self) -> Iterator[AnyTool]:
        return iter(self._tools.values())
