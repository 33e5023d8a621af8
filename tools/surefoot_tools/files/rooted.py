"""What tools that work inside of roots share."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from surefoot_tools.files.roots import Roots


class Rooted:
    """A tool that works inside of roots: beside `Tool` among the bases."""

    _roots: Roots

    def within(self, roots: Sequence[Path]) -> Self:
        """See `Tool.within`."""
        confined = copy.copy(self)
        confined._roots = self._roots.narrowed(roots)
        return confined
