"""A file system in an image file, and the look at it after a simulated power cut.

What an image file holds is what reached the device: a file system mounted from it keeps the rest in
memory. So a copy of the image, taken without `sync` after the writer was killed, is what a power
cut would have left, and is mounted elsewhere. ext4 writes by itself only every ten minutes here:
what is in the image was flushed, or was written along with it.
"""

import shutil
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

SIZE = 48 * 1024 * 1024
"""Bytes of the image; most of it is a hole."""
OPTIONS = "loop,commit=600,noatime"


def run(*command: str) -> str:
    """Why a command failed; empty if it did not."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError as e:
        return str(e)
    return "" if done.returncode == 0 else f"{command[0]}: {done.stderr.strip() or done.stdout}"


@dataclass(frozen=True)
class LoopImage:
    """An image file and where it is mounted."""

    image: Path
    at: Path

    def sync(self) -> None:
        """Have all of it on the device."""
        assert not (failed := run("sync", "-f", str(self.at))), failed

    @contextmanager
    def after_a_cut(self) -> Generator[Path]:
        """The file system as a power cut now would have left it, mounted elsewhere."""
        copy, at = self.image.with_name("cut.image"), self.at.with_name("cut")
        at.mkdir(exist_ok=True)
        # `cp` keeps the holes.
        assert not (failed := run("cp", "--sparse=always", str(self.image), str(copy))), failed
        assert not (failed := run("mount", "-o", OPTIONS, str(copy), str(at))), failed
        try:
            yield at
        finally:
            run("umount", str(at))
            copy.unlink()


@contextmanager
def a_loop_image(folder: Path) -> Generator[LoopImage]:
    """A fresh ext4 in an image file; skips, and says why, where that cannot be."""
    image, at = folder / "disk.image", folder / "disk"
    at.mkdir()
    with image.open("wb") as file:
        file.truncate(SIZE)
    make = shutil.which("mkfs.ext4") or "/usr/sbin/mkfs.ext4"
    why = run(make, "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image))
    why = why or run("mount", "-o", OPTIONS, str(image), str(at))
    if why:
        pytest.skip(f"cannot simulate a power cut (needs root, ext4 and a loop device): {why}")
    try:
        yield LoopImage(image, at)
    finally:
        run("umount", "-l", str(at))
