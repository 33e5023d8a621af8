"""The folder of jobs: beginning them, holding them, looking at them, clearing them away."""

import json
import os
import re
import socket
import threading
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import anyio

from surefoot_tools.errors import Applied, Code, Origin, ToolError
from surefoot_tools.jobs import JobEnd
from surefoot_tools.sandbox.sandbox import Level, Sandbox
from surefoot_tools.shell.attendance import Attendance
from surefoot_tools.shell.command import Command, cannot_start
from surefoot_tools.shell.end import end_of, place_of, wait_for_end
from surefoot_tools.shell.keeping import Keeping
from surefoot_tools.shell.places import JOBS, no_place
from surefoot_tools.shell.record import TOLD, Begun, Record, claim
from surefoot_tools.shell.sweep import SWEPT, sweep
from surefoot_tools.supervisor.orders import HAND_OVER

KEPT = 7 * 86400.0
"""Seconds for which a job's absence proves that it never began; as long as the journal keeps
results."""
PATIENCE = 10.0
"""Seconds that a keeper may take to begin a command; a start of its own included."""
HEARD, LOOK = 2.0, 0.001
"""Seconds that a supervisor may take to hear an order, and between two looks whether it did."""
SWEEP_EACH = 256
"""Commands between two sweeps."""
_NAME = re.compile(r"[0-9a-f]{8,32}")


