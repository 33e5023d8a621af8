"""Build a tiny product from numbered revisions, find the one that broke it, and mend it."""

from random import Random

from suites.drafting import Draft

SEED = 53
REVISIONS = 16
VERDICT = "INSERT INTO verdicts (revision, verdict) VALUES (?, ?)"
BUILT = "UPDATE counters SET value = value + 1 WHERE name = 'builds'"

BUILD = '''"""Applies the revisions up to a number to nothing, and writes build/NUMBER.txt.

Usage: build.py NUMBER. A revision is lines of 'set NAME VALUE' or 'drop NAME'.
"""

import sys
from pathlib import Path

number = int(sys.argv[1])
settings = {}
for path in sorted(Path("revisions").glob("*.txt")):
    if int(path.stem) > number:
        break
    for line in path.read_text().splitlines():
        word, name, *value = line.split()
        if word == "set":
            settings[name] = int(value[0])
        elif word == "drop":
            settings.pop(name, None)
        else:
            sys.exit(f"{path}: what is {word}?")
Path("build").mkdir(exist_ok=True)
text = "".join(f"{name}={settings[name]}\\n" for name in sorted(settings))
Path("build", f"{number:02}.txt").write_text(text)
print(f"built {number:02}: {len(settings)} settings")
'''

SMOKE = '''"""Exits 0 if what was built holds together: parts need no more than the budget.

Usage: smoke.py NUMBER
"""

import sys
from pathlib import Path

lines = Path("build", f"{int(sys.argv[1]):02}.txt").read_text().splitlines()
settings = {name: int(value) for name, value in (line.split("=") for line in lines)}
budget = settings.pop("budget")
need = sum(settings.values())
print(f"need {need} of {budget}")
sys.exit(1 if need > budget else 0)
'''

TESTS = """import subprocess
import sys
import unittest


class ProductTest(unittest.TestCase):
    def test_the_last_revision_builds_and_holds(self):
        for tool in ("build", "smoke"):
            done = subprocess.run([sys.executable, "-B", f"tools/{tool}.py", "17"])
            self.assertEqual(done.returncode, 0)
"""

README = """# widget

Revision after revision changes what the widget needs. `tools/build.py N` builds revision N,
`tools/smoke.py N` says whether it holds together. The last release was revision {good}.
"""

DATABASE = """CREATE TABLE verdicts (id INTEGER PRIMARY KEY AUTOINCREMENT,
  revision INTEGER NOT NULL, verdict TEXT NOT NULL);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE releases (id INTEGER PRIMARY KEY AUTOINCREMENT, revision INTEGER NOT NULL,
  note TEXT NOT NULL);
INSERT INTO counters VALUES ('builds', {builds}), ('culprits', {culprits});
INSERT INTO releases (revision, note) VALUES (1, 'first');
"""


def _revisions(random: Random, bad: int) -> tuple[dict[str, str], str, int]:
    """The revisions by path; the part that breaks the product, and what it needs too much."""
    parts = random.sample(["axle", "belt", "cog", "disc", "fan", "gear", "hub", "jack"], 6)
    files: dict[str, str] = {}
    need: dict[str, int] = {}
    for number in range(1, REVISIONS + 1):
        part = parts[number % len(parts)]
        need[part] = random.randint(5, 15)
        lines = [f"set {part} {need[part]}"]
        if number == 1:
            lines.insert(0, "set budget 100")
        if number == bad:
            need["motor"] = random.randint(110, 140)
            lines.append(f"set motor {need['motor']}")
        files[f"revisions/{number:02}.txt"] = "\n".join(lines) + "\n"
    return files, "motor", need["motor"]


def draft() -> Draft:
    """The sequence."""
    random = Random(SEED)
    bad = random.randint(6, 13)
    revisions, part, need = _revisions(random, bad)
    draft = Draft(
        id="bisect-build",
        title="Build, find the revision that broke it, mend it",
        kind="scaffold",
        difficulty=3,
        goal=(
            "The last revision does not hold together. Find by bisection which one broke it,"
            " keeping bisect.log and the table verdicts; mend it with a new revision 17, scaffold"
            " a test of the last revision, and release it."
        ),
        files={
            **revisions,
            "README.md": README.format(good=1),
            "tools/build.py": BUILD,
            "tools/smoke.py": SMOKE,
        },
        database=DATABASE.format(builds=random.randint(20, 60), culprits=random.randint(1, 4)),
    )
    _begin(draft)
    good, broken = 1, REVISIONS
    while broken - good > 1:
        middle = (good + broken) // 2
        holds = middle < bad
        _bisect(draft, middle, good, broken, holds)
        good, broken = (middle, broken) if holds else (good, middle)
    _blame(draft, bad, part)
    _mend(draft, part, need)
    _scaffold(draft)
    _release(draft, bad)
    draft.check_rows("SELECT id, revision, verdict FROM verdicts ORDER BY id")
    draft.check_rows("SELECT name, value FROM counters ORDER BY name")
    draft.check_rows("SELECT id, revision, note FROM releases ORDER BY id")
    draft.check_command("python3", "tools/smoke.py", "17")
    return draft


