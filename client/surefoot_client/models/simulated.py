"""The models `sim:PROFILE`: play the reference calls, but slip on purpose, at known rates.

A profile's rates are stated inputs, not measurements: they are what a run has to find again. At
most one slip a step, drawn once for each reference step from (seed, trial, step), so that the same
seed slips in the same places whatever else happens.

| slip | what the model does | first attempt |
|---|---|---|
| `wrong_argument` | a required argument under a wrong name, or of a wrong type | fails |
| `unknown_tool` | a tool that is not offered | fails |
| `malformed_call` | arguments that are no JSON | fails |
| `lost_answer` | the right call; its answer never comes | fails |
| `repeated_call` | the right call, sent twice at once under one key | succeeds |
"""

import json
import tomllib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from importlib import resources
from pathlib import Path
from random import Random
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from surefoot_client.document import first_of, say
from surefoot_client.models.model import Generation, Mishap, OfferedTool, Proposal, ToolResult
from surefoot_client.models.scripted import reference
from surefoot_client.suite import Sequence as WorkSequence


class ProfileError(ValueError):
    """A profile is missing or has a mistake."""


class Slip(StrEnum):
    """What a simulated model does wrong; see the module's table."""

    WRONG_ARGUMENT = "wrong_argument"
    UNKNOWN_TOOL = "unknown_tool"
    MALFORMED_CALL = "malformed_call"
    LOST_ANSWER = "lost_answer"
    REPEATED_CALL = "repeated_call"


class Rates(BaseModel):
    """Probability of each slip at a reference step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    wrong_argument: float = Field(default=0.0, ge=0, le=1)
    unknown_tool: float = Field(default=0.0, ge=0, le=1)
    malformed_call: float = Field(default=0.0, ge=0, le=1)
    lost_answer: float = Field(default=0.0, ge=0, le=1)
    repeated_call: float = Field(default=0.0, ge=0, le=1)

    @property
    def first_attempt(self) -> float:
        """Probability that the first attempt of a step succeeds: 1 - sum of the slips that fail."""
        failing = self.wrong_argument + self.unknown_tool + self.malformed_call + self.lost_answer
        return 1.0 - failing


class Profile(BaseModel):
    """How a simulated model slips and recovers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    about: str
    first_attempt: float = Field(ge=0, le=1)
    """The first-attempt rate that the rates below add up to; stated so that a reader sees it."""
    recovers: float = Field(ge=0, le=1)
    """Probability that the model proposes the right call after it has seen an error."""
    rates: Rates

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if sum(self.rates.model_dump().values()) > 1:
            raise ValueError("the rates of the slips add up to more than 1")
        if abs(self.rates.first_attempt - self.first_attempt) > 1e-9:
            raise ValueError(
                f"first_attempt is {self.first_attempt:g}, but the rates leave "
                f"{self.rates.first_attempt:g}"
            )
        return self


