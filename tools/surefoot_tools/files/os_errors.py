"""What an operating system's error means to the caller: the one translation of the file tools."""

import errno
from collections.abc import Generator
from contextlib import contextmanager

from surefoot_tools.errors import Applied, Code, Origin, ToolError
from surefoot_tools.files.text import visible_name

MEANING: dict[int, tuple[Code, Origin, str]] = {
    errno.ENOENT: (Code.NOT_FOUND, Origin.MODEL, "there is no such file or directory"),
    errno.EXDEV: (
        Code.PERMISSION_DENIED,
        Origin.POLICY,
        "the path leads out of the roots (by `..` or a symbolic link)",
    ),
    errno.EACCES: (Code.PERMISSION_DENIED, Origin.ENVIRONMENT, "the system denies access"),
    errno.EPERM: (Code.PERMISSION_DENIED, Origin.ENVIRONMENT, "the system does not permit it"),
    errno.EROFS: (Code.PERMISSION_DENIED, Origin.ENVIRONMENT, "the file system is read-only"),
    errno.ELOOP: (Code.INVALID_ARGUMENT, Origin.MODEL, "too many or magic symbolic links"),
    errno.ENAMETOOLONG: (Code.INVALID_ARGUMENT, Origin.MODEL, "the path is too long"),
    errno.EILSEQ: (Code.INVALID_ARGUMENT, Origin.MODEL, "the file system refuses this name"),
    errno.EISDIR: (Code.FAILED_PRECONDITION, Origin.MODEL, "it is a directory, not a file"),
    errno.ENOTDIR: (Code.FAILED_PRECONDITION, Origin.MODEL, "a part of it is not a directory"),
    errno.ENXIO: (Code.FAILED_PRECONDITION, Origin.MODEL, "it is a socket or a pipe, not a file"),
    errno.ENOSPC: (Code.RESOURCE_EXHAUSTED, Origin.ENVIRONMENT, "no space left on the device"),
    errno.EDQUOT: (Code.RESOURCE_EXHAUSTED, Origin.ENVIRONMENT, "the disk quota is used up"),
    errno.EFBIG: (Code.RESOURCE_EXHAUSTED, Origin.ENVIRONMENT, "the file would be too large"),
    errno.EIO: (Code.DATA_LOSS, Origin.ENVIRONMENT, "the device reports an input/output error"),
    errno.EBUSY: (Code.UNAVAILABLE, Origin.ENVIRONMENT, "it is busy"),
    errno.EAGAIN: (Code.UNAVAILABLE, Origin.ENVIRONMENT, "it is busy"),
    errno.ETXTBSY: (Code.UNAVAILABLE, Origin.ENVIRONMENT, "it is a program that is running"),
    errno.ESTALE: (Code.UNAVAILABLE, Origin.ENVIRONMENT, "the network file handle is stale"),
    errno.EMFILE: (Code.UNAVAILABLE, Origin.ENVIRONMENT, "too many open files in the server"),
    errno.ENFILE: (Code.UNAVAILABLE, Origin.ENVIRONMENT, "too many open files in the system"),
    errno.ENOMEM: (Code.UNAVAILABLE, Origin.ENVIRONMENT, "the system is out of memory"),
    errno.ENOLCK: (Code.UNAVAILABLE, Origin.ENVIRONMENT, "no locks are available"),
}
"""Code, whose fault, and words, by errno. EIO is DATA_LOSS and so never retried: after a failed
fsync the kernel may have dropped the page (P. Rebello et al., 'Can Applications Recover from fsync
Failures?', USENIX ATC 2020)."""


def translated(error: OSError, path: str, *, applied: Applied = Applied.NO) -> ToolError:
    """The error for the caller, who wrote `path`; names no other path.

    Args:
        error: What the system said.
        path: The path as the caller wrote it.
        applied: Whether the effect happened.
    """
    code, origin, words = MEANING.get(
        error.errno or 0,
        (Code.UNKNOWN, Origin.ENVIRONMENT, f"the system says: {error.strerror or 'no reason'}"),
    )
    name = errno.errorcode.get(error.errno or 0, "no errno")
    message = f"'{visible_name(path)}': {words} ({name})"
    return ToolError(code, message, applied=applied, origin=origin, hint=_hint(code))


def _hint(code: Code) -> str | None:
    if code is Code.NOT_FOUND:
        return "list_directory shows what is there"
    return None


@contextmanager
def translating(path: str) -> Generator[None, None, None]:
    """Turn an `OSError` of the block into a `ToolError` about `path`, with `applied` no.

    Raises:
        ToolError: for every `OSError`.
    """
    try:
        yield
    except OSError as error:
        raise translated(error, path) from error
