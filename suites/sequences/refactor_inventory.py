"""Refactor a small Python package: fix a bug, rename, extract, move, and make its tests pass."""

from random import Random

from suites.drafting import Draft

SEED = 11
TESTS = ("python3", "-B", "-m", "unittest", "-q")
LOG = "INSERT INTO steps (task_id, note) VALUES (?, ?)"
DONE = "UPDATE tasks SET state = 'done', touched = touched + 1 WHERE id = ?"

INIT = '''"""Stock of a small shop."""

from stockroom.items import Itm
from stockroom.report import render
from stockroom.store import Store

__version__ = "0.3.0"
__all__ = ["Itm", "Store", "render"]
'''

ITEMS = """from dataclasses import dataclass


@dataclass(frozen=True)
class Itm:
    name: str
    cents: int
    aisle: str = "{aisle}"
"""

PRICING = """THRESHOLD = {threshold}
PERCENT = {percent}


def _whole(numerator, denominator):
    return (2 * numerator + denominator) // (2 * denominator)


def net(cents, count):
    total = cents * count
    if count > THRESHOLD:
        total = _whole(total * (100 - PERCENT), 100)
    return total
"""

STORE = """from stockroom.items import Itm


class Store:
    def __init__(self):
        self._stock = {}

    def add(self, item: Itm, count: int) -> None:
        self._stock[item] = self._stock.get(item, 0) + count

    def take(self, item: Itm, count: int) -> None:
        left = self._stock.get(item, 0) - count
        if left < 0:
            raise ValueError(f"only {count + left} of {item.name}")
        self._stock[item] = left

    def lines(self):
        return sorted(self._stock.items(), key=lambda pair: pair[0].name)
"""

REPORT = """from stockroom.pricing import net


def _whole(numerator, denominator):
    return (2 * numerator + denominator) // (2 * denominator)


def euros(cents):
    return f"{cents // 100}.{cents % 100:02d}"


def render(store):
    lines = [f"{item.name:<12}{count:>4}{euros(net(item.cents, count)):>10}"
             for item, count in store.lines()]
    total = sum(net(item.cents, count) for item, count in store.lines())
    lines.append(f"average {euros(_whole(total, max(1, len(lines))))}")
    return "\\n".join(lines)
"""

LEGACY = """# superseded by stockroom.report; nothing imports it
def render_legacy(store):
    return str(store)
"""

TEST_PRICING = """import unittest

from stockroom.pricing import net


class PricingTest(unittest.TestCase):
    def test_below_the_threshold_nothing_is_taken_off(self):
        self.assertEqual(net({cents}, {below}), {below_total})

    def test_the_discount_starts_at_the_threshold(self):
        self.assertEqual(net({cents}, {threshold}), {at_total})
"""

TEST_STORE = """import unittest

from stockroom.items import Itm
from stockroom.store import Store


class StoreTest(unittest.TestCase):
    def test_what_is_added_can_be_taken(self):
        store = Store()
        store.add(Itm("{first}", {cents}), 3)
        store.take(Itm("{first}", {cents}), 2)
        self.assertEqual(store.lines(), [(Itm("{first}", {cents}), 1)])

    def test_more_than_there_is_is_refused(self):
        with self.assertRaises(ValueError):
            Store().take(Itm("{second}", 5), 1)
"""

TEST_REPORT = """import unittest

from stockroom import Store
from stockroom.items import Itm
from stockroom.report import render


class ReportTest(unittest.TestCase):
    def test_a_report_ends_with_the_average(self):
        store = Store()
        store.add(Itm("{second}", {cents}), 1)
        self.assertTrue(render(store).endswith("average {euros}"))
"""

MONEY = '''"""Amounts of money, in cents."""


def whole(numerator, denominator):
    """The quotient, rounded half up."""
    return (2 * numerator + denominator) // (2 * denominator)


def euros(cents):
    """As a customer reads it."""
    return f"{cents // 100}.{cents % 100:02d}"
'''

TEST_MONEY = """import unittest

from stockroom.money import euros, whole


class MoneyTest(unittest.TestCase):
    def test_half_a_cent_is_rounded_up(self):
        self.assertEqual(whole(5, 2), 3)

    def test_cents_have_two_digits(self):
        self.assertEqual(euros({cents}), "{euros}")
"""

WHOLE = """def _whole(numerator, denominator):
    return (2 * numerator + denominator) // (2 * denominator)


"""

README = """# stockroom

Counts what is on the shelves and what it is worth.

Modules: items, pricing, store, report, legacy.

Run the tests with `python3 -m unittest`.
"""

