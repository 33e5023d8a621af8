"""A run: suite x models x repeats, built, driven at a bounded concurrency, resumable.

Above `trial.py` (one trial); below the command line. `create` and `resume` make a `Run` with its
directory, `build` says which trials there are, `drive` plays them.

A run's directory: `manifest.json`, `records.jsonl`, `server.log` (stderr of all its servers),
`state/` (the servers' SUREFOOT_HOME), `workspaces/TRIAL/`.
"""

import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import anyio
import uuid6

from surefoot_client import faults as fault_files
from surefoot_client import manifest as manifests
from surefoot_client import models
from surefoot_client.faults import Fault
from surefoot_client.manifest import FaultsEntry, Manifest, ManifestError, ModelEntry, SuiteEntry
from surefoot_client.models.model import ModelFactory
from surefoot_client.record import (
    FILE_NAME,
    Ended,
    Observer,
    RecordLog,
    RunEnded,
    RunStarted,
    TrialEnded,
    TrialStarted,
    read,
)
from surefoot_client.suite import Sequence as WorkSequence
from surefoot_client.suite import Suite
from surefoot_client.transport import ServerProcess
from surefoot_client.trial import Plan, Setting, execute

DATABASES = "{databases}"
"""In a server command: `--database NAME=URL` for each database of the sequence, with write."""


class RunError(ValueError):
    """A run cannot be made as asked for."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run with its directory, ready to be driven."""

    folder: Path
    """Absolute."""
    manifest: Manifest
    suite: Suite
    models: Sequence[ModelFactory]
    faults: tuple[Fault, ...]
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
    """With placeholders: `{workspace}`, `{database:NAME}` (its file), `{databases}`."""
    faults: FaultsEntry | None = None


def create(order: Order, folder: Path) -> Run:
    """Make a run's directory.

    Raises:
        RunError: the directory is taken, or a placeholder of the server command means nothing.
        UnknownModel: there is no such model.
        FaultsError: the faults file has a mistake.
    """
    factories = [models.create(spec) for spec in order.models]
    rules = _rules(order.faults)
    _check_sequences(rules, order)
    for sequence in order.suite.sequences:
        command(order.server, sequence, Path("/"))
    manifest = Manifest(
        run=str(uuid6.uuid7()),
        suite=SuiteEntry(
            name=order.suite.name,
            version=order.suite.version,
            hash=order.suite.hash,
            path=str(order.suite.path.absolute()),
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
        faults=order.faults,
        prices={},
    )
    folder = folder.absolute()
    if folder.exists() and any(folder.iterdir()):
        raise RunError(f"{folder} is not empty; expected a new directory, or --resume {folder}")
    for part in (folder, folder / "state", folder / "workspaces"):
        part.mkdir(parents=True, exist_ok=True)
    manifest.write(folder)
    return Run(folder, manifest, order.suite, factories, rules)


def resume(folder: Path, suite: Suite) -> Run:
    """Take up a run that was interrupted: ended trials stay, the others begin anew.

    Args:
        folder: The run's directory.
        suite: The suite that its manifest names, as it is now.

    Raises:
        ManifestError: the directory is not a run's, or suite or models have changed since.
        RecordError: its records cannot be read.
    """
    folder = folder.absolute()
    manifest = manifests.read(folder)
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
    settled: dict[str, Ended] = {}
    reruns: dict[str, int] = {}
    log = folder / FILE_NAME
    for record in read(log) if log.exists() else ():
        if isinstance(record, TrialStarted):
            reruns[_unit(record.trial)] = record.rerun + 1
        elif isinstance(record, TrialEnded) and record.outcome is not Ended.INTERRUPTED:
            settled[_unit(record.trial)] = record.outcome
    rules = _rules(manifest.faults)
    return Run(folder, manifest, suite, factories, rules, settled, reruns, resumed=True)


def _rules(entry: FaultsEntry | None) -> tuple[Fault, ...]:
    return fault_files.parse(entry.content, entry.name) if entry is not None else ()


def _check_sequences(rules: Sequence[Fault], order: Order) -> None:
    """A rule for a sequence that is not there would silently strike nothing.

    Raises:
        RunError: there is one.
    """
    known = [sequence.id for sequence in order.suite.sequences]
    for rule in rules:
        if rule.sequence is not None and rule.sequence not in known:
            where = order.faults.name if order.faults is not None else ""
            raise RunError(f"{where}: no sequence {rule.sequence!r}; there are: {', '.join(known)}")


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
                )
                plans.append(_numbered(plan, run))
    return plans


