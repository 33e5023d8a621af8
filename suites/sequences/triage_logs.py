"""Triage a morning's logs: search, count, write a report, open incidents, quieten an alert."""

from random import Random

from suites.drafting import Draft

SEED = 37
SERVICES = ("web", "worker", "mail")
ADDED = "UPDATE services SET errors = errors + ? WHERE name = ?"
OPENED = "INSERT INTO incidents (service, severity, title) VALUES (?, ?, ?)"
NOTED = "INSERT INTO notes (incident_id, note) VALUES (?, ?)"

RUNBOOK = """# Triage

1. Count errors by service, add them to services.errors.
2. One incident for each service that has errors; severity 1 for timeouts, else 2.
3. Follow the request that failed most through all logs.
4. Archive the logs, write report/triage.md, page the owners.
"""

ALERTS = """alerts:
  disk: {{threshold: {disk}, page: true}}
  errors: {{threshold: {errors}, page: true}}
  latency: {{threshold: {latency}, page: true}}
"""

SUMMARY = '''"""Prints how many lines of each level a log has. Usage: summary.py LOG..."""

import sys
from collections import Counter
from pathlib import Path

for path in sys.argv[1:]:
    levels = Counter(line.split()[1] for line in Path(path).read_text().splitlines())
    print(Path(path).name, *(f"{level}={levels[level]}" for level in sorted(levels)))
'''

DATABASE = """CREATE TABLE services (name TEXT PRIMARY KEY, owner TEXT NOT NULL,
  errors INTEGER NOT NULL, pages INTEGER NOT NULL);
CREATE TABLE incidents (id INTEGER PRIMARY KEY AUTOINCREMENT, service TEXT NOT NULL,
  severity INTEGER NOT NULL, title TEXT NOT NULL, state TEXT NOT NULL DEFAULT 'open',
  seen INTEGER NOT NULL DEFAULT 1);
CREATE TABLE notes (id INTEGER PRIMARY KEY AUTOINCREMENT, incident_id INTEGER NOT NULL,
  note TEXT NOT NULL);
INSERT INTO services VALUES ('mail', '{0}', {3}, 0), ('web', '{1}', {4}, 2),
  ('worker', '{2}', {5}, 1);
"""

MESSAGES = {
    "INFO": ["started", "done", "took 12 ms", "cache hit"],
    "WARN": ["slow answer", "queue is long"],
    "ERROR": ["upstream timeout", "bad payload", "disk is full"],
}


def _logs(random: Random) -> tuple[dict[str, str], str]:
    """The logs by path, and the request that fails most."""
    requests = [f"req-{random.randint(1000, 9999)}" for _ in range(6)]
    worst = requests[0]
    logs: dict[str, str] = {}
    for service in SERVICES:
        lines: list[str] = []
        for second in range(36):
            level = random.choices(list(MESSAGES), [6, 2, 2])[0]
            request = worst if level == "ERROR" and second % 2 else random.choice(requests)
            said = random.choice(MESSAGES[level])
            lines.append(f"08:{second // 6:02}:{second % 6 * 10:02} {level} {request} {said}\n")
        lines.append(f"08:07:00 ERROR {worst} upstream timeout\n")
        logs[f"logs/{service}.log"] = "".join(lines)
    return logs, worst


def draft() -> Draft:
    """The sequence."""
    random = Random(SEED)
    logs, worst = _logs(random)
    errors = {service: logs[f"logs/{service}.log"].count(" ERROR ") for service in SERVICES}
    owners = random.sample(["ada", "ben", "cleo", "dov", "edda"], 3)
    alerts = ALERTS.format(
        disk=random.randint(80, 95), errors=random.randint(3, 9), latency=random.randint(200, 900)
    )
    draft = Draft(
        id="triage-logs",
        title="Triage a morning's logs",
        kind="scan",
        difficulty=1,
        goal=(
            "Follow docs/runbook.md for the logs in logs/: count errors, open incidents, follow"
            " the worst request, archive the logs, write report/triage.md."
        ),
        files={
            **logs,
            "config/alerts.yaml": alerts,
            "docs/runbook.md": RUNBOOK,
            "shifts.txt": f"{owners[0]} had the night shift\n",
            "tools/summary.py": SUMMARY,
        },
        database=DATABASE.format(*owners, *(random.randint(0, 40) for _ in range(3))),
    )
    _look_around(draft, errors)
    for number, service in enumerate(SERVICES, 1):
        _triage(draft, number, service, errors[service])
    _follow(draft, logs, worst)
    _archive(draft)
    _finish(draft, owners)
    draft.check_rows("SELECT name, owner, errors, pages FROM services ORDER BY name")
    draft.check_rows("SELECT id, service, severity, title, state, seen FROM incidents ORDER BY id")
    draft.check_rows("SELECT id, incident_id, note FROM notes ORDER BY id")
    draft.check_command("grep", "-q", "^Worst request: " + worst, "report/triage.md")
    return draft


