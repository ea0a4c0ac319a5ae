"""bird_sql: the set of rows, where the query stands, and whose fault a failure is."""

from __future__ import annotations

import io
import json
import sqlite3
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import DataError
from pytest_gym.testing import judge, make_rollout, make_task, verifier_cases
from pytest_gym.verify import load_module, load_verifier

ROOT = Path(__file__).parents[2]
FILES = ROOT / "benchmarks/birdbench"
PATH = ROOT / "verifiers/bird_sql.py"
VERIFIER = load_verifier("bird_sql", PATH)
MODULE = load_module(PATH, "verifier")
ROW = {"db_id": "orchard", "gt_sql": "SELECT fruit, ripe_month FROM variety"}


def fence(sql):
    return f"Let me think.\n```sql\n{sql}\n```"


test_standard = verifier_cases(
    "verifiers/bird_sql.py",
    files=FILES,
    full=[
        (ROW, fence("SELECT fruit, ripe_month FROM variety")),
        (ROW, fence("-- each once\nSELECT DISTINCT fruit, ripe_month * 1.0 AS month FROM variety ORDER BY 2 DESC;")),
        (ROW, "```sql SELECT 1``` no: ```SQL SELECT fruit, ripe_month FROM variety```"),
        (ROW, "```\nSELECT fruit, ripe_month FROM variety\n```"),
        (ROW, "SELECT fruit, ripe_month FROM variety"),
        (ROW, "```sql\nSELECT fruit, ripe_month FROM variety"),
        ({"db_id": "orchard", "gt_sql": "SELECT 1 WHERE 0"}, fence("SELECT name, fruit FROM variety WHERE fruit = 'fig'")),
    ],
    zero=[
        (ROW, fence("SELECT ripe_month, fruit FROM variety")),
        (ROW, fence("SELECT fruit, ripe_month FROM variety WHERE ripe_month NOT NULL")),
        (ROW, fence("SELECT fruit, ripe_month, name FROM variety")),
        (ROW, fence("SELECT fruit, CAST(ripe_month AS TEXT) FROM variety")),
        (ROW, fence("SELECT fruit, ripe_month FROM varieties")),
        (ROW, fence("SELECT fruit, ripe_month FROM variety") + "\nor rather " + fence("SELECT 1")),
        ({"db_id": "orchard", "gt_sql": "SELECT 1 WHERE 0"}, fence("DELETE FROM variety")),
        ({"db_id": "orchard", "gt_sql": "SELECT 1 WHERE 0"}, fence("")),
    ],
)


def test_what_a_verdict_says():
    verdict = judge(VERIFIER, ROW, fence("SELECT fruit,\n  ripe_month FROM variety LIMIT 2"), files=FILES)
    assert (verdict.extracted, verdict.scores) == ("SELECT fruit, ripe_month FROM variety LIMIT 2", {"executed": 1.0})
    assert verdict.explanation == "it lacks 2 of the gold query's 4 rows"
    verdict = judge(VERIFIER, ROW, fence("SELECT colour FROM variety"), files=FILES)
    assert (verdict.scores, verdict.explanation) == ({"executed": 0.0}, "SQLite says: no such column: colour")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"db_id": "orchard"}, "field 'gt_sql': must be a text that is not empty, not None"),
        ({"db_id": "orchard", "gt_sql": ""}, "field 'gt_sql': must be a text that is not empty, not ''"),
        (
            {"db_id": "orchard", "gt_sql": "SELECT colour FROM variety"},
            "field 'gt_sql': the gold query gives no result: SQLite says: no such col",
        ),
        (
            {"db_id": "orchard", "gt_sql": "DELETE FROM variety"},
            "field 'gt_sql': the gold query gives no result: SQLite says: not authorized",
        ),
        ({"db_id": "cherry", "gt_sql": "SELECT 1"}, "field 'db_id': there is no database 'cherry' in .*: put it at .*cherry/cherry.sqlite"),
        ({"db_id": "../birdbench", "gt_sql": "SELECT 1"}, "field 'db_id': '../birdbench' cannot be the name of a database"),
    ],
)
def test_a_broken_row_is_an_error_and_never_a_zero(fields, message):
    with pytest.raises(DataError, match=message) as error:
        VERIFIER(make_task(task_id="7", index=2, benchmark="trees", **fields), make_rollout("```sql\nSELECT 1\n```"), FILES)
    assert "row 3 (task '7')" in str(error.value)


