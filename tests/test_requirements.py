"""The promises of `requirements.py` and the tests that hold them, looked at both ways."""

import ast
import re
from pathlib import Path

import pytest
from tests.requirements import REQUIREMENTS

TESTS = Path(__file__).parent
REPOSITORY = TESTS.parent


def functions(file: Path) -> set[str]:
    """The names of the test functions of a file."""
    tree = ast.parse(file.read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_each_promise_has_its_source_and_its_tests(name: str) -> None:
    requirement = REQUIREMENTS[name]
    assert (REPOSITORY / requirement.source).is_file()
    assert requirement.tests
    for test in requirement.tests:
        file, _, function = test.partition("::")
        assert function in functions(TESTS / file), test


def test_each_file_that_the_readme_names_as_proof_is_there() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    named = set(re.findall(r"`(tests/[\w./]+)`", readme))
    assert named
    for path in named:
        assert (REPOSITORY / path).exists(), path
