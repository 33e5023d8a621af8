"""The tool `edit_file`: several exact replacements in one file, all or none, atomically."""

import hashlib
import os
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from surefoot_tools import tool
from surefoot_tools.errors import Code, ToolError
from surefoot_tools.files.atomic import (
    LARGEST,
    Change,
    carry_out,
    read_chunks,
    sha256_state,
    state_of,
    temporary_name,
)
from surefoot_tools.files.edits import Replacement, apply, diff
from surefoot_tools.files.locks import PathLocks
from surefoot_tools.files.recovery import check_expected, find_out, locked_look
from surefoot_tools.files.rooted import Rooted
from surefoot_tools.files.roots import Roots
from surefoot_tools.files.text import Decoded, decode, kind_of, visible, visible_name
from surefoot_tools.files.threads import in_thread
from surefoot_tools.tool import Context, Effect, Evidence, Group, Happened, Recovery, Tool


class Edit(BaseModel):
    """One exact replacement."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    old_text: str = Field(description="Exact text that occurs once in the file.")
    new_text: str = Field(description="What takes its place.")
    replace_all: bool = Field(False, description="Replace every occurrence instead.")


class EditFileArguments(tool.Arguments):
    """Arguments of `edit_file`."""

    path: str = Field(description="Relative to, or inside, a root.")
    edits: list[Edit] = Field(
        min_length=1, max_length=1000, description="Applied one after another, all or none."
    )
    expected_sha256: str | None = Field(
        None,
        pattern=r"^[0-9a-fA-F]{64}$",
        description="Fail unless the file has this hash now, as read_file gave it.",
    )
    dry_run: bool = Field(False, description="Show the diff and change nothing.")


class EditFileResult(tool.Result):
    """What `edit_file` did, or would do."""

    diff: str
    """Unified diff, at most 16 KiB; its last line says where it was cut."""
    replacements: int
    """Places replaced."""
    sha256_before: str
    sha256_after: str
    """Of a dry run: what it would be."""

    def as_text(self) -> str:
        """A line of summary, then the diff."""
        return (
            f"{self.replacements} replacement{'s' if self.replacements != 1 else ''}, sha256 "
            f"{self.sha256_before} -> {self.sha256_after}\n{visible(self.diff)}"
        )


class EditFile(Rooted, Tool[EditFileArguments, EditFileResult]):
    """Replaces exact texts in a file; encoding, mark and line endings stay as they are."""

    name = "edit_file"
    title = "Edit file"
    description = (
        "Replace exact texts in a text file, all or none, atomically. Each old_text must occur "
        "exactly once, or set replace_all; edits apply one after another. Line endings, byte order "
        "mark and encoding are kept; \\n matches \\r\\n too. dry_run shows the diff only. To write "
        "a whole file use write_file."
    )
    group = Group.FILES
    effect = Effect.VERIFIABLE
    destructive = True
    Arguments = EditFileArguments
    Result = EditFileResult

    def __init__(self, roots: Roots, locks: PathLocks) -> None:
        self._roots = roots
        self._locks = locks

    async def prepare(self, arguments: EditFileArguments, context: Context) -> Evidence:
        """Lock the path; find every text; hash what is there and what will be."""

        def examine(place: str, old: int | None) -> Change:
            return _plan(arguments, place, old, temporary_name(context))

        change = await locked_look(
            self._roots, self._locks, context, arguments.path, examine, reading=True
        )
        return {**change.model_dump(mode="json"), "dry_run": arguments.dry_run}

    async def run(
        self, arguments: EditFileArguments, evidence: Evidence, context: Context
    ) -> EditFileResult:
        """Edit a copy, flush, rename, flush; nothing at all in a dry run."""
        change = _change(evidence)
        if not arguments.dry_run:

            def produce(old: int | None) -> Iterable[bytes]:
                _, edited, _, _ = _edited(arguments, old)
                yield edited

            await carry_out(self._roots, change, produce, context)
        return EditFileResult.model_validate(change.result)

    async def recover(self, evidence: Evidence) -> Recovery:
        """Compare the file with its hashes before and after; a dry run is done when prepared."""
        change = _change(evidence)
        if evidence["dry_run"]:
            return Happened(EditFileResult.model_validate(change.result))
        return await in_thread(
            lambda: find_out(self._roots, change.model_dump(mode="json"), EditFileResult)
        )


def _change(evidence: Evidence) -> Change:
    return Change.model_validate({k: v for k, v in evidence.items() if k != "dry_run"})


def _plan(arguments: EditFileArguments, place: str, old: int | None, temporary: str) -> Change:
    if old is None:
        raise _absent(arguments.path)
    _refuse_large(os.fstat(old).st_size, arguments.path)
    before = state_of(old)
    check_expected(arguments.expected_sha256, before, arguments.path)
    decoded, edited, text, replacements = _edited(arguments, old)
    after = sha256_state(_sha256(edited))
    result = EditFileResult(
        diff=diff(decoded.text, text, visible_name(arguments.path)),
        replacements=replacements,
        sha256_before=before.partition(":")[2],
        sha256_after=after.partition(":")[2],
    )
    return Change(
        path=arguments.path,
        place=place,
        before=before,
        after=before if arguments.dry_run else after,
        temporary=temporary,
        result=result.model_dump(mode="json"),
    )


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _edited(arguments: EditFileArguments, old: int | None) -> tuple[Decoded, bytes, str, int]:
    """The file as it was, its new bytes and text, and the number of places replaced."""
    if old is None:
        raise _absent(arguments.path)
    shown = visible_name(arguments.path)
    data = b"".join(read_chunks(old, LARGEST + 1))
    _refuse_large(len(data), arguments.path)
    decoded = decode(data)
    if decoded is None:
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"'{shown}' is binary ({kind_of(data[:16])}, {len(data)} bytes), not text",
            hint="change it with a program by run_command",
        )
    edits = [
        Replacement(each.old_text, each.new_text, each.replace_all) for each in arguments.edits
    ]
    text, replacements = apply(decoded.text, edits)
    try:
        return decoded, decoded.encode(text), text, replacements
    except UnicodeEncodeError as error:
        raise ToolError(
            Code.INVALID_ARGUMENT,
            f"'{shown}' is stored in {decoded.codec}, which has no "
            f"{visible_name(repr(text[error.start]))}",
            hint="write characters of that encoding, or store the file anew with write_file",
        ) from error


def _absent(path: str) -> ToolError:
    return ToolError(
        Code.NOT_FOUND,
        f"'{visible_name(path)}' does not exist",
        hint="write_file creates a file; list_directory shows what is there",
    )


def _refuse_large(size: int, path: str) -> None:
    if size > LARGEST:
        raise ToolError(
            Code.FAILED_PRECONDITION,
            f"'{visible_name(path)}' has {size} bytes; at most {LARGEST} (64 MiB) can be edited",
            hint="use run_command with sed",
        )
