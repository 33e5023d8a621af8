"""Ten drivers keep one shop at the same time: one ledger, one board, one set of tables, one code.

Each plays the same calls with its own number. Whatever two of them do commutes, so that the final
state is one and the same for every interleaving, but for the order of lines in `UNORDERED`.
"""

from random import Random

from suites.drafting import Draft

SEED = 127
DRIVERS = 10
TOTAL = 100_000
"""Cents in all accounts together, at any time."""
UNORDERED = ("activity.log", "ledger.md", "members.md", "report.md")

EVENT = "INSERT INTO events (driver, step) VALUES ({driver}, ?)"
CLAIM = (
    "UPDATE tasks SET owner = {driver} WHERE id = (SELECT min(id) FROM tasks WHERE owner IS NULL)"
)
TAKE = "UPDATE accounts SET cents = cents - ? WHERE id = {driver}"
TO_NEXT = "UPDATE accounts SET cents = cents + ? WHERE id = ({driver} + ?) % 10"
TO_POOL = "UPDATE accounts SET cents = cents + ? WHERE id = 10"
COUNT = "UPDATE counters SET value = value + 1 WHERE name = ?"

RULES = """# One shop, ten drivers

Everybody works here at the same time, and nobody waits for another. Change only your own line on
the board and in the code; add to the end of what is common. Money is moved in one transaction.
"""

REGISTRY = '''"""Who prices what. Each driver keeps a line."""

import importlib

PRICERS = {
LINES}


def price(number, cents):
    """The price that a driver's module makes of it."""
    return importlib.import_module(PRICERS[number]).price(cents)
'''

PRICER = '''"""Prices of driver {driver}."""


def price(cents):
    """With the surcharge of driver {driver}."""
    return 0
'''

TEST = """import unittest

from shop.registry import price


class Pricer{driver}Test(unittest.TestCase):
    def test_driver_{driver}_adds_its_number(self):
        self.assertEqual(price({driver}, 100), 100 + {driver})
"""

ALL_TESTS = ("python3", "-B", "-m", "unittest", "discover", "-q", "-t", ".", "-s", "tests")

LINES = """import sys
path, drivers, head, *wanted = sys.argv[1:]
lines = open(path, encoding="utf-8").read().splitlines()
right = lines[:1] == [head] and len(lines) == 1 + int(drivers) * len(wanted)
for driver in range(int(drivers)):
    mine = [line for line in lines if line.startswith("driver %d: " % driver)]
    if mine != [line.replace("{driver}", str(driver)) for line in wanted]:
        right = False
        print("driver", driver, mine)
sys.exit(0 if right else 1)
"""
"""Exits 0 if a file has its head and each line of every driver once, in that driver's order."""

SCHEMA = """CREATE TABLE accounts (id INTEGER PRIMARY KEY, cents INTEGER NOT NULL);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE events (id INTEGER PRIMARY KEY, driver INTEGER NOT NULL, step TEXT NOT NULL);
CREATE TABLE tasks (id INTEGER PRIMARY KEY, title TEXT NOT NULL, owner INTEGER,
  state TEXT NOT NULL, touched INTEGER NOT NULL);
CREATE TABLE stock (driver INTEGER NOT NULL, shelf TEXT NOT NULL, items INTEGER NOT NULL);
CREATE TABLE prices (driver INTEGER PRIMARY KEY, cents INTEGER NOT NULL, changes INTEGER NOT NULL);
"""


def _rows(random: Random) -> str:
    """What the tables hold before anybody begins."""
    shares = [random.randint(5000, 9000) for _ in range(DRIVERS)]
    accounts = ", ".join(
        f"({number}, {cents})" for number, cents in enumerate([*shares, TOTAL - sum(shares)])
    )
    tasks = ", ".join(f"({number}, 'task {number}', NULL, 'open', 0)" for number in range(1, 61))
    prices = ", ".join(f"({number}, {random.randint(100, 900)}, 0)" for number in range(DRIVERS))
    return (
        f"INSERT INTO accounts VALUES {accounts};\n"
        f"INSERT INTO counters VALUES ('actions', {random.randint(1, 9)}), ('visits', 0);\n"
        f"INSERT INTO tasks VALUES {tasks};\n"
        f"INSERT INTO prices VALUES {prices};\n"
    )


