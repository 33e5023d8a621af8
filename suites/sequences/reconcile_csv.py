"""Reconcile a bank's CSV files against tables: find what differs, correct it, explain it."""

from random import Random

from suites.drafting import Draft

SEED = 61
MONTHS = ("jan", "feb", "mar")
FINDING = "INSERT INTO findings (month, reference, what) VALUES (?, ?, ?)"
BOOK = "INSERT INTO ledger (month, reference, cents) VALUES (?, ?, ?)"
CORRECT = "UPDATE ledger SET cents = cents + ? WHERE reference = ?"
CLOSED = "UPDATE months SET closed = 1, runs = runs + 1 WHERE name = ?"

COMPARE = '''"""Prints what differs between bank/MONTH.csv and the ledger. Usage: compare.py MONTH

Exits 1 if anything does.
"""

import csv
import sqlite3
import sys

month = sys.argv[1]
with open(f"bank/{month}.csv", newline="") as file:
    bank = {row["reference"]: int(row["cents"]) for row in csv.DictReader(file)}
connection = sqlite3.connect("data/app.db")
query = "SELECT reference, sum(cents) FROM ledger WHERE month = ? GROUP BY reference"
ledger = dict(connection.execute(query, [month]))
connection.close()
differences = [
    f"{reference} bank={bank.get(reference)} ledger={ledger.get(reference)}"
    for reference in sorted(bank.keys() | ledger.keys())
    if bank.get(reference) != ledger.get(reference)
]
print("\\n".join(differences) or "no difference")
sys.exit(1 if differences else 0)
'''

RULES = """# Reconciliation

The bank is right. For each month: keep what differs in out/MONTH.txt; book what is missing; correct
what differs; remove what the bank does not know; a finding for each; close the month.
"""

SCHEMA = """CREATE TABLE ledger (id INTEGER PRIMARY KEY AUTOINCREMENT, month TEXT NOT NULL,
  reference TEXT NOT NULL, cents INTEGER NOT NULL);
CREATE TABLE findings (id INTEGER PRIMARY KEY AUTOINCREMENT, month TEXT NOT NULL,
  reference TEXT NOT NULL, what TEXT NOT NULL);
CREATE TABLE months (name TEXT PRIMARY KEY, closed INTEGER NOT NULL, runs INTEGER NOT NULL);
INSERT INTO months VALUES ('jan', 0, {0}), ('feb', 0, {1}), ('mar', 0, {2});
"""


class Month:
    """A month's bookings at the bank and in the ledger, and how they differ."""

    def __init__(self, random: Random, name: str, first: int) -> None:
        self.name = name
        references = [f"R{number}" for number in range(first, first + 14)]
        self.bank = {reference: random.randint(-9000, 9000) for reference in references}
        self.missing, self.wrong, self.unknown = random.sample(references, 3)
        self.ledger = {
            reference: cents for reference, cents in self.bank.items() if reference != self.missing
        }
        self.error = random.choice([-900, -90, 90, 900])
        self.ledger[self.wrong] += self.error
        del self.bank[self.unknown]

    def csv(self) -> str:
        """What the bank sent."""
        lines = [f"{reference},{cents}" for reference, cents in self.bank.items()]
        return "reference,cents\n" + "\n".join(lines) + "\n"

    def rows(self) -> str:
        """What the ledger holds."""
        rows = ", ".join(f"('{self.name}', '{key}', {cents})" for key, cents in self.ledger.items())
        return f"INSERT INTO ledger (month, reference, cents) VALUES {rows};\n"

    def differences(self) -> str:
        """What compare.py says of it."""
        return "".join(
            f"{reference} bank={self.bank.get(reference)} ledger={self.ledger.get(reference)}\n"
            for reference in sorted([self.missing, self.wrong, self.unknown])
        )


def draft() -> Draft:
    """The sequence."""
    random = Random(SEED)
    months = [Month(random, name, 100 * number) for number, name in enumerate(MONTHS, 1)]
    draft = Draft(
        id="reconcile-csv",
        title="Reconcile three months of bank statements with the ledger",
        kind="data",
        difficulty=2,
        goal=(
            "Reconcile the ledger in the database with bank/*.csv as docs/rules.md says, a month"
            " at a time; then write out/summary.txt and sign it off in journal.md."
        ),
        files={
            **{f"bank/{month.name}.csv": month.csv() for month in months},
            "docs/rules.md": RULES,
            "journal.md": "# Journal\n\n",
            "tools/compare.py": COMPARE,
        },
        database=SCHEMA.format(*(random.randint(0, 3) for _ in MONTHS))
        + "".join(month.rows() for month in months),
    )
    _look_around(draft, months)
    for month in months:
        _reconcile(draft, month)
    _balances(draft, months)
    _guard(draft)
    _finish(draft, months)
    draft.check_rows("SELECT id, month, reference, cents FROM ledger ORDER BY id")
    draft.check_rows("SELECT id, month, reference, what FROM findings ORDER BY id")
    draft.check_rows("SELECT name, closed, runs FROM months ORDER BY name")
    draft.check_rows("SELECT id, month, cents FROM balances ORDER BY id")
    draft.check_rows("SELECT name FROM pragma_index_list('ledger')", [["ledger_references"]])
    for month in months:
        draft.check_command("python3", "tools/compare.py", month.name)
    return draft


