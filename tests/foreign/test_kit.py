"""The locks of the kit of foreign programs pin everything, and name no address to get it from."""

import json
import re
from pathlib import Path

import pytest
from tests.foreign import kit

HERE = Path(__file__).parent


@pytest.mark.parametrize("folder", [HERE, HERE / "claude-code"])
def test_the_npm_lock_has_a_hash_of_every_package_and_no_address(folder: Path) -> None:
    asked: dict[str, str] = json.loads((folder / "package.json").read_text())["dependencies"]
    lock = json.loads((folder / "package-lock.json").read_text())["packages"]
    assert lock.pop("")["dependencies"] == asked
    assert all(re.fullmatch(r"\d+\.\d+\.\d+(-[\w.]+)?", version) for version in asked.values())
    for name, package in lock.items():
        assert package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name


def test_the_python_lock_has_a_hash_of_every_package_and_no_address() -> None:
    lock = (HERE / "requirements.txt").read_text()
    pinned = re.findall(
        r"^[\w.-]+==[^ ;]+.*\\\n(?: +--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", lock, re.M
    )
    assert "".join(pinned) == lock
    for line in (HERE / "requirements.in").read_text().splitlines():
        assert line.startswith("#") or f"{line} \\\n" in lock


def test_a_missing_program_is_a_failure_in_ci_and_left_out_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Guard: `kit.need`."""
    nowhere = kit.FOREIGN / "nowhere"
    monkeypatch.delenv("SUREFOOT_CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="make foreign"):
        kit.need(nowhere)
    monkeypatch.setenv("SUREFOOT_CI", "1")
    with pytest.raises(pytest.fail.Exception, match="make foreign"):
        kit.need(nowhere)
    with pytest.raises(pytest.skip.Exception):
        kit.need(nowhere, optional=True)
