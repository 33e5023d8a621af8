"""Import three batches of contacts: constraints refuse each until what is wrong is handled."""

from dataclasses import dataclass
from random import Random

from suites.drafting import Draft

SEED = 71
FIRST = ["ada", "ben", "cleo", "dov", "edda", "finn", "gita", "hal", "ines", "jon", "kim", "lou"]
LAST = ["abel", "brandt", "cruz", "dahl", "egger", "fox", "grau", "holm", "ito", "jansen"]
PLANS = ("basic", "team", "trial")

TRIED = "UPDATE batches SET tries = tries + 1 WHERE name = ?"
LOADED = "UPDATE batches SET state = 'loaded', rows = rows + ? WHERE name = ?"
SEEN = "UPDATE contacts SET seen = seen + 1 WHERE email = ?"
REJECT = "INSERT INTO rejects (batch, email, reason) VALUES (?, ?, ?)"
MERGE = "INSERT INTO merges (kept, dropped) VALUES (?, ?)"
MOVE = "UPDATE visits SET contact_id = ? WHERE contact_id = ?"

LOAD = '''"""Loads a batch, all of it or nothing. Usage: load.py BATCH FILE

Exits 1, and says which line a constraint refuses, if one does.
"""

import csv
import sqlite3
import sys

batch, path = sys.argv[1:]
connection = sqlite3.connect("data/app.db")
connection.execute("PRAGMA foreign_keys = ON")
insert = "INSERT INTO contacts (email, name, plan, batch) VALUES (?, ?, ?, ?)"
with open(path, newline="") as file:
    rows = list(csv.reader(file))[1:]
for number, row in enumerate(rows, 2):
    try:
        connection.execute(insert, [*row, batch])
    except sqlite3.IntegrityError as error:
        connection.rollback()
        print(f"line {number}: {error}")
        sys.exit(1)
connection.commit()
print(f"{len(rows)} rows")
'''

RULES = """# Imports

A batch is loaded by tools/load.py, all of it or nothing. Count every try. If a line is refused:

- an address that is there already: count it as seen, take the line out
- an address without @: into rejects.csv and the table rejects, take the line out
- a plan that nobody knows: it is a new one, add it

Work on a copy in work/; incoming/ stays as it came. Journal every step.
"""

AUDIT = '''"""Exits 0 if every contact of every loaded batch came from its file in work/."""

import csv
import sqlite3
import sys

connection = sqlite3.connect("data/app.db")
wrong = 0
for (batch,) in connection.execute("SELECT name FROM batches ORDER BY name").fetchall():
    with open(f"work/{batch}.csv", newline="") as file:
        rows = sorted(tuple(row) for row in list(csv.reader(file))[1:])
    query = "SELECT email, name, plan FROM contacts WHERE batch = ?"
    found = sorted(connection.execute(query, [batch]))
    missing = [row for row in rows if row not in found]
    wrong += len(missing) + sum(row not in rows for row in found)
    print(batch, f"{len(rows)} rows, {len(found)} contacts")
connection.close()
sys.exit(1 if wrong else 0)
'''

SCHEMA = """CREATE TABLE plans (name TEXT PRIMARY KEY, cents INTEGER NOT NULL);
CREATE TABLE contacts (id INTEGER PRIMARY KEY AUTOINCREMENT,
  email TEXT NOT NULL COLLATE NOCASE UNIQUE CONSTRAINT has_at CHECK (email LIKE '%_@_%'),
  name TEXT NOT NULL, plan TEXT NOT NULL REFERENCES plans, batch TEXT NOT NULL,
  seen INTEGER NOT NULL DEFAULT 1);
CREATE TABLE visits (id INTEGER PRIMARY KEY, contact_id INTEGER NOT NULL REFERENCES contacts,
  pages INTEGER NOT NULL);
CREATE TABLE batches (name TEXT PRIMARY KEY, state TEXT NOT NULL, tries INTEGER NOT NULL,
  rows INTEGER NOT NULL);
CREATE TABLE rejects (id INTEGER PRIMARY KEY AUTOINCREMENT, batch TEXT NOT NULL,
  email TEXT NOT NULL, reason TEXT NOT NULL);
CREATE TABLE merges (id INTEGER PRIMARY KEY AUTOINCREMENT, kept INTEGER NOT NULL,
  dropped INTEGER NOT NULL);
INSERT INTO batches VALUES ('north', 'waiting', 0, 0), ('south', 'waiting', 1, 0),
  ('west', 'waiting', 0, 0);
"""


