"""The head's database: saved while it is written to, fetched by the next head."""

import sqlite3
import subprocess
import sys
import time

import pytest

from .strict import CLUSTER


def run(*words):
    done = subprocess.run([sys.executable, CLUSTER / "mlflow_db.py", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def database(tmp_path):
    """A database with a row, and a writer that has not committed its second one."""
    file = tmp_path / "head" / "mlflow.db"
    file.parent.mkdir()
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE runs (name TEXT)")
        connection.execute("INSERT INTO runs VALUES ('first')")
    writer = sqlite3.connect(file)
    writer.execute("INSERT INTO runs VALUES ('second')")
    yield file
    writer.close()


def rows(file):
    connection = sqlite3.connect(file)
    try:
        return [name for (name,) in connection.execute("SELECT name FROM runs")]
    finally:
        connection.close()


def test_saved_by_one_head_and_fetched_by_the_next(database, tmp_path):
    place, new = tmp_path / "bucket" / "mlflow.db", tmp_path / "next" / "mlflow.db"
    assert "nothing is saved" in run("load", new, place) and not new.exists()
    run("save", database, place)
    run("load", new, place)
    assert rows(new) == ["first"]
    with sqlite3.connect(new) as connection:
        connection.execute("INSERT INTO runs VALUES ('its own')")
    assert "here already" in run("load", new, place)
    assert rows(new) == ["first", "its own"]
    assert list(database.parent.glob("tmp*")) == []


def test_kept_until_sigterm(database, tmp_path):
    place = tmp_path / "bucket" / "mlflow.db"
    with subprocess.Popen([sys.executable, CLUSTER / "mlflow_db.py", "keep", database, place]) as keeper:
        until = time.monotonic() + 60
        while not place.exists() and time.monotonic() < until:
            time.sleep(0.1)
        keeper.terminate()
        assert keeper.wait(60) == 0
    assert rows(place) == ["first"] and list(database.parent.glob("tmp*")) == []
