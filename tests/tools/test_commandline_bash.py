"""The rules against bash itself: what it runs of random text, they must have seen."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from surefoot_tools.commandline.rules import Action, Rule, Rules

RULES = Rules([Rule(Action.DENY, ("zz", "-y*"))])
PIECES = (
    *(
        "zz",
        "zz ",
        "zz -y",
        "zz -y",
        " -y",
        "-y",
        "a",
        " ",
        " ",
        "\n",
        "\t",
        ";",
        "&&",
        "|",
        "&",
        "!",
    ),
    *("'", '"', "\\", "\\\n", "$", "(", ")", "`", "$(", "${", "{ ", "; }", "#", "=", "x=", "x=1 "),
    *(
        ">",
        "> a ",
        "2>&1",
        "&>",
        "< /dev/null ",
        "<<<",
        "<<E\n",
        "\nE\n",
        "<<-E ",
        "'E'",
        "<(",
        ">|",
    ),
    *(
        "if ",
        "then ",
        "; fi",
        "for x in a; do ",
        "; done",
        "case a in a) ",
        " ;; esac",
        "[[ ",
        "]]",
    ),
    *("eval ", "env ", "sh -c ", "time ", "xargs ", "command ", "exec ", "timeout 1 ", "trap "),
    *("EXIT", "-c ", "-- ", "*", "?", "~/", "$'", "{zz,-y}", "$x", '"$@"', "set -- ", "coproc "),
)
"""Of which the text is made."""
TRIES = 30_000
"""Of them one in twenty is allowed, and run: some 10 s."""


@pytest.mark.slow
def test_bash_runs_no_denied_program_that_the_rules_did_not_see(tmp_path: Path) -> None:
    """Guard: `_Walk.walk` and `_Walk._behind_redirects`."""
    programs, mark = tmp_path / "bin", tmp_path / "mark"
    programs.mkdir()
    (tmp_path / "cwd").mkdir()
    zz = programs / "zz"
    zz.write_text(f'#!/bin/sh\nfor i; do case "$i" in -y*) : > {mark};; esac; done\n')
    zz.chmod(0o755)
    for name in ("env", "sh", "xargs", "timeout", "bash"):
        (programs / name).symlink_to(Path("/usr/bin") / name)
    random = Random(7)
    ran = 0
    for _ in range(TRIES):
        line = "".join(random.choice(PIECES) for _ in range(random.randint(2, 9)))
        if "zz" not in line or RULES.judge(line).action is not Action.ALLOW:
            continue
        process = subprocess.Popen(
            ["/bin/bash", "-c", line],
            env={"PATH": str(programs), "HOME": str(tmp_path)},
            cwd=tmp_path / "cwd",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
        with suppress(subprocess.TimeoutExpired):
            process.wait(1)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        process.wait()
        assert not mark.exists(), line
        ran += 1
    assert ran > 100
