"""Respond to an outage: full logs, a stuck leader, a poisoned queue; the timeline only grows."""

from random import Random

from suites.drafting import Draft

SEED = 107
NODES = ("alpha", "beta", "gamma")
BUDGET = 9000
"""Bytes of logs that the health check allows."""
HAPPENED = "INSERT INTO timeline (incident, what) VALUES (1, ?)"
RESTARTED = "UPDATE nodes SET restarts = restarts + 1, state = 'up' WHERE name = ?"
RETRY = "UPDATE queue SET tries = tries + 1, state = 'waiting' WHERE state = 'stuck'"
BURY = "INSERT INTO dead_letters (queue_id, payload) SELECT id, payload FROM queue WHERE id = ?"

RUNBOOK = """# Outage

The timeline is numbered and only grows: timeline.md has an entry for whatever was done. What others
must know is a row of the table timeline, too.

1. Evidence first: copy to evidence/ before anything is rotated.
2. Logs: tools/rotate.py NAME shifts NAME.log to NAME.log.1 and so on; three old ones are kept.
3. A leader that does not answer is replaced by the next node in state/cluster.ini.
4. A message that failed more than three times is buried in dead_letters; the others are retried.
5. Restart nodes one after the other; each restart is a line in state/restarts.log.
6. tools/health.py says when it is over.
"""

ROTATE = '''"""Rotates a log: NAME.log becomes NAME.log.1, and so on. Usage: rotate.py NAME"""

import sys
from pathlib import Path

KEPT = 3

log = Path("logs", f"{sys.argv[1]}.log")
old = [log, *(log.with_name(f"{log.name}.{number}") for number in range(1, KEPT + 1))]
old[-1].unlink(missing_ok=True)
for source, target in reversed(list(zip(old, old[1:]))):
    if source.exists():
        source.rename(target)
log.write_text("")
with open("state/rotations.log", "a") as file:
    file.write(f"{log.name}\\n")
print(f"rotated {log.name}: {sum(path.exists() for path in old[1:])} old ones")
'''

HEALTH = '''"""Exits 0 if all is well; else says what is not."""

import configparser
import re
import sqlite3
import sys
from pathlib import Path

wrong = []
size = sum(path.stat().st_size for path in Path("logs").iterdir())
if size > BUDGET:
    wrong.append(f"logs: {size} bytes")
cluster = configparser.ConfigParser()
cluster.read("state/cluster.ini")
connection = sqlite3.connect("data/app.db")
down = [name for (name,) in connection.execute("SELECT name FROM nodes WHERE state <> 'up'")]
if cluster["cluster"]["leader"] in down:
    wrong.append(f"leader: {cluster['cluster']['leader']}")
if down:
    wrong.append(f"nodes: {' '.join(sorted(down))}")
query = "SELECT count(*) FROM queue WHERE state = 'stuck'"
stuck = connection.execute(query).fetchone()[0]
connection.close()
if stuck:
    wrong.append(f"queue: {stuck} stuck")
numbers = re.findall(r"(?m)^(\\d+)\\. ", Path("timeline.md").read_text())
if [int(number) for number in numbers] != list(range(1, len(numbers) + 1)):
    wrong.append("timeline: not numbered on")
print("\\n".join(wrong) or "well")
sys.exit(1 if wrong else 0)
'''.replace("BUDGET", str(BUDGET))

CLUSTER = """[cluster]
leader = {leader}
nodes = alpha beta gamma

[logging]
ingest = debug
router = info
"""

SCHEMA = """CREATE TABLE nodes (name TEXT PRIMARY KEY, state TEXT NOT NULL,
  restarts INTEGER NOT NULL);
CREATE TABLE queue (id INTEGER PRIMARY KEY, payload TEXT NOT NULL, state TEXT NOT NULL,
  tries INTEGER NOT NULL);
CREATE TABLE dead_letters (id INTEGER PRIMARY KEY AUTOINCREMENT, queue_id INTEGER NOT NULL,
  payload TEXT NOT NULL);
CREATE TABLE incidents (id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT NOT NULL,
  state TEXT NOT NULL, updates INTEGER NOT NULL DEFAULT 0);
CREATE TABLE leaders (id INTEGER PRIMARY KEY AUTOINCREMENT, node TEXT NOT NULL);
CREATE TABLE timeline (id INTEGER PRIMARY KEY AUTOINCREMENT, incident INTEGER NOT NULL,
  what TEXT NOT NULL);
"""


