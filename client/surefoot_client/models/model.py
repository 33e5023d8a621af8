"""The seam of a model: results in, proposals out. One adapter a file beside this one.

A model knows nothing of transport, keys or records: `trial.py` carries its proposals out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from surefoot_client.record import Usage
from surefoot_client.suite import Sequence as WorkSequence


class Mishap(StrEnum):
    """What befalls a simulated model's call on its way; the driver carries it out."""

    LOST_ANSWER = "lost_answer"
    """The answer never reaches the model's side: the driver must send again, under the same key."""
    REPEATED_CALL = "repeated_call"
    """The same request is sent twice at the same time, under the same key."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """One tool call that a model proposes."""

    tool: str
    arguments: dict[str, Any] | None
    """None when they could not be read as a JSON object."""
    raw: str | None = None
    """The unreadable arguments, as written."""
    step: str | None = None
    """The reference call `TURN.NUMBER` that it is meant to be; None where nobody can know."""
    slip: str | None = None
    """The slip that it was made with on purpose."""
    mishap: Mishap | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the model is told about one of its proposals."""

    tool: str
    is_error: bool
    text: str


@dataclass(frozen=True, slots=True)
class Generation:
    """What one model call produced."""

    text: str
    proposals: tuple[Proposal, ...]
    """Empty: the model has nothing more to do in this turn."""
    stop_reason: str
    """`tool_use`, `end_turn`, `gave_up`, or a provider's own word."""
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool as the model may know it."""

    name: str
    description: str
    input_schema: Mapping[str, Any]


class Model(Protocol):
    """A conversation with a model over one trial; asked by one task at a time."""

    async def generate(self, prompt: str | None, results: Sequence[ToolResult]) -> Generation:
        """The model's next step.

        Args:
            prompt: Opens the next turn; None within a turn.
            results: Of the proposals of the last generation, in their order.
        """
        ...


class ModelFactory(Protocol):
    """A model as asked for on the command line; makes one conversation a trial."""

    @property
    def spec(self) -> str:
        """As asked for: `scripted`, `sim:steady`."""
        ...

    @property
    def simulated(self) -> bool:
        """Whether it slips on purpose; every page says so."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """JSON for the manifest: resolved id, rates, limits."""
        ...

    def build(self, sequence: WorkSequence, tools: Sequence[OfferedTool], seed: str) -> Model:
        """A model for one trial; the same seed makes the same choices."""
        ...
