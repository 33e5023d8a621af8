"""A run: suite x models x repeats, built, driven at a bounded concurrency, resumable.

Above `trial.py` (one trial); below the command line. `create` and `resume` make a `Run` with its
directory, `build` says which trials there are, `drive` plays them.

A run's directory: `manifest.json`, `records.jsonl`, `server.log` (stderr of all its servers),
`state/` (the servers' SUREFOOT_HOME), `workspaces/TRIAL/`, `.lock` (one driver a run).
"""

import re
import shlex
import signal
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

import anyio
import uuid6

from surefoot_client import faults as fault_files
from surefoot_client import manifest as manifests
from surefoot_client import models, serving
from surefoot_client.execute import execute
from surefoot_client.faults import Fault
from surefoot_client.lock import FILE_NAME as LOCK_NAME
from surefoot_client.lock import RunLock
from surefoot_client.manifest import (
    FaultsEntry,
    ForeignEntry,
    Manifest,
    ManifestError,
    ModelEntry,
    SuiteEntry,
)
from surefoot_client.models.model import ModelFactory
from surefoot_client.record import (
    FILE_NAME,
    Ended,
    Observer,
    RunEnded,
    RunStarted,
    Transport,
    TrialEnded,
    TrialStarted,
    read,
)
from surefoot_client.record_log import RecordLog
from surefoot_client.serving import RunError, Serving
from surefoot_client.suite import Suite
from surefoot_client.trial import Plan, Setting


class FolderError(Exception):
    """A run's directory cannot be made or written: nothing that was asked for is to blame."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run with its directory, ready to be driven."""

    folder: Path
    """Absolute."""
    manifest: Manifest
    suite: Suite
    models: Sequence[ModelFactory]
    faults: tuple[Fault, ...]
    lock: RunLock
    """Held; `drive` releases it at its end."""
    settled: Mapping[str, Ended] = field(default_factory=dict[str, Ended])
    """Trials without their re-run number that have ended."""
    reruns: Mapping[str, int] = field(default_factory=dict[str, int])
    """The next re-run number of trials that were begun."""
    resumed: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """What was asked for."""

    suite: Suite
    models: Sequence[str]
    repeat: int
    turns: int | None
    seed: int
    server: Sequence[str]
    """With placeholders: `{workspace}`, `{database:NAME}` (its file), `{databases}`, and over HTTP
    `{listen}`."""
    faults: FaultsEntry | None = None
    transport: Transport = Transport.STDIO
    foreign: ForeignEntry | None = None
    """A server that somebody else runs, in the place of `server`."""

    @property
    def trials(self) -> int:
        """How many there will be."""
        return len(self.suite.sequences) * len(self.models) * self.repeat


def create(order: Order, folder: Path) -> Run:
    """Make a run's directory, and hold its lock until it has been driven.

    Raises:
        RunError: the directory is taken, or the server cannot be had so (`serving.check`).
        UnknownModel: there is no such model.
        FaultsError: the faults file has a mistake, or is not for this suite.
        StillGoing: another driver is in the directory.
        FolderError: it cannot be made.
    """
    factories = [models.create(spec) for spec in order.models]
    rules = _rules(order.faults)
    if order.faults is not None:
        fault_files.check(order.faults.content, order.faults.name, order.suite)
    serving.check(order.suite, order.server, order.transport, order.foreign, order.trials)
    manifest = _manifest(order, factories)
    folder = folder.absolute()
    try:
        lock = _claim(folder, manifest)
    except OSError as error:
        raise FolderError(
            f"cannot create the run directory {folder}: {error.strerror}; pass --out DIR"
        ) from error
    return Run(folder, manifest, order.suite, factories, rules, lock)


