"""Upgrade a vendored library: its new version breaks five callers, ported one by one."""

from dataclasses import dataclass
from random import Random

from suites.drafting import Draft

SEED = 83
TESTS = ("python3", "-B", "-m", "unittest", "-q")
PORTED = "UPDATE callers SET state = 'ported', edits = edits + ? WHERE module = ?"
LOGGED = "INSERT INTO upgrade_log (module, what) VALUES (?, ?)"
USE = "INSERT INTO uses (module, name) VALUES (?, ?)"

OLD = {
    "__init__.py": """VERSION = "1.4.2"


class TallyError(Exception):
    pass
""",
    "book.py": """from tally import TallyError


class Book:
    def __init__(self):
        self.entries = []

    def add(self, euros, label):
        if not label:
            raise TallyError("no label")
        self.entries.append((label, round(euros * 100)))

    def total(self):
        return sum(cents for _, cents in self.entries) / 100
""",
    "util.py": """def fmt(euros):
    return f"{euros:.2f} EUR"
""",
}

NEW = {
    "__init__.py": """VERSION = "2.0.0"


class BookingError(Exception):
    pass
""",
    "book.py": """from tally import BookingError


class Book:
    def __init__(self):
        self.entries = []

    def post(self, *, label, cents):
        if not label:
            raise BookingError("no label")
        if not isinstance(cents, int):
            raise TypeError("cents are whole")
        self.entries.append((label, cents))

    def total_cents(self):
        return sum(cents for _, cents in self.entries)
""",
    "text.py": """def format_cents(cents):
    return f"{cents // 100}.{cents % 100:02d} EUR"
""",
}

GUIDE = """# From tally 1 to tally 2

- amounts are whole cents, no longer euros
- Book.add(euros, label) is Book.post(label=..., cents=...)
- Book.total() is Book.total_cents()
- TallyError is BookingError
- tally.util.fmt(euros) is tally.text.format_cents(cents)

Port one module after the other; run its test; record it in the table callers and in UPGRADE.md.
The vendored copy is replaced, not kept. vendor/lock.txt is written by tools/lock.py.
"""

LOCK = '''"""Prints a checksum of every file of the vendored library. Usage: lock.py"""

import zlib
from pathlib import Path

for path in sorted(Path("vendor/tally").glob("*.py")):
    print(path.name, f"{zlib.crc32(path.read_bytes()):08x}")
'''

TEST = """import sys
import unittest

sys.path.insert(0, "vendor")

from till.{name} import {function}


class {title}Test(unittest.TestCase):
    def test_it_says_what_it_did(self):
        self.assertEqual({function}({given}), {wanted})
"""

SCHEMA = """CREATE TABLE callers (module TEXT PRIMARY KEY, state TEXT NOT NULL,
  edits INTEGER NOT NULL);
CREATE TABLE upgrade_log (id INTEGER PRIMARY KEY AUTOINCREMENT, module TEXT, what TEXT NOT NULL);
CREATE TABLE uses (id INTEGER PRIMARY KEY AUTOINCREMENT, module TEXT NOT NULL, name TEXT NOT NULL);
CREATE TABLE prices (label TEXT PRIMARY KEY, amount INTEGER NOT NULL);
CREATE TABLE pins (library TEXT PRIMARY KEY, version TEXT NOT NULL, upgrades INTEGER NOT NULL);
INSERT INTO pins VALUES ('tally', '1.4.2', {upgrades});
"""


@dataclass(frozen=True)
class Caller:
    """A module that calls the library: how it does before and after, and its test."""

    name: str
    function: str
    source: str
    edits: tuple[tuple[str, str], ...]
    given: str
    """What the test calls it with, as Python."""
    wanted: str
    """What the test expects, as Python."""
    uses: tuple[str, ...]
    """Names of the new version that it uses."""

    @property
    def path(self) -> str:
        """The file."""
        return f"till/{self.name}.py"

    @property
    def test(self) -> str:
        """Module of its test."""
        return f"tests.test_{self.name}"


_IMPORT = ("from tally.util import fmt", "from tally.text import format_cents")


