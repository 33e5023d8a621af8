"""Editing a host's text: nothing but our entry changes, whatever the text looks like."""

import json
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from surefoot_cli.install.edit import entries, put, take
from surefoot_cli.install.jsonc import DEEPEST, Dialect, Malformed, parse

HOLDER, NAME = "mcpServers", "surefoot"
ENTRY: dict[str, Any] = {
    "command": "/usr/bin/py",
    "args": ["-P", "serve", "--root", "/w/ü \U0001f9ad"],
}
TEXTS = st.text('aé\U0001f9ad"\\/{}[],:*\n\t ', max_size=5)
KEYS = st.one_of(st.sampled_from([HOLDER, NAME, "a", "ü\U0001f9ad"]), TEXTS)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.sampled_from([-0.5, 1e-7]), TEXTS)
Written = tuple[str, Any]


@st.composite
def trivia(draw: st.DrawFn) -> str:
    """What may stand between two tokens of JSONC."""
    pieces = [" ", "  ", "\t", "\n", "\r\n", "\r", "\n\n", "/* c */", "/*,*/", "// }, \n", "//\r\n"]
    return "".join(draw(st.lists(st.sampled_from(pieces), max_size=3)))


@st.composite
def values(draw: st.DrawFn, depth: int = 0) -> Written:
    """A value of JSONC as it is written, and what it says."""
    kind = draw(st.sampled_from("vvao" if depth < 2 else "v"))
    if kind == "o":
        return draw(objects(depth + 1))
    if kind == "v":
        scalar = draw(SCALARS)
        return json.dumps(scalar, ensure_ascii=draw(st.booleans())), scalar
    items = draw(st.lists(values(depth + 1), max_size=2))
    inside = ",".join(f"{draw(trivia())}{text}{draw(trivia())}" for text, _ in items)
    comma = draw(st.sampled_from(["", ","])) if items else ""
    return f"[{inside}{comma}{draw(trivia())}]", [value for _, value in items]


@st.composite
def objects(draw: st.DrawFn, depth: int, ours: bool | None = None) -> Written:
    """An object of JSONC, now and then with two members of one name.

    Args:
        draw: Of hypothesis.
        depth: 0 for the root; its `HOLDER` is always an object.
        ours: Whether the `HOLDER` of the root has a `NAME`; at depth 1 whether this object has.
    """
    members: list[tuple[str, Written]] = []
    for _ in range(draw(st.integers(0, 3))):
        key = draw(KEYS)
        if depth == 0 and key == HOLDER:
            members.append((key, draw(objects(1, ours))))
        elif ours is None or depth == 0 or key != NAME:
            members.append((key, draw(values(depth + 1))))
    if ours and depth == 0 and HOLDER not in dict(members):
        members.append((HOLDER, draw(objects(1, True))))
    elif ours and depth == 1:
        place = draw(st.integers(0, len(members)))
        members.insert(place, (NAME, draw(values(depth + 1))))
    inside = ",".join(
        f"{draw(trivia())}{json.dumps(key)}{draw(trivia())}:{draw(trivia())}{text}{draw(trivia())}"
        for key, (text, _) in members
    )
    comma = draw(st.sampled_from(["", ","])) if members else ""
    said = {key: value for key, (_, value) in members}
    return f"{{{inside}{comma}{draw(trivia())}}}", said


@st.composite
def documents(draw: st.DrawFn, ours: bool) -> Written:
    """A file of a host, with an entry of our name or without one."""
    text, value = draw(objects(0, ours))
    return f"{draw(trivia())}{text}{draw(trivia())}", value


@st.composite
def tidy(draw: st.DrawFn) -> Written:
    """A file as a program writes it: strict, in one style throughout."""
    _, value = draw(objects(0, False))
    indent = draw(st.sampled_from([None, 0, 2, 4, "\t"]))
    text = json.dumps(value, indent=indent, ensure_ascii=draw(st.booleans()))
    end = draw(st.sampled_from(["", "\n"]))
    return (text + end).replace("\n", draw(st.sampled_from(["\n", "\r\n"]))), value


def added(value: dict[str, Any]) -> dict[str, Any]:
    return {**value, HOLDER: {**value.get(HOLDER, {}), NAME: ENTRY}}


@example(('{"a": 1 // of a\n}', {"a": 1}))
@example(("{\n}", {}))
@example(("{ }", {}))
@example(('{"mcpServers": {\n\t}, // c\n}', {HOLDER: {}}))
@example(('{"mcpServers":{"a":{}},}', {HOLDER: {"a": {}}}))
def put_and_take(written: Written) -> None:
    text, value = written
    new = put(text, HOLDER, NAME, ENTRY, Dialect.JSONC)
    document = parse(new, Dialect.JSONC)
    assert document.plain(document.root) == added(value)
    assert put(new, HOLDER, NAME, ENTRY, Dialect.JSONC) == new
    assert take(new, HOLDER, NAME, Dialect.JSONC) == text


def put_and_take_in_style(written: Written) -> None:
    text, value = written
    new = put(text, HOLDER, NAME, ENTRY, Dialect.JSON)
    assert json.loads(new) == added(value)
    assert take(new, HOLDER, NAME, Dialect.JSON) == text
    if "\r\n" in text:
        assert new.count("\n") == new.count("\r\n")


