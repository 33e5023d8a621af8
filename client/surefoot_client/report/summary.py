"""What a run has shown, derived from its records alone: counts, rates, intervals.

Before it: `record.read`. After it: `render`. It can be made again at any time.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain

from pydantic import BaseModel, ConfigDict

from surefoot_client import stats
from surefoot_client.record import (
    Answered,
    Ended,
    Invoked,
    Record,
    RecoveredBy,
    RunStarted,
    Sent,
    TrialEnded,
    TrialStarted,
)

COHERENCE_TURN = 15
"""The turn at which the founding article reads off coherence."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Share(_Part):
    """A part of a whole, with its 95 % Wilson interval."""

    count: int
    total: int
    rate: float | None
    """From 0 to 1; None when there is nothing to take a part of."""
    low: float | None
    high: float | None

    @classmethod
    def of(cls, count: int, total: int) -> "Share":
        """`count` of `total`."""
        interval = stats.wilson(count, total)
        if interval is None:
            return cls(count=count, total=total, rate=None, low=None, high=None)
        return cls(
            count=count,
            total=total,
            rate=count / total,
            low=interval.low,
            high=interval.high,
        )


class ToolSummary(_Part):
    """Invocations of one tool, by what came of them."""

    tool: str
    calls: int
    first_attempt: Share
    recovered: Share
    failed: Share
    in_doubt: Share


class Latency(_Part):
    """Milliseconds from a send to its answer, over answered sends."""

    count: int
    p50: float | None
    p90: float | None
    p99: float | None


class ModelSummary(_Part):
    """One model over all its trials that ended."""

    model: str
    simulated: bool
    calls: int
    """Invocations: intents, each with all its proposals and sends."""
    first_attempt: Share
    """Succeeded with the first send of the first proposal, at the server's first execution."""
    recovered: Share
    """Succeeded later; the sum of the next three."""
    recovered_by_server: Share
    recovered_by_driver: Share
    recovered_by_model: Share
    failed: Share
    in_doubt: Share
    trials_passed: Share
    trials_failed: Share
    trials_in_doubt: Share
    trials_interrupted: int
    """Interrupted, or cut off; their calls count nowhere."""
    coherent: Share
    """Trials unbroken after turn 15, of those whose sequence has as many turns; shorter ones,
    broken or not, say nothing about it."""
    broke_at_turn: dict[int, int]
    """Turn to the number of trials that broke there."""
    by_tool: list[ToolSummary]
    by_cause: dict[str, int]
    """Why first attempts did not succeed."""
    sends: int
    resends: int
    """Sends under a key that was sent before."""
    lost: dict[str, int]
    """Sends without an answer, by reason."""
    latency: Latency


class RunSummary(_Part):
    """Where the records come from."""

    run: str
    suite: str
    suite_hash: str
    trials: int
    """Planned."""
    ended: int
    """Passed, failed or in doubt."""


class Summary(_Part):
    """All models of one or more runs."""

    v: int = 1
    runs: list[RunSummary]
    models: list[ModelSummary]
    simulated: bool
    """Whether any model of it is simulated."""


@dataclass(slots=True)
class _Counts:
    """What one trial, or one model, adds up to."""

    invoked: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """(tool, outcome or who recovered it) to count."""
    causes: Counter[str] = field(default_factory=Counter[str])
    lost: Counter[str] = field(default_factory=Counter[str])
    sends: int = 0
    resends: int = 0
    latencies: list[float] = field(default_factory=list[float])

    def add(self, record: Record) -> None:
        match record:
            case Invoked():
                self.invoked[record.tool, _class(record)] += 1
                if record.cause is not None:
                    self.causes[record.cause] += 1
            case Sent():
                self.sends += 1
                self.resends += record.attempt > 1
            case Answered(result="answered"):
                self.latencies.append(record.latency_ms)
            case Answered():
                self.lost[record.lost.value if record.lost is not None else "unknown"] += 1
            case _:
                pass

    def merge(self, other: "_Counts") -> None:
        self.invoked += other.invoked
        self.causes += other.causes
        self.lost += other.lost
        self.sends += other.sends
        self.resends += other.resends
        self.latencies += other.latencies


@dataclass(slots=True)
class _OfModel:
    simulated: bool
    counts: _Counts = field(default_factory=_Counts)
    ended: Counter[Ended] = field(default_factory=Counter[Ended])
    begun: int = 0
    broke: Counter[int] = field(default_factory=Counter[int])
    coherent: int = 0
    judged: int = 0


def _class(record: Invoked) -> str:
    if record.outcome != "succeeded":
        return record.outcome
    return "first" if record.first_attempt_success else record.recovered_by.value


