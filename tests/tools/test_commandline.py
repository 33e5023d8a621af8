"""What rules on commands see in a command line, and what counts as a probe: tables and laws."""

import string
from collections.abc import Callable, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from surefoot_tools.commandline.probes import is_probe
from surefoot_tools.commandline.rules import Action, Rule, Rules
from surefoot_tools.commandline.words import ANY, Word, may_match, must_match

DENIED = "zz"
"""A program that no rule but one knows."""
RULES = Rules(
    [
        Rule(Action.DENY, (DENIED,), "no zz"),
        Rule(Action.DENY, ("git", "push", "--force*")),
        Rule(Action.DENY, ("rm", "-*r*")),
    ]
)


def judged(command: str | Sequence[str], rules: Rules = RULES) -> str:
    """What is done about a command."""
    return rules.judge(command).action.value


WORDINGS = [
    # where a command may stand
    *("zz", "a; zz", "a | zz", "a |& zz", "a && zz", "a || zz", "a & zz", "(zz)", "{ zz; }"),
    *("a\nzz", "! zz", "if a; then zz; fi", "while zz; do a; done", "until zz; do a; done"),
    *("for i in 1; do zz; done", "select i in 1; do zz; done", "case x in y) zz;; esac"),
    *("f() { zz; }; f", "function f { zz; }", "$(zz)", "`zz`", 'a "$(zz)"', 'a "`zz`"'),
    *("a <(zz)", "a > >(zz)", "x=$(zz)", "a=(1 $(zz))", "declare x=$(zz)", "export x=`zz`"),
    *("[[ -n $(zz) ]]", "(( x = $(zz) ))", "a $(( $(zz) ))", "a ${x:-$(zz)}", "a <<< $(zz)"),
    *("a <<E\n$(zz)\nE", "a <<E\n`zz`\nE", "for i in $(zz); do a; done", "a $(b $(zz))"),
    # how its name may be written
    *("'zz'", '"zz"', "z''z", 'z"z"', "z\\z", "\\zz", "z\\\nz", "/usr/bin/zz", "./zz", "ZZ"),
    *("~/bin/zz", '"$HOME/bin/zz"', "$'zz'", "$'\\x7az'", "z[z]", "z?", "{zz,a}", "z{z,}"),
    *("$X", "${X}", "$X a", '"$X"', "$(echo zz)", '$"zz"', "${X}z"),
    # what carries it
    *("x=1 zz", "env zz", "env -i zz", "env x=1 zz", "env -u x zz", "env - zz", "env -S 'zz'"),
    *("sudo zz", "sudo -u a zz", "sudo -- zz", "sudo -s", "sudo x=1 zz", "doas zz", "nohup zz"),
    *("nice zz", "nice -n 5 zz", "nice -5 zz", "timeout 5 zz", "timeout -k 1 5 zz", "time zz"),
    *("time -p zz", "time x=1 zz", "time ! zz", "stdbuf -oL zz", "setsid -w zz", "exec zz"),
    *("exec -a x zz", "command zz", "command -p zz", "builtin eval zz", "coproc zz"),
    *(
        "xargs zz",
        "a | xargs -0 -n 1 zz",
        "xargs -I{} zz {}",
        "xargs -I{} sh -c {}",
        "xargs sh",
    ),
    *("find . -exec zz {} \\;", "find . -execdir zz {} +", "find . -ok zz \\;"),
    *("find . $X", 'find . "$X" zz \\;', "find . -exec {} \\;"),
    *(
        "sh -c zz",
        "bash -c 'a; zz'",
        "bash -lc zz",
        "bash -o pipefail -c zz",
        "sh -c 'sh -c zz'",
    ),
    *(
        "bash --norc -c zz",
        "bash -c '$0' zz",
        "bash -c '\"$@\"' _ zz",
        'bash -c "$X"',
        "zsh -c zz",
    ),
    *("eval zz", "eval 'z''z'", 'eval "$X"', "trap zz EXIT", "busybox zz", "busybox sh -c zz"),
    *("bash zz", ". zz", "source ./zz", "/lib64/ld-linux-x86-64.so.2 zz", "parallel zz"),
    *("su -c zz", "watch zz", "script -c zz", "unshare zz", "nosuch=1 env -Q zz"),
    # a shell that reads what it runs
    *("a | sh", "bash <<E\nzz\nE", "sh -s", "bash", "bash -", "bash /dev/stdin", "bash <(a)"),
    *(". /dev/stdin", "source <(a)", "sh <<< zz"),
    # what makes a shell run something else
    *("PS4='$(zz)' a", "export BASH_ENV=x", "env PROMPT_COMMAND=zz bash -i", "alias a=zz"),
    *("hash -p /bin/zz a", "test -v 'x[$(zz)]'", "[[ -v 'x[$(zz)]' ]]", "enable -f x zz"),
    # what grammar and bash may read differently
    *("a\rzz", "x=a\vzz b", "x=a\u00a0zz b", "a 'b", "a ) b", "a\n\\zz", "`a \\`zz\\``"),
    *("\\ #a; `zz`", "`zz``zz`", "a <<'E'\nE\nzz", "a <<E F\nE\nzz\nE"),
    # arguments
    *("git push --force", "git -C x push origin --force-with-lease", 'git push "$X"'),
    *("git push > f --force", "git >f push --force", "git push 2>&1 --force"),
    *("git push <<E --force\nE", "> f git push --force", "git push <<< x --force"),
    *("git push --force2>&1", "git push --force<<E\nE", "git >f 2>&1 push --force"),
    "git <<E > f push --force\nE",
    *("git {push,--force}", "git p{u,}sh --force", "git push {--force,}", "{git,push,--force}"),
    *("git push $X", "git $X", "g\\it push '--force'", "rm -rf x", "rm x -fr", "rm *"),
    *('rm "$X"', "rm -- $X", "RM -R -r x", "xargs rm", "sudo git push --force"),
]