DATABASE = """CREATE TABLE tasks (id INTEGER PRIMARY KEY, title TEXT NOT NULL, state TEXT NOT NULL,
  touched INTEGER NOT NULL);
CREATE TABLE steps (id INTEGER PRIMARY KEY AUTOINCREMENT, task_id INTEGER REFERENCES tasks,
  note TEXT NOT NULL);
INSERT INTO tasks VALUES
  (1, 'discount starts one too late', 'open', {0}),
  (2, 'rename Itm to Item', 'open', {1}),
  (3, 'one place for money', 'open', {2}),
  (4, 'report becomes reports', 'open', {3}),
  (5, 'drop legacy', 'open', {4});
"""


def draft() -> Draft:
    """The sequence."""
    random = Random(SEED)
    names = random.sample(["anchor", "bolt", "clamp", "dowel", "easel", "funnel"], 2)
    threshold = random.randint(6, 12)
    percent = random.choice([5, 10, 15, 20])
    cents = random.randint(120, 890)
    aisle = f"{random.choice('ABCDE')}{random.randint(1, 9)}"
    at_total = (2 * cents * threshold * (100 - percent) + 100) // 200
    facts = {
        "first": names[0],
        "second": names[1],
        "threshold": threshold,
        "below": threshold - 1,
        "below_total": cents * (threshold - 1),
        "at_total": at_total,
        "cents": cents,
        "euros": f"{cents // 100}.{cents % 100:02d}",
    }
    files = {
        "CHANGELOG.md": "# Changelog\n",
        "README.md": README,
        "VERSION": "0.3.0\n",
        "notes/backlog.txt": f"- look at aisle {aisle} again\n- ask about {names[1]}\n",
        "stockroom/__init__.py": INIT,
        "stockroom/items.py": ITEMS.format(aisle=aisle),
        "stockroom/legacy.py": LEGACY,
        "stockroom/pricing.py": PRICING.format(threshold=threshold, percent=percent),
        "stockroom/report.py": REPORT,
        "stockroom/store.py": STORE,
        "tests/__init__.py": "# a package, so that unittest finds it\n",
        "tests/test_pricing.py": TEST_PRICING.format(**facts),
        "tests/test_report.py": TEST_REPORT.format(**facts),
        "tests/test_store.py": TEST_STORE.format(**facts),
    }
    touched = [random.randint(0, 9) for _ in range(5)]
    draft = Draft(
        id="refactor-inventory",
        title="Refactor a small package and make its tests pass",
        kind="refactor",
        difficulty=2,
        goal=(
            "Work through the open tasks in the database: fix the discount, rename Itm to Item,"
            " put what is about money into one module, rename report to reports, move legacy to"
            " the notes."
            " Keep the change log and the steps table up to date; all tests pass in the end."
        ),
        files=files,
        database=DATABASE.format(*touched),
    )
    _fix(draft)
    _rename(draft)
    _extract(draft, TEST_MONEY.format(**facts))
    _move(draft)
    _release(draft)
    draft.check_rows("SELECT id, title, state, touched FROM tasks ORDER BY id")
    draft.check_rows("SELECT id, task_id, note FROM steps ORDER BY id")
    draft.check_command("python3", "-m", "unittest", "-q")
    return draft


def _fix(draft: Draft) -> None:
    draft.turn("Look around: the package, its documentation, and the open tasks.")
    draft.folder(".", depth=3)
    draft.read("README.md")
    draft.read("stockroom/pricing.py")
    draft.query("SELECT id, title FROM tasks WHERE state = 'open' ORDER BY id")

    draft.turn("Open the work: note the start, begin a section in the change log, run the tests.")
    draft.sql((LOG, [None, "started"]), once=True)
    draft.append("CHANGELOG.md", "\n## 0.4.0\n")
    draft.look(*TESTS, exit_code=1)
    draft.search("THRESHOLD", 1, path="stockroom")

    draft.turn("Fix task 1: the discount starts one too late. Test, close the task, note it.")
    draft.read("tests/test_pricing.py")
    draft.edit("stockroom/pricing.py", ("count > THRESHOLD", "count >= THRESHOLD"))
    draft.look(*TESTS, "tests.test_pricing")
    draft.sql((DONE, [1]), once=True)
    draft.append("CHANGELOG.md", "- The discount starts at the threshold.\n")


