"""The command `surefoot`, called in this process through its own front door."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

from surefoot_cli.main import main

T = TypeVar("T")


def apart(step: Callable[[], T]) -> T:
    """What a step gives that has an event loop of its own, also when called inside of one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(step).result()


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, parsed."""
        return json.loads(self.out)


def surefoot(*words: object, home: Path, environment: Mapping[str, str] | None = None) -> Done:
    """Run `surefoot WORDS` with a state directory."""
    out, err = StringIO(), StringIO()
    variables = {"SUREFOOT_HOME": str(home), **(environment or {})}
    with (
        patch.object(sys, "argv", ["surefoot", *(str(word) for word in words)]),
        patch.dict(os.environ, variables),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        code = apart(_main)
    return Done(code, out.getvalue(), err.getvalue())


def _main() -> int:
    try:
        main()
    except SystemExit as e:
        return e.code if isinstance(e.code, int) else 0
    return 0