def test_no_wording_of_a_denied_command_is_allowed() -> None:
    """Guard: `followed`, `_Walk`, `Rule.speaks_of`."""
    assert [each for each in WORDINGS if judged(each) != "deny"] == []


UNSPOKEN = [
    *("git push", "git push origin main", "git status", "rm x", 'rm "./$X"', "rm ./*.o"),
    *("echo zz", "cat zz", "grep -rn 'zz' .", "ls # zz", "# zz\nls", "python -c 'import zz'"),
    *(
        "cd x && make -j4",
        "a=$(ls) && echo $a",
        'git commit -m "fix: $(date)"',
        "command -v zz",
    ),
    *("for f in a b; do echo $f; done", "while read -r l; do echo $l; done < f", "trap - EXIT"),
    *("find . -name '*.py'", 'find "$D" -name x', "xargs grep -i foo", "echo hi > o 2>&1"),
    *(
        "cat <<'E' > f\n$(zz)\nE",
        "cat <<E > f\nhello $X\nE",
        "cat <<-E\n\tzz\n\tE",
        "sort <<< $X",
    ),
    *("[ -f x ] && echo y", "[[ -f x ]] || exit 1", "test -z $X", "echo $((1 + 2)) ${#X}"),
    *("awk '{print $(NF)}' f", "bash script.sh", "PYTHONPATH=. pytest -q", "mkdir -p a/{b,c}"),
    *("set -euo pipefail; ls", "if [ $? -ne 0 ]; then echo; fi", "f() { echo $1; }; f x"),
    *("npm test -- --watch=false", "time make", "timeout 60 pytest", "env A=1 make", "ls &"),
]


def test_what_no_rule_speaks_of_is_allowed() -> None:
    assert [each for each in UNSPOKEN if judged(each) != "allow"] == []


@pytest.mark.parametrize(
    ("command", "action"),
    [
        (["zz"], "deny"),
        (["/bin/zz", "x"], "deny"),
        (["sh", "-c", "zz"], "deny"),
        (["sudo", "zz"], "deny"),
        (["echo", "zz; zz", "$(zz)"], "allow"),
        (["git", "push", "--force"], "deny"),
        (["git", "push", "$X"], "allow"),
    ],
)
def test_a_list_is_one_command_and_no_shell_reads_it(command: list[str], action: str) -> None:
    assert judged(command) == action


NARROW = Rules(
    [
        Rule(Action.ALLOW, ("git", "status")),
        Rule(Action.ALLOW, ("ls",)),
        Rule(Action.ALLOW, ("./run.sh",)),
        Rule(Action.DENY, ("ls", "--secret*")),
    ],
    Action.ASK,
)


