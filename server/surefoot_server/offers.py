"""The tools as each principal may use them: confined to its own roots."""

from pathlib import Path

from surefoot_server.access import Access
from surefoot_tools.registry import Registry

MOST = 256
"""Sets of roots whose tools are kept at hand."""


class Offers:
    """What a server offers to whom.

    Args:
        registry: Its tools, over all of its roots.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._narrowed: dict[tuple[Path, ...], Registry] = {}

    def to(self, access: Access) -> Registry:
        """The tools for one principal; which of them it may call, `Access.refusal` says.

        Raises:
            ValueError: a root of its own lies outside of this server's.
        """
        if access.roots is None:
            return self._registry
        found = self._narrowed.get(access.roots)
        if found is None:
            if len(self._narrowed) >= MOST:
                self._narrowed.clear()
            confined = (tool.within(access.roots) for tool in self._registry)
            found = self._narrowed[access.roots] = Registry(confined)
        return found