def _rename(draft: Draft) -> None:
    draft.turn("Task 2: rename the class Itm to Item, wherever it is used.")
    draft.search("Itm", 5, glob="*.py", case="sensitive")
    draft.edit("stockroom/items.py", ("class Itm:", "class Item:"))
    draft.edit("stockroom/store.py", ("Itm", "Item"), everywhere=3)
    draft.edit("stockroom/__init__.py", ("import Itm", "import Item"), ('"Itm"', '"Item"'))
    draft.edit("tests/test_store.py", ("Itm", "Item"), everywhere=5)
    draft.edit("tests/test_report.py", ("Itm", "Item"), everywhere=2)

    draft.turn("See that nothing is called Itm any more and the tests pass; close task 2.")
    draft.look("grep", "-rl", "--include=*.py", "Itm", ".", exit_code=1, stdout="")
    draft.look(*TESTS)
    draft.sql((DONE, [2]), once=True)
    draft.append("CHANGELOG.md", "- `Itm` is called `Item`.\n")


def _extract(draft: Draft, test: str) -> None:
    draft.turn("Task 3: put rounding and euros into a module of their own and use it.")
    draft.create("stockroom/money.py", MONEY)
    draft.edit(
        "stockroom/pricing.py",
        (WHOLE, ""),
        ("THRESHOLD = ", "from stockroom.money import whole\n\nTHRESHOLD = "),
        ("_whole(total", "whole(total"),
    )
    draft.edit(
        "stockroom/report.py",
        (WHOLE, ""),
        ('def euros(cents):\n    return f"{cents // 100}.{cents % 100:02d}"\n\n\n', ""),
        (
            "from stockroom.pricing",
            "from stockroom.money import euros, whole\nfrom stockroom.pricing",
        ),
        ("_whole(total", "whole(total"),
    )
    draft.look(*TESTS)

    draft.turn("Test the new module, close task 3 and note it.")
    draft.create("tests/test_money.py", test)
    draft.look(*TESTS, "tests.test_money")
    draft.sql((DONE, [3]), (LOG, [3, "money has a module and tests"]), once=True)
    draft.append("CHANGELOG.md", "- Money is in `stockroom.money`.\n")


def _move(draft: Draft) -> None:
    draft.turn("Task 4: the module report becomes reports.")
    draft.run("mv", "stockroom/report.py", "stockroom/reports.py")
    draft.edit("stockroom/__init__.py", ("stockroom.report ", "stockroom.reports "))
    draft.edit("tests/test_report.py", ("stockroom.report ", "stockroom.reports "))
    draft.run("mv", "tests/test_report.py", "tests/test_reports.py")
    draft.look(*TESTS)

    draft.turn("Task 5: see that nobody needs legacy, move it to the notes, close both tasks.")
    draft.search("legacy", 1, path="stockroom")
    draft.run("mv", "stockroom/legacy.py", "notes/legacy.txt")
    draft.edit("README.md", ("report, legacy.", "reports, money."))
    draft.sql((DONE, [4]), (DONE, [5]), once=True)
    draft.append("CHANGELOG.md", "- `report` is called `reports`; `legacy` is gone.\n")

    draft.turn("Say in a docstring what each class and function is for.")
    draft.edit(
        "stockroom/items.py",
        ("Item:\n    name", 'Item:\n    """What can be on a shelf."""\n\n    name'),
    )
    draft.edit(
        "stockroom/store.py",
        ("Store:\n    def", 'Store:\n    """How many there are of each item."""\n\n    def'),
    )
    draft.edit(
        "stockroom/pricing.py",
        ("count):\n    total", 'count):\n    """The price of so many, in cents."""\n    total'),
    )
    draft.look(
        "python3",
        "-B",
        "-c",
        "import stockroom.pricing as p; print(p.net.__doc__)",
        stdout="The price of so many, in cents.\n",
    )


def _release(draft: Draft) -> None:
    draft.turn("Make it version 0.4.0 everywhere.")
    draft.shell("sed 's/^0\\.3\\.0$/0.4.0/' VERSION > VERSION.new && mv VERSION.new VERSION")
    draft.edit("stockroom/__init__.py", ('"0.3.0"', '"0.4.0"'))
    draft.look("grep", "-rn", "--include=*.py", "0.3.0", ".", exit_code=1, stdout="")
    draft.sql((LOG, [None, "version 0.4.0"]), once=True)

    draft.turn("Add the sizes of the package and of its tests to the notes.")
    draft.shell("cat stockroom/*.py | wc -l | tr -d ' ' >> notes/sizes.txt", once=True)
    draft.shell("cat tests/*.py | grep -c 'def test' >> notes/sizes.txt", once=True)
    draft.read("notes/sizes.txt")

    draft.turn("Finish: all tests, every task touched once more, what is left to the backlog.")
    draft.look(*TESTS)
    draft.sql("UPDATE tasks SET touched = touched + 1 WHERE state = 'done'", once=True)
    draft.query("SELECT count(*) FROM tasks WHERE state = 'open'", [[0]])
    draft.append("notes/backlog.txt", "- announce 0.4.0\n")
    draft.read("CHANGELOG.md")
