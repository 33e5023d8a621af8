"""What the accounts of one principal hold, in each journal: nothing of another's."""

import math
from dataclasses import replace

import pytest
from tests.support.journals import (
    Site,
    new_call,
    receipt_of,
)
from uuid6 import uuid7

from surefoot_server import accounting
from surefoot_server.failure_report import FailureReport, FailureReportArguments
from surefoot_server.journal.records import (
    Closing,
)
from surefoot_server.journal.states import Disposition
from surefoot_tools.errors import Applied, Code, Origin
from surefoot_tools.outcome import Error, Outcome
from surefoot_tools.tool import Context

pytestmark = pytest.mark.anyio


async def test_the_accounts_of_one_principal_hold_nothing_of_another(site: Site) -> None:
    """Guard: `accounting.report` and the clauses `:principal` of its statements."""
    journal = site.open()
    error = Error(Code.NOT_FOUND, Origin.MODEL, Applied.NO, "no such file")
    for principal in ("token:a", "token:b\0", "token:b\0"):
        call = replace(new_call("key-of-" + uuid7().hex), principal=principal)
        await journal.begin(call, receipt_of(call), durable=True)
        await journal.finish(Closing(call.call_id, 1, Outcome.failed(error), 1001.0), durable=True)
        await journal.record(receipt_of(call, Disposition.DENIED, call_id=None, error=error))
    for principal, n in (("token:a", 1), ("token:b\0", 2), ("token:c", 0), (None, 3)):
        found = await accounting.report(
            journal, since=0.0, tool=None, limit=100, principal=principal
        )
        totals = found.totals
        assert (totals.receipts, totals.denied, totals.calls, totals.failed) == (2 * n, n, n, n)
        assert sum(row.count for row in found.by_code) == len(found.recent) == 2 * n
        assert sum(row.calls for row in found.by_tool) == n
    tool = FailureReport(journal)
    everything = FailureReportArguments(since="999999d", tool=None, limit=100)
    for principal, receipts in (("token:a", 2), ("token:c", 0), ("local", 6)):
        context = Context("0" * 32, "key", deadline=math.inf, principal=principal)
        told = await tool.run(everything, {}, context)
        assert (told.totals.receipts, len(told.recent)) == (receipts, receipts)