def _build(draft: Draft, number: int, holds: bool) -> None:
    draft.run("python3", "-B", "tools/build.py", str(number))
    draft.look("python3", "-B", "tools/smoke.py", str(number), exit_code=0 if holds else 1)


def _begin(draft: Draft) -> None:
    draft.turn("Look around: the tools, the revisions, what was released.")
    draft.folder(".", depth=2)
    draft.read("README.md")
    draft.read("tools/build.py")
    draft.query("SELECT revision, note FROM releases ORDER BY id", [[1, "first"]])

    draft.turn("Build the released revision: it holds. Begin the log.")
    _build(draft, 1, True)
    draft.create("bisect.log", "# bisect\ngood 1\n")
    draft.sql((VERDICT, [1, "good"]), BUILT, once=True)

    draft.turn("Build the last one: it does not.")
    _build(draft, REVISIONS, False)
    draft.append("bisect.log", f"bad {REVISIONS}\n")
    draft.sql((VERDICT, [REVISIONS, "bad"]), BUILT, once=True)


def _bisect(draft: Draft, middle: int, good: int, broken: int, holds: bool) -> None:
    verdict = "good" if holds else "bad"
    draft.turn(f"Between {good} (good) and {broken} (bad): try the one in the middle.")
    _build(draft, middle, holds)
    draft.append("bisect.log", f"{verdict} {middle}\n")
    draft.sql((VERDICT, [middle, verdict]), BUILT, once=True)


def _blame(draft: Draft, bad: int, part: str) -> None:
    draft.turn("Name the culprit: what changed between the last good and the first bad build?")
    draft.look("cmp", "-s", f"build/{bad - 1:02}.txt", f"build/{bad:02}.txt", exit_code=1)
    draft.search(f"set {part}", 1, path="revisions", regex=False)
    draft.append("bisect.log", f"first bad {bad}: {part}\n")
    draft.sql("UPDATE counters SET value = value + 1 WHERE name = 'culprits'", once=True)


def _mend(draft: Draft, part: str, need: int) -> None:
    draft.turn("Mend it with a new revision: the budget allows for the part. Build and try it.")
    draft.look("python3", "-B", "tools/smoke.py", str(REVISIONS), exit_code=1)
    draft.create("revisions/17.txt", f"set budget {100 + need}\n")
    _build(draft, 17, True)
    draft.append("bisect.log", f"mended 17: budget for {part}\n")
    draft.sql((VERDICT, [17, "good"]), BUILT, once=True)


def _scaffold(draft: Draft) -> None:
    draft.turn("Scaffold a test of the last revision, and run it.")
    draft.shell("mkdir tests && echo '# a package' > tests/__init__.py")
    draft.create("tests/test_product.py", TESTS)
    draft.look("python3", "-B", "-m", "unittest", "discover", "-q", "-s", "tests")
    draft.edit(
        "README.md",
        ("holds together. The", "does. `python3 -m unittest discover tests` tests it. The"),
    )

    draft.turn("Teach the tools a shorter way: a script that builds and tries a revision.")
    draft.create(
        "tools/try.sh", 'python3 -B tools/build.py "$1" && python3 -B tools/smoke.py "$1"\n'
    )
    draft.run("sh", "tools/try.sh", "2")
    draft.sql(BUILT, once=True)
    draft.read("build/02.txt")


def _release(draft: Draft, bad: int) -> None:
    draft.turn("Release revision 17: the product in dist, a line in its list, a row.")
    draft.run("mkdir", "dist")
    draft.run("cp", "build/17.txt", "dist/widget-17.txt")
    draft.shell("wc -l < dist/widget-17.txt | tr -d ' ' >> dist/list.txt", once=True)
    draft.sql(
        ("INSERT INTO releases (revision, note) VALUES (?, ?)", [17, f"mends {bad}"]), once=True
    )
    draft.edit(
        "README.md", ("The last release was revision 1.", "The last release was revision 17.")
    )

    draft.turn("Finish: keep what was built until now by name, look at the books.")
    draft.shell("ls build >> dist/built.txt", once=True)
    draft.query("SELECT count(*) FROM verdicts WHERE verdict = 'good'")
    draft.append("bisect.log", "# done\n")
    draft.read("bisect.log")