def _numbered(plan: Plan, run: Run) -> Plan:
    """The plan under its next re-run number."""
    return Plan(
        sequence=plan.sequence,
        whole=plan.whole,
        model=plan.model,
        slug=plan.slug,
        repeat=plan.repeat,
        rerun=run.reruns.get(plan.unit, 0),
        seed=plan.seed,
    )


def command(template: Sequence[str], sequence: WorkSequence, workspace: Path) -> list[str]:
    """A server command with its placeholders filled in.

    Raises:
        RunError: a placeholder names a database that the sequence does not have.
    """
    files = {name: workspace / base.file for name, base in sequence.fixture.databases.items()}

    def file(found: re.Match[str]) -> str:
        name = found.group(1)
        if name not in files:
            known = ", ".join(files) or "none"
            raise RunError(
                f"{found.group(0)}: sequence {sequence.id!r} has no such database; it has: {known}"
            )
        return str(files[name])

    argv: list[str] = []
    for part in template:
        if part == DATABASES:
            for name, path in files.items():
                argv += ["--database", f"{name}=sqlite:///{path}?mode=rw"]
        else:
            filled = re.sub(r"\{database:([^{}]*)\}", file, part)
            argv.append(filled.replace("{workspace}", str(workspace)))
    return argv


@dataclass(slots=True)
class _Driving:
    """The trials under way, and how they are stopped."""

    run: Run
    setting: Setting
    environment: Mapping[str, str]
    limiter: anyio.CapacityLimiter
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    interrupted: bool = False
    ended: int = 0
    failure: Exception | None = None

    async def one(self, plan: Plan) -> None:
        """Play one trial when there is room; its failure stops the run."""
        async with self.limiter:
            workspace = self.run.folder / "workspaces" / plan.name
            server = ServerProcess(
                argv=command(self.run.manifest.server, plan.sequence, workspace),
                cwd=workspace,
                environment=self.environment,
                log=self.run.folder / "server.log",
            )
            try:
                await execute(plan, self.setting, server)
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
    run: Run, environment: Mapping[str, str], concurrency: int, observer: Observer | None = None
) -> bool:
    """Play all trials that have not ended yet.

    Args:
        run: What to play.
        environment: Of the servers, `SUREFOOT_HOME` aside.
        concurrency: Trials at the same time, each with a server of its own.
        observer: Sees each record.

    Returns:
        Whether the run was interrupted; then it can be resumed.

    Raises:
        Unreachable: a server did not start; the run can be resumed.
        FixtureError: a sequence cannot be laid out.
    """
    plans = build(run)
    with RecordLog(run.folder / FILE_NAME, observer) as log:
        log.write(
            RunStarted(
                run=run.manifest.run,
                suite=f"{run.suite.name} {run.suite.version}",
                suite_hash=run.suite.hash,
                resumed=run.resumed,
                trials=len(plans),
            )
        )
        driving = _Driving(
            run=run,
            setting=Setting(run.manifest.run, log, run.faults),
            environment={**environment, "SUREFOOT_HOME": str(run.folder / "state")},
            limiter=anyio.CapacityLimiter(concurrency),
            ended=len(run.settled),
        )
        async with anyio.create_task_group() as watching:
            watching.start_soon(driving.watch)
            with driving.scope:
                async with anyio.create_task_group() as trials:
                    for plan in plans:
                        if plan.unit not in run.settled:
                            trials.start_soon(driving.one, plan)
            watching.cancel_scope.cancel()
        # a signal after the last trial had ended interrupted nothing
        interrupted = driving.interrupted and driving.ended < len(plans)
        stopped = interrupted or driving.failure is not None
        log.write(RunEnded(run=run.manifest.run, interrupted=stopped, trials=driving.ended))
    if driving.failure is not None:
        raise driving.failure
    return interrupted
