"""Migrate a SQLite schema in four steps, backfill it, and bring the code that reads it along."""

from random import Random

from suites.drafting import Draft

SEED = 23
LOGGED = "INSERT INTO migration_log (step, note) VALUES (?, ?)"
BUMP = "UPDATE schema_version SET version = version + 1"
REPORT = "python3 -B app/report.py data/app.db > out/{0}.txt"

PLAN = """# Plan

1. names: full_name becomes first_name and last_name
2. contacts: contact becomes rows of its own
3. states: state becomes a reference
4. totals: kept by customer

After each: bump schema_version, a row in migration_log, a line in migrations/applied.txt.
"""

APP = '''"""Prints who ordered most. Usage: report.py DATABASE"""

import sqlite3
import sys

QUERY = """
SELECT full_name, sum(amount_cents) AS cents
FROM customers JOIN orders ON orders.customer_id = customers.id
WHERE orders.state = 'paid'
GROUP BY customers.id ORDER BY cents DESC, full_name LIMIT 5
"""


def main(path):
    connection = sqlite3.connect(path)
    for name, cents in connection.execute(QUERY):
        print(f"{name}: {cents}")
    connection.close()


main(sys.argv[1])
'''

VERIFY = '''"""Exits 0 if a query gives 0. Usage: verify.py DATABASE QUERY"""

import sqlite3
import sys

connection = sqlite3.connect(sys.argv[1])
wrong = connection.execute(sys.argv[2]).fetchone()[0]
connection.close()
print(f"{wrong} wrong")
sys.exit(1 if wrong else 0)
'''

SCHEMA = """CREATE TABLE customers (id INTEGER PRIMARY KEY, full_name TEXT NOT NULL,
  contact TEXT NOT NULL);
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers,
  amount_cents INTEGER NOT NULL, state TEXT NOT NULL);
CREATE TABLE schema_version (version INTEGER NOT NULL);
CREATE TABLE migration_log (id INTEGER PRIMARY KEY AUTOINCREMENT, step TEXT NOT NULL,
  note TEXT NOT NULL);
INSERT INTO schema_version VALUES (1);
"""

CONTACTS = (
    "CREATE TABLE contacts (id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " customer_id INTEGER NOT NULL REFERENCES customers, kind TEXT NOT NULL, value TEXT NOT NULL)"
)
EMAILS = (
    "INSERT INTO contacts (customer_id, kind, value)"
    " SELECT id, 'email', contact FROM customers WHERE contact LIKE '%@%' ORDER BY id"
)
PHONES = (
    "INSERT INTO contacts (customer_id, kind, value)"
    " SELECT id, 'phone', contact FROM customers WHERE contact NOT LIKE '%@%' ORDER BY id"
)
STATES = "CREATE TABLE order_states (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL)"
FILL_STATES = "INSERT INTO order_states (name) VALUES ('new'), ('paid'), ('returned')"
ADD_STATE = "ALTER TABLE orders ADD COLUMN state_id INTEGER REFERENCES order_states"
SET_STATE = (
    "UPDATE orders SET state_id ="
    " (SELECT min(id) FROM order_states WHERE order_states.name = orders.state)"
)
TOTALS = (
    "CREATE TABLE totals (id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " customer_id INTEGER NOT NULL, cents INTEGER NOT NULL)"
)
FILL_TOTALS = (
    "INSERT INTO totals (customer_id, cents) SELECT customer_id, sum(amount_cents) FROM orders"
    " WHERE state_id = 2 GROUP BY customer_id ORDER BY customer_id"
)
ADJUST = "UPDATE totals SET cents = cents + ? WHERE customer_id = ?"

FIRST = ["Ada", "Ben", "Cleo", "Dov", "Edda", "Finn", "Gita", "Hal", "Ines", "Jon", "Kim", "Lou"]
LAST = ["Abel", "Brandt", "Cruz", "Dahl", "Egger", "Fox", "Grau", "Holm", "Ito", "Jansen"]