def _look_around(draft: Draft, errors: dict[str, int]) -> None:
    draft.turn("Look around: logs, runbook, services.")
    draft.folder("logs")
    draft.read("docs/runbook.md")
    draft.query("SELECT name, owner, errors, pages FROM services ORDER BY name")
    draft.look("sh", "-c", "cat logs/*.log | grep -c ' ERROR '", stdout=f"{sum(errors.values())}\n")

    draft.turn("Begin the report, and note who takes over.")
    draft.create("report/triage.md", "# Triage\n\n")
    draft.append("shifts.txt", "triage began at 08:10\n")


def _triage(draft: Draft, number: int, service: str, errors: int) -> None:
    log = f"logs/{service}.log"
    draft.turn(f"Triage {service}: find its errors, count them, open an incident, report.")
    draft.search(" ERROR ", 1, path=log, regex=False)
    draft.look("grep", "-c", " ERROR ", log, stdout=f"{errors}\n")
    draft.sql((ADDED, [errors, service]), once=True)
    draft.sql((OPENED, [service, 2, f"{errors} errors in {service}"]), once=True)
    draft.append("report/triage.md", f"## {service}\n\n{errors} errors, incident {number}.\n\n")

    draft.turn(f"Timeouts in {service} make it severe; keep the lines.")
    draft.shell(f"grep 'upstream timeout' {log} > report/{service}-timeouts.txt")
    draft.read(f"report/{service}-timeouts.txt", line_count=5)
    draft.sql(("UPDATE incidents SET severity = 1 WHERE service = ?", [service]))


def _follow(draft: Draft, logs: dict[str, str], worst: str) -> None:
    seen = sum(text.count(worst) for text in logs.values())
    draft.turn("Find the request that fails most, and follow it through all logs.")
    count = (
        "cat logs/*.log | awk '$2 == \"ERROR\" {print $3}' | sort | uniq -c"
        " | sort -rn | awk 'NR == 1 {print $2}'"
    )
    draft.look("sh", "-c", count, stdout=f"{worst}\n")
    draft.search(worst, 3, path="logs", glob="*.log")
    draft.shell(
        f"cat logs/mail.log logs/web.log logs/worker.log | grep {worst} | LC_ALL=C sort"
        " > report/worst.txt"
    )
    draft.append("report/triage.md", f"Worst request: {worst}, {seen} lines\n\n")

    draft.turn("Note it at each incident, and count each as seen again.")
    draft.sql(*((NOTED, [number, f"see {worst}"]) for number in (1, 2, 3)), once=True)
    draft.sql("UPDATE incidents SET seen = seen + 1", once=True)
    draft.query("SELECT count(*) FROM notes", [[3]])


def _archive(draft: Draft) -> None:
    draft.turn("Summarise the levels, then archive the logs.")
    draft.look("python3", "-B", "tools/summary.py", "logs/web.log", "logs/mail.log")
    draft.shell(
        "python3 -B tools/summary.py logs/mail.log logs/web.log logs/worker.log > report/levels.txt"
    )
    draft.run("mkdir", "archive")
    draft.run("mv", "logs/web.log", "archive/web-0800.log")
    draft.run("mv", "logs/worker.log", "archive/worker-0800.log")
    draft.run("mv", "logs/mail.log", "archive/mail-0800.log")

    draft.turn("Start new logs, and list what is archived.")
    draft.shell(
        'for name in web worker mail; do echo "$name log begins" >> logs/$name.log; done', once=True
    )
    draft.shell("ls archive >> archive/index.txt", once=True)
    draft.read("archive/index.txt")

    draft.turn("The latency alert pages too often: raise it and let it page nobody.")
    draft.read("config/alerts.yaml")
    line = next(
        line for line in draft.files["config/alerts.yaml"].splitlines() if "latency" in line
    )
    draft.edit("config/alerts.yaml", (line, "  latency: {threshold: 1500, page: false}"))
    draft.append("config/alerts.yaml", "  timeouts: {threshold: 3, page: true}\n")
    draft.search("page: true", 1, path="config", regex=False)


def _finish(draft: Draft, owners: list[str]) -> None:
    draft.turn("Page the owners: one page each, one line in the report.")
    draft.sql("UPDATE services SET pages = pages + 1", once=True)
    draft.append("report/triage.md", f"Paged: {', '.join(sorted(owners))}\n")
    draft.sql((NOTED, [1, "owners paged"]), once=True)
    draft.query("SELECT sum(pages) FROM services", [[6]])

    draft.turn("Hand over: acknowledge the incidents, sign the report.")
    draft.sql("UPDATE incidents SET state = 'acknowledged' WHERE state = 'open'")
    draft.shell("wc -l < report/worst.txt | tr -d ' ' >> report/triage.md", once=True)
    draft.append("shifts.txt", "triage ended at 08:40\n")
    draft.read("report/triage.md")
