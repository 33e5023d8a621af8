"""The faults file: its mistakes are named by line, its rules strike where they say."""

from pathlib import Path

import pytest

from surefoot_client.faults import FaultsError, Kind, TrialFaults, load, parse

SHIPPED = Path(__file__).parents[2] / "suites" / "faults" / "rough.toml"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[fault]\n", "f.toml:1: not TOML"),
        ('[[fault]]\nkind = "drop_answer"\n', "f.toml:1: fault.0: expected exactly one of rate"),
        (
            '[[fault]]\nkind = "drop_answer"\nrate = 0.1\ncall = 2\n',
            "f.toml:1: fault.0: expected exactly one of rate",
        ),
        (
            '[[fault]]\nkind = "drop_answer"\nrate = 0.1\n\n[[fault]]\nrate = 1.0\nkind = "x"\n',
            "f.toml:7: kind: Input should be 'drop_answer', 'cut_pipe', 'kill_server' or 'delay'"
            ", not 'x'",
        ),
        ('[[fault]]\nkind = "cut_pipe"\nrate = 1.5\n', "f.toml:3: rate: Input should be less"),
        ('[[fault]]\nkind = "cut_pipe"\ncall = 0\n', "f.toml:3: call: Input should be greater"),
        ('[[fault]]\nkind = "cut_pipe"\ncall = "1"\n', "f.toml:3: call: Input should be a valid"),
        ('[[fault]]\nkind = "kill_server"\nevery = 3\n', "f.toml:1: fault.0: expected point for"),
        ('[[fault]]\nkind = "cut_pipe"\npoint = "after_effect"\ncall = 1\n', "f.toml:1: fault.0"),
        ('[[fault]]\nkind = "delay"\ncall = 1\n', "f.toml:1: fault.0: expected seconds for kind"),
        ('[[fault]]\nkind = "cut_pipe"\nevry = 3\n', "f.toml:3: evry: Extra inputs are not"),
        ("# nothing\nfaults = 1\n", "f.toml:2: faults: Extra inputs are not permitted"),
    ],
)
def test_a_mistake_is_named_with_file_and_line(text: str, said: str) -> None:
    with pytest.raises(FaultsError) as raised:
        parse(text, "f.toml")
    assert str(raised.value).startswith(said)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FaultsError, match=r"none\.toml:1: cannot be read"):
        load(tmp_path / "none.toml")


def test_the_shipped_file_drops_a_tenth_and_kills_five_times() -> None:
    rules = load(SHIPPED)
    kills = [rule.on_send.server_fault for rule in rules if rule.kind is Kind.KILL_SERVER]
    assert sorted(str(kill) for kill in kills) == [
        "kill:after_effect",
        "kill:after_effect",
        "kill:before_answer",
        "kill:before_answer",
        "kill:before_intent",
    ]
    assert {rule.tool for rule in rules if rule.kind is Kind.KILL_SERVER} == {
        "write_file",
        "edit_file",
        "execute_sql",
    }
    assert [rule.rate for rule in rules if rule.kind is Kind.DROP_ANSWER] == [0.1]


def struck(text: str, sends: list[tuple[str, int]], seed: str = "s") -> list[str | None]:
    """The label of the fault that strikes each send (tool, attempt), in their order."""
    faults = TrialFaults(parse(text, "f"), "work", seed)
    found = [faults.strike(tool, f"1:{n}", attempt) for n, (tool, attempt) in enumerate(sends)]
    return [fault.label if fault is not None else None for fault in found]


def test_a_placed_fault_strikes_the_nth_call_of_its_tool_and_never_a_retry() -> None:
    text = '[[fault]]\nkind = "cut_pipe"\ntool = "a"\ncall = 2\n'
    sends = [("a", 1), ("a", 2), ("b", 1), ("a", 1), ("a", 2), ("a", 1)]
    assert struck(text, sends) == [None, None, None, "cut_pipe", None, None]


def test_every_nth_call_is_struck() -> None:
    text = '[[fault]]\nkind = "delay"\nseconds = 0.5\nevery = 2\n'
    assert struck(text, [("a", 1)] * 5) == [None, "delay:0.5", None, "delay:0.5", None]


def test_a_fault_of_another_sequence_strikes_nothing() -> None:
    text = '[[fault]]\nkind = "cut_pipe"\nsequence = "other"\nrate = 1.0\n'
    assert struck(text, [("a", 1)] * 3) == [None] * 3


def test_a_rate_strikes_about_as_often_and_depends_on_the_seed_alone() -> None:
    text = '[[fault]]\nkind = "drop_answer"\nrate = 0.1\n'
    sends = [("a", 1)] * 2000
    once, again, other = (struck(text, sends, seed) for seed in ("1", "1", "2"))
    assert once == again
    assert once != other
    assert 140 < sum(label is not None for label in once) < 260


def test_a_kill_at_a_rate_spares_retries_and_a_drop_does_not() -> None:
    for kind, extra, spared in (
        ("kill_server", 'point = "after_effect"', True),
        ("drop_answer", "", False),
    ):
        text = f'[[fault]]\nkind = "{kind}"\nrate = 1.0\n{extra}\n'
        first, second = struck(text, [("a", 1), ("a", 2)])
        assert first is not None
        assert (second is None) == spared


def test_the_first_rule_that_strikes_wins() -> None:
    text = '[[fault]]\nkind = "cut_pipe"\ncall = 1\n[[fault]]\nkind = "drop_answer"\nrate = 1.0\n'
    assert struck(text, [("a", 1), ("a", 1)]) == ["cut_pipe", "drop_answer"]