def _look_around(draft: Draft, months: list[Month]) -> None:
    draft.turn("Look around: statements, rules, ledger.")
    draft.folder("bank")
    draft.read("docs/rules.md")
    draft.describe("ledger")
    draft.query("SELECT count(*) FROM ledger", [[sum(len(month.ledger) for month in months)]])

    draft.turn("Begin the journal, and a place for what is found.")
    draft.run("mkdir", "out")
    draft.append("journal.md", "Started from the bank's files.\n")


def _reconcile(draft: Draft, month: Month) -> None:
    name = month.name
    compare = f"python3 -B tools/compare.py {name}"
    draft.turn(f"What differs in {name}? Keep it.")
    draft.read(f"bank/{name}.csv")
    draft.look("sh", "-c", compare, exit_code=1, stdout=month.differences())
    draft.shell(f"{compare} > out/{name}.txt", exit_code=1)
    draft.query(
        "SELECT reference, cents FROM ledger WHERE reference IN (?, ?) ORDER BY reference",
        [
            [reference, month.ledger[reference]]
            for reference in sorted([month.wrong, month.unknown])
        ],
        [month.wrong, month.unknown],
    )

    draft.turn(
        f"Correct {name}: book what is missing, correct what differs, remove what is unknown."
    )
    draft.sql((BOOK, [name, month.missing, month.bank[month.missing]]), once=True)
    draft.sql((CORRECT, [-month.error, month.wrong]), once=True)
    draft.sql(("DELETE FROM ledger WHERE reference = ?", [month.unknown]))
    draft.look("sh", "-c", compare, stdout="no difference\n")

    draft.turn(f"Explain {name}: a finding each, a line in the journal, close the month.")
    whats = {month.missing: "booked", month.wrong: "corrected", month.unknown: "removed"}
    draft.sql(*((FINDING, [name, key, what]) for key, what in whats.items()), once=True)
    draft.append(
        "journal.md", f"- {name}: 3 findings, off by {month.error} cents at {month.wrong}\n"
    )
    draft.sql((CLOSED, [name]), once=True)


def _balances(draft: Draft, months: list[Month]) -> None:
    draft.turn("Balances by month, in a table of their own.")
    draft.sql(
        "CREATE TABLE balances (id INTEGER PRIMARY KEY AUTOINCREMENT, month TEXT NOT NULL,"
        " cents INTEGER NOT NULL)"
    )
    draft.sql(
        "INSERT INTO balances (month, cents)"
        " SELECT month, sum(cents) FROM ledger GROUP BY month ORDER BY month",
        once=True,
    )
    expected = [[month.name, sum(month.bank.values())] for month in months]
    draft.query("SELECT month, cents FROM balances ORDER BY month", sorted(expected))
    total = sum(sum(month.bank.values()) for month in months)
    draft.look(
        "awk",
        "-F,",
        "FNR > 1 {sum += $2} END {print sum}",
        *(f"bank/{name}.csv" for name in MONTHS),
        stdout=f"{total}\n",
    )

    draft.turn("Write the summary: a line a month from the bank's files, then the total.")
    for month in months:
        draft.shell(
            f"awk -F, 'FNR > 1 {{sum += $2}} END {{print \"{month.name}\", sum}}'"
            f" bank/{month.name}.csv >> out/summary.txt",
            once=True,
        )
    draft.append("out/summary.txt", f"total {total}\n")
    draft.read("out/summary.txt")


def _guard(draft: Draft) -> None:
    draft.turn("Keep it from happening again: a reference is booked once; a script for all months.")
    draft.sql("CREATE UNIQUE INDEX ledger_references ON ledger (reference)")
    script = "set -e\nfor month in jan feb mar; do python3 -B tools/compare.py $month; done\n"
    draft.create("tools/all.sh", script)
    draft.edit("docs/rules.md", ("is right. For", "is right; tools/all.sh compares. For"))
    draft.look("sh", "tools/all.sh", stdout="no difference\n" * 3)


def _finish(draft: Draft, months: list[Month]) -> None:
    draft.turn("Sort all that was found into one file, and count it in the journal.")
    draft.shell("cat out/jan.txt out/feb.txt out/mar.txt | LC_ALL=C sort > out/all.txt")
    draft.shell("wc -l < out/all.txt | tr -d ' ' >> journal.md", once=True)
    draft.search("bank=None", 4, path="out", regex=False)

    draft.turn("Sign off.")
    draft.query("SELECT count(*) FROM findings", [[3 * len(months)]])
    draft.append("journal.md", "Signed off: bank and ledger agree.\n")
    draft.sql("UPDATE months SET runs = runs + 1", once=True)
    draft.read("journal.md")
