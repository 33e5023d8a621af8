"""The models that play a suite: what they propose, how they slip, and what they cost to ask for."""

from collections import Counter
from pathlib import Path

import pytest
from tests.client.mini_suite import mixed

from surefoot_client import models
from surefoot_client.models.model import Mishap, Model, OfferedTool, Proposal, ToolResult
from surefoot_client.models.scripted import reference
from surefoot_client.models.simulated import Profile, Simulated, Slip, load_profile, shipped
from surefoot_client.stats import wilson
from surefoot_client.suite import Sequence, find, load

pytestmark = pytest.mark.anyio

TOOLS = [
    OfferedTool(name, "", {"type": "object", "required": ["path", "command", "sql", "statements"]})
    for name in ("write_file", "read_file", "edit_file", "execute_sql", "query_database")
]


@pytest.fixture
def sequence(tmp_path: Path) -> Sequence:
    return load(mixed(tmp_path / "suite")).sequences[0]


def profile(**rates: float) -> Profile:
    failing = sum(rate for slip, rate in rates.items() if slip != "repeated_call")
    return Profile.model_validate(
        {
            "name": "test",
            "about": "",
            "first_attempt": 1 - failing,
            "recovers": 1.0,
            "rates": rates,
        }
    )


def simulated(sequence: Sequence, slips: Profile, seed: str = "s") -> Simulated:
    return Simulated(slips, sequence, {tool.name: tool for tool in TOOLS}, seed)


async def first_proposals(model: Model, sequence: Sequence) -> list[Proposal]:
    """What the model proposes for each step when everything it proposes works."""
    found: list[Proposal] = []
    for turn in sequence.turns:
        generation = await model.generate(turn.prompt, [])
        while generation.proposals:
            found += generation.proposals
            fine = [ToolResult(each.tool, False, "fine") for each in generation.proposals]
            generation = await model.generate(None, fine)
    return found


async def test_scripted_proposes_the_reference_calls_in_order(sequence: Sequence) -> None:
    model = models.create("scripted").build(sequence, TOOLS, "s")
    steps = [step for turn in (1, 2, 3) for step in reference(sequence, turn)]
    assert await first_proposals(model, sequence) == steps
    assert len(steps) == 9


async def test_a_simulated_model_without_slips_proposes_the_same(sequence: Sequence) -> None:
    scripted = models.create("scripted").build(sequence, TOOLS, "s")
    calls = await first_proposals(scripted, sequence)
    assert await first_proposals(simulated(sequence, profile()), sequence) == calls


@pytest.mark.parametrize("slip", list(Slip))
async def test_each_slip_spoils_the_call_as_it_says(sequence: Sequence, slip: Slip) -> None:
    model = simulated(sequence, profile(**{slip.value: 1.0}))
    steps = [step for turn in (1, 2, 3) for step in reference(sequence, turn)]
    proposed = await first_proposals(model, sequence)
    assert [each.slip for each in proposed] == [slip.value] * len(steps)
    for each, right in zip(proposed, steps, strict=True):
        match slip:
            case Slip.WRONG_ARGUMENT:
                assert each.tool == right.tool
                assert each.arguments != right.arguments
            case Slip.UNKNOWN_TOOL:
                assert each.tool not in {tool.name for tool in TOOLS}
            case Slip.MALFORMED_CALL:
                assert each.arguments is None
                assert each.raw
            case Slip.LOST_ANSWER | Slip.REPEATED_CALL:
                assert each.mishap is Mishap(slip.value)
                assert (each.tool, each.arguments) == (right.tool, right.arguments)


async def test_a_wrong_argument_spoils_a_required_one(sequence: Sequence) -> None:
    """Guard: `Simulated._wrong`; an optional one left out would be a call that does something."""
    for seed in "abcdefgh":
        model = simulated(sequence, profile(wrong_argument=1.0), seed)
        (proposed,) = (await model.generate("turn 1", [])).proposals
        arguments = proposed.arguments or {}
        assert arguments in (
            {"path": {"value": "a.txt"}, "content": "one\n"},
            {"path_value": "a.txt", "content": "one\n"},
        )


async def test_after_an_error_the_right_call_is_proposed_once(sequence: Sequence) -> None:
    model = simulated(sequence, profile(unknown_tool=1.0))
    right = reference(sequence, 1)[0]
    await model.generate("turn 1", [])
    error = [ToolResult("do_write_file", True, "there is no such tool")]
    again = await model.generate(None, error)
    assert again.proposals == (right,)
    given_up = await model.generate(None, error)
    assert given_up.proposals == ()
    assert given_up.stop_reason == "gave_up"


