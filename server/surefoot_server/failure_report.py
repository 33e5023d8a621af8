"""`failure_report`: the server's accounts as a tool, so that a model can look at what failed."""

import re
import time
from typing import ClassVar, Self

from pydantic import Field

from surefoot_server import accounting
from surefoot_server.access import LOCAL
from surefoot_server.accounting import CodeTotals, Failure, JobTotals, Report, ToolTotals, Totals
from surefoot_server.journal.records import Journal, JournalUnavailable
from surefoot_tools.errors import Code, ToolError
from surefoot_tools.tool import Arguments, Context, Effect, Evidence, Group, Result, Tool

_SPAN = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(span: str) -> int | None:
    """Seconds of a span such as `24h`; None if it is none."""
    found = _SPAN.fullmatch(span)
    return None if found is None else int(found.group(1)) * _UNITS[found.group(2)]


class FailureReportArguments(Arguments):
    """Arguments of `failure_report`."""

    since: str = Field("24h", description="How far back: a number and s, m, h or d.")
    tool: str | None = Field(None, description="Only this tool.")
    limit: int = Field(20, ge=1, le=100, description="Recent failures to show.")


class FailureReportResult(Result):
    """What failed, whose fault it was, and what became of it."""

    totals: Totals
    by_tool: list[ToolTotals]
    by_code: list[CodeTotals]
    jobs: JobTotals
    recent: list[Failure]

    @classmethod
    def of(cls, found: Report) -> Self:
        """What a report tells of failures."""
        return cls(
            totals=found.totals,
            by_tool=found.by_tool,
            by_code=found.by_code,
            jobs=found.jobs,
            recent=found.recent,
        )

    def as_text(self) -> str:
        """Totals, then a line for each tool, code and recent failure."""
        t, j = self.totals, self.jobs
        lines = [
            f"{t.receipts} requests: {t.ran} ran, {t.joined} joined, {t.replayed} replayed,"
            f" {t.in_doubt_receipts} in doubt, {t.conflict} conflict, {t.denied} denied,"
            f" {t.invalid} invalid",
            f"{t.calls} calls: {t.first_attempt_success} succeeded first time,"
            f" {t.recovered} recovered, {t.failed} failed, {t.in_doubt} in doubt,"
            f" {t.running} running",
        ]
        if j.jobs:
            lines.append(
                f"{j.jobs} jobs: {j.exited} exited, {j.timed_out} timed out, {j.stopped} stopped,"
                f" {j.lost} lost, {j.running} running"
            )
        lines += [
            f"  {row.tool}: {row.calls} calls, {row.first_attempt_success} first time,"
            f" {row.recovered} recovered, {row.failed} failed, {row.in_doubt} in doubt"
            for row in self.by_tool
        ]
        lines += [f"  {row.code} ({row.origin}): {row.count}" for row in self.by_code]
        for failure in self.recent:
            at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(failure.at))
            message = failure.message.split("\n", 1)[0][:200]
            lines.append(
                f"{at} {failure.tool} {failure.kind}: {failure.code} ({failure.origin}),"
                f" applied {failure.applied}: {message}"
            )
        return "\n".join(lines)


class FailureReport(Tool[FailureReportArguments, FailureReportResult]):
    """Shows the accounts that are derived from the journal."""

    name: ClassVar[str] = "failure_report"
    title: ClassVar[str] = "Report failures"
    description: ClassVar[str] = (
        "Show what you asked of this server, what failed and why, and what became of it: counts by"
        " tool and by error code, and the recent failures."
    )
    group: ClassVar[Group] = Group.ACCOUNTING
    effect: ClassVar[Effect] = Effect.SAFE
    repeatable: ClassVar[bool] = True
    Arguments = FailureReportArguments
    Result = FailureReportResult

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def run(
        self, arguments: FailureReportArguments, evidence: Evidence, context: Context
    ) -> FailureReportResult:
        """Derive the accounts: a caller's own, or all for the one who started the server."""
        span = seconds(arguments.since)
        if span is None:
            raise ToolError(
                Code.INVALID_ARGUMENT,
                f"since is {arguments.since!r}; it is a number and s, m, h or d, such as 24h",
            )
        try:
            found = await accounting.report(
                self._journal,
                since=time.time() - span,
                tool=arguments.tool,
                limit=arguments.limit,
                principal=None if context.principal == LOCAL else context.principal,
            )
        except JournalUnavailable as e:
            raise ToolError(Code.UNAVAILABLE, str(e)) from e
        return FailureReportResult.of(found)