def _rows(random: Random) -> tuple[str, int]:
    """INSERTs of customers and orders, and how many customers."""
    names = random.sample([f"{first} {last}" for first in FIRST for last in LAST], 18)
    customers: list[str] = []
    for number, name in enumerate(names, 1):
        at = name.lower().replace(" ", ".")
        phone = f"+49 30 {random.randint(100000, 999999)}"
        contact = f"{at}@example.org" if random.random() < 0.6 else phone
        customers.append(f"  ({number}, '{name}', '{contact}')")
    orders: list[str] = []
    for number in range(1, 49):
        # each of the first orders is paid, so that every customer has a total
        state = "paid" if number <= 18 else random.choice(["new", "paid", "paid", "returned"])
        customer = number if number <= 18 else random.randint(1, 18)
        orders.append(f"  ({number}, {customer}, {random.randint(500, 25000)}, '{state}')")
    return (
        "INSERT INTO customers VALUES\n" + ",\n".join(customers) + ";\n"
        "INSERT INTO orders VALUES\n" + ",\n".join(orders) + ";\n"
    ), len(names)


def draft() -> Draft:
    """The sequence."""
    random = Random(SEED)
    rows, customers = _rows(random)
    adjusted = random.sample(range(1, customers + 1), 2)
    amounts = [random.randint(-400, -100), random.randint(100, 900)]
    csv = "customer,cents,reason\n" + "".join(
        f"{customer},{cents},{reason}\n"
        for customer, cents, reason in zip(adjusted, amounts, ["refund", "late fee"], strict=True)
    )
    draft = Draft(
        id="migrate-orders",
        title="Migrate an order schema and backfill it",
        kind="data",
        difficulty=3,
        goal=(
            "Carry out docs/plan.md on the database app, one step after the other, with a"
            " migration file, a log row and a version bump each; then drop the old columns and"
            " bring app/report.py along. Nothing that the old schema knew may be lost."
        ),
        files={
            "CHANGES.md": "# Changes\n",
            "app/report.py": APP,
            "app/verify.py": VERIFY,
            "data/adjustments.csv": csv,
            "docs/plan.md": PLAN,
            "migrations/applied.txt": "000 baseline\n",
        },
        database=SCHEMA + rows,
    )
    _names(draft, customers)
    _contacts(draft, customers)
    _states(draft)
    _totals(draft, adjusted, amounts)
    _clean_up(draft)
    _code(draft)
    _check(draft)
    return draft


def _applied(draft: Draft, number: int, name: str) -> None:
    draft.sql(BUMP, once=True)
    draft.sql((LOGGED, [f"{number:03}", name]), once=True)
    draft.append("migrations/applied.txt", f"{number:03} {name}\n")


def _names(draft: Draft, customers: int) -> None:
    draft.turn("Look around: schema, plan, and what there is.")
    draft.describe()
    draft.folder(".", depth=2)
    draft.read("docs/plan.md")
    draft.query("SELECT count(*), count(DISTINCT full_name) FROM customers", [[customers] * 2])

    draft.turn("Keep what the report says today, to compare with later.")
    draft.read("app/report.py")
    draft.run("mkdir", "out")
    draft.shell(REPORT.format("before"))

    draft.turn("Step 1: split the names, keep the statements in a migration file.")
    columns = [
        f"ALTER TABLE customers ADD COLUMN {name} TEXT" for name in ("first_name", "last_name")
    ]
    backfill = (
        "UPDATE customers SET first_name = substr(full_name, 1, instr(full_name, ' ') - 1),"
        " last_name = substr(full_name, instr(full_name, ' ') + 1)"
    )
    draft.create("migrations/001_names.sql", ";\n".join([*columns, backfill]) + ";\n")
    draft.sql(*columns)
    draft.sql(backfill)
    draft.query("SELECT count(*) FROM customers WHERE last_name IS NULL", [[0]])

    draft.turn("Record step 1: version, log, list of what is applied.")
    _applied(draft, 1, "names")
    draft.read("migrations/applied.txt")


def _contacts(draft: Draft, customers: int) -> None:
    draft.turn("Step 2: contacts get a table; fill it with e-mail addresses, then with phones.")
    draft.create("migrations/002_contacts.sql", ";\n".join([CONTACTS, EMAILS, PHONES]) + ";\n")
    draft.sql(CONTACTS)
    draft.sql(EMAILS, once=True)
    draft.sql(PHONES, once=True)
    draft.query("SELECT count(*) FROM contacts", [[customers]])

    draft.turn("Record step 2, and verify that every customer has a contact.")
    _applied(draft, 2, "contacts")
    missing = "SELECT count(*) FROM customers WHERE id NOT IN (SELECT customer_id FROM contacts)"
    draft.look("python3", "-B", "app/verify.py", "data/app.db", missing, stdout="0 wrong\n")


