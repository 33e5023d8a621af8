"""The faults file: its mistakes are named by line, its rules strike where they say."""

from pathlib import Path

import pytest
from tests.client.mini_suite import mixed

from surefoot_client.faults import FaultsError, Kind, TrialFaults, check, load, parse, tally
from surefoot_client.record import Sent
from surefoot_client.suite import find
from surefoot_client.suite import load as read_suite

SHIPPED = Path(__file__).parents[2] / "suites" / "faults" / "rough.toml"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[fault]\n", "f.toml:1: not TOML"),
        ('[[fault]]\nkind = "drop_answer"\n', "f.toml:1: expected exactly one of rate"),
        (
            '[[fault]]\nkind = "drop_answer"\nrate = 0.1\ncall = 2\n',
            "f.toml:1: expected exactly one of rate",
        ),
        (
            '[[fault]]\nkind = "drop_answer"\nrate = 0.1\n\n[[fault]]\nrate = 1.0\nkind = "x"\n',
            "f.toml:7: kind is \"x\"; input should be 'drop_answer', 'cut_pipe', 'kill_server' or",
        ),
        (
            '[[fault]]\nkind = "cut_pipe"\nrate = 1.5\n',
            "f.toml:3: rate is 1.5; input should be less",
        ),
        (
            '[[fault]]\nkind = "cut_pipe"\ncall = 0\n',
            "f.toml:3: call is 0; input should be greater",
        ),
        (
            '[[fault]]\nkind = "cut_pipe"\ncall = "1"\n',
            'f.toml:3: call is "1"; expected an integer',
        ),
        (
            '[[fault]]\nkind = "kill_server"\nevery = 3\n',
            "f.toml:1: kind kill_server needs a point, one of: "
            "before_intent, after_intent, after_effect, before_answer",
        ),
        (
            '[[fault]]\nkind = "cut_pipe"\npoint = "after_effect"\ncall = 1\n',
            "f.toml:1: expected point",
        ),
        ('[[fault]]\nkind = "delay"\ncall = 1\n', "f.toml:1: expected seconds for kind"),
        (
            '[[fault]]\nkind = "cut_pipe"\nevry = 3\n',
            "f.toml:3: unknown field 'evry'; expected one",
        ),
        ("[[fault]]\ncall = 1\n", "f.toml:1: field 'kind' is missing"),
        ("# nothing\nfaults = 1\n", "f.toml:2: unknown table faults; expected [[fault]]"),
        (
            '\n[[faults]]\nkind = "cut_pipe"\ncall = 1\n',
            "f.toml:2: unknown table faults; expected [[fault]]",
        ),
        ("fault = 1\n", "f.toml:1: fault is no list of tables; expected [[fault]]"),
        ("# nothing\n", "f.toml: no fault in it; expected at least one [[fault]]"),
        ("fault = []\n", "f.toml: no fault in it; expected at least one [[fault]]"),
    ],
)
def test_a_mistake_is_named_with_file_and_line(text: str, said: str) -> None:
    with pytest.raises(FaultsError) as raised:
        parse(text, "f.toml")
    assert str(raised.value).startswith(said)


def test_a_file_that_cannot_be_read_is_named_without_a_line(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"# \xe9\n")
    for file, said in (
        ("none.toml", "there is no such file"),
        ("", "cannot be read: Is a directory"),
        ("latin.toml", "not UTF-8; a faults file is"),
    ):
        with pytest.raises(FaultsError) as raised:
            load(tmp_path / file)
        assert str(raised.value) == f"{tmp_path / file}: {said}"


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ('sequence = "play"', "f.toml:5: no sequence 'play' in suite 'mini'; there are: work"),
        (
            'tool = "read_fil"',
            "f.toml:5: no call of tool 'read_fil' in suite 'mini'; its calls use: edit_file, "
            "execute_sql, query_database, read_file, run_command, write_file",
        ),
        (
            'tool = "count"\nsequence = "work"',
            "f.toml:5: no call of tool 'count' in sequence 'work'; its calls use: edit_file",
        ),
    ],
)
def test_a_rule_for_what_the_suite_does_not_have_is_refused(
    tmp_path: Path, rule: str, said: str
) -> None:
    suite = read_suite(mixed(tmp_path))
    good = '[[fault]]\nkind = "cut_pipe"\ncall = 1\n'
    check(f'{good}sequence = "work"\ntool = "read_file"\n', "f.toml", suite)
    with pytest.raises(FaultsError) as raised:
        check(f'[[fault]]\nkind = "cut_pipe"\ncall = 1\n\n{rule}\n', "f.toml", suite)
    assert str(raised.value).startswith(said)


def test_the_shipped_file_drops_a_tenth_and_kills_five_times() -> None:
    text, rules = load(SHIPPED)
    check(text, str(SHIPPED), read_suite(find("standard")))
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
    return [strike[1].label if strike is not None else None for strike in found]


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


def test_strikes_are_counted_by_rule_and_not_by_kind() -> None:
    rule = '[[fault]]\nkind = "cut_pipe"\n'
    rules = parse(f'{rule}call = 2\n{rule}tool = "b"\ncall = 1\n{rule}call = 9\n', "f")
    faults = TrialFaults(rules, "work", "s")
    struck = [faults.strike(tool, "1:0", 1) for tool in ("a", "a", "b")]
    assert [strike[0] if strike is not None else None for strike in struck] == [None, 1, 2]
    sends = [
        Sent(
            trial="t",
            key=f"r:t:1:{at}",
            attempt=1,
            tool="a",
            arguments={},
            fault_rule=strike[0] if strike is not None else None,
        )
        for at, strike in enumerate([*struck, struck[1]])
    ]
    assert tally(rules, sends) == [2, 1, 0]
    assert [str(each) for each in rules] == [
        "cut_pipe, call 2",
        "cut_pipe, call 1, tool b",
        "cut_pipe, call 9",
    ]
