"""Live progress of a run, from its records as they are written; on stderr.

A bar a model where stderr is a terminal, a line a trial elsewhere.
"""

from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from surefoot_client.record import Ended, Invoked, Observer, Record, TrialEnded, TrialStarted
from surefoot_client.trial import Plan


@dataclass(slots=True)
class _Tally:
    """Calls of a model, or of a trial, so far."""

    calls: int = 0
    first: int = 0
    failed: int = 0

    def add(self, record: Invoked) -> None:
        self.calls += 1
        self.first += record.first_attempt_success
        self.failed += record.outcome != "succeeded"

    def __str__(self) -> str:
        rate = f"{self.first / self.calls:.1%}" if self.calls else "-"
        return f"{self.calls} calls, first attempt {rate}, {self.failed} not succeeded"


@dataclass(slots=True)
class _Watching:
    """What trials are under way, of which models."""

    steps: Mapping[str, int]
    """Trial to the number of its reference calls."""
    running: dict[str, tuple[str, _Tally]] = field(default_factory=dict[str, tuple[str, _Tally]])
    """Trial to its model and its calls."""
    models: dict[str, _Tally] = field(default_factory=dict[str, _Tally])

    def see(self, record: Record) -> None:
        if isinstance(record, TrialStarted):
            self.running[record.trial] = (record.model, _Tally())
            self.models.setdefault(record.model, _Tally())
        elif isinstance(record, Invoked):
            model, tally = self.running[record.trial]
            tally.add(record)
            self.models[model].add(record)


def steps(plan: Plan) -> int:
    """Reference calls of a trial, of all its drivers."""
    return plan.drivers * sum(len(turn.calls) for turn in plan.sequence.turns)


def show(plans: list[Plan], stream: TextIO) -> AbstractContextManager[Observer]:
    """Progress over these trials, in the form that `stream` can show."""
    return _bars(plans, stream) if stream.isatty() else _lines(plans, stream)


@contextmanager
def _lines(plans: list[Plan], stream: TextIO) -> Generator[Observer, None, None]:
    watching = _Watching({plan.name: steps(plan) for plan in plans})
    count = 0

    def observe(record: Record) -> None:
        nonlocal count
        watching.see(record)
        if isinstance(record, TrialEnded):
            count += 1
            _, tally = watching.running.pop(record.trial)
            reason = f" ({record.reason})" if record.reason else ""
            stream.write(
                f"{count}/{len(plans)} {record.trial}: {record.outcome.value}{reason}; {tally}\n"
            )
            stream.flush()

    yield observe


@contextmanager
def _bars(plans: list[Plan], stream: TextIO) -> Generator[Observer, None, None]:
    watching = _Watching({plan.name: steps(plan) for plan in plans})
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[tally]}"))
    bars: dict[str, TaskID] = {}
    with Progress(*columns, TimeElapsedColumn(), console=Console(file=stream)) as progress:
        for plan in plans:
            model = plan.model
            if model.spec not in bars:
                total = sum(steps(other) for other in plans if other.model.spec == model.spec)
                label = f"{model.spec} (simulated)" if model.simulated else model.spec
                bars[model.spec] = progress.add_task(label, total=total, tally="")

        def observe(record: Record) -> None:
            watching.see(record)
            if isinstance(record, Invoked):
                model, _ = watching.running[record.trial]
                tally = str(watching.models[model])
                progress.update(bars[model], advance=1, tally=tally)
            elif isinstance(record, TrialEnded):
                model, tally = watching.running.pop(record.trial)
                # steps that will not come any more
                progress.update(bars[model], advance=watching.steps[record.trial] - tally.calls)
                if record.outcome is not Ended.PASSED:
                    reason = f": {record.reason}" if record.reason else ""
                    progress.console.print(
                        f"{record.trial} {record.outcome.value}{reason}", markup=False
                    )

        yield observe