@dataclass
class Batch:
    """A file that came in: its lines after the head, and the one that is refused."""

    name: str
    lines: list[str]
    at: int
    """Index of the line that a constraint refuses."""
    refused: str
    """What SQLite says of it."""

    @property
    def bad(self) -> str:
        """The line that is refused."""
        return self.lines[self.at]

    @property
    def address(self) -> str:
        """Its first field."""
        return self.bad.split(",")[0]

    def csv(self) -> str:
        """The file as it came."""
        return "email,name,plan\n" + "".join(f"{line}\n" for line in self.lines)


@dataclass
class People:
    """Names that are used once, drawn in a fixed order."""

    random: Random
    names: list[tuple[str, str]]

    def line(self) -> str:
        """A contact that nothing is wrong with."""
        first, last = self.names.pop()
        plan = self.random.choice(PLANS)
        return f"{first}.{last}@example.org,{first.title()} {last.title()},{plan}"


def _known(random: Random, people: People) -> tuple[str, list[str], tuple[int, int]]:
    """Statements for who is there already; their addresses; the pair that is one person."""
    lines = [people.line() for _ in range(14)]
    kept, dropped = sorted(random.sample(range(1, 15), 2))
    _, name, plan = lines[kept - 1].split(",")
    lines[dropped - 1] = f"{name.lower().replace(' ', '_')}@example.net,{name},{plan}"
    plans = ", ".join(f"('{plan}', {random.randint(5, 90) * 100})" for plan in PLANS)
    contacts = ",\n".join(
        "  ('{}', '{}', '{}', 'old', {})".format(*line.split(","), random.randint(1, 5))
        for line in lines
    )
    owners = [kept, dropped, dropped, *(random.randint(1, 14) for _ in range(12))]
    visits = ", ".join(
        f"({number}, {owner}, {random.randint(1, 40)})" for number, owner in enumerate(owners, 1)
    )
    return (
        f"INSERT INTO plans VALUES {plans};\n"
        f"INSERT INTO contacts (email, name, plan, batch, seen) VALUES\n{contacts};\n"
        f"INSERT INTO visits VALUES {visits};\n",
        [line.split(",")[0] for line in lines],
        (kept, dropped),
    )


def _batches(random: Random, people: People, addresses: list[str]) -> list[Batch]:
    """One batch for each constraint."""
    batches: list[Batch] = []
    for name, refused in (
        ("north", "UNIQUE constraint failed: contacts.email"),
        ("south", "CHECK constraint failed: has_at"),
        ("west", "FOREIGN KEY constraint failed"),
    ):
        lines = [people.line() for _ in range(9)]
        at = random.randint(3, 7)
        email, who, plan = lines[at].split(",")
        if name == "north":
            # the constraint does not mind case
            email = random.choice(addresses).title()
        elif name == "south":
            email = email.replace("@", " at ")
        else:
            plan = "campus"
        lines[at] = f"{email},{who},{plan}"
        batches.append(Batch(name, lines, at, refused))
    return batches


def draft() -> Draft:
    """The sequence."""
    random = Random(SEED)
    names = random.sample([(first, last) for first in FIRST for last in LAST], 60)
    people = People(random, names)
    known, addresses, twins = _known(random, people)
    batches = _batches(random, people, addresses)
    draft = Draft(
        id="import-contacts",
        title="Import three batches of contacts",
        kind="data",
        difficulty=3,
        goal=(
            "Import incoming/*.csv one batch after the other as docs/import.md says: constraints"
            " refuse each of them first. Then merge the contact that is there twice, and write"
            " out/import.md."
        ),
        files={
            **{f"incoming/{batch.name}.csv": batch.csv() for batch in batches},
            "docs/import.md": RULES,
            "journal.md": "# Journal\n\n",
            "rejects.csv": "batch,email,reason\n",
            "tools/audit.py": AUDIT,
            "tools/load.py": LOAD,
        },
        database=SCHEMA + known,
    )
    _look_around(draft)
    for batch in batches:
        _try(draft, batch)
        _handle(draft, batch)
        _load(draft, batch)
    _merge(draft, addresses, twins)
    _report(draft, batches)
    _check(draft)
    return draft


def _look_around(draft: Draft) -> None:
    draft.turn("Look around: what came in, the rules, the tables.")
    draft.folder("incoming")
    draft.read("docs/import.md")
    draft.describe("contacts")
    draft.query("SELECT count(*), sum(seen) FROM contacts")

    draft.turn("A place for copies, and the journal's first line.")
    draft.run("mkdir", "work")
    draft.append("journal.md", "Three batches came in.\n")