def _callers(random: Random) -> list[Caller]:
    fee, rate, gift = random.randint(2, 9), random.randint(11, 29), random.randint(3, 19)
    return [
        Caller(
            "billing",
            "bill",
            "from tally.book import Book\nfrom tally.util import fmt\n\n\n"
            "def bill(hours):\n    book = Book()\n"
            f'    book.add(hours * {rate}, "work")\n    book.add({fee}, "fee")\n'
            "    return fmt(book.total())\n",
            (
                _IMPORT,
                (f'add(hours * {rate}, "work")', f'post(label="work", cents=hours * {rate}00)'),
                (f'add({fee}, "fee")', f'post(label="fee", cents={fee}00)'),
                ("fmt(book.total())", "format_cents(book.total_cents())"),
            ),
            "3",
            repr(f"{3 * rate + fee}.00 EUR"),
            ("post", "format_cents", "total_cents"),
        ),
        Caller(
            "refunds",
            "refund",
            "from tally import TallyError\nfrom tally.book import Book\n\n\n"
            "def refund(label):\n    book = Book()\n    try:\n"
            f"        book.add(-{gift}, label)\n    except TallyError:\n"
            '        return "refused"\n    return book.entries\n',
            (
                ("import TallyError", "import BookingError"),
                (f"add(-{gift}, label)", f"post(label=label, cents=-{gift}00)"),
                ("except TallyError", "except BookingError"),
            ),
            "''",
            "'refused'",
            ("BookingError", "post"),
        ),
        Caller(
            "receipts",
            "receipt",
            "from tally.util import fmt\n\n\n"
            'def receipt(name, euros):\n    return f"{name}: {fmt(euros)}"\n',
            (
                _IMPORT,
                ("receipt(name, euros)", "receipt(name, cents)"),
                ("{fmt(euros)}", "{format_cents(cents)}"),
            ),
            f"'tea', {gift}",
            repr(f"tea: {gift}.00 EUR"),
            ("format_cents",),
        ),
        Caller(
            "payroll",
            "pay",
            "from tally.book import Book\n\n\n"
            "def pay(days):\n    book = Book()\n    for day in range(days):\n"
            f'        book.add({rate * 8}, f"day {{day}}")\n    return len(book.entries)\n',
            (
                (
                    f'add({rate * 8}, f"day {{day}}")',
                    f'post(label=f"day {{day}}", cents={rate * 8}00)',
                ),
            ),
            "4",
            "4",
            ("post",),
        ),
        Caller(
            "summary",
            "summary",
            "from till.billing import bill\nfrom tally.util import fmt\n\n\n"
            f'def summary():\n    return f"{{bill(1)}} and {{fmt({fee})}}"\n',
            (_IMPORT, (f"{{fmt({fee})}}", f"{{format_cents({fee}00)}}")),
            "",
            repr(f"{rate + fee}.00 EUR and {fee}.00 EUR"),
            ("format_cents",),
        ),
    ]


def draft() -> Draft:
    """The sequence."""
    random = Random(SEED)
    callers = _callers(random)
    prices = {label: random.randint(1, 60) for label in ("coffee", "juice", "soup", "tea")}
    rows = ", ".join(f"('{label}', {amount})" for label, amount in prices.items())
    modules = ", ".join(f"('{caller.name}', 'old', 0)" for caller in callers)
    draft = Draft(
        id="upgrade-library",
        title="Upgrade a vendored library and port its callers",
        kind="refactor",
        difficulty=3,
        goal=(
            "Replace vendor/tally by the version in incoming/tally, and port every module of till/"
            " as docs/upgrading.md says, one after the other, tests and all. All tests must pass,"
            " nothing may use a name of version 1 any more, and vendor/lock.txt must be right."
        ),
        files={
            **{f"vendor/tally/{name}": text for name, text in OLD.items()},
            **{f"incoming/tally/{name}": text for name, text in NEW.items()},
            **{caller.path: caller.source for caller in callers},
            **{f"tests/test_{caller.name}.py": _test(caller) for caller in callers},
            "CHANGELOG.md": "# Changelog\n\n",
            "docs/upgrading.md": GUIDE,
            "requirements.txt": "tally==1.4.2  # vendored\n",
            "tests/__init__.py": "# a package\n",
            "till/__init__.py": "# a package\n",
            "tools/lock.py": LOCK,
        },
        database=SCHEMA.format(upgrades=random.randint(1, 6))
        + f"INSERT INTO callers VALUES {modules};\nINSERT INTO prices VALUES {rows};\n",
    )
    _look_around(draft, callers)
    _swap(draft)
    for caller in callers:
        _port(draft, caller)
    _all_pass(draft, callers)
    _prices(draft, prices)
    _lock(draft)
    _finish(draft, callers)
    _check(draft)
    return draft


def _test(caller: Caller) -> str:
    return TEST.format(
        name=caller.name,
        function=caller.function,
        title=caller.name.title(),
        given=caller.given,
        wanted=caller.wanted,
    )


def _look_around(draft: Draft, callers: list[Caller]) -> None:
    draft.turn("Look around: who uses the library, what the guide says.")
    draft.folder(".", depth=2)
    draft.read("docs/upgrading.md")
    draft.search("from tally", len(callers), path="till", regex=False)
    draft.query("SELECT module FROM callers ORDER BY module", [[name] for name in _names(callers)])

    draft.turn("All tests pass today. Begin the log of the upgrade.")
    draft.look(*TESTS)
    draft.create("UPGRADE.md", "# Upgrade to tally 2\n\n")
    draft.sql((LOGGED, [None, "begins"]), once=True)


