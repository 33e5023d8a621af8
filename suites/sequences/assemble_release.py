"""Assemble a release: notes from fragments, commits and a table, numbered on from the last one."""

from dataclasses import dataclass
from random import Random

from suites.drafting import Draft

SEED = 97
VERSION = "2.4.0"
SECTIONS = {"added": "Added", "changed": "Changed", "fixed": "Fixed"}
NOTED = "UPDATE issues SET noted = noted + 1, release = ? WHERE number = ?"
ENTRY = "INSERT INTO entries (place, issue, section) VALUES (?, ?, ?)"
STATE = "UPDATE releases SET state = ?, steps = steps + 1 WHERE version = ?"

SUBJECTS = [
    "Export to CSV",
    "Search in attachments",
    "Keyboard shortcuts",
    "Sort by due date",
    "Remember the last view",
    "Wait for slow networks",
    "Name the file in errors",
    "Keep drafts on logout",
    "Dates before 1970",
    "Empty lists in reports",
    "Dark mode for print",
]

RULES = """# Releases

1. Notes are in notes/VERSION.md: a section each for what is added, changed and fixed.
2. A fragment changes/ISSUE.SECTION.md becomes an entry 'N. TEXT (#ISSUE)'. N goes on from the last
   number in CHANGELOG.md, without a gap, across sections; in a section by issue.
3. A commit that names an issue without a fragment gets one first.
4. Every entry is a row of the table entries; its issue is noted once.
5. The notes go to the top of CHANGELOG.md. tools/numbers.py must pass. Fragments go to
   changes/released/.
"""

NUMBERS = '''"""Exits 0 if the entries of files are numbered without gap or repetition.

Usage: numbers.py FILE... The files are given from the newest to the oldest.
"""

import re
import sys
from pathlib import Path

numbers = []
for path in reversed(sys.argv[1:]):
    sections = re.split("(?m)^## ", Path(path).read_text())[1:]
    for section in reversed(sections):
        numbers += [int(found) for found in re.findall(r"(?m)^(\\d+)\\. ", section)]
wrong = [one for last, one in zip(numbers, numbers[1:]) if one != last + 1]
print(f"{len(numbers)} entries, wrong: {wrong or 'none'}")
sys.exit(1 if wrong else 0)
'''

SPLICE = '''"""Puts a file after the mark of another. Usage: splice.py FROM INTO"""

import sys
from pathlib import Path

source, target = map(Path, sys.argv[1:])
mark = "<!-- next -->\\n"
target.write_text(target.read_text().replace(mark, mark + "\\n" + source.read_text(), 1))
'''

DIGEST = '''"""Prints checksum, size and name of files. Usage: digest.py FILE..."""

import sys
import zlib
from pathlib import Path

for path in map(Path, sys.argv[1:]):
    data = path.read_bytes()
    print(f"{zlib.crc32(data):08x} {len(data):>6} {path}")
'''

SCHEMA = """CREATE TABLE issues (number INTEGER PRIMARY KEY, title TEXT NOT NULL,
  section TEXT NOT NULL, noted INTEGER NOT NULL, release TEXT);
CREATE TABLE releases (version TEXT PRIMARY KEY, state TEXT NOT NULL, steps INTEGER NOT NULL);
CREATE TABLE entries (id INTEGER PRIMARY KEY AUTOINCREMENT, place INTEGER NOT NULL,
  issue INTEGER NOT NULL, section TEXT NOT NULL);
CREATE TABLE contributors (name TEXT PRIMARY KEY, commits INTEGER NOT NULL);
INSERT INTO releases VALUES ('2.3.0', 'out', 9);
"""


@dataclass(frozen=True)
class Issue:
    """What a release says something about."""

    number: int
    section: str
    title: str

    @property
    def fragment(self) -> str:
        """Path of its fragment."""
        return f"changes/{self.number}.{self.section}.md"

    def entry(self, place: int) -> str:
        """Its line in the notes."""
        return f"{place}. {self.title} (#{self.number})\n"


@dataclass(frozen=True)
class Sources:
    """All that goes into the release."""

    issues: dict[str, list[Issue]]
    """By section, in the order of the notes."""
    orphan: Issue
    """Named by a commit, without a fragment."""
    last: int
    """Number of the last entry that was released."""
    changelog: str
    repeated: tuple[str, str]
    """An old entry whose number is wrong, and how it is right."""
    commits: str
    authors: dict[str, int]
    """Name to commits."""


