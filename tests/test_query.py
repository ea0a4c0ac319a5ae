"""queries of a model on a database: what they may do, how they end, and whose fault that is."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import Database, DataError, QueryError, compare_queries, find_database

COUNTING = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
HOSTILE = {
    "endless recursion": COUNTING + "SELECT count(*) FROM n",
    "endless rows": COUNTING + "SELECT i FROM n",
    "endless recursion, not counted": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT max(i) FROM n",
    "cross join": "SELECT count(*) FROM " + ", ".join(f"pet AS p{number}" for number in range(30)),
    "attach": "ATTACH '{folder}/other.db' AS other",
    "attach to read": "ATTACH 'file:/etc/passwd?mode=ro' AS other",
    "writable schema": "PRAGMA writable_schema = ON",
    "journal": "PRAGMA journal_mode = WAL",
    "pragma as a table": "SELECT * FROM pragma_database_list",
    "extension": "SELECT load_extension('libm.so.6')",
    "tokenizer": "SELECT fts3_tokenizer('simple', x'0000000000000000')",
    "big value": "SELECT randomblob(1000000000)",
    "big text": "SELECT hex(randomblob(90000000))",
    "drop": "DROP TABLE pet",
    "delete": "DELETE FROM pet",
    "insert": "INSERT INTO pet VALUES ('x', 1)",
    "update returning": "UPDATE pet SET age = 1 RETURNING name, age",
    "temporary table": "CREATE TEMP TABLE t AS SELECT 1",
    "virtual table": "CREATE VIRTUAL TABLE t USING fts4(x)",
    "copy": "VACUUM INTO '{folder}/other.db'",
    "transaction": "BEGIN EXCLUSIVE",
    "two statements": "SELECT 1; DROP TABLE pet",
    "deep": "SELECT " + "(" * 5000 + "1" + ")" * 5000,
    "many selects": " UNION ALL ".join(["SELECT name, age FROM pet"] * 3000),
    "long": "SELECT 1" + " " * 2_000_000,
    "null character": "SELECT '\0'",
    "no text": "SELECT '\ud800'",
    "comment": "-- nothing",
    "empty": "",
    "prose": "I do not know.",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pets")
    with sqlite3.connect(folder / "pets.sqlite") as connection:
        connection.execute("CREATE TABLE pet (name TEXT, age INTEGER)")
        connection.executemany("INSERT INTO pet VALUES (?, ?)", [("Rex", 3), ("Tom", 7), ("Ida", None)])
        connection.execute("INSERT INTO pet VALUES (CAST(x'42ff6f' AS TEXT), 1.5)")
    connection.close()
    return folder


def equal(database, gold, sql, seconds):
    """What a verifier has at the top level of its file."""
    try:
        with Database(database, seconds=seconds) as opened:
            wanted = list(opened.rows(gold))
            try:
                return {"match": all(row == wanted[number] for number, row in enumerate(opened.rows(sql)) if number < len(wanted))}
            except QueryError as error:
                if error.broken:
                    raise
                return {"failed": str(error)}
    except QueryError as error:
        return {"broken": str(error)}


def run(folder, sql, gold="SELECT name, age FROM pet", **limits):
    return compare_queries(equal, folder / "pets.sqlite", gold, sql, **{"seconds": 0.1, "memory_mb": 600, **limits})


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_query_fails_and_leaves_everything_as_it_was(folder, name):
    before = (folder / "pets.sqlite").read_bytes()
    reply = run(folder, HOSTILE[name].replace("{folder}", str(folder)))
    assert reply.keys() == {"failed"} or name == "endless rows", reply
    assert (folder / "pets.sqlite").read_bytes() == before
    assert [path.name for path in folder.iterdir()] == ["pets.sqlite"]


@pytest.mark.parametrize("name", ["many selects", "deep"])
def test_a_query_is_refused_in_one_sentence(folder, name):
    says = run(folder, HOSTILE[name])["failed"]
    assert says.startswith("SQLite says: ") and "\n" not in says


def test_what_reads_is_allowed(folder):
    for sql in (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9) SELECT i, row_number() OVER (ORDER BY -i) FROM n",
        "SELECT upper(name), strftime('%Y', '2020-01-01'), json_extract('[1]', '$[0]'), printf('%05d', age) FROM pet ORDER BY 1",
        "SELECT name FROM sqlite_master WHERE name LIKE 'p%' AND name IN (SELECT 'pet' UNION SELECT 'x')",
        "EXPLAIN QUERY PLAN SELECT * FROM pet",
        "VALUES (1, 2);  -- twice",
    ):
        assert run(folder, sql).keys() == {"match"}, sql


def test_values_are_pythons(folder):
    with Database(str(folder / "pets.sqlite"), seconds=1) as database:
        assert list(database.rows("SELECT name, age FROM pet")) == [("Rex", 3), ("Tom", 7), ("Ida", None), ("Bo", 1.5)]
        assert list(database.rows("SELECT x'00ff', 1 = 1")) == [(b"\x00\xff", 1)]
    with (
        Database(str(folder / "pets.sqlite"), seconds=1, decode="strict") as database,
        pytest.raises(QueryError, match="SQLite says") as error,
    ):
        list(database.rows("SELECT name FROM pet"))
    assert not error.value.broken


def test_each_query_has_its_own_time(folder):
    slow = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) SELECT max(i) FROM n"
    with Database(str(folder / "pets.sqlite"), seconds=0.6) as database:
        for _ in range(5):
            assert list(database.rows(slow)) == [(200000,)]


@pytest.mark.parametrize("gold", ["SELECT nothing FROM pet", "DROP TABLE pet", HOSTILE["endless recursion"]])
def test_a_broken_gold_query_is_not_the_models_fault(folder, gold):
    assert run(folder, "SELECT 1", gold).keys() == {"broken"}


def test_a_step_that_cannot_be_interrupted_is_laid_at_the_right_door(folder):
    # One step of SQLite: nothing is asked while it goes on.
    step = "SELECT instr(zeroblob(90000000), zeroblob(50000) || x'01')"
    # Seconds that leave half a second to the helper process, and none to a query that can be interrupted.
    ((kind, says),) = run(folder, step, seconds=-2.25).items()
    assert kind == "failed" and says.startswith("the query took longer than ")
    ((kind, says),) = run(folder, "SELECT 1, 2", step, seconds=-2.25).items()
    assert kind == "broken" and says.startswith("the gold query took longer than ")


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be looked at as one" * 20, b""])
def test_a_file_that_is_no_database_breaks_the_row(tmp_path, content):
    (tmp_path / "pets.sqlite").write_bytes(content)
    assert run(tmp_path, "SELECT 1").keys() == {"broken"}


def test_a_damaged_page_breaks_the_row(folder, tmp_path):
    data = (folder / "pets.sqlite").read_bytes()
    (tmp_path / "pets.sqlite").write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    assert run(tmp_path, "SELECT name FROM pet", "SELECT 1").keys() == {"broken"}


def test_a_script_is_built_in_memory(tmp_path):
    (tmp_path / "pets.sql").write_text("CREATE TABLE pet (name TEXT); INSERT INTO pet VALUES ('Rex');")
    with Database(str(tmp_path / "pets.sql"), seconds=1) as database:
        assert list(database.rows("SELECT * FROM pet")) == [("Rex",)]
        with pytest.raises(QueryError, match="not authorized"):
            list(database.rows("DELETE FROM pet"))
    (tmp_path / "pets.sql").write_text("CREATE TABLE pet (")
    with pytest.raises(QueryError, match=r"pets\.sql is no database that can be read: ") as error:
        Database(str(tmp_path / "pets.sql"), seconds=1)
    assert error.value.broken


def test_where_databases_are_looked_for(tmp_path, monkeypatch):
    files, sources = tmp_path / "sold", tmp_path / "sources"
    monkeypatch.delenv("GYM_SOURCES", raising=False)
    with pytest.raises(
        DataError, match=r"no database 'pets' in .*sold/databases: put it at DIR/sold/databases/pets/pets\.sqlite and set GYM"
    ):
        find_database(files, "pets")
    monkeypatch.setenv("GYM_SOURCES", str(sources))
    with pytest.raises(DataError, match=r"put it at .*sources/sold/databases/pets/pets\.sqlite$"):
        find_database(files, "pets")
    for path in (sources / "sold/databases/pets/pets.sqlite", files / "databases/pets.sql", files / "databases/pets.sqlite"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        assert find_database(files, "pets") == path


@pytest.mark.parametrize("name", ["", "..", "../pets", "/etc/passwd", "a/b", "a\0"])
def test_a_name_does_not_lead_elsewhere(tmp_path, name):
    with pytest.raises(DataError, match="cannot be the name of a database"):
        find_database(tmp_path, name)


WORDS = st.sampled_from(
    "SELECT FROM pet name age WHERE ( ) , * ; ' \" -- /* */ = < UNION ORDER BY LIMIT 1 -1 x'ff' NULL WITH AS COUNT ATTACH PRAGMA".split()
)


@given(st.one_of(st.text(), st.lists(WORDS, max_size=12).map(" ".join)))
@settings(max_examples=60, deadline=None)
def test_any_text_has_an_end(tmp_path_factory, text):
    folder = next(Path(tmp_path_factory.getbasetemp()).glob("pets*"))
    reply = run(folder, text)
    assert reply.keys() in ({"match"}, {"failed"}) and json.dumps(reply)