def _names(callers: list[Caller]) -> list[str]:
    return sorted(caller.name for caller in callers)


def _swap(draft: Draft) -> None:
    draft.turn("Put the new version in the place of the old one. Now the tests fail.")
    draft.shell("python3 -B tools/lock.py > vendor/lock-1.txt")
    draft.run("mkdir", "attic")
    draft.run("mv", "vendor/tally", "attic/tally-1")
    draft.run("cp", "-R", "incoming/tally", "vendor")
    draft.edit("requirements.txt", ("==1.4.2", "==2.0.0"))
    draft.look(*TESTS, exit_code=1)

    draft.turn("Record the new pin, and what the two versions have in common.")
    draft.sql(
        "UPDATE pins SET version = '2.0.0', upgrades = upgrades + 1 WHERE library = 'tally'",
        once=True,
    )
    draft.look("sh", "-c", "cmp -s attic/tally-1/book.py vendor/tally/book.py", exit_code=1)
    draft.append("UPGRADE.md", "The vendored copy is version 2.0.0.\n\n")


def _port(draft: Draft, caller: Caller) -> None:
    edits = len(caller.edits)
    draft.turn(f"Port {caller.name}, until its test passes; record it.")
    draft.read(caller.path)
    draft.edit(caller.path, *caller.edits)
    if caller.name == "receipts":
        # it takes cents itself now, and so does its test
        draft.edit("tests/test_receipts.py", (f"({caller.given})", f"({caller.given}00)"))
    else:
        draft.look(*TESTS, caller.test)
    draft.append("UPGRADE.md", f"- {caller.name}: {edits} places\n")
    draft.sql(
        (PORTED, [edits, caller.name]),
        *((USE, [caller.name, name]) for name in caller.uses),
        once=True,
    )


def _all_pass(draft: Draft, callers: list[Caller]) -> None:
    draft.turn("All tests pass again, and no name of version 1 is used any more.")
    draft.look(*TESTS)
    draft.search("TallyError|tally.util|total\\(\\)", 0, path="till")
    draft.sql((LOGGED, [None, f"{len(callers)} modules ported"]), once=True)
    draft.append("UPGRADE.md", f"\nAll {len(callers)} tests pass.\n")


def _prices(draft: Draft, prices: dict[str, int]) -> None:
    draft.turn("Prices are kept in euros, too: make them cents.")
    draft.query(
        "SELECT label, amount FROM prices ORDER BY label",
        [[label, amount] for label, amount in sorted(prices.items())],
    )
    draft.sql("UPDATE prices SET amount = amount * 100", once=True)
    draft.sql("ALTER TABLE prices RENAME COLUMN amount TO cents")
    draft.query("SELECT sum(cents) FROM prices", [[100 * sum(prices.values())]])


def _lock(draft: Draft) -> None:
    draft.turn("Write the lock of the vendored files; the old copy goes.")
    draft.shell("python3 -B tools/lock.py > vendor/lock.txt")
    draft.run("rm", "-rf", "attic")
    draft.run("rm", "-rf", "incoming")
    draft.read("vendor/lock.txt")

    draft.turn("What changed, for those who use the till; a count of its lines.")
    draft.append("CHANGELOG.md", "- tally 2: amounts are cents throughout\n")
    draft.shell("cat till/*.py | wc -l | tr -d ' ' >> UPGRADE.md", once=True)
    draft.edit("docs/upgrading.md", ("# From tally 1 to tally 2", "# From tally 1 to 2 (done)"))


def _finish(draft: Draft, callers: list[Caller]) -> None:
    draft.turn("Finish: nothing is left to port; the log ends.")
    draft.query("SELECT count(*) FROM callers WHERE state = 'ported'", [[len(callers)]])
    draft.sql((LOGGED, [None, "ends"]), once=True)
    draft.append("UPGRADE.md", "Done.\n")
    draft.read("UPGRADE.md")


def _check(draft: Draft) -> None:
    draft.check_rows("SELECT module, state, edits FROM callers ORDER BY module")
    draft.check_rows("SELECT id, module, what FROM upgrade_log ORDER BY id")
    draft.check_rows("SELECT id, module, name FROM uses ORDER BY id")
    draft.check_rows("SELECT label, cents FROM prices ORDER BY label")
    draft.check_rows("SELECT library, version, upgrades FROM pins")
    draft.check_command(*TESTS)
    draft.check_command("sh", "-c", "! grep -rqE 'TallyError|tally[.]util' till tests")
