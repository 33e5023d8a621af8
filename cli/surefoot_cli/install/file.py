"""A host's file: read whole, kept as a backup, and replaced in one step."""

import codecs
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from surefoot_cli.install.jsonc import Malformed

PRIVATE, SHARED = 0o600, 0o644
"""The modes of a new file: of the user's own (tokens of other servers join it), of a project's."""


class Changed(Exception):
    """Someone else wrote the file in the meantime."""


@dataclass(frozen=True, slots=True)
class HostFile:
    """A file as it was when it was read; `path` is the end of any links."""

    path: Path
    raw: bytes | None
    """None where there is no file."""

    @property
    def text(self) -> str:
        """What it says, line breaks as they are, without a byte order mark.

        Raises:
            Malformed: it is not UTF-8.
        """
        try:
            return (self.raw or b"").removeprefix(codecs.BOM_UTF8).decode()
        except UnicodeDecodeError as e:
            raise Malformed(f"byte {e.start + 1}: not UTF-8") from e

    def encoded(self, text: str) -> bytes:
        """The bytes of another text of this file; a byte order mark stays."""
        mark = codecs.BOM_UTF8 if (self.raw or b"").startswith(codecs.BOM_UTF8) else b""
        return mark + text.encode()


def read(path: Path) -> HostFile:
    """Read a file, or find that there is none.

    Raises:
        OSError: it cannot be read.
    """
    # A link stays a link: files of this kind often live in a repository of dot files.
    end = path.resolve()
    try:
        return HostFile(end, end.read_bytes())
    except FileNotFoundError:
        return HostFile(end, None)


def replace(file: HostFile, raw: bytes, new_mode: int) -> Path | None:
    """Write a file anew, all or nothing; give the backup of what it was, if it was there.

    A crash at any point leaves the old file or the new one, whole.

    Args:
        file: As it was read.
        raw: What it is to hold.
        new_mode: Its mode if there was no file; an existing file keeps mode and owner.

    Raises:
        Changed: the file is not as it was read; nothing was written.
        OSError: it cannot be written; the file is as it was.
    """
    folder = file.path.parent
    folder.mkdir(parents=True, exist_ok=True)
    like = file.path.stat() if file.raw is not None else None
    handle, name = tempfile.mkstemp(prefix=f".{file.path.name}.", suffix=".tmp", dir=folder)
    temporary = Path(name)
    try:
        _fill(handle, raw, like, new_mode)
        _check_unchanged(file)
        backup = None
        if file.raw is not None:
            backup = _written_beside(file.path, file.raw, like)
        # Claude Code rewrites its file whenever it likes; what it wrote must not be lost.
        _check_unchanged(file, but=backup)
        os.replace(temporary, file.path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(folder)
    return backup


def _check_unchanged(file: HostFile, but: Path | None = None) -> None:
    if read(file.path).raw == file.raw:
        return
    if but is not None:
        but.unlink()
    raise Changed(f"{file.path} was written by someone else just now; nothing changed, try again")


def _written_beside(path: Path, raw: bytes, like: os.stat_result | None) -> Path:
    """A new file beside a path, named by the time, that no earlier one is lost to."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    n = 1
    while True:
        more = f"-{n}" if n > 1 else ""
        backup = path.with_name(f"{path.name}.surefoot-{stamp}{more}.bak")
        try:
            handle = os.open(backup, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
        except FileExistsError:
            n += 1
            continue
        _fill(handle, raw, like, PRIVATE)
        return backup


def _fill(handle: int, raw: bytes, like: os.stat_result | None, mode: int) -> None:
    with os.fdopen(handle, "wb") as stream:
        if like is not None:
            _with_privilege(lambda: os.fchown(stream.fileno(), like.st_uid, like.st_gid))
        os.fchmod(stream.fileno(), like.st_mode & 0o7777 if like is not None else mode)
        stream.write(raw)
        stream.flush()
        os.fsync(stream.fileno())


def _with_privilege(step: Callable[[], None]) -> None:
    """Do what only some may: an owner can be kept by root, and need not be by anyone else."""
    with suppress(PermissionError):
        step()


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