def _sources(random: Random) -> Sources:
    numbers = sorted(random.sample(range(200, 300), len(SUBJECTS)))
    titles = random.sample(SUBJECTS, len(SUBJECTS))
    places = random.sample(range(len(numbers)), len(numbers))
    issues: dict[str, list[Issue]] = {}
    for index, section in enumerate(SECTIONS):
        mine = sorted(places[3 * index : 3 * index + 3])
        issues[section] = [Issue(numbers[at], section, titles[at]) for at in mine]
    orphan = Issue(numbers[places[9]], "fixed", titles[places[9]])
    issues["fixed"] = sorted([*issues["fixed"], orphan], key=lambda issue: issue.number)

    first = random.randint(31, 60)
    old = [f"{first + at}. Old entry {at + 1} (#{101 + at})\n" for at in range(7)]
    # the sixth bears the number of the fifth
    wrong = f"{first + 4}. Old entry 6 (#106)\n"
    older, newer = "".join(old[:3]), "".join([*old[3:5], wrong, old[6]])
    changelog = f"# Changelog\n\n<!-- next -->\n\n## 2.3.0\n\n{newer}\n## 2.2.0\n\n{older}"

    authors = ["ada", "ben", "cleo", "dov"]
    count: dict[str, int] = {}
    lines: list[str] = []
    for issue in sorted(
        (issue for listed in issues.values() for issue in listed), key=lambda one: one.title
    ):
        author = random.choice(authors)
        count[author] = count.get(author, 0) + 1
        lines.append(f"{random.randrange(16**7):07x} {author} {issue.title} (#{issue.number})\n")
    for subject in ("Tidy the build", "Update the spelling list"):
        count["ada"] = count.get("ada", 0) + 1
        lines.append(f"{random.randrange(16**7):07x} ada {subject}\n")
    random.shuffle(lines)
    return Sources(issues, orphan, first + 6, changelog, (wrong, old[5]), "".join(lines), count)


def draft() -> Draft:
    """The sequence."""
    random = Random(SEED)
    sources = _sources(random)
    everything = [issue for listed in sources.issues.values() for issue in listed]
    rows = ",\n".join(
        f"  ({issue.number}, '{issue.title}', '{issue.section}', {random.randint(0, 2)}, NULL)"
        for issue in sorted(everything, key=lambda issue: issue.number)
    )
    draft = Draft(
        id="assemble-release",
        title="Assemble the notes of a release from several sources",
        kind="scan",
        difficulty=2,
        goal=(
            f"Assemble release {VERSION} as docs/releases.md says: notes from the fragments and"
            " the commits, numbered on from the change log, whose own numbers must be mended"
            " first; then the version, the digests, and the rows of the database."
        ),
        files={
            **{
                issue.fragment: f"{issue.title}\n"
                for issue in everything
                if issue is not sources.orphan
            },
            "CHANGELOG.md": sources.changelog,
            "commits.txt": sources.commits,
            "docs/releases.md": RULES,
            "package.ini": "[package]\nname = planner\nversion = 2.3.0\n",
            "progress.md": "# Progress\n",
            "tools/digest.py": DIGEST,
            "tools/numbers.py": NUMBERS,
            "tools/splice.py": SPLICE,
        },
        database=SCHEMA + f"INSERT INTO issues VALUES\n{rows};\n",
    )
    _look_around(draft, everything)
    _mend(draft, sources)
    _orphan(draft, sources)
    place = sources.last + 1
    for section, issues in sources.issues.items():
        _section(draft, section, issues, place)
        place += len(issues)
    _contributors(draft, sources)
    _publish(draft, len(everything), sources.last)
    _check(draft, sources)
    return draft


def _look_around(draft: Draft, issues: list[Issue]) -> None:
    draft.turn("Look around: rules, fragments, issues.")
    draft.read("docs/releases.md")
    draft.folder("changes")
    draft.query("SELECT count(*) FROM issues WHERE release IS NULL", [[len(issues)]])
    draft.read("CHANGELOG.md")

    draft.turn("Open the release: its row, its notes, a line of progress.")
    draft.sql(("INSERT INTO releases VALUES (?, 'open', 0)", [VERSION]))
    draft.create(f"notes/{VERSION}.md", f"## {VERSION}\n")
    draft.append("progress.md", f"- {VERSION} opened\n")


def _mend(draft: Draft, sources: Sources) -> None:
    draft.turn("Numbers of the last release are not exact: mend them before going on.")
    draft.look("python3", "-B", "tools/numbers.py", "CHANGELOG.md", exit_code=1)
    draft.edit("CHANGELOG.md", sources.repeated)
    draft.look("python3", "-B", "tools/numbers.py", "CHANGELOG.md")
    draft.append("progress.md", f"- the last entry is {sources.last}\n")


