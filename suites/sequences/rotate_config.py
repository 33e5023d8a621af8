"""Rotate the configuration of four services: secrets' placeholders, versions, ports, a manifest."""

from random import Random

from suites.drafting import Draft

SEED = 41
SERVICES = ("api", "cron", "gateway", "worker")
AUDIT = "INSERT INTO audit (service, what) VALUES (?, ?)"
ROTATED = "UPDATE rotations SET version = version + 1, rotated = rotated + 1 WHERE service = ?"

CONFIG = """[service]
name = {name}
version = {version}
port = {port}

[secrets]
password = ${{{upper}_PASSWORD_V{version}}}
token = ${{{upper}_TOKEN_V{version}}}

[limits]
connections = {connections}
"""

VALIDATE = '''"""Exits 0 if the placeholders bear their file's version and ports are unique."""

import configparser
import sys
from pathlib import Path

ports = {}
wrong = []
for path in sorted(Path("config").glob("*.ini")):
    config = configparser.ConfigParser(interpolation=None)
    config.read(path)
    version = config["service"]["version"]
    for name, value in config["secrets"].items():
        if not value.endswith(f"_V{version}}}"):
            wrong.append(f"{path}: {name} is not of version {version}")
    port = config["service"]["port"]
    if port in ports:
        wrong.append(f"{path}: port {port} is that of {ports[port]}")
    ports[port] = path
print("\\n".join(wrong) or "valid")
sys.exit(1 if wrong else 0)
'''

POLICY = """# Rotation

One service after the other. For each: keep a copy in backup/, raise the version, also in both
placeholders, add the new placeholders to secrets/wanted.txt, count the rotation in the
database, write an audit row, a line in CHANGELOG.md.
"""

DATABASE = """CREATE TABLE rotations (service TEXT PRIMARY KEY, version INTEGER NOT NULL,
  rotated INTEGER NOT NULL);
CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, service TEXT, what TEXT NOT NULL);
INSERT INTO audit (service, what) VALUES (NULL, 'audit begins');
"""


def draft() -> Draft:
    """The sequence."""
    random = Random(SEED)
    versions = {name: random.randint(2, 7) for name in SERVICES}
    port = random.randint(8000, 8900)
    files = {
        f"config/{name}.ini": CONFIG.format(
            name=name,
            upper=name.upper(),
            version=versions[name],
            # two of them share a port, which the validation finds
            port=port + (0 if name == "worker" else number),
            connections=random.choice([16, 32, 64, 128]),
        )
        for number, name in enumerate(SERVICES)
    }
    rows = "".join(
        f"INSERT INTO rotations VALUES ('{name}', {versions[name]}, {random.randint(1, 5)});\n"
        for name in SERVICES
    )
    draft = Draft(
        id="rotate-config",
        title="Rotate the configuration of four services",
        kind="operate",
        difficulty=2,
        goal=(
            "Rotate all four services as docs/rotation.md says, then give the worker a port of its"
            " own, raise the limits, and write deploy/manifest.txt. tools/validate.py must pass."
        ),
        files={
            **files,
            "CHANGELOG.md": "# Changelog\n\n",
            "deploy/hosts.txt": "".join(f"host-{random.randint(10, 99)}\n" for _ in range(4)),
            "docs/rotation.md": POLICY,
            "secrets/wanted.txt": "# placeholders that the vault must know\n",
            "tools/validate.py": VALIDATE,
        },
        database=DATABASE + rows,
    )
    _look_around(draft)
    for name in SERVICES:
        _rotate(draft, name, versions[name])
    _port(draft, port)
    _limits(draft)
    _manifest(draft, versions)
    draft.check_rows("SELECT service, version, rotated FROM rotations ORDER BY service")
    draft.check_rows("SELECT id, service, what FROM audit ORDER BY id")
    draft.check_command("python3", "tools/validate.py")
    return draft