def _claim(folder: Path, manifest: Manifest) -> RunLock:
    """Make the directory, which is new or empty, with what is in it from the start."""
    if _taken(folder) and not (folder / LOCK_NAME).exists():
        raise _not_empty(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as undo:
        lock = undo.enter_context(RunLock(folder))
        # only now: another driver may have come first
        if _taken(folder):
            raise _not_empty(folder)
        for part in ("state", "workspaces"):
            (folder / part).mkdir()
        manifest.write(folder)
        undo.pop_all()
    return lock


def _taken(folder: Path) -> bool:
    return folder.exists() and any(part.name != LOCK_NAME for part in folder.iterdir())


def _not_empty(folder: Path) -> RunError:
    again = f"--resume {shlex.quote(str(folder))}"
    return RunError(f"{folder} is not empty; expected a new directory, or {again}")


def _manifest(order: Order, factories: Sequence[ModelFactory]) -> Manifest:
    suite = order.suite
    return Manifest(
        run=str(uuid6.uuid7()),
        suite=SuiteEntry(
            name=suite.name, version=suite.version, hash=suite.hash, path=str(suite.path.absolute())
        ),
        models=[
            ModelEntry(
                spec=factory.spec, slug=slug, simulated=factory.simulated, settings=factory.settings
            )
            for factory, slug in zip(factories, slugs(order.models), strict=True)
        ],
        repeat=order.repeat,
        turns=order.turns,
        seed=order.seed,
        server=list(order.server),
        transport=order.transport,
        foreign=order.foreign,
        faults=order.faults,
        prices={},
    )


def resume(folder: Path, suite: Suite) -> Run:
    """Take up a run that was interrupted: ended trials stay, the others begin anew.

    Args:
        folder: The run's directory, whose lock is held until the run has been driven.
        suite: The suite that its manifest names, as it is now.

    Raises:
        ManifestError: the directory is not a run's, or suite or models have changed since.
        RunError: the workspace of a foreign server is not empty again.
        RecordError: its records cannot be read.
        StillGoing: another driver is in the directory.
        FolderError: it cannot be written.
    """
    folder = folder.absolute()
    manifest = manifests.read(folder)
    with ExitStack() as undo:
        try:
            lock = undo.enter_context(RunLock(folder))
        except OSError as error:
            raise FolderError(
                f"cannot write the run directory {folder}: {error.strerror}"
            ) from error
        factories = _as_begun(manifest, suite)
        settled, reruns = _progress(folder / FILE_NAME)
        if manifest.foreign is not None and not settled:
            serving.check(suite, (), manifest.transport, manifest.foreign, 1)
        rules = _rules(manifest.faults)
        undo.pop_all()
    return Run(folder, manifest, suite, factories, rules, lock, settled, reruns, resumed=True)


def _as_begun(manifest: Manifest, suite: Suite) -> list[ModelFactory]:
    """The models of a run, if they and the suite are what they were.

    Raises:
        ManifestError: they are not.
    """
    if suite.hash != manifest.suite.hash:
        raise ManifestError(
            f"the suite {manifest.suite.name!r} has changed since the run began "
            f"({manifest.suite.hash[:12]}, now {suite.hash[:12]}); start a new run"
        )
    factories = [models.create(entry.spec) for entry in manifest.models]
    for entry, factory in zip(manifest.models, factories, strict=True):
        if dict(entry.settings) != dict(factory.settings):
            raise ManifestError(
                f"the model {entry.spec!r} has changed since the run began; start a new run"
            )
    return factories


def _progress(log: Path) -> tuple[dict[str, Ended], dict[str, int]]:
    """How trials have ended, and the next re-run number of those that were begun."""
    settled: dict[str, Ended] = {}
    reruns: dict[str, int] = {}
    for record in read(log) if log.exists() else ():
        if isinstance(record, TrialStarted):
            reruns[_unit(record.trial)] = record.rerun + 1
        elif isinstance(record, TrialEnded) and record.outcome is not Ended.INTERRUPTED:
            settled[_unit(record.trial)] = record.outcome
    return settled, reruns


def _rules(entry: FaultsEntry | None) -> tuple[Fault, ...]:
    return fault_files.parse(entry.content, entry.name) if entry is not None else ()


def _unit(trial: str) -> str:
    return trial.rpartition(".")[0]


def slugs(specs: Sequence[str]) -> list[str]:
    """Names of models as parts of keys and folder names, in `[A-Za-z0-9._-]`, all different.

    Of a path only the file's name counts: draws depend on the slug, and a run shall slip in the
    same places wherever its profile lies.
    """
    made: list[str] = []
    for spec in specs:
        kind, _, rest = spec.partition(":")
        short = f"{kind}:{PurePath(rest).stem}" if rest.endswith(".toml") else spec
        plain = re.sub(r"[^A-Za-z0-9._-]+", "-", short).strip("-.")[:60] or "model"
        slug, number = plain, 1
        while slug in made:
            number += 1
            slug = f"{plain}-{number}"
        made.append(slug)
    return made


def build(run: Run) -> list[Plan]:
    """All trials, those that have ended too; models take turns, so that time hits them alike."""
    plans: list[Plan] = []
    manifest = run.manifest
    for repeat in range(manifest.repeat):
        for sequence in run.suite.sequences:
            cut = sequence.model_copy(update={"turns": sequence.turns[: manifest.turns]})
            for entry, factory in zip(manifest.models, run.models, strict=True):
                plan = Plan(
                    sequence=cut,
                    whole=len(cut.turns) == len(sequence.turns),
                    model=factory,
                    slug=entry.slug,
                    repeat=repeat,
                    rerun=0,
                    seed=str(manifest.seed),
                    drivers=run.suite.drivers,
                )
                plans.append(replace(plan, rerun=run.reruns.get(plan.unit, 0)))
    return plans


@dataclass(slots=True)
class _Driving:
    """The trials under way, and how they are stopped."""

    run: Run
    setting: Setting
    serving: Serving
    limiter: anyio.CapacityLimiter
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    interrupted: bool = False
    ended: int = 0
    failure: Exception | None = None

    async def all(self, plans: Sequence[Plan]) -> None:
        """Play these trials, or as many as there were before the run was stopped."""
        async with anyio.create_task_group() as watching:
            watching.start_soon(self.watch)
            with self.scope:
                async with anyio.create_task_group() as trials:
                    for plan in plans:
                        trials.start_soon(self.one, plan)
            watching.cancel_scope.cancel()

    async def one(self, plan: Plan) -> None:
        """Play one trial when there is room; its failure stops the run."""
        async with self.limiter:
            try:
                await execute(plan, self.setting, self.serving.stage(plan))
                self.ended += 1
            except Exception as error:
                # raised again by `drive`, as it was and not wrapped by the task group
                self.failure = self.failure or error
                self.scope.cancel()

    async def watch(self) -> None:
        """The first Ctrl-C interrupts in order; the next is Python's own again."""
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                self.interrupted = True
                self.scope.cancel()
                return


async def drive(
    run: Run,
    environment: Mapping[str, str],
    concurrency: int,
    observer: Observer | None = None,
    token: str | None = None,
) -> bool:
    """Play all trials that have not ended yet.

    Args:
        run: What to play.
        environment: Of the servers, `SUREFOOT_HOME` aside.
        concurrency: Trials at the same time, each with a server of its own.
        observer: Sees each record.
        token: Bearer token of a foreign server.

    Returns:
        Whether the run was interrupted; then it can be resumed.

    Raises:
        Unreachable: a server did not start; the run can be resumed.
        FixtureError: a sequence cannot be laid out.
    """
    plans = build(run)
    with run.lock, RecordLog(run.folder / FILE_NAME, observer) as log:
        log.write(_started(run, len(plans)))
        driving = _Driving(
            run=run,
            setting=Setting(run.manifest.run, log, run.faults),
            serving=Serving(
                run.manifest,
                run.folder,
                {**environment, "SUREFOOT_HOME": str(run.folder / "state")},
                token,
            ),
            limiter=anyio.CapacityLimiter(concurrency),
            ended=len(run.settled),
        )
        await driving.all([plan for plan in plans if plan.unit not in run.settled])
        # a signal after the last trial had ended interrupted nothing
        interrupted = driving.interrupted and driving.ended < len(plans)
        stopped = interrupted or driving.failure is not None
        log.write(RunEnded(run=run.manifest.run, interrupted=stopped, trials=driving.ended))
    if driving.failure is not None:
        raise driving.failure
    return interrupted


def _started(run: Run, trials: int) -> RunStarted:
    return RunStarted(
        run=run.manifest.run,
        suite=f"{run.suite.name} {run.suite.version}",
        suite_hash=run.suite.hash,
        resumed=run.resumed,
        trials=trials,
    )
