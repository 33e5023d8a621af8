"""The model `scripted`: plays the reference calls of the suite, turn by turn, without a slip."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from surefoot_client.models.model import Generation, OfferedTool, Proposal, ToolResult
from surefoot_client.suite import Sequence as WorkSequence


def reference(sequence: WorkSequence, turn: int) -> list[Proposal]:
    """The reference calls of a turn (from 1), each naming its step."""
    return [
        Proposal(call.tool, dict(call.arguments), step=f"{turn}.{number}")
        for number, call in enumerate(sequence.turns[turn - 1].calls)
    ]


@dataclass(slots=True)
class Scripted:
    """One play of a sequence; proposes all the calls of a turn at once."""

    sequence: WorkSequence
    turn: int = 0

    async def generate(self, prompt: str | None, results: Sequence[ToolResult]) -> Generation:
        """The whole turn when a prompt opens it, then nothing."""
        if prompt is None:
            return Generation("done", (), "end_turn")
        self.turn += 1
        return Generation(prompt, tuple(reference(self.sequence, self.turn)), "tool_use")


@dataclass(frozen=True, slots=True)
class ScriptedFactory:
    """Makes `Scripted`."""

    spec: str = "scripted"
    simulated: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def build(self, sequence: WorkSequence, tools: Sequence[OfferedTool], seed: str) -> Scripted:
        """A play of `sequence`."""
        return Scripted(sequence)