class Jobs:
    """Jobs below one folder, which servers of one state directory share.

    Args:
        folder: Made when the first job begins.
        grace: Seconds that a command lives on when its server has died.
        environment: The server's own.
        job_grace: The same for jobs; None for ever.
        sandbox: Confines the commands; by default they are not confined.
    """

    def __init__(
        self,
        folder: Path,
        grace: float,
        environment: Mapping[str, str],
        job_grace: float | None = 30.0,
        sandbox: Sandbox | None = None,
    ) -> None:
        self._sandbox = sandbox or Sandbox(Level.OFF)
        self._folder = folder
        self._grace = grace
        self._job_grace = job_grace
        self._keeping = Keeping(folder / "keeper.log", environment)
        self._begun = 0
        self._held: dict[str, Attendance] = {}
        self._place = ""
        weakref.finalize(self, _let_go, self._held)

    def adopt(self) -> None:
        """Hold the jobs of servers that are gone, so that they live as long as this one."""
        with suppress(FileNotFoundError):
            for name in os.listdir(self._folder):
                if _NAME.fullmatch(name):
                    self.hold(name)

    def hold(self, job: str, held: Attendance | None = None) -> None:
        """Hold a job until it ends, or this server.

        Args:
            job: One that nobody waits for.
            held: The hold on it, owned from here on; None to take one.
        """
        self.running()  # gives back what has ended
        if job in self._held:
            if held is not None:
                held.close()
            return
        if held is None:
            held = Attendance.adopt(self._folder / job)
            begun = self.record(job).begun() if held is not None else None
            if held is None or begun is None or not begun.handed_over:
                if held is not None:
                    held.close()
                return
        self._held[job] = held

    async def hand_over(self, job: str, held: Attendance) -> None:
        """A command becomes a job: nobody waits for it any more."""
        held.order(HAND_OVER)
        self.hold(job, held)
        record = self.record(job)
        # Before anybody is told of a job, its own record says that it is one.
        with anyio.CancelScope(shield=True), anyio.move_on_after(HEARD):
            while not held.over:
                begun = record.begun()
                if begun is not None and begun.handed_over:
                    return
                await anyio.sleep(LOOK)

    def running(self) -> int:
        """How many jobs run that this server holds."""
        for job, held in list(self._held.items()):
            if held.over:
                held.close()
                del self._held[job]
        return len(self._held)

    def see_room(self, limit: int = JOBS) -> None:
        """See that another job may begin.

        Raises:
            ToolError: too many run.
        """
        if self.running() >= limit:
            raise no_place(f"{len(self._held)} jobs run", "Stop some of them with stop_job.")

    def record(self, job: str) -> Record:
        """What is on disk about a job."""
        return Record(self._folder / job)

    @property
    def place(self) -> str:
        """See `jobs.JobRecords`, as for the two below."""
        self._place = self._place or place_of(self._folder)
        return self._place

    def end_of(self, job: str) -> JobEnd | None:
        """How a job ended; None while it runs, or if nobody can look now."""
        return end_of(self._folder / job)

    async def wait(self, job: str) -> None:
        """Wait until a job has ended."""
        await wait_for_end(self._folder / job)

    def of(self, job: str, principal: str) -> tuple[Record, Begun]:
        """The record of a job of somebody's.

        Raises:
            ToolError: there is none, as far as that one may know.
        """
        record = self.record(job if _NAME.fullmatch(job) else "none")
        begun = record.begun()
        if begun is None or begun.principal != principal:
            raise ToolError(
                Code.NOT_FOUND,
                f"there is no job {job[:40]!r}",
                hint="list_jobs tells which there are; what has ended is kept for a day at most.",
            )
        return record, begun

    def all_of(self, principal: str) -> list[tuple[str, Record, Begun]]:
        """The jobs of somebody's, newest first."""
        found: list[tuple[str, Record, Begun]] = []
        with suppress(FileNotFoundError):
            for name in os.listdir(self._folder):
                record = self.record(name)
                begun = record.begun() if _NAME.fullmatch(name) else None
                if begun is not None and begun.handed_over and begun.principal == principal:
                    found.append((name, record, begun))
        return sorted(found, key=lambda each: -each[2].began)

    def claim(self, job: str) -> bool:
        """Make sure that a job never begins; False if it has begun, or was claimed before.

        Raises:
            OSError: the folder cannot be written to, so nothing is sure.
        """
        self._make()
        return claim(self._folder / job, self._folder / f".{uuid4().hex}")

    async def begin(self, job: str, command: Command) -> Attendance:
        """Have a supervisor begin a command.

        Raises:
            ToolError: it has not begun and never will (`applied` is `no`), or nobody knows.
        """
        request = self._request(job, command)
        held: Attendance | None = None
        try:
            self._make()
            self._sweep_at_times()
            with anyio.fail_after(PATIENCE):
                held = await self._line()
                answer = await held.ask(request)
        except OSError as e:
            if held is not None:
                held.close()
            if isinstance(e, TimeoutError):
                raise self._unanswered(job) from e
            raise cannot_start(e.errno or 0, "keeper") from e
        if answer is not None and "begun" in answer:
            return held
        held.close()
        if answer is None:
            raise self._unanswered(job)
        if "taken" in answer:
            raise ToolError(Code.ABORTED, "another server has made sure that this never begins")
        raise cannot_start(answer["errno"], answer["step"], command.argv[0])

    async def _line(self) -> Attendance:
        """A line to a new supervisor."""
        ours, theirs = socket.socketpair()
        held = Attendance.of_line(ours)
        try:
            with theirs:
                await self._keeping.hand_over(theirs)
        except BaseException:
            held.close()
            raise
        return held

    def _request(self, job: str, command: Command) -> bytes:
        """The line that `supervisor.supervise` reads."""
        place = {
            "jobs": str(self._folder),
            "job": job,
            "grace": self._grace,
            "job_grace": self._job_grace,
        }
        asked = command.request()
        asked["confinement"] = self._sandbox.plan(job, command.roots)
        asked["about"]["sandbox"] = str(self._sandbox.reached)
        return json.dumps({**place, **asked}).encode() + b"\n"

    def _unanswered(self, job: str) -> ToolError:
        """The error of a command whose supervisor never said that it begins."""
        with suppress(OSError):
            if self.claim(job):
                return ToolError(
                    Code.UNAVAILABLE, "the process that starts commands died before this one began"
                )
        return ToolError(
            Code.UNKNOWN,
            "the command's supervisor died as it began",
            applied=Applied.UNKNOWN,
            origin=Origin.ENVIRONMENT,
        )

    def told(self, job: str) -> None:
        """The outcome of a call is in the journal: recovery needs the job's folder no more."""
        with suppress(OSError):
            os.close(os.open(self._folder / job / TOLD, os.O_WRONLY | os.O_CREAT, 0o600))

    def sweep(self, older_than: float = SWEPT) -> None:
        """Clear away what nobody came for in so many seconds, and what is too old or too much."""
        sweep(self._folder, older_than)

    def _sweep_at_times(self) -> None:
        """Sweep once in a while, beside the commands: it takes some milliseconds."""
        if self._begun % SWEEP_EACH == 0:
            threading.Thread(target=sweep, args=(self._folder,), daemon=True).start()
        self._begun += 1

    def _make(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _let_go(held: dict[str, Attendance]) -> None:
    """Give up all holds, as the end of the process would."""
    for each in held.values():
        each.close()
    held.clear()
