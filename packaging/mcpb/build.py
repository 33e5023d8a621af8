"""Makes the MCPB bundle: `python packaging/mcpb/build.py [FOLDER]`, after `make setup`.

The bundle holds our wheel, and the versions of `requirements/runtime.txt` as constraints; the host
has `uv` fetch what they name. Every byte of it is settled by what goes in: dates are fixed.
"""

import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
DATE = (1980, 1, 1, 0, 0, 0)
"""The earliest that a ZIP archive can say."""


def constraints() -> list[str]:
    """The locked versions, with their markers and without their hashes."""
    lines = (REPOSITORY / "requirements" / "runtime.txt").read_text().splitlines()
    return [line.removesuffix("\\").strip() for line in lines if line[:1].isalnum()]


def project(wheel: str, version: str) -> str:
    """The `pyproject.toml` that `uv run` reads."""
    pinned = "".join(f'  "{line.replace(chr(34), chr(39))}",\n' for line in constraints())
    return (
        f'[project]\nname = "surefoot-bundle"\nversion = "{version}"\n'
        'requires-python = ">=3.11"\ndependencies = ["surefoot"]\n\n'
        f"[tool.uv]\npackage = false\nconstraint-dependencies = [\n{pinned}]\n\n"
        f'[tool.uv.sources]\nsurefoot = {{ path = "{wheel}" }}\n'
    )


def build(folder: Path) -> Path:
    """Write the bundle into a folder, and say where it is."""
    version: str = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    with tempfile.TemporaryDirectory() as made:
        hatchling = [sys.executable, "-P", "-m", "hatchling", "build", "-t", "wheel", "-d", made]
        # What it says goes to stderr; S603: our own build.
        subprocess.run(hatchling, cwd=REPOSITORY, check=True, stdout=sys.stderr)  # noqa: S603
        (wheel,) = Path(made).glob("*.whl")
        parts = {
            "manifest.json": (HERE / "manifest.json").read_bytes(),
            "main.py": (HERE / "main.py").read_bytes(),
            "pyproject.toml": project(wheel.name, version).encode(),
            wheel.name: wheel.read_bytes(),
        }
    folder.mkdir(parents=True, exist_ok=True)
    bundle = folder / f"surefoot-{version}.mcpb"
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(zipfile.ZipInfo(name, DATE), content, zipfile.ZIP_DEFLATED)
    return bundle


if __name__ == "__main__":
    bundle = build(Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "dist")
    sys.stdout.write(f"{bundle}\n")