@dataclass(slots=True)
class _Summing:
    """Reads records in their order; holds only the trials under way."""

    runs: dict[str, RunSummary] = field(default_factory=dict[str, RunSummary])
    models: dict[str, _OfModel] = field(default_factory=dict[str, _OfModel])
    under_way: dict[tuple[str, str], tuple[TrialStarted, _Counts]] = field(
        default_factory=dict[tuple[str, str], tuple[TrialStarted, _Counts]]
    )
    run: str = ""

    def read(self, record: Record) -> None:
        match record:
            case RunStarted():
                self.run = record.run
                seen = self.runs.get(record.run)
                self.runs[record.run] = RunSummary(
                    run=record.run,
                    suite=record.suite,
                    suite_hash=record.suite_hash,
                    trials=record.trials,
                    ended=seen.ended if seen is not None else 0,
                )
            case TrialStarted():
                model = self.models.setdefault(record.model, _OfModel(record.simulated))
                model.begun += 1
                self.under_way[self.run, record.trial] = (record, _Counts())
            case TrialEnded():
                self._end(record)
            case Invoked() | Sent() | Answered():
                known = self.under_way.get((self.run, record.trial))
                if known is not None:
                    known[1].add(record)
            case _:
                pass

    def _end(self, record: TrialEnded) -> None:
        known = self.under_way.pop((self.run, record.trial), None)
        if known is None or record.outcome is Ended.INTERRUPTED:
            return
        started, counts = known
        model = self.models[started.model]
        model.counts.merge(counts)
        model.ended[record.outcome] += 1
        broke = record.broke_at_turn
        if broke is not None:
            model.broke[broke] += 1
        if started.turns >= COHERENCE_TURN:
            model.judged += 1
            model.coherent += broke is None or broke > COHERENCE_TURN
        run = self.runs.get(self.run)
        if run is not None:
            self.runs[self.run] = run.model_copy(update={"ended": run.ended + 1})


def summarize(records: Iterable[Record], *more: Iterable[Record]) -> Summary:
    """Sum up the records of one run, or of several one after the other.

    Trials that were interrupted, or cut off with their process, count only as such: a re-run of
    theirs is in the records too.
    """
    summing = _Summing()
    for record in chain(records, *more):
        summing.read(record)
    models = [_of_model(name, model) for name, model in summing.models.items()]
    return Summary(
        runs=list(summing.runs.values()),
        models=models,
        simulated=any(model.simulated for model in models),
    )


def _of_model(name: str, model: _OfModel) -> ModelSummary:
    counts = model.counts
    whole = _classes(counts.invoked.items())
    calls = whole.total()
    ended = model.ended.total()
    ordered = sorted(counts.latencies)
    tools = sorted({tool for tool, _ in counts.invoked})
    return ModelSummary(
        model=name,
        simulated=model.simulated,
        calls=calls,
        first_attempt=Share.of(whole["first"], calls),
        recovered=Share.of(_recovered(whole), calls),
        recovered_by_server=Share.of(whole[RecoveredBy.SERVER], calls),
        recovered_by_driver=Share.of(whole[RecoveredBy.DRIVER], calls),
        recovered_by_model=Share.of(whole[RecoveredBy.MODEL], calls),
        failed=Share.of(whole["failed"], calls),
        in_doubt=Share.of(whole["in_doubt"], calls),
        trials_passed=Share.of(model.ended[Ended.PASSED], ended),
        trials_failed=Share.of(model.ended[Ended.FAILED], ended),
        trials_in_doubt=Share.of(model.ended[Ended.IN_DOUBT], ended),
        trials_interrupted=model.begun - ended,
        coherent=Share.of(model.coherent, model.judged),
        broke_at_turn=dict(sorted(model.broke.items())),
        by_tool=[_of_tool(tool, counts) for tool in tools],
        by_cause=dict(counts.causes.most_common()),
        sends=counts.sends,
        resends=counts.resends,
        lost=dict(counts.lost.most_common()),
        latency=Latency(
            count=len(ordered),
            p50=stats.percentile(ordered, 50),
            p90=stats.percentile(ordered, 90),
            p99=stats.percentile(ordered, 99),
        ),
    )


def _classes(invoked: Iterable[tuple[tuple[str, str], int]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for (_, what), count in invoked:
        found[what] += count
    return found


def _recovered(whole: Counter[str]) -> int:
    return sum(whole[who] for who in (RecoveredBy.SERVER, RecoveredBy.DRIVER, RecoveredBy.MODEL))


def _of_tool(tool: str, counts: _Counts) -> ToolSummary:
    whole = _classes(item for item in counts.invoked.items() if item[0][0] == tool)
    calls = whole.total()
    return ToolSummary(
        tool=tool,
        calls=calls,
        first_attempt=Share.of(whole["first"], calls),
        recovered=Share.of(_recovered(whole), calls),
        failed=Share.of(whole["failed"], calls),
        in_doubt=Share.of(whole["in_doubt"], calls),
    )