def _states(draft: Draft) -> None:
    draft.turn("Step 3: states get a table; orders refer to it.")
    statements = [STATES, FILL_STATES, ADD_STATE, SET_STATE]
    draft.create("migrations/003_states.sql", ";\n".join(statements) + ";\n")
    draft.sql(STATES)
    draft.sql(FILL_STATES, once=True)
    draft.sql(ADD_STATE)
    draft.sql(SET_STATE)
    draft.query("SELECT count(*) FROM orders WHERE state_id IS NULL", [[0]])

    draft.turn("Record step 3, and verify that no order changed its state.")
    _applied(draft, 3, "states")
    changed = (
        "SELECT count(*) FROM orders JOIN order_states ON order_states.id = state_id"
        " WHERE order_states.name <> orders.state"
    )
    draft.look("python3", "-B", "app/verify.py", "data/app.db", changed, stdout="0 wrong\n")


def _totals(draft: Draft, adjusted: list[int], amounts: list[int]) -> None:
    draft.turn("Step 4: totals of paid orders by customer.")
    draft.create("migrations/004_totals.sql", ";\n".join([TOTALS, FILL_TOTALS]) + ";\n")
    draft.sql(TOTALS)
    draft.sql(FILL_TOTALS, once=True)
    draft.query("SELECT customer_id, cents FROM totals ORDER BY cents DESC LIMIT 3")

    draft.turn("Apply data/adjustments.csv to the totals, and record step 4.")
    draft.read("data/adjustments.csv")
    for customer, cents in zip(adjusted, amounts, strict=True):
        draft.sql((ADJUST, [cents, customer]), once=True)
    _applied(draft, 4, "totals")


def _clean_up(draft: Draft) -> None:
    draft.turn("An index for orders by state, and a view of what is paid.")
    draft.sql("CREATE INDEX orders_by_state ON orders (state_id)")
    draft.sql(
        "CREATE VIEW paid AS SELECT id, customer_id, amount_cents FROM orders WHERE state_id = 2"
    )
    draft.query(
        "SELECT (SELECT count(*) FROM paid) = count(*) FROM orders WHERE state = 'paid'", [[1]]
    )

    draft.turn("Drop the columns that the steps replaced.")
    draft.sql("ALTER TABLE customers DROP COLUMN full_name")
    draft.sql("ALTER TABLE customers DROP COLUMN contact")
    draft.sql("ALTER TABLE orders DROP COLUMN state")
    draft.describe("customers")


def _code(draft: Draft) -> None:
    draft.turn("Bring the report along: it says the same as before.")
    draft.look("sh", "-c", "python3 -B app/report.py data/app.db", exit_code=1)
    draft.edit(
        "app/report.py",
        ("SELECT full_name,", "SELECT first_name || ' ' || last_name AS name,"),
        ("cents DESC, full_name", "cents DESC, name"),
    )
    draft.edit("app/report.py", ("orders.state = 'paid'", "orders.state_id = 2"))
    draft.shell(REPORT.format("after"))
    draft.look("cmp", "out/before.txt", "out/after.txt")

    draft.turn("Finish: tick the plan, note the change, the last version.")
    draft.edit("docs/plan.md", ("# Plan\n", "# Plan (done)\n"))
    draft.append("CHANGES.md", "- schema 6: names, contacts, states, totals\n")
    draft.sql(BUMP, (LOGGED, ["005", "old columns dropped"]), once=True)
    draft.query("SELECT version FROM schema_version", [[6]])


def _check(draft: Draft) -> None:
    draft.check_rows("SELECT version FROM schema_version", [[6]])
    draft.check_rows("SELECT id, step, note FROM migration_log ORDER BY id")
    draft.check_rows("SELECT id, first_name, last_name FROM customers ORDER BY id")
    draft.check_rows("SELECT id, customer_id, kind, value FROM contacts ORDER BY id")
    draft.check_rows("SELECT id, name FROM order_states ORDER BY id")
    draft.check_rows("SELECT id, customer_id, amount_cents, state_id FROM orders ORDER BY id")
    draft.check_rows("SELECT id, customer_id, cents FROM totals ORDER BY id")
    draft.check_rows("SELECT count(*), sum(amount_cents) FROM paid")
    for table in ("customers", "orders"):
        draft.check_rows(f"SELECT name FROM pragma_table_info('{table}') ORDER BY cid")
    draft.check_rows("SELECT name FROM pragma_index_list('orders')", [["orders_by_state"]])
    draft.check_command("cmp", "out/before.txt", "out/after.txt")
