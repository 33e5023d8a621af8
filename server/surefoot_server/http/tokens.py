"""Bearer tokens of our own, in a file that holds their hashes: made, listed, revoked, verified.

A token is `sft_`, 32 random bytes in base64url, and a checksum by which a typing error or a secret
scanner's find is told from a token. SHA-256 of it is enough: slow hashes and salts protect what
people choose; NIST SP 800-63B, 5.1.2.2, asks for neither from 112 random bits on. These are 256.
"""

import fcntl
import hashlib
import hmac
import os
import re
import secrets
import tempfile
import time
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

from surefoot_server.access import Access
from surefoot_server.http.verifier import Reason, Refused
from surefoot_tools.tool import Group

FILE_NAME = "tokens.json"
"""In the state directory."""
PREFIX = "sft_"
SECRET_BYTES = 32
SHAPE = re.compile(r"sft_[A-Za-z0-9_-]{43}[0-9a-f]{8}")
"""Of a whole token."""
SHOWN = len(PREFIX) + 6
"""Characters of a token that the file keeps, to know it by; the other 220 bits stay secret."""
MOST = 1000
"""Tokens of one file."""
LONGEST_FILE = 1024 * 1024
"""Bytes of it."""
NAME = r"[A-Za-z0-9._-]{1,64}"
SETTLED = 1_000_000_000
"""Nanoseconds after which a file's time tells one writing of it from the next for certain."""
OTHERS = 0o077
"""The permission bits of everyone but the owner."""


class TokensUnusable(Exception):
    """The file of tokens cannot be used; says why, and what to do."""


class Stored(BaseModel):
    """What the file keeps of one token."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=f"^{NAME}$")
    """Unique. Its calls are those of the principal `token:NAME`, also after it was made anew."""
    id: str
    """Its first characters."""
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """Of the whole token."""
    groups: frozenset[Group]
    """Groups of tools that it may call."""
    writes: frozenset[Group]
    """Of them, those of which it may call tools with effects."""
    roots: tuple[Path, ...] | None
    """Absolute; None: all of the server's."""
    created: AwareDatetime
    expires: AwareDatetime | None

    @field_validator("roots")
    @classmethod
    def _are_absolute(cls, roots: tuple[Path, ...] | None) -> tuple[Path, ...] | None:
        if roots is not None and not (roots and all(root.is_absolute() for root in roots)):
            raise ValueError("roots are absolute paths, at least one, or null for all")
        return roots

    def expired(self, now: float) -> bool:
        """Whether it is over, at `now` (seconds since 1970)."""
        return self.expires is not None and self.expires.timestamp() <= now

    @property
    def access(self) -> Access:
        """What it lets its bearer use; the accounting is for everyone."""
        return Access(
            principal=f"token:{self.name}",
            groups=self.groups | {Group.ACCOUNTING},
            writes=self.writes & self.groups,
            roots=self.roots,
        )


class Contents(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    tokens: tuple[Stored, ...] = Field(default=(), max_length=MOST)


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read, and of which writing of the file."""

    stamp: tuple[int, ...] = ()
    by_hash: dict[str, Stored] = field(default_factory=dict[str, Stored])
    trouble: str = ""
    """Why it cannot be used."""


def new_token() -> str:
    """A token that nobody has."""
    body = urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)).decode().rstrip("=")
    return f"{PREFIX}{body}{_checksum(body)}"


def is_whole(token: str) -> bool:
    """Whether a text has a token's shape and checksum."""
    if SHAPE.fullmatch(token) is None:
        return False
    return _checksum(token[len(PREFIX) : -8]) == token[-8:]


def hashed(token: str) -> str:
    """SHA-256, as the file has it."""
    return hashlib.sha256(token.encode()).hexdigest()


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode()):08x}"