class Timeline:
    """Writes the entries of the timeline, each with the next number.

    Args:
        draft: Where to.
    """

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._last = 0

    def add(self, what: str, *, table: bool = True) -> None:
        """An entry in the file and, if `table`, in the database."""
        self._last += 1
        self._draft.append("timeline.md", f"{self._last}. {what}\n")
        if table:
            self._draft.sql((HAPPENED, [what]), once=True)


def _logs(random: Random) -> dict[str, str]:
    """Logs that are too large together, most of it written by ingest."""
    logs: dict[str, str] = {}
    for name, lines in (("ingest", 160), ("router", 24)):
        text = "".join(
            f"09:{at // 60:02}:{at % 60:02} {'DEBUG' if name == 'ingest' else 'INFO'}"
            f" {random.choice(['frame', 'batch', 'lease'])} {random.randint(100, 999)}"
            f" {random.choice(['kept', 'sent', 'dropped'])}\n"
            for at in range(lines)
        )
        logs[f"logs/{name}.log"] = text
        for old in (1, 2, 3):
            size = random.randint(50, 70) if name == "ingest" else 4
            logs[f"logs/{name}.log.{old}"] = f"day {-old} of {name}\n" * size
    logs["logs/router.log"] += "09:03:00 ERROR lease 7 of beta not renewed\n"
    return logs


def draft() -> Draft:
    """The sequence."""
    random = Random(SEED)
    poison = random.randint(3, 9)
    rows = ", ".join(
        "({}, 'order {}', '{}', {})".format(
            number,
            random.randint(1000, 9999),
            "stuck" if number >= 3 else "done",
            7 if number == poison else random.randint(1, 3),
        )
        for number in range(1, 13)
    )
    nodes = ", ".join(
        f"('{name}', '{'down' if name == 'beta' else 'up'}', {random.randint(0, 6)})"
        for name in NODES
    )
    draft = Draft(
        id="respond-outage",
        title="Respond to an outage by the runbook",
        kind="operate",
        difficulty=3,
        goal=(
            "Orders are stuck. Work through docs/runbook.md until tools/health.py is content:"
            " evidence, logs, leader, queue, restarts; keep timeline.md and its table, and end with"
            " a review in incidents/1.md."
        ),
        files={
            **_logs(random),
            "docs/runbook.md": RUNBOOK,
            "state/cluster.ini": CLUSTER.format(leader="beta"),
            "state/restarts.log": "alpha restarted\n",
            "status.txt": "All systems up.\n",
            "timeline.md": "# Timeline\n\n",
            "tools/health.py": HEALTH,
            "tools/rotate.py": ROTATE,
        },
        database=SCHEMA + f"INSERT INTO nodes VALUES {nodes};\nINSERT INTO queue VALUES {rows};\n",
    )
    timeline = Timeline(draft)
    _open(draft, timeline)
    _logs_are_full(draft, timeline)
    _leader(draft, timeline)
    _queue(draft, timeline, poison)
    _restart(draft, timeline)
    _close(draft, timeline)
    _check(draft)
    return draft


def _open(draft: Draft, timeline: Timeline) -> None:
    draft.turn("Look around: what is wrong, and what the runbook says.")
    draft.look("python3", "-B", "tools/health.py", exit_code=1)
    draft.read("docs/runbook.md")
    draft.folder("logs")
    draft.query("SELECT name, state FROM nodes WHERE state <> 'up'", [["beta", "down"]])

    draft.turn("Open the incident; say so on the status page.")
    draft.sql("INSERT INTO incidents (title, state) VALUES ('orders are stuck', 'open')", once=True)
    draft.append("status.txt", "Orders are delayed. We are looking into it.\n")
    timeline.add("incident opened")