@pytest.mark.parametrize(
    ("command", "action"),
    [
        *(
            (each, "allow")
            for each in ("git status", "git status -s", "ls | ls", "/bin/ls x", "git status $X")
        ),
        *((each, "allow") for each in ("./run.sh a", "ls 2>/dev/null", "ls 2>&1", "ls < f")),
        *((each, "ask") for each in ("git push", "git -C x status", "git $X", "git", "make")),
        *((each, "ask") for each in ("./ls", "/tmp/ls", "LS", '"$X/ls"', "run.sh", "../run.sh")),
        *((each, "ask") for each in ("ls > f", "ls >> f", "ls &> f", "ls >| f", "x=1 ls", "x=1")),
        *((each, "ask") for each in ("env ls", "ls; make", "sh -c ls", "git 'status'x")),
        *((each, "deny") for each in ("ls --secrets", "ls $(a) 'b", "$X", "/tmp/ls --secret")),
    ],
)
def test_a_rule_that_allows_looks_narrowly_and_the_default_has_the_rest(
    command: str, action: str
) -> None:
    """Guard: `Rule._surely`."""
    assert judged(command, NARROW) == action


def test_the_strictest_rule_holds_whatever_the_order() -> None:
    rules = [
        Rule(Action.ALLOW, ("a",)),
        Rule(Action.ASK, ("a", "b")),
        Rule(Action.DENY, ("a", "c")),
    ]
    for ordered in (rules, rules[::-1]):
        made = Rules(ordered, Action.DENY)
        assert [judged(each, made) for each in ("a", "a b", "a c b")] == ["allow", "ask", "deny"]


@pytest.mark.parametrize("default", list(Action))
def test_what_cannot_be_read_gets_the_strictest_action_there_is(default: Action) -> None:
    assert judged("$X", Rules([], default)) == default.value
    assert judged("$X", Rules([Rule(Action.ASK, ("a",))], default)) == max(
        default, Action.ASK, key=lambda each: each.strictness
    )


@pytest.mark.parametrize(
    "command",
    ["echo " + "x" * (1 << 18), "a;" * 3000, "(" * 200 + "a" + ")" * 200, "sh -c " * 20 + "a"],
    ids=["long", "many", "deep", "carried"],
)
def test_what_is_too_much_to_look_into_gets_the_strictest_action(command: str) -> None:
    assert judged(command) == "deny"


def test_a_message_names_the_part_the_rule_and_its_reason_and_no_secret() -> None:
    told = RULES.judge("ls && zz --token=hunter2").told
    assert "the rule 'zz'" in told
    assert "no zz" in told
    assert "zz --token=" in told
    assert "hunter2" not in told


def test_a_rule_that_only_may_be_about_a_program_says_what_is_not_clear() -> None:
    """Guard: the look at the program in `Rules._of`."""
    told = RULES.judge("$X foo")
    assert (told.action, told.unclear) == (Action.DENY, True)
    assert "does not tell which program runs" in told.told
    assert not RULES.judge("zz $X").unclear


def _in_shell(line: str) -> str:
    return f"bash -c {_single(line)}"