def _try(draft: Draft, batch: Batch) -> None:
    name = batch.name
    said = f"line {batch.at + 2}: {batch.refused}\n"
    draft.turn(f"Try {name} as it came: it is refused as a whole. Keep what was said, count it.")
    draft.read(f"incoming/{name}.csv")
    load = ("python3", "-B", "tools/load.py", name, f"incoming/{name}.csv")
    draft.look(*load, exit_code=1, stdout=said)
    draft.query("SELECT count(*) FROM contacts WHERE batch = ?", [[0]], [name])
    draft.sql((TRIED, [name]), once=True)
    draft.append("journal.md", f"- {name} refused, {said}")


def _handle(draft: Draft, batch: Batch) -> None:
    name, work = batch.name, f"work/{batch.name}.csv"
    address = batch.address
    draft.turn(f"Handle the line of {name} as the rules say, in a copy.")
    draft.run("cp", f"incoming/{name}.csv", work)
    if name == "north":
        draft.query("SELECT name, seen FROM contacts WHERE email = ?", parameters=[address])
        draft.sql((SEEN, [address]), once=True)
        draft.edit(work, (batch.bad + "\n", ""))
    elif name == "south":
        draft.append("rejects.csv", f"{name},{address},no @\n")
        draft.sql((REJECT, [name, address, "no @"]), once=True)
        draft.edit(work, (batch.bad + "\n", ""))
    else:
        draft.query("SELECT name FROM plans ORDER BY name", [[plan] for plan in PLANS])
        draft.sql("INSERT INTO plans VALUES ('campus', 0) ON CONFLICT DO NOTHING")
        draft.sql("UPDATE plans SET cents = cents + 1900 WHERE name = 'campus'", once=True)


def _load(draft: Draft, batch: Batch) -> None:
    name, rows = batch.name, 9 if batch.name == "west" else 8
    draft.turn(f"Load {name} from the copy; then record it.")
    draft.run("python3", "-B", "tools/load.py", name, f"work/{name}.csv", stdout=f"{rows} rows\n")
    draft.query("SELECT count(*) FROM contacts WHERE batch = ?", [[rows]], [name])
    draft.sql((TRIED, [name]), (LOADED, [rows, name]), once=True)
    draft.append("journal.md", f"- {name} loaded: {rows} rows\n")


def _merge(draft: Draft, addresses: list[str], twins: tuple[int, int]) -> None:
    kept, dropped = twins
    draft.turn("One person is there twice, under two addresses: merge them, visits and all.")
    draft.query(
        "SELECT min(id), max(id) FROM contacts GROUP BY name HAVING count(*) > 1", [[kept, dropped]]
    )
    draft.sql((MOVE, [kept, dropped]), ("DELETE FROM contacts WHERE id = ?", [dropped]))
    draft.sql((MERGE, [kept, dropped]), once=True)
    draft.append("journal.md", f"- {addresses[dropped - 1]} is {addresses[kept - 1]}\n")

    draft.turn("Keep it from happening again: a name is there once; the rules say so.")
    draft.sql("CREATE UNIQUE INDEX contacts_names ON contacts (name)")
    draft.edit(
        "docs/import.md",
        ("Journal every step.", "A name is there once. Every step is in the journal."),
    )
    draft.look("python3", "-B", "tools/audit.py")


def _report(draft: Draft, batches: list[Batch]) -> None:
    draft.turn("Write the report: a head, then a line a batch from the copies.")
    draft.create("out/import.md", "# Import\n\n")
    draft.shell(
        "for name in north south west; do"
        " echo \"$name $(tail -n +2 work/$name.csv | wc -l | tr -d ' ')\" >> out/import.md; done",
        once=True,
    )
    refused = "".join(f"refused in {batch.name}: line {batch.at + 2}\n" for batch in batches)
    draft.append("out/import.md", refused)
    draft.search("refused in", 1, path="out", regex=False)

    draft.turn("Sign off: rejects are counted, the journal ends.")
    draft.query("SELECT name, state, rows FROM batches ORDER BY name")
    draft.shell("tail -n +2 rejects.csv | wc -l | tr -d ' ' >> out/import.md", once=True)
    draft.append("journal.md", "Signed off: three batches loaded.\n")
    draft.read("out/import.md")


def _check(draft: Draft) -> None:
    draft.check_rows("SELECT id, email, name, plan, batch, seen FROM contacts ORDER BY id")
    draft.check_rows("SELECT id, contact_id, pages FROM visits ORDER BY id")
    draft.check_rows("SELECT name, cents FROM plans ORDER BY name")
    draft.check_rows("SELECT name, state, tries, rows FROM batches ORDER BY name")
    draft.check_rows("SELECT id, batch, email, reason FROM rejects ORDER BY id")
    draft.check_rows("SELECT id, kept, dropped FROM merges ORDER BY id")
    draft.check_rows("SELECT name FROM pragma_index_list('contacts') WHERE origin = 'c'")
    draft.check_command("python3", "tools/audit.py")