def _orphan(draft: Draft, sources: Sources) -> None:
    orphan = sources.orphan
    draft.turn("Which commit names an issue without a fragment? Write it one.")
    find = (
        "sed -n 's/.*(#\\([0-9]*\\))$/\\1/p' commits.txt | sort |"
        " while read -r issue; do ls changes/$issue.*.md >/dev/null 2>&1 || echo $issue; done"
    )
    draft.look("sh", "-c", find, stdout=f"{orphan.number}\n")
    draft.query("SELECT section FROM issues WHERE number = ?", [["fixed"]], [orphan.number])
    draft.create(orphan.fragment, f"{orphan.title}\n")
    draft.append("progress.md", f"- fragment for {orphan.number}\n")


def _section(draft: Draft, section: str, issues: list[Issue], place: int) -> None:
    notes = f"notes/{VERSION}.md"
    draft.turn(f"Collect what is {section}: its fragments, then the head of its section.")
    draft.folder("changes", glob=f"*.{section}.md")
    draft.read(issues[0].fragment)
    draft.append(notes, f"\n### {SECTIONS[section]}\n\n")

    draft.turn(f"Number the entries of what is {section}, from {place} on; note each issue.")
    for at, issue in enumerate(issues, place):
        draft.append(notes, issue.entry(at))
    draft.sql(
        *((ENTRY, [at, issue.number, section]) for at, issue in enumerate(issues, place)),
        *((NOTED, [VERSION, issue.number]) for issue in issues),
        once=True,
    )
    draft.look("python3", "-B", "tools/numbers.py", notes, "CHANGELOG.md")


def _contributors(draft: Draft, sources: Sources) -> None:
    draft.turn("Thank who contributed: from the commits, most first.")
    ranked = sorted(sources.authors.items(), key=lambda pair: (-pair[1], pair[0]))
    count = "awk '{print $2}' commits.txt | LC_ALL=C sort | uniq -c | LC_ALL=C sort -k1,1nr -k2"
    draft.look(
        "sh",
        "-c",
        f"{count} | awk '{{print $2, $1}}'",
        stdout="".join(f"{name} {commits}\n" for name, commits in ranked),
    )
    thanks = ", ".join(f"{name} ({commits})" for name, commits in ranked)
    draft.append(f"notes/{VERSION}.md", f"\nThanks to {thanks}.\n")
    draft.sql(
        *(
            ("INSERT INTO contributors VALUES (?, ?)", [name, commits])
            for name, commits in sorted(sources.authors.items())
        )
    )
    draft.sql((STATE, ["written", VERSION]), once=True)


def _publish(draft: Draft, entries: int, last: int) -> None:
    draft.turn("The notes go to the top of the change log, whose numbers are exact.")
    draft.run("python3", "-B", "tools/splice.py", f"notes/{VERSION}.md", "CHANGELOG.md", once=True)
    draft.look("python3", "-B", "tools/numbers.py", "CHANGELOG.md")
    draft.query("SELECT count(*), max(place) FROM entries", [[entries, last + entries]])
    draft.edit("package.ini", ("version = 2.3.0", f"version = {VERSION}"))

    draft.turn("Put the fragments away, and write the digests.")
    draft.run("mkdir", "changes/released")
    draft.shell("mv changes/*.md changes/released/")
    draft.shell(
        f"python3 -B tools/digest.py CHANGELOG.md notes/{VERSION}.md package.ini > digests.txt"
    )
    draft.search(VERSION, 3, regex=False, glob="*.md")

    draft.turn("Close the release.")
    draft.sql((STATE, ["out", VERSION]), once=True)
    draft.shell("wc -l < digests.txt | tr -d ' ' >> progress.md", once=True)
    draft.append("progress.md", f"- {VERSION} is out\n")
    draft.read("progress.md")


def _check(draft: Draft, sources: Sources) -> None:
    draft.check_rows("SELECT number, title, section, noted, release FROM issues ORDER BY number")
    draft.check_rows("SELECT id, place, issue, section FROM entries ORDER BY id")
    draft.check_rows("SELECT version, state, steps FROM releases ORDER BY version")
    draft.check_rows("SELECT name, commits FROM contributors ORDER BY name")
    draft.check_command("python3", "tools/numbers.py", "CHANGELOG.md")