class Lines:
    """Adds a driver's lines to common files, and remembers which."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self.added: dict[str, list[str]] = {path: [] for path in UNORDERED}

    def append(self, path: str, what: str) -> None:
        """A line at the end, by the file tool."""
        self._draft.append(path, self._line(path, what) + "\n")

    def echo(self, path: str, what: str) -> None:
        """A line at the end, by a command."""
        self._draft.shell(f"echo '{self._line(path, what)}' >> {path}", once=True)

    def insert(self, path: str, what: str) -> None:
        """A line below the head, where everybody else inserts too."""
        head = self._draft.files[path]
        self._draft.edit(path, (head, head + self._line(path, what) + "\n"), once=True)

    def _line(self, path: str, what: str) -> str:
        line = f"driver {{driver}}: {what}"
        self.added[path].append(line)
        return line


def draft() -> Draft:
    """The sequence."""
    random = Random(SEED)
    shelves = "".join(
        f"{number} {shelf} {random.randint(1, 40)}\n"
        for number in range(DRIVERS)
        for shelf in ("front", "middle", "back")
    )
    draft = Draft(
        id="share-shop",
        title="Keep one shop, ten at a time",
        kind="operate",
        difficulty=3,
        goal=(
            "You are one of ten who keep this shop at the same time; see docs/rules.md. Sign in,"
            " claim five tasks, count your shelves, move the money, write your pricer and its"
            " test, and sign off. Nothing that another driver does may be lost."
        ),
        files={
            **{path: f"# {path.partition('.')[0].title()}\n" for path in UNORDERED},
            "board.txt": "".join(f"driver {number}: waiting\n" for number in range(DRIVERS)),
            "docs/rules.md": RULES,
            "prices.ini": "[prices]\n" + "".join(f"p{at} = unset\n" for at in range(DRIVERS)),
            "shelves.txt": shelves,
            "shop/__init__.py": "# a package\n",
            "shop/registry.py": REGISTRY.replace(
                "LINES", "".join(f'    {number}: "nobody",\n' for number in range(DRIVERS))
            ),
            "tests/__init__.py": "# a package\n",
        },
        database=SCHEMA + _rows(random),
        drivers=DRIVERS,
        unordered=UNORDERED,
    )
    lines = Lines(draft)
    _sign_in(draft, lines)
    _claim(draft, lines)
    _count_shelves(draft, lines)
    _move_money(draft, lines)
    _write_code(draft, lines)
    _prices(draft, lines)
    _finish_tasks(draft, lines)
    _sign_off(draft, lines)
    _check(draft, lines)
    return draft


def _sign_in(draft: Draft, lines: Lines) -> None:
    draft.turn("You are driver {driver}. Look around: the rules, the board, the tables.")
    draft.read("docs/rules.md")
    draft.read("board.txt")
    draft.describe()
    draft.search("driver {driver}: waiting", 1, path="board.txt", regex=False)

    draft.turn("Sign in: on the board, among the members, in the ledger, as an event.")
    draft.edit("board.txt", ("driver {driver}: waiting", "driver {driver}: working"))
    lines.insert("members.md", "is here")
    lines.append("ledger.md", "signed in")
    draft.sql((EVENT, ["signed in"]), (COUNT, ["visits"]), once=True)


def _claim(draft: Draft, lines: Lines) -> None:
    draft.turn("Claim three tasks that nobody has, one at a time.")
    for _ in range(3):
        draft.sql(CLAIM, once=True)
    draft.query("SELECT count(*) FROM tasks WHERE owner = {driver}", [[3]])
    lines.echo("activity.log", "claimed three tasks")


def _count_shelves(draft: Draft, lines: Lines) -> None:
    draft.turn("Count your shelves into a part of your own, and into the table.")
    draft.run("mkdir", "-p", "parts/{driver}")
    draft.shell(
        "awk '$1 == {driver} {sum += $3} END {print sum}' shelves.txt > parts/{driver}/count.txt"
    )
    for shelf in ("front", "back"):
        draft.sql(
            ("INSERT INTO stock VALUES ({driver}, ?, {driver} + ?)", [shelf, len(shelf)]),
            once=True,
        )
    draft.query("SELECT count(*) FROM stock WHERE driver = {driver}", [[2]])
    lines.append("ledger.md", "counted its shelves")


def _move_money(draft: Draft, lines: Lines) -> None:
    draft.turn("Move money to the next two accounts; all of it together is always the same.")
    for step, cents in ((1, 700), (2, 300)):
        draft.sql((TAKE, [cents]), (TO_NEXT, [cents, step]), once=True)
    draft.query("SELECT sum(cents) FROM accounts", [[TOTAL]])
    lines.append("ledger.md", "moved 1000 cents")

    draft.turn("Pay into the pool, which everybody does.")
    draft.sql((TAKE, [55]), (TO_POOL, [55]), (COUNT, ["actions"]), once=True)
    draft.query("SELECT sum(cents) FROM accounts", [[TOTAL]])
    lines.echo("activity.log", "paid into the pool")
    draft.sql((EVENT, ["paid"]), once=True)


def _write_code(draft: Draft, lines: Lines) -> None:
    test = "tests.test_pricer_{driver}"
    draft.turn("Write your pricer, enter it in the registry that all share, and a test of it.")
    draft.create("shop/pricer_{driver}.py", PRICER)
    draft.edit("shop/registry.py", ('{driver}: "nobody"', '{driver}: "shop.pricer_{driver}"'))
    draft.create("tests/test_pricer_{driver}.py", TEST)
    draft.search("driver {driver}", 1, path="shop", regex=False)

    draft.turn("Make the test pass: the surcharge is your number.")
    draft.edit("shop/pricer_{driver}.py", ("return 0", "return cents + {driver}"))
    draft.look("python3", "-B", "-m", "unittest", "-q", test)
    lines.append("ledger.md", "wrote its pricer")
    draft.sql((COUNT, ["actions"]), once=True)


def _prices(draft: Draft, lines: Lines) -> None:
    draft.turn("Set your price, in the table and in the file; everybody's changes are counted.")
    draft.sql("UPDATE prices SET cents = 1000 + {driver} WHERE driver = {driver}")
    draft.sql("UPDATE prices SET changes = changes + 1", once=True)
    draft.edit("prices.ini", ("p{driver} = unset", "p{driver} = 100{driver}"))
    draft.query("SELECT cents FROM prices WHERE driver = {driver} AND cents = 100{driver}")
    lines.echo("activity.log", "set its price")


def _finish_tasks(draft: Draft, lines: Lines) -> None:
    draft.turn("Claim two more tasks.")
    for _ in range(2):
        draft.sql(CLAIM, once=True)
    draft.query("SELECT count(*) FROM tasks WHERE owner = {driver}", [[5]])

    draft.turn("Your tasks are done: in the table, in the ledger, in the report.")
    draft.sql(
        "UPDATE tasks SET state = 'done', touched = touched + 1 WHERE owner = {driver}", once=True
    )
    lines.append("ledger.md", "did its tasks")
    lines.append("report.md", "five tasks done")
    draft.look("grep", "-c", "^driver {driver}: ", "ledger.md", stdout="5\n")


def _sign_off(draft: Draft, lines: Lines) -> None:
    draft.turn("Keep what the registry says of you, and report your count.")
    draft.shell("grep ' {driver}: ' shop/registry.py > parts/{driver}/registry.txt")
    draft.read("parts/{driver}/registry.txt")
    lines.append("report.md", "see parts/{driver}")
    draft.folder("parts/{driver}")

    draft.turn("Sign off: on the board, in the ledger, as an event.")
    draft.edit("board.txt", ("driver {driver}: working", "driver {driver}: done"))
    lines.append("ledger.md", "signed off")
    draft.sql((EVENT, ["signed off"]), (COUNT, ["actions"]), once=True)
    draft.query("SELECT count(*) FROM events WHERE driver = {driver}", [[3]])


def _check(draft: Draft, lines: Lines) -> None:
    draft.check_rows("SELECT id, cents FROM accounts ORDER BY id")
    draft.check_rows("SELECT sum(cents) FROM accounts", [[TOTAL]])
    draft.check_rows("SELECT name, value FROM counters ORDER BY name")
    draft.check_rows("SELECT driver, step FROM events ORDER BY driver, step")
    draft.check_rows(
        "SELECT owner, state, count(*), sum(touched) FROM tasks GROUP BY owner, state ORDER BY 1, 2"
    )
    draft.check_rows("SELECT driver, shelf, items FROM stock ORDER BY driver, shelf")
    draft.check_rows("SELECT driver, cents, changes FROM prices ORDER BY driver")
    for path, added in lines.added.items():
        head = draft.files[path].strip()
        draft.check_command("python3", "-c", LINES, path, str(DRIVERS), head, *added)
    draft.check_command(*ALL_TESTS)