def put_over(written: Written, old: Written) -> None:
    there = put(written[0], HOLDER, NAME, {"was": 0}, Dialect.JSONC)
    member = parse(there, Dialect.JSONC).root.member(HOLDER)
    ours = member.value.member(NAME) if member else None
    assert ours is not None
    head, tail = there[: ours.value.start], there[ours.value.end :]
    new = put(f"{head}{old[0]}{tail}", HOLDER, NAME, ENTRY, Dialect.JSONC)
    assert new.startswith(head)
    assert new.endswith(tail)
    kept = cast("dict[str, Any]", old[1]) if isinstance(old[1], dict) else {}
    assert entries(new, HOLDER, Dialect.JSONC)[NAME] == {**kept, **ENTRY}


def take_what_others_put(written: Written) -> None:
    text, value = written
    left = take(text, HOLDER, NAME, Dialect.JSONC)
    document = parse(left, Dialect.JSONC)
    said = document.plain(document.root)
    rest = {key: held for key, held in value[HOLDER].items() if key != NAME}
    if rest or HOLDER in said:
        # Of several holders an earlier one counts, once the last is gone with its only entry.
        assert said == {**value, HOLDER: rest or said[HOLDER]}
    else:
        assert said == {key: held for key, held in value.items() if key != HOLDER}


PROPERTIES: dict[Callable[..., None], tuple[st.SearchStrategy[Any], ...]] = {
    put_and_take: (documents(ours=False),),
    put_and_take_in_style: (tidy(),),
    put_over: (documents(ours=False), values()),
    take_what_others_put: (documents(ours=True),),
}


def play(holds: Callable[..., None], examples: int) -> None:
    """Try a property; made anew each time, as hypothesis takes settings only once."""
    settings(max_examples=examples, deadline=None)(given(*PROPERTIES[holds])(holds))()


@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda holds: holds.__name__)
def test_nothing_changes_but_our_entry(holds: Callable[..., None]) -> None:
    """Guard: the layouts of `edit._fill`, the comma of `edit._add`, the cuts of `edit._remove`."""
    play(holds, 15)


@pytest.mark.slow
@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda holds: holds.__name__)
def test_nothing_changes_but_our_entry_in_many_texts(holds: Callable[..., None]) -> None:
    """Guard: as above."""
    play(holds, 800)


@pytest.mark.parametrize("text", ["", " \r\n", "\n"])
def test_an_empty_file_becomes_an_object_and_stays_one(text: str) -> None:
    new = put(text, HOLDER, NAME, ENTRY, Dialect.JSON)
    assert json.loads(new) == {HOLDER: {NAME: ENTRY}}
    assert take(new, HOLDER, NAME, Dialect.JSON) == "{}\n"
    assert take(text, HOLDER, NAME, Dialect.JSON) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1', "line 1, column 8"),
        ('{\n  "a": 1\n  "b": 2\n}', "line 3, column 3"),
        ("{'a': 1}", "double quotes"),
        ('{"a": NaN}', "none of JSON"),
        ('{"a": 01}', "missing"),
        ('{"a": "\t"}', "double quotes"),
        ('{"a": 1} {}', "should end"),
        ("[]", "object"),
        ("null", "object"),
        ('{"mcpServers": []}', "object"),
        ('{"mcpServers": null}', "object"),
        ('{"a": /* }', "does not end"),
        ('{"a": [1,,2]}', "missing"),
        ("{,}", "double quotes"),
        ('{"a": ' + "[" * (DEEPEST + 5), "deeper"),
    ],
)
def test_what_no_host_can_read_is_refused_with_its_place(text: str, said: str) -> None:
    for dialect in Dialect:
        with pytest.raises(Malformed, match=said):
            put(text, HOLDER, NAME, ENTRY, dialect)
        with pytest.raises(Malformed, match=said):
            take(text, HOLDER, NAME, dialect)


@pytest.mark.parametrize("text", ['{"a": 1,}', '{"a": [1,]}', '{"a": 1 // c\n}', "/**/{}"])
def test_comments_and_last_commas_are_for_hosts_that_read_them(text: str) -> None:
    put(text, HOLDER, NAME, ENTRY, Dialect.JSONC)
    with pytest.raises(Malformed, match="its host does not read"):
        put(text, HOLDER, NAME, ENTRY, Dialect.JSON)


def test_a_remote_entry_of_our_name_is_replaced_as_a_whole() -> None:
    text = '{"mcpServers": {"surefoot": {"url": "http://h/", "headers": {}}}}'
    new = put(text, HOLDER, NAME, ENTRY, Dialect.JSON)
    assert json.loads(new) == {HOLDER: {NAME: ENTRY}}


@pytest.mark.parametrize("depth", [DEEPEST - 1, DEEPEST + 1])
def test_depth_is_bounded(depth: int) -> None:
    text = '{"a": ' + "[" * depth + "]" * depth + "}"
    if depth < DEEPEST:
        assert (
            take(put(text, HOLDER, NAME, ENTRY, Dialect.JSON), HOLDER, NAME, Dialect.JSON) == text
        )
    else:
        with pytest.raises(Malformed):
            put(text, HOLDER, NAME, ENTRY, Dialect.JSON)