def _logs_are_full(draft: Draft, timeline: Timeline) -> None:
    draft.turn("Evidence first: what the logs say of the lease, and the log that grew most.")
    draft.search("not renewed", 1, path="logs", regex=False)
    draft.run("mkdir", "evidence")
    draft.shell(
        "for log in logs/*; do echo \"$log $(wc -c < $log | tr -d ' ')\"; done > evidence/sizes.txt"
    )
    draft.run("cp", "logs/ingest.log", "evidence/ingest.log")
    timeline.add("evidence kept", table=False)

    draft.turn("Who writes so much? Make it less.")
    draft.look("sh", "-c", "grep -c DEBUG logs/ingest.log", stdout="160\n")
    draft.edit("state/cluster.ini", ("ingest = debug", "ingest = warning"))
    timeline.add("ingest logs warnings only", table=False)

    draft.turn("Rotate the logs of ingest until only little of it is left.")
    for _ in range(3):
        draft.run("python3", "-B", "tools/rotate.py", "ingest", once=True)
    draft.run("rm", "-f", "logs/ingest.log.3")
    timeline.add("ingest rotated three times", table=False)

    draft.turn("Rotate the router's, once, and look at what the health check says of the logs.")
    draft.run("python3", "-B", "tools/rotate.py", "router", once=True)
    draft.folder("logs", glob="router*")
    draft.look("sh", "-c", "python3 -B tools/health.py | grep -c ^logs", exit_code=1, stdout="0\n")
    timeline.add("logs fit again", table=False)


def _leader(draft: Draft, timeline: Timeline) -> None:
    draft.turn("The leader does not answer: the next node takes over.")
    draft.search("leader = beta", 1, path="state", regex=False)
    draft.edit("state/cluster.ini", ("leader = beta", "leader = gamma"))
    draft.shell("echo 'gamma leads' >> state/leaders.log", once=True)
    draft.sql("INSERT INTO leaders (node) VALUES ('gamma')", once=True)
    timeline.add("gamma leads")


def _queue(draft: Draft, timeline: Timeline, poison: int) -> None:
    draft.turn("Which message poisons the queue? Bury it.")
    draft.query("SELECT id FROM queue WHERE state = 'stuck' AND tries > 3 ORDER BY id", [[poison]])
    draft.sql((BURY, [poison]), once=True)
    draft.sql(("DELETE FROM queue WHERE id = ?", [poison]))
    timeline.add(f"message {poison} buried")

    draft.turn("Retry the others: once; none is stuck then.")
    draft.sql(RETRY, "UPDATE incidents SET updates = updates + 1", once=True)
    draft.query("SELECT count(*) FROM queue WHERE state = 'waiting'", [[9]])
    draft.append("status.txt", "Orders are being worked off.\n")
    timeline.add("9 messages retried", table=False)


def _restart(draft: Draft, timeline: Timeline) -> None:
    draft.turn("Restart the nodes, one after the other, the leader last.")
    for name in ("beta", "alpha", "gamma"):
        draft.append("state/restarts.log", f"{name} restarted\n")
        draft.sql((RESTARTED, [name]), once=True)

    draft.turn("Is it over? Note it.")
    draft.look("python3", "-B", "tools/health.py", stdout="well\n")
    draft.query("SELECT count(*) FROM nodes WHERE state = 'up'", [[len(NODES)]])
    timeline.add("all nodes up", table=False)


def _close(draft: Draft, timeline: Timeline) -> None:
    draft.turn("Keep it from happening again: the runbook warns of debug logs; a script watches.")
    draft.edit("docs/runbook.md", ("1. Evidence first:", "1. No debug logs. Evidence comes first:"))
    draft.create("tools/watch.sh", "python3 -B tools/health.py || echo 'page the operators'\n")
    draft.look("sh", "tools/watch.sh", stdout="well\n")

    draft.turn("Write the review: what happened, from the timeline.")
    draft.create("incidents/1.md", "# Orders were stuck\n\n")
    draft.shell("tail -n +3 timeline.md >> incidents/1.md", once=True)
    draft.append("incidents/1.md", "\nCause: debug logs filled the disk of the leader.\n")

    draft.turn("Close the incident.")
    draft.sql(
        "UPDATE incidents SET state = 'closed', updates = updates + 1 WHERE id = 1", once=True
    )
    draft.append("status.txt", "All systems up again.\n")
    timeline.add("incident closed")
    draft.read("timeline.md")


def _check(draft: Draft) -> None:
    draft.check_rows("SELECT name, state, restarts FROM nodes ORDER BY name")
    draft.check_rows("SELECT id, payload, state, tries FROM queue ORDER BY id")
    draft.check_rows("SELECT id, queue_id, payload FROM dead_letters ORDER BY id")
    draft.check_rows("SELECT id, title, state, updates FROM incidents ORDER BY id")
    draft.check_rows("SELECT id, node FROM leaders ORDER BY id")
    draft.check_rows("SELECT id, incident, what FROM timeline ORDER BY id")
    draft.check_command("python3", "tools/health.py")