def _single(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


WRAPS: list[Callable[[str], str]] = [
    lambda line: f"a; {line}",
    lambda line: f"a | {line}",
    lambda line: f"a && {line}",
    lambda line: f"({line})",
    lambda line: f"{{ {line}; }}",
    lambda line: f"if a; then {line}; fi",
    lambda line: f"a $({line})",
    lambda line: f'a "$({line})"',
    lambda line: f"x=$({line})",
    lambda line: f"f() {{ {line}; }}; f",
    lambda line: f"for i in 1 2; do {line}; done",
    lambda line: f"eval {_single(line)}",
    lambda line: f"trap {_single(line)} EXIT",
    lambda line: f"a <<E\n$({line})\nE",
    _in_shell,
    lambda line: f"sudo -u x {_in_shell(line)}",
    lambda line: f"env -i A=b {_in_shell(line)}",
    lambda line: f"find . -exec {_in_shell(line)} \\;",
    lambda line: f"a | xargs -n 1 {_in_shell(line)}",
    lambda line: f"timeout 5 nohup {_in_shell(line)} > o 2>&1 &",
]


@st.composite
def quoted(draw: st.DrawFn, word: str) -> str:
    """A word that a shell reads as this one."""
    parts = [
        draw(
            st.sampled_from([each, f"'{each}'", f'"{each}"', f"\\{each}", f"''{each}", f'{each}""'])
        )
        for each in word
    ]
    folder = draw(st.sampled_from(["", "/bin/", "./", "~/", '"$HOME/bin"/', "a/../"]))
    return folder + "".join(parts)


@given(
    name=quoted(DENIED),
    wraps=st.lists(st.sampled_from(WRAPS), max_size=3),
    arguments=st.lists(st.text(string.ascii_letters + "-./=", min_size=1, max_size=5), max_size=2),
)
@settings(max_examples=80, deadline=None)
def test_quotes_and_wrapping_never_turn_a_denied_command_into_an_allowed_one(
    name: str, wraps: list[Callable[[str], str]], arguments: list[str]
) -> None:
    line = " ".join([name, *arguments])
    for wrap in wraps:
        line = wrap(line)
    assert judged(line) == "deny"


@given(line=st.text(st.sampled_from("zz a;|&<>(){}[]$`'\"\\\n\t#=!*?~EO-")))
@example(line="")
@settings(max_examples=150, deadline=None)
def test_whatever_the_text_a_judgement_comes_of_it(line: str) -> None:
    assert judged(line) in ("allow", "deny")
    is_probe(line)


TEXT = st.text("ab-=*?[]", max_size=6)


@given(pattern=TEXT, text=TEXT, cut=st.integers(0, 6), end=st.integers(0, 6))
def test_a_word_of_which_a_part_is_unknown_may_match_what_the_whole_would(
    pattern: str, text: str, cut: int, end: int
) -> None:
    """Guard: `may_match`."""
    if must_match(pattern, Word.of(text)):
        assert may_match(pattern, Word.of(text))
        first, last = sorted((min(cut, len(text)), min(end, len(text))))
        assert may_match(pattern, Word((text[:first], ANY, text[last:])))


def test_a_word_of_which_a_part_is_unknown_matches_no_pattern_that_the_rest_excludes() -> None:
    assert not may_match("--force*", Word(("./", ANY)))
    assert not may_match("-*r*", Word(("x", ANY)))
    assert not may_match("*.py", Word((ANY, ".txt")))
    assert may_match("-*r*", Word((ANY, ".o")))


PROBES = [
    *(
        "git status",
        "git status -s",
        "git log --oneline -5 && git diff | head",
        "git branch -a",
    ),
    *("git -C x --no-pager show HEAD", "git stash list", "git config --get user.name"),
    *("ls", "ls -la | head -3", "/bin/ls x", "cat 'a b'", "cat a 2>/dev/null", "ls 2>&1 | wc"),
    *("find . -name '*.py' | wc -l", "grep -rn 'a (b' src", "rg x", "sort a | uniq | cat")[:3],
    *("sed -n '1,20p' f", "sed -n 5p f", "date +%s", "python3 --version", "pip list", "env"),
    *("cd x && ls; pwd", "[ -f x ]", "ls src/*.py", "[ -d a ] || echo no"),
]


def test_what_only_reads_is_a_probe() -> None:
    assert [each for each in PROBES if not is_probe(each)] == []


EFFECTS = [
    *(
        "rm x",
        "ls; rm x",
        "ls | rm",
        "ls && rm",
        "ls & rm x",
        "ls || rm",
        "ls\nrm x",
        "ls |& rm",
    ),
    *("ls > x", "ls >> x", "echo x >f", "cat <x", "ls $(rm x)", "ls `rm x`", "ls <(rm x)"),
    *("git push", "git branch new", "git -c a=b status", "git log --output=x", "git diff *"),
    *("git stash", "git tag v1", "git config a b", "git remote add x y", "git", "git diff -Oa"),
    *("find . -delete", "find . -exec rm {} +", "find . -ok a", "sort -o x y", "rg --pre a b"),
    *(
        "sed -i s/a/b/ f",
        "sed -n 's/a/b/w f' g",
        "sed p f",
        "date -s now",
        "date 0101",
        "env ls",
    ),
    *("./ls", "/tmp/ls", "x=1 ls", "$X", "sudo ls", "sh -c ls", "xargs ls", "eval ls", "", ";"),
    *(
        "ls \\;rm",
        'ls "',
        "ls ~",
        "ls {a,b}",
        "python x.py",
        "python --version x",
        "LS",
        "tee x",
    ),
    *("uniq a b", "ls ;", "&& ls", "ls\x00", "make --version x", "hostname x"),
]


def test_whatever_may_do_more_is_no_probe() -> None:
    """Guard: `is_probe`."""
    assert [each for each in EFFECTS if is_probe(each)] == []


def test_a_list_is_a_probe_without_a_shell_between() -> None:
    assert is_probe(["git", "status"])
    assert is_probe(["echo", "$(rm x); rm x > y"])
    assert not is_probe(["sh", "-c", "ls"])
    assert not is_probe([])