async def test_a_model_that_does_not_recover_gives_up_at_once(sequence: Sequence) -> None:
    slips = profile(unknown_tool=1.0).model_copy(update={"recovers": 0.0})
    model = simulated(sequence, slips)
    await model.generate("turn 1", [])
    given_up = await model.generate(None, [ToolResult("do_write_file", True, "no")])
    assert given_up.stop_reason == "gave_up"


async def test_slips_depend_on_the_seed_and_on_nothing_else(sequence: Sequence) -> None:
    slips = profile(wrong_argument=0.3, lost_answer=0.3)
    once, again, other = [
        await first_proposals(simulated(sequence, slips, seed), sequence) for seed in "aab"
    ]
    assert once == again
    assert once != other


async def test_slips_come_at_the_rates_of_the_profile(sequence: Sequence) -> None:
    slips = load_profile("hasty")
    found: Counter[str | None] = Counter()
    trials = 400
    for number in range(trials):
        model = simulated(sequence, slips, str(number))
        found.update(each.slip for each in await first_proposals(model, sequence))
    steps = trials * 9
    for slip, rate in slips.rates.model_dump().items():
        # five standard deviations: a seed that fails here is one in a million
        deviation = (rate * (1 - rate) / steps) ** 0.5
        assert abs(found[slip] / steps - rate) < 5 * deviation


def test_the_shipped_profiles_state_the_rates_that_they_add_up_to() -> None:
    assert shipped() == ["hasty", "steady"]
    assert load_profile("steady").first_attempt == 0.914
    assert load_profile("hasty").first_attempt == 0.836


def test_a_profile_may_be_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\nabout = ""\nfirst_attempt = 1.0\nrecovers = 1.0\n[rates]\n')
    model = models.create(f"sim:{path}")
    assert model.simulated
    assert model.settings["name"] == "mine"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("first_attempt = 0.9", "mine.toml: field 'name' is missing"),
        ("a = ", "not TOML"),
        (
            'name="m"\nabout=""\nfirst_attempt=0.9\nrecovers=1.0\n[rates]\nlost_answer=0.2',
            "mine.toml: first_attempt is 0.9, but the rates leave 0.8",
        ),
        (
            'name="m"\nabout=""\nfirst_attempt=0.1\nrecovers=1.0\n'
            "[rates]\nlost_answer=0.9\nrepeated_call=0.2",
            "mine.toml: the rates of the slips add up to more than 1",
        ),
        (
            'name="m"\nabout=""\nfirst_attempt=1.0\nrecovers=1.0\n[rates]\ntypo=0.1',
            "unknown field 'rates.typo'; expected one of: wrong_argument, unknown_tool",
        ),
    ],
)
def test_a_mistake_in_a_profile_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(models.UnknownModel) as raised:
        models.create(f"sim:{path}")
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("gpt", "no model 'gpt'; there are: scripted, sim:hasty, sim:steady, sim:PATH"),
        (
            "gpt-5",
            "no model 'gpt-5'; there are: scripted, sim:hasty, sim:steady, sim:PATH; "
            "real models are not built yet",
        ),
        ("sim:", "no model 'sim:'"),
        ("sim:brisk", "no profile 'brisk': expected one of hasty, steady, or the path"),
        ("claude:x", "models of 'claude' are not built yet; there are: scripted"),
    ],
)
def test_a_model_that_is_not_there_is_answered_with_those_that_are(spec: str, said: str) -> None:
    with pytest.raises(models.UnknownModel) as raised:
        models.create(spec)
    assert str(raised.value).startswith(said)


@pytest.mark.parametrize("name", shipped())
async def test_over_many_seeds_the_interval_covers_the_rate_that_a_profile_states(
    name: str,
) -> None:
    """Guard: `Simulated._slip`; one seed cannot tell a biased simulation from bad luck."""
    sequences = load(find("standard")).sequences
    slips = load_profile(name)
    seeds, covered = 60, 0
    for seed in range(seeds):
        proposed: list[Proposal] = []
        for sequence in sequences:
            model = simulated(sequence, slips, f"{seed}/{sequence.id}")
            proposed += await first_proposals(model, sequence)
        succeed = sum(each.slip in (None, Slip.REPEATED_CALL) for each in proposed)
        interval = wilson(succeed, len(proposed))
        assert interval is not None
        covered += interval.low <= slips.first_attempt <= interval.high
    # Of 60 intervals at 95 % fewer than 52 cover with a probability below 1 in 100.
    assert covered >= 52