def test_a_missing_database_is_found_beforehand():
    VERIFIER.check_ready(make_task(**ROW), FILES, {})
    with pytest.raises(DataError, match=r"row 1 \(task '0000'\), field 'db_id': there is no database 'cherry'"):
        VERIFIER.check_ready(make_task(**ROW | {"db_id": "cherry"}), FILES, {})


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("", "SELECT 1"),
        ("SELECT 2", "SELECT 1"),
        ("```\nSELECT 2\n```", "SELECT 1"),
        ("```SQL\nSELECT 2\n```", "SELECT 1"),
        ("```sql\nSELECT 2", "SELECT 1"),
        ("```sql 42 ``` ```sql 1 /* 2 */ 3 ```", "42 ``` ```sql 1 3"),
        ("```sql\nSELECT 2 ```\n```sql\nSELECT\n\t3\n```", "SELECT 3"),
        ("```sql\nSELECT 2 -- two\nFROM t\n```", "SELECT 2"),
        ("```sql\n-- two\nSELECT 2\n```", ""),
        ("```sql\nSELECT /* a -- b */ 2 /* c\n```", "SELECT 2 /* c"),
        ("```sql\nSELECT 2 /* c -- d\n```", "SELECT 2 /* c"),
        ("```sql**Answer** SELECT 2```", "SELECT 2"),
    ],
)
def test_the_query_as_nemo_gym_takes_it(text, sql):
    assert MODULE.nemo_query(text) == sql


def test_nemo_extraction():
    answer = "```sql\nSELECT fruit, ripe_month FROM variety -- all\nWHERE 0\n```"
    assert judge(VERIFIER, ROW, answer, files=FILES).reward == 0
    assert judge(VERIFIER, ROW, answer, files=FILES, extraction="nemo").reward == 1


@given(st.text(alphabet="`sql-/* \nSELECT1*") | st.text())
@settings(max_examples=60, deadline=None)
def test_any_text_gets_a_verdict(text):
    for extraction in ("fence", "nemo"):
        assert judge(VERIFIER, ROW, text, files=FILES, extraction=extraction, seconds=1).reward == 0


@pytest.mark.parametrize("text", ["/*", "```sql /* ``` "])
def test_ten_megabytes(text):
    answer = "```sql x" + text * (10_000_000 // len(text))
    assert judge(VERIFIER, ROW, answer, files=FILES, extraction="nemo" if "/*" in text else "fence").reward == 0


def test_the_prepare_script_on_an_archive_of_upstreams_form(tmp_path):
    with sqlite3.connect(tmp_path / "shop.sqlite") as connection:
        connection.executescript('CREATE TABLE "big one" (id INTEGER, "a ""b""" TEXT); CREATE INDEX i ON "big one" (id);')
        connection.executemany('INSERT INTO "big one" VALUES (?, ?)', [(n, "it's\na" if n else None) for n in range(11)])
    connection.close()
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.write(tmp_path / "shop.sqlite", "dev_databases/shop/shop.sqlite")
        archive.writestr("__MACOSX/dev_databases/shop/shop.sqlite", b"")
    question = {"question_id": 4, "db_id": "shop", "question": "?", "evidence": "", "SQL": "SELECT 1", "difficulty": "simple"}
    with zipfile.ZipFile(tmp_path / "dev.zip", "w") as archive:
        archive.writestr("dev_20240627/dev.json", json.dumps([question]))
        archive.writestr("dev_20240627/dev_databases.zip", inner.getvalue())
    (row,) = load_module(FILES / "prepare.py", "prepare").prepare({"dev.zip": tmp_path / "dev.zip"})
    assert (row["id"], row["gt_sql"], row["db_id"]) == ("4", "SELECT 1", "shop")
    lines = row["sql_context"].splitlines()
    assert lines[:3] == ['CREATE TABLE "big one" (id INTEGER, "a ""b""" TEXT);', "INSERT INTO \"big one\" VALUES(0,NULL);",
                         "INSERT INTO \"big one\" VALUES(1,'it''s a');"]  # fmt: skip
    assert lines[-2:] == ["...", 'CREATE INDEX i ON "big one" (id);'] and len(lines) == 13
