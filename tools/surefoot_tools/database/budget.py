"""How much the rows of one call may take."""

from surefoot_tools.database.engine import RESULT_BYTES
from surefoot_tools.database.values import Json, json_bytes


class Budget:
    """Bytes of JSON that the rows of one call may still take."""

    def __init__(self, size: int = RESULT_BYTES) -> None:
        self._left = size

    def take(self, row: list[Json]) -> bool:
        """Whether the row fits; after one that does not, none does."""
        self._left -= json_bytes(row)
        return self._left >= 0
