"""spider: the two scores, the databases that are there or not, and what equal results are."""

from __future__ import annotations

import json
import sqlite3
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import DataError
from pytest_gym.testing import judge, make_rollout, make_task, verifier_cases
from pytest_gym.verify import load_module, load_verifier
from tests.conftest import sources

ROOT = Path(__file__).parents[2]
FILES = ROOT / "benchmarks/spider"
PATH = ROOT / "verifiers/spider.py"
VERIFIER = load_verifier("spider", PATH)
MODULE = load_module(PATH, "verifier")
SCHEMA = {"db_id": "lighthouses", "foreign_keys": [["watch.Keeper_ID", "keeper.Keeper_ID"]], "tables": [
    ["lighthouse", ["Lighthouse_ID", "Name", "Coast", "Height_m", "Year_built"]], ["keeper", ["Keeper_ID", "Name", "Age"]],
    ["watch", ["Keeper_ID", "Lighthouse_ID", "Year", "Nights"]]]}  # fmt: skip
ROW = {**SCHEMA, "query": "SELECT Name , Age FROM keeper WHERE Age < 40 ORDER BY Name"}


def fence(sql):
    return f"```sql\n{sql}\n```"


test_exact = verifier_cases(
    "verifiers/spider.py",
    files=FILES,
    full=[
        (ROW, fence("SELECT Name , Age FROM keeper WHERE Age < 40 ORDER BY Name")),
        (ROW, fence("select age,\n  name from keeper where age < 99 order by name asc;")),
    ],
    zero=[
        (ROW, fence("SELECT k.Name, k.Age FROM keeper k WHERE Age < 40 ORDER BY Name")),
        (ROW, fence("SELECT Name , Age FROM keeper WHERE Age <= 39 ORDER BY Name")),
        (ROW, fence("SELECT Name FROM keeper")),
    ],
)
test_execution = verifier_cases(
    "verifiers/spider.py",
    files=FILES,
    options={"reward": "execution"},
    full=[
        (ROW, fence("SELECT Name , Age FROM keeper WHERE Age < 40 ORDER BY Name")),
        (ROW, fence("SELECT k.Age * 1.0, k.Name FROM keeper k WHERE Age <= 39 ORDER BY 2")),
        ({**SCHEMA, "query": "SELECT Coast FROM lighthouse"}, fence("SELECT DISTINCT Coast FROM lighthouse ORDER BY Height_m")),
    ],
    zero=[
        (ROW, fence("SELECT Name , Age FROM keeper WHERE Age < 99 ORDER BY Name")),
        (ROW, fence("SELECT Name , Age FROM keeper WHERE Age < 40 ORDER BY Name DESC")),
        (ROW, fence("SELECT Name FROM keeper WHERE Age < 40 ORDER BY Name")),
        (ROW, fence("SELECT Name , Age FROM keepers")),
        ({**SCHEMA, "query": "SELECT Coast FROM lighthouse"}, fence("SELECT Coast FROM lighthouse GROUP BY Coast")),
        ({**SCHEMA, "query": "SELECT Coast FROM lighthouse"}, fence("SELECT Coast FROM lighthouse, keeper, watch")),
        ({**SCHEMA, "query": "SELECT Name FROM keeper WHERE Age < 1"}, fence("DROP TABLE keeper")),
    ],
)


def test_both_scores_stand_side_by_side():
    verdict = judge(VERIFIER, ROW, fence("SELECT k.Name, k.Age FROM keeper k WHERE Age < 40 ORDER BY Name"), files=FILES)
    assert (verdict.reward, verdict.scores) == (0.0, {"exact": 0.0, "execution": 1.0})
    assert verdict.explanation.startswith("not in Spider's SQL (") and verdict.explanation.endswith("; the results are equal")
    verdict = judge(VERIFIER, ROW, fence("SELECT Name , Age FROM keeper WHERE Age < 99 ORDER BY Name"), files=FILES)
    assert (verdict.reward, verdict.scores) == (1.0, {"exact": 1.0, "execution": 0.0})


def test_distinct_counts_where_it_is_kept():
    row = {**SCHEMA, "query": "SELECT DISTINCT Coast FROM lighthouse"}
    for keep, reward in ((False, 1), (True, 0)):
        verdict = judge(VERIFIER, row, fence("SELECT Coast FROM lighthouse"), files=FILES, reward="execution", keep_distinct=keep)
        assert verdict.reward == reward


def test_without_a_database_execution_is_left_out_and_said(tmp_path):
    verdict = judge(VERIFIER, ROW, fence(ROW["query"]), files=tmp_path)
    assert (verdict.reward, verdict.scores) == (1.0, {"exact": 1.0})
    assert "the clauses match; execution not judged: there is no database 'lighthouses' in " in verdict.explanation
    with pytest.raises(DataError, match=r"row 1 \(task '0000'\), field 'db_id': there is no database 'lighthouses'"):
        judge(VERIFIER, ROW, fence(ROW["query"]), files=tmp_path, reward="execution")
    VERIFIER.check_ready(make_task(**ROW), tmp_path, {"reward": "exact"})
    with pytest.raises(DataError, match="there is no database 'lighthouses'"):
        VERIFIER.check_ready(make_task(**ROW), tmp_path, {"reward": "execution", "seconds": 1.0})