def shipped() -> list[str]:
    """Names of the profiles that come with surefoot."""
    folder = resources.files("surefoot_client.models").joinpath("profiles")
    names = [entry.name for entry in folder.iterdir()]
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def load_profile(name: str) -> Profile:
    """A shipped profile by name, or one from a path to a TOML file.

    Raises:
        ProfileError: there is none, or it has a mistake.
    """
    try:
        if name in shipped():
            folder = resources.files("surefoot_client.models").joinpath("profiles")
            text = folder.joinpath(f"{name}.toml").read_text(encoding="utf-8")
        else:
            text = Path(name).read_text(encoding="utf-8")
        return Profile.model_validate(tomllib.loads(text))
    except OSError as error:
        known = ", ".join(shipped())
        raise ProfileError(
            f"no profile {name!r}: expected one of {known}, or the path of a TOML file"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise ProfileError(f"{name}: not TOML: {error}") from error
    except ValidationError as error:
        # no lines: TOML's reader does not tell them
        first = first_of(error, lambda _: 1)
        raise ProfileError(f"{name}: {say(Profile, first)}") from error


@dataclass(slots=True)
class Simulated:
    """One play of a sequence: one call at a time, each result read before the next."""

    profile: Profile
    sequence: WorkSequence
    tools: Mapping[str, OfferedTool]
    seed: str
    turn: int = 0
    _ahead: deque[Proposal] = field(default_factory=deque[Proposal], init=False)
    _last: Proposal | None = field(default=None, init=False)
    _anew: bool = field(default=False, init=False)
    """Whether the last proposal was a second try of its step."""

    async def generate(self, prompt: str | None, results: Sequence[ToolResult]) -> Generation:
        """The next reference call, slipped or not; the last one anew after an error."""
        if prompt is not None:
            self.turn += 1
            self._ahead = deque(reference(self.sequence, self.turn))
        elif self._last is not None and any(result.is_error for result in results):
            if self._anew or not self._recovers(self._last):
                self._last = None
                return Generation("I cannot do this.", (), "gave_up")
            return self._propose(self._reference(self._last), anew=True)
        if not self._ahead:
            self._last = None
            return Generation("done", (), "end_turn")
        return self._propose(self._slipped(self._ahead.popleft()), anew=False)

    def _propose(self, proposal: Proposal, *, anew: bool) -> Generation:
        self._last, self._anew = proposal, anew
        return Generation("", (proposal,), "tool_use")

    def _reference(self, proposal: Proposal) -> Proposal:
        steps = reference(self.sequence, self.turn)
        return next(step for step in steps if step.step == proposal.step)

    def _draw(self, proposal: Proposal) -> Random:
        return Random(f"{self.seed}/{proposal.step}")  # noqa: S311 - a simulation

    def _recovers(self, proposal: Proposal) -> bool:
        draw = self._draw(proposal)
        draw.random()
        return draw.random() < self.profile.recovers

    def _slipped(self, proposal: Proposal) -> Proposal:
        slip = self._slip(proposal)
        match slip:
            case None:
                return proposal
            case Slip.LOST_ANSWER:
                return replace(proposal, slip=slip.value, mishap=Mishap.LOST_ANSWER)
            case Slip.REPEATED_CALL:
                return replace(proposal, slip=slip.value, mishap=Mishap.REPEATED_CALL)
            case Slip.UNKNOWN_TOOL:
                return replace(proposal, slip=slip.value, tool=self._no_such_tool(proposal.tool))
            case Slip.MALFORMED_CALL:
                raw = json.dumps(proposal.arguments)[:-1] + ","
                return replace(proposal, slip=slip.value, arguments=None, raw=raw)
            case Slip.WRONG_ARGUMENT:
                return replace(proposal, slip=slip.value, arguments=self._wrong(proposal))

    def _slip(self, proposal: Proposal) -> Slip | None:
        drawn = self._draw(proposal).random()
        for slip in Slip:
            rate = getattr(self.profile.rates, slip.value)
            if drawn < rate:
                return slip
            drawn -= rate
        return None

    def _no_such_tool(self, tool: str) -> str:
        name = f"do_{tool}"
        while name in self.tools:
            name = f"do_{name}"
        return name

    def _wrong(self, proposal: Proposal) -> dict[str, Any]:
        """Arguments that no validation lets through, so that a slip has no effect of its own."""
        arguments = dict(proposal.arguments or {})
        offered = self.tools.get(proposal.tool)
        required = list(offered.input_schema.get("required", [])) if offered is not None else []
        names = sorted(set(required) & set(arguments)) or sorted(arguments)
        if not names:
            return {"argument": "surplus"}
        draw = self._draw(proposal)
        draw.random()
        draw.random()
        name = draw.choice(names)
        value = arguments.pop(name)
        if draw.random() < 0.5:
            return {f"{name}_value": value, **arguments}
        return {name: {"value": value}, **arguments}


@dataclass(frozen=True, slots=True)
class SimulatedFactory:
    """Makes `Simulated` of one profile."""

    spec: str
    profile: Profile
    simulated: bool = True

    @property
    def settings(self) -> Mapping[str, Any]:
        """The whole profile."""
        return self.profile.model_dump(mode="json")

    def build(self, sequence: WorkSequence, tools: Sequence[OfferedTool], seed: str) -> Simulated:
        """A play of `sequence`."""
        return Simulated(self.profile, sequence, {tool.name: tool for tool in tools}, seed)