def _look_around(draft: Draft) -> None:
    draft.turn("Look around: configuration, rules, what is recorded.")
    draft.folder("config")
    draft.read("docs/rotation.md")
    draft.query("SELECT service, version FROM rotations ORDER BY service")
    draft.look("python3", "-B", "tools/validate.py", exit_code=1)

    draft.turn("Begin: a place for copies, an entry in the change log, an audit row.")
    draft.run("mkdir", "backup")
    draft.append("CHANGELOG.md", "## Rotation\n\n")
    draft.sql((AUDIT, [None, "rotation begins"]), once=True)


def _rotate(draft: Draft, name: str, version: int) -> None:
    path = f"config/{name}.ini"
    upper = name.upper()
    draft.turn(f"Rotate {name}: a copy, the version, the placeholders.")
    draft.run("cp", path, f"backup/{name}.ini")
    draft.edit(path, (f"version = {version}", f"version = {version + 1}"))
    draft.edit(path, (f"_V{version}}}", f"_V{version + 1}}}"), everywhere=2)
    draft.search(f"_V{version + 1}}}", 1, path=path, regex=False)

    draft.turn(f"Record the rotation of {name}.")
    wanted = "".join(f"{upper}_{kind}_V{version + 1}\n" for kind in ("PASSWORD", "TOKEN"))
    draft.append("secrets/wanted.txt", wanted)
    draft.sql((ROTATED, [name]), (AUDIT, [name, f"version {version + 1}"]), once=True)
    draft.append("CHANGELOG.md", f"- {name}: version {version} to {version + 1}\n")


def _port(draft: Draft, port: int) -> None:
    free = port + len(SERVICES)
    draft.turn("The worker shares its port with the api: give it one of its own, and validate.")
    draft.search(f"port = {port}", 2, path="config", regex=False)
    draft.edit("config/worker.ini", (f"port = {port}", f"port = {free}"))
    draft.look("python3", "-B", "tools/validate.py", stdout="valid\n")
    draft.sql((AUDIT, ["worker", f"port {free}"]), once=True)
    draft.append("CHANGELOG.md", f"- worker: port {free}\n")


def _limits(draft: Draft) -> None:
    draft.turn("Raise the gateway's limit, and give the api a section for time limits.")
    line = next(
        line for line in draft.files["config/gateway.ini"].splitlines() if "connections" in line
    )
    draft.edit("config/gateway.ini", (line, "connections = 256"))
    draft.append("config/api.ini", "\n[timeouts]\nread = 30\n")
    draft.look("python3", "-B", "tools/validate.py", stdout="valid\n")


def _manifest(draft: Draft, versions: dict[str, int]) -> None:
    draft.turn("Write the manifest: a line a service, then the hosts.")
    lines = "".join(f"{name} {versions[name] + 1}\n" for name in SERVICES)
    draft.create("deploy/manifest.txt", lines)
    draft.shell("cat deploy/hosts.txt >> deploy/manifest.txt", once=True)
    draft.shell("wc -l < secrets/wanted.txt | tr -d ' ' >> deploy/manifest.txt", once=True)
    draft.read("deploy/manifest.txt")

    draft.turn("Compare the copies with what is there now: two versions differ in each.")
    for name in ("cron", "gateway"):
        draft.look("cmp", "-s", f"backup/{name}.ini", f"config/{name}.ini", exit_code=1)
    draft.shell("grep -h '^version' backup/*.ini > backup/versions.txt")
    draft.query("SELECT count(*) FROM audit WHERE service IS NOT NULL", [[5]])

    draft.turn("Finish: what the manifest says against the database, and the last audit row.")
    draft.query(
        "SELECT service, version FROM rotations ORDER BY service",
        [[name, versions[name] + 1] for name in SERVICES],
    )
    draft.sql((AUDIT, [None, "rotation ends"]), once=True)
    draft.append("CHANGELOG.md", "- manifest written\n")
    draft.look("python3", "-B", "tools/validate.py", stdout="valid\n")
