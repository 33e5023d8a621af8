"""The tool `write_file`: replace, create or extend a file, atomically."""

import codecs
import hashlib
import os
from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from surefoot_tools import tool
from surefoot_tools.errors import Code, ToolError
from surefoot_tools.files.atomic import (
    LARGEST,
    Change,
    Produce,
    carry_out,
    read_chunks,
    sha256_state,
    state_of,
    temporary_name,
)
from surefoot_tools.files.locks import PathLocks
from surefoot_tools.files.recovery import check_expected, find_out, locked_look
from surefoot_tools.files.rooted import Rooted
from surefoot_tools.files.roots import Roots
from surefoot_tools.files.text import codec_of, visible_name
from surefoot_tools.files.threads import in_thread
from surefoot_tools.tool import Context, Effect, Evidence, Group, Recovery, Tool


class WriteFileArguments(tool.Arguments):
    """Arguments of `write_file`."""

    path: str = Field(description="Relative to, or inside, a root. Missing parents are created.")
    content: str = Field(description="The whole content, or what to append.")
    mode: Literal["replace", "create", "append"] = Field(
        "replace",
        description="replace: the file, or create it; create: fail if it exists; append: at its "
        "end, or create it.",
    )
    expected_sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-fA-F]{64}$",
        description="Fail unless the file has this hash now, as read_file gave it.",
    )
    encoding: Literal["utf-8", "utf-16", "latin-1"] = Field(
        "utf-8", description="How the content is stored; utf-16 is little-endian with a mark."
    )


class WriteFileResult(tool.Result):
    """What `write_file` did."""

    path: str
    """As the caller wrote it."""
    size: int
    """Bytes in the file now."""
    sha256: str
    """Of the file now, hexadecimal."""
    created: bool
    """Whether there was no such file before."""

    def as_text(self) -> str:
        """One line."""
        done = "created" if self.created else "wrote"
        return f"{done} {visible_name(self.path)}: {self.size} bytes now, sha256 {self.sha256}"


class WriteFile(Rooted, Tool[WriteFileArguments, WriteFileResult]):
    """Replaces, creates or extends a file: the old content or the new is there, never a mixture."""

    name = "write_file"
    title = "Write file"
    description = (
        "Write a text file: the whole content at once (mode replace), only if it does not exist "
        "(create), or at its end (append, up to 64 MiB). Missing parent directories are created; "
        "the write is atomic and durable. For a change within a file use edit_file. Files that "
        "programs obey by themselves (.git/hooks, .git/config, .vscode, .idea, .mcp.json, .envrc, "
        "shell start-up files) are protected."
    )
    group = Group.FILES
    effect = Effect.VERIFIABLE
    destructive = True
    Arguments = WriteFileArguments
    Result = WriteFileResult

    def __init__(self, roots: Roots, locks: PathLocks) -> None:
        self._roots = roots
        self._locks = locks

    async def prepare(self, arguments: WriteFileArguments, context: Context) -> Evidence:
        """Lock the path; hash what is there and what will be."""

        def examine(place: str, old: int | None) -> Change:
            return _plan(arguments, place, old, temporary_name(context))

        change = await locked_look(
            self._roots,
            self._locks,
            context,
            arguments.path,
            examine,
            reading=arguments.mode == "append",
        )
        return change.model_dump(mode="json")

    async def run(
        self, arguments: WriteFileArguments, evidence: Evidence, context: Context
    ) -> WriteFileResult:
        """Write beside, flush, rename, flush."""
        change = Change.model_validate(evidence)
        await carry_out(self._roots, change, _producer(arguments), context)
        return WriteFileResult.model_validate(change.result)

    async def recover(self, evidence: Evidence) -> Recovery:
        """Compare the file with its hashes before and after."""
        return await in_thread(lambda: find_out(self._roots, evidence, WriteFileResult))


def _encoded(arguments: WriteFileArguments, head: bytes) -> bytes:
    """The content as bytes, for a file that begins with `head` or for a new one."""
    encoding = arguments.encoding
    mark = b""
    if encoding == "utf-16":
        marked = codec_of(head)
        encoding, mark = "utf-16-le", b"" if head else codecs.BOM_UTF16_LE
        if marked is not None and marked[0] == "utf-16-be":
            encoding = "utf-16-be"
    try:
        return mark + arguments.content.encode(encoding)
    except UnicodeEncodeError as error:
        character = visible_name(repr(arguments.content[error.start]))
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"content: {character} at character {error.start} does not exist in "
            f"{arguments.encoding}",
            hint="use encoding utf-8",
        ) from error


def _producer(arguments: WriteFileArguments) -> Produce:
    """The new content: of `append`, what is there and then the rest."""

    def produce(old: int | None) -> Iterable[bytes]:
        head = b""
        if old is not None and arguments.mode == "append":
            head = os.pread(old, 4, 0)
            yield from read_chunks(old, LARGEST)
        yield _encoded(arguments, head)

    return produce


def _plan(arguments: WriteFileArguments, place: str, old: int | None, temporary: str) -> Change:
    path = arguments.path
    if arguments.mode == "create" and old is not None:
        raise ToolError(
            Code.ALREADY_EXISTS,
            f"'{visible_name(path)}' exists already",
            hint="use mode replace or append, or edit_file",
        )
    before = None if old is None else state_of(old)
    check_expected(arguments.expected_sha256, before, path)
    if arguments.mode == "append" and old is not None:
        _refuse_large(os.fstat(old).st_size + len(arguments.content), path)
    digest = hashlib.sha256()
    size = 0
    for chunk in _producer(arguments)(old):
        digest.update(chunk)
        size += len(chunk)
    if arguments.mode == "append":
        _refuse_large(size, path)
    result = WriteFileResult(path=path, size=size, sha256=digest.hexdigest(), created=old is None)
    return Change(
        path=path,
        place=place,
        before=before,
        after=sha256_state(result.sha256),
        temporary=temporary,
        result=result.model_dump(mode="json"),
    )


def _refuse_large(size: int, path: str) -> None:
    if size > LARGEST:
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"'{visible_name(path)}' would have {size} bytes; append copies files of at most "
            f"{LARGEST} bytes (64 MiB)",
            hint="append with run_command: cat >> file",
        )
