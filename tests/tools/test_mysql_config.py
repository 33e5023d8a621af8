"""MySQL and MariaDB in `NAME=URL`, and where a server's password may be."""

import ssl
import sys
from pathlib import Path

import pytest

from surefoot_tools.database.databases import Database, Databases, engine_of, parse_database
from surefoot_tools.database.mysql_errors import MEANING, OTHER, meaning_of
from surefoot_tools.database.mysql_guard import first_words
from surefoot_tools.database.mysql_url import encryption, read_url, where
from surefoot_tools.errors import Code


def test_a_database_is_read_and_what_is_ours_taken_out() -> None:
    found = parse_database("a=mariadb://joe@db/shop?sslmode=require&mode=rw")
    assert found == Database("a", "mariadb://joe@db/shop?sslmode=require", writable=True)
    assert found.files() == []
    assert engine_of(found).place == "mysql://db:3306/shop"
    assert where(read_url("a", "mysql://joe@/shop?host=/run/my.sock")) == {
        "unix_socket": "/run/my.sock"
    }


def test_a_password_comes_from_the_environment_or_a_file_and_is_never_shown(
    tmp_path: Path,
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    for scheme in ("mysql", "postgresql"):
        for where_it_is in (f"password_file={secret}", "password_env=PW"):
            text = f"a={scheme}://joe@db/shop?{where_it_is}&mode=rw"
            found = parse_database(text, {"PW": "hunter2"})
            assert (found.password, found.url) == ("hunter2", f"{scheme}://joe@db/shop")
            assert "hunter2" not in repr(found)


@pytest.mark.parametrize(
    "rest",
    [
        "joe:hunter2@db",
        "joe:hunter2@db/shop?nothing=hunter2",
        "joe:hunter2@db/shop?sslmode=hunter2",
        "joe:hunter2@db/shop?sslrootcert=/x",
        "joe:hunter2@db/shop?password_env=PW",
        "joe@db/shop?password_env=MISSING",
        "joe@db/shop?password_file=/nowhere/file",
        "joe@db/shop?password_env=PW&password_file=/nowhere/file",
        "db/shop",
    ],
)
def test_what_is_no_url_is_refused_without_its_password(rest: str) -> None:
    with pytest.raises(ValueError, match="database main") as caught:
        parse_database(f"main=mysql://{rest}", {"PW": "hunter2"})
    assert "hunter2" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_encryption_is_what_sslmode_asks_for() -> None:
    def made(mode: str) -> ssl.SSLContext | None:
        return encryption(read_url("a", f"mysql://joe@db/shop?sslmode={mode}"))

    assert made("disable") is None
    for mode, verified, named in (
        ("require", ssl.CERT_NONE, False),
        ("verify-ca", ssl.CERT_REQUIRED, False),
        ("verify-full", ssl.CERT_REQUIRED, True),
    ):
        context = made(mode)
        assert context is not None
        assert (context.verify_mode, context.check_hostname) == (verified, named)


def test_a_missing_driver_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if "database.mysql" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "asyncmy", None)
    with pytest.raises(ValueError, match=r"pip install 'surefoot\[mysql\]'"):
        Databases([Database("main", "mysql://joe@db/shop")])


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("select 1", "select"),
        (" \n;; -- x\n# y\n/* a /* b */ COMMIT", "commit"),
        ("((select 1) union select 2)", "select"),
        ("--1", "-"),
        ("-- only", ""),
        ("/* open", ""),
        ("", ""),
        ("set/**/role x", "set role x"),
    ],
)
def test_the_first_words_are_found_behind_comments(sql: str, words: str) -> None:
    assert first_words(sql) == words


def test_a_number_wins_over_its_class_and_an_unknown_one_is_final() -> None:
    assert meaning_of(1213, "HY000")[0] is Code.ABORTED
    assert meaning_of(1062, "23000")[0] is Code.FAILED_PRECONDITION
    assert meaning_of(9999, "HY000") == OTHER
    assert meaning_of(0)[0] is Code.UNAVAILABLE
    assert all(len(code) in (2, 4) for code in MEANING)