class TokenFile:
    """A file of tokens: a `Verifier`, and what `surefoot token` works on.

    Args:
        path: Of the file.
        clock: Seconds since 1970.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._last = _Read()

    def takes(self, token: str) -> bool:
        """See `Verifier`."""
        return token.startswith(PREFIX)

    async def verify(self, token: str) -> Access:
        """See `Verifier`. A change of the file, as a revocation, counts from the next request on.

        Raises:
            Refused: it is not in the file, or over, or the file cannot be used any more.
        """
        if not is_whole(token):
            raise Refused(Reason.MALFORMED)
        current = self._current()
        if current.trouble:
            raise Refused(Reason.FILE_UNUSABLE, current.trouble)
        # How long the look-up takes depends on a hash, by which nobody finds their way to a token.
        digest = hashed(token)
        found = current.by_hash.get(digest)
        if found is None or not hmac.compare_digest(found.sha256, digest):
            raise Refused(Reason.UNKNOWN)
        if found.expired(self._clock()):
            raise Refused(Reason.EXPIRED, found.name)
        return found.access

    def _current(self) -> _Read:
        """What the file says now, read again only if it is another one."""
        try:
            stamp = _stamp(os.stat(self.path))
        except OSError as e:
            return _Read(trouble=f"{self.path}: {e.strerror}")
        if self._last.stamp == stamp:
            return self._last
        try:
            stamp, contents = _read(self.path)
        except TokensUnusable as e:
            return _Read(trouble=str(e))
        # A second writing within one tick of the file system's clock looks like the first.
        if abs(time.time_ns() - stamp[0]) < SETTLED:
            stamp = ()
        self._last = _Read(stamp, {each.sha256: each for each in contents.tokens})
        return self._last

    def check(self) -> None:
        """Look whether a server can use it.

        Raises:
            TokensUnusable: it cannot.
        """
        if not self.path.exists():
            raise TokensUnusable(f"no tokens at {self.path}; `surefoot token add NAME` makes one")
        _read(self.path)

    def tokens(self) -> Sequence[Stored]:
        """All of them, as they were added; none if there is no file.

        Raises:
            TokensUnusable: it cannot be read, or others could.
        """
        return _read(self.path)[1].tokens if self.path.exists() else ()

    def add(self, stored: Stored) -> None:
        """Put one in; on disk when this returns.

        Raises:
            TokensUnusable: its name is taken, there are too many, or the file cannot be used.
        """
        with self._changing() as tokens:
            if any(each.name == stored.name for each in tokens):
                raise TokensUnusable(
                    f"there is a token {stored.name}; choose another name, or"
                    f" `surefoot token revoke {stored.name}` first"
                )
            if len(tokens) >= MOST:
                raise TokensUnusable(f"{self.path} holds {MOST} tokens, and no more")
            tokens.append(stored)

    def revoke(self, name: str) -> bool:
        """Take one out; whether it was there. On disk when this returns.

        Raises:
            TokensUnusable: the file cannot be used.
        """
        if not self.path.exists():
            return False
        with self._changing() as tokens:
            kept = [each for each in tokens if each.name != name]
            found = len(kept) < len(tokens)
            tokens[:] = kept
        return found

    @contextmanager
    def _changing(self) -> Generator[list[Stored]]:
        """The tokens, to be changed in place; one process at a time, all of it or nothing."""
        target = Path(os.path.realpath(self.path))
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Of its own: the file itself is another one after each change.
        lock = os.open(f"{target}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = self.tokens()
            tokens = list(before)
            yield tokens
            if tuple(tokens) != tuple(before):
                _replace(target, Contents(tokens=tuple(tokens)))
        finally:
            os.close(lock)


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    times = (status.st_mtime_ns, status.st_ctime_ns)
    return (*times, status.st_size, status.st_ino, status.st_dev, status.st_mode, status.st_uid)


def _read(path: Path) -> tuple[tuple[int, ...], Contents]:
    """The file's stamp and contents, both of one writing.

    Raises:
        TokensUnusable: it is not there, not ours alone, or not what it should be.
    """
    try:
        # A pipe in its place must not hold the server.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            _refuse_others(path, status)
            text = file.read(LONGEST_FILE + 1)
    except OSError as e:
        raise TokensUnusable(f"{path}: {e.strerror}") from e
    if len(text) > LONGEST_FILE:
        raise TokensUnusable(f"{path} has more than {LONGEST_FILE} bytes: no file of tokens")
    try:
        contents = Contents.model_validate_json(text)
    except ValidationError as e:
        # Where, and not what: the file is no secret, but neither is it for logs.
        first = e.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise TokensUnusable(f"{path}: {where}: {first['msg']}") from None
    names = {each.name for each in contents.tokens}
    if len(names) < len(contents.tokens):
        raise TokensUnusable(f"{path}: two tokens have one name")
    return _stamp(status), contents


def _refuse_others(path: Path, status: os.stat_result) -> None:
    if status.st_mode & OTHERS:
        raise TokensUnusable(f"others can use {path}: chmod 600 {path}")
    if status.st_uid not in (os.geteuid(), 0):
        raise TokensUnusable(f"{path} belongs to another user: chown it to the one who serves")


def _replace(target: Path, contents: Contents) -> None:
    """Write a file anew, durably; whoever reads meanwhile reads the old one."""
    # Made with mode 0600, in the same folder: a rename does not cross file systems.
    descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(contents.model_dump_json(indent=2).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
    folder = os.open(target.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