def test_all_databases_of_a_test_suite_count(tmp_path):
    folder = tmp_path / "databases/lighthouses"
    folder.mkdir(parents=True)
    for name, age in (("lighthouses", 38), ("a_variant", 39.5)):
        with sqlite3.connect(folder / f"{name}.sqlite") as connection:
            connection.execute("CREATE TABLE keeper (Name TEXT, Age REAL)")
            connection.execute("INSERT INTO keeper VALUES ('Ann', ?)", [age])
        connection.close()
    scores = [
        judge(VERIFIER, ROW, fence(f"SELECT Name, Age FROM keeper WHERE Age < {age}"), files=tmp_path).scores["execution"]
        for age in (40, 39)
    ]
    assert scores == [1, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": None}, "field 'query': must be a text that is not empty, not None"),
        ({"query": "SELECT name AS n FROM keeper"}, "field 'query': is not in Spider's SQL: "),
        ({"query": "SELECT Year FROM watch WHERE nowhere = 1"}, "field 'query': is not in Spider's SQL: unknown name 'nowhere'"),
        ({"tables": None}, "field 'tables': must be a list, not None"),
        ({"tables": ["keeper"]}, r"field 'tables': must be \[\[table, "),
        ({"foreign_keys": [["a.b", "c.d"]]}, r"field 'tables': must be \[\[table, "),
        ({"db_id": ""}, "field 'db_id': must be a text that is not empty, not ''"),
        (
            {"foreign_keys": [], "tables": [["keeper", ["Name", "Shoe"]]], "query": "SELECT Shoe FROM keeper"},
            "field 'query': the gold query gives no result: SQLite",
        ),
    ],
)
def test_a_broken_row_is_an_error_and_never_a_zero(change, message):
    with pytest.raises(DataError, match=message) as error:
        VERIFIER(make_task(task_id="7", index=2, benchmark="towers", **ROW | change), make_rollout("```sql\nSELECT 1\n```"), FILES)
    assert "row 3 (task '7')" in str(error.value)


@pytest.mark.parametrize(
    ("sql", "prepared"),
    [
        ("SELECT DISTINCT a", "SELECT  a"),
        ("SELECT count(distinct a)", "SELECT count( a)"),
        ("SELECT 'DISTINCT', \"distinct\", distinct_a -- distinct", "SELECT 'DISTINCT', \"distinct\", distinct_a -- distinct"),
        ("SELECT ';'; SELECT 2", "SELECT ';';"),
        ("SELECT a WHERE a > = 1 AND b ! = YEAR( CURDATE() )", "SELECT a WHERE a >= 1 AND b != 2020"),
    ],
)
def test_what_is_run(sql, prepared):
    assert MODULE._prepared(sql, False) == prepared


@pytest.mark.parametrize(
    ("wanted", "found", "ordered", "unordered"),
    [
        ([], [], True, True),
        ([(1, "a"), (2, "b")], [("a", 1.0), ("b", 2)], True, True),
        ([(1, "a"), (2, "b")], [("b", 2), ("a", 1)], False, True),
        ([(1, "a"), (2, "b")], [("a", 2), ("b", 1)], False, False),
        ([(1, 1), (2, 1)], [(1, 2), (1, 1)], False, True),
        ([(1,), (1,), (2,)], [(1,), (2,), (2,)], False, False),
        ([(1,)], [("1",)], False, False),
        ([(1, 2)], [(1,)], False, False),
    ],
)
def test_equal_results(wanted, found, ordered, unordered):
    assert [MODULE._same_result(wanted, found, order) for order in (True, False)] == [ordered, unordered]


@given(st.lists(st.tuples(*[st.sampled_from([1, 2, None, "a"])] * 4), min_size=1, max_size=5), st.permutations(range(4)), st.randoms())
@settings(max_examples=60, deadline=None)
def test_columns_and_rows_may_change_places(rows, order, random):
    found = [tuple(row[at] for at in order) for row in rows]
    assert MODULE._same_result(rows, found, True)
    random.shuffle(found)
    assert MODULE._same_result(rows, found, False)


@given(st.text() | st.text(alphabet="`sql \n'\"();SELECT*FROMkeeperAge,"))
@settings(max_examples=50, deadline=None)
def test_any_text_gets_a_verdict(text):
    assert judge(VERIFIER, ROW, text, files=FILES, seconds=1).reward == 0


@pytest.mark.parametrize("text", ["[", "/*", "(SELECT x FROM "])
def test_a_long_query_is_bounded(text):
    began = time.process_time()
    assert judge(VERIFIER, ROW, fence("SELECT " + text * 100_000), files=FILES).reward == 0
    assert time.process_time() - began < 5


def test_spiders_first_300_questions():
    folder = sources() / "spider"
    prepare = load_module(FILES / "prepare.py", "prepare").prepare
    rows = list(prepare({"dev.json": folder / "dev.first300.json", "tables.json": folder / "tables.dev_first300.json"}))
    assert Counter(row["difficulty"] for row in rows) == {"easy": 64, "medium": 123, "hard": 53, "extra": 60}
    for row in rows:
        verdict = judge(VERIFIER, row, VERIFIER.reference_text(make_task(**row), {}), files=FILES)
        assert (verdict.reward, verdict.scores) == (1.0, {"exact": 1.0})
        assert judge(VERIFIER, row, "", files=FILES).reward == 0


def test_examples_have_the_difficulty_of_their_queries():
    for line in (FILES / "data/example.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        schema = MODULE._schema(make_task(**row))
        assert schema.parse(row["query"]).difficulty == row["difficulty"]
        assert judge(VERIFIER, row, fence(row["query"]), files=FILES).scores == {"exact": 1, "execution": 1}
