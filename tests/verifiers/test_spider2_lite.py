"""spider2_lite: columns as vectors, several gold tables, and where the query stands."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import DataError
from pytest_gym.testing import judge, make_rollout, make_task, verifier_cases
from pytest_gym.verify import load_module, load_verifier

ROOT = Path(__file__).parents[2]
FILES = ROOT / "benchmarks/spider2_lite"
PATH = ROOT / "verifiers/spider2_lite.py"
VERIFIER = load_verifier("spider2_lite", PATH)
MODULE = load_module(PATH, "verifier")


def row(*tables, columns=(), **fields):
    return {
        "db_id": "allotments",
        "gold_result": [[list(line) for line in table] for table in tables],
        "condition_cols": list(columns),
        **fields,
    }


def values(*rows):
    return f"```sql\nVALUES {', '.join(f'({row})' for row in rows)}\n```"


AREAS = row([("Rosa Lind", 200.5), ("Mei Tan", "60"), ("Karim Odeh", 95.25)])
SQL = "SELECT plant, MAX(kilograms) FROM crop GROUP BY plant"
test_standard = verifier_cases(
    "verifiers/spider2_lite.py",
    files=FILES,
    full=[
        (AREAS, "```sql\nSELECT name, SUM(area_m2) AS area FROM gardener JOIN plot USING (gardener_id) GROUP BY name\n```"),
        (AREAS, "```sql\nSELECT SUM(area_m2) - 0.009, 1, name FROM gardener JOIN plot USING (gardener_id) GROUP BY name ORDER BY 1\n```"),
        ({"db_id": "allotments", "gold_sql": SQL}, f"```\n{SQL}\n```"),
        (row([(None, "x")]), values("0, 'x'")),
        (row([(1, 2)], [(3, 4)]), values("4, 3")),
        (row([(1, 2), (3, 4)], columns=[1]), values("2", "4")),
        (row([(1, 2)], [(3, 4)], columns=[[0], [1]]), values("4")),
        (row([]), "```sql\nSELECT 1 WHERE 0\n```"),
        (row([("a",), ("b",)], ignore_order=False), values("'a'", "'b'")),
    ],
    zero=[
        (AREAS, "```sql\nSELECT name FROM gardener JOIN plot USING (gardener_id) GROUP BY name\n```"),
        (AREAS, "```sql\nSELECT name, SUM(area_m2) + 0.02 FROM gardener JOIN plot USING (gardener_id) GROUP BY name\n```"),
        (AREAS, "```sql\nSELECT name, SUM(area_m2) FROM gardener LEFT JOIN plot USING (gardener_id) GROUP BY name\n```"),
        (AREAS, "```sql\nSELECT name, SUM(area) FROM gardener\n```"),
        (row([(1, 2)], [(3, 4)], columns=[[0], [1]]), values("2")),
        (row([]), values("1")),
        (row([]), "```sql\nDELETE FROM crop\n```"),
        (row([("a",), ("b",)], ignore_order=False), values("'b'", "'a'")),
        (row([(b"x".hex(),)]), "```sql\nSELECT x'78'\n```"),
        # A column number beyond the gold table is passed over, and where none is left all columns count.
        (row([(1, 2)], columns=[7]), values("1")),
    ],
)


def test_which_gold_counts():
    both = {**row([(1,)]), "gold_sql": "SELECT 2"}
    for gold, answer in (("result", 1), ("sql", 2)):
        assert [judge(VERIFIER, both, values(number), files=FILES, gold=gold).reward for number in (1, 2)] == [answer == 1, answer == 2]
        assert judge(VERIFIER, both, VERIFIER.reference_text(make_task(**both), {"gold": gold}), files=FILES, gold=gold).reward == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gold_result": None}, "field 'gold_result': must be a list of tables"),
        ({"gold_result": [1]}, "field 'gold_result': each table must be a list of rows"),
        ({"gold_result": [[[1], [1, 2]]]}, "field 'gold_result': each table must be a list of rows"),
        ({"gold_result": [[[{}]]]}, "field 'gold_result': each table must be a list of rows"),
        ({"condition_cols": "0"}, "field 'condition_cols': must be a list of column numbers"),
        ({"condition_cols": [-1]}, "field 'condition_cols': must be a list of column numbers"),
        ({"condition_cols": [[0]], "gold_result": [[[1]], [[2]]]}, "field 'condition_cols': has 1 lists for 2 gold tables"),
        ({"ignore_order": "yes"}, "field 'ignore_order': must be true or false, not 'yes'"),
        ({"db_id": "meadow"}, "field 'db_id': there is no database 'meadow'"),
        (
            {"gold_result": None, "gold_sql": "SELECT x FROM y"},
            "field 'gold_sql': the gold query gives no result: SQLite says: no such table: y",
        ),
        ({"gold_result": None, "gold_sql": 7}, "field 'gold_sql': must be a text that is not empty, not 7"),
    ],
)
def test_a_broken_row_is_an_error_and_never_a_zero(change, message):
    with pytest.raises(DataError, match=message) as error:
        VERIFIER(make_task(task_id="7", index=2, benchmark="gardens", **row([(1,)]) | change), make_rollout(values(1)), FILES)
    assert "row 3 (task '7')" in str(error.value)


def test_a_missing_database_is_found_beforehand():
    VERIFIER.check_ready(make_task(**row([(1,)])), FILES, {})
    with pytest.raises(DataError, match="field 'db_id': there is no database 'meadow'"):
        VERIFIER.check_ready(make_task(**row([(1,)]) | {"db_id": "meadow"}), FILES, {})


def test_a_database_that_cannot_be_read_is_the_rows_error(tmp_path):
    (tmp_path / "databases").mkdir()
    (tmp_path / "databases/allotments.sqlite").write_bytes(b"no database" * 500)
    with pytest.raises(DataError, match=r"field 'db_id': the database gives no result: .* is no database that can be read"):
        judge(VERIFIER, row([(1,)]), values(1), files=tmp_path)


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("", None),
        ("I do not know.", None),
        ("```sql SELECT 1 ``` ```SQL\nSELECT 2;\n```", "SELECT 2;"),
        ("```sql\n```", ""),
        ("```\nSELECT 1\n``` ```\ntext\n```", "SELECT 1"),
        ("```\nplan\n``` drop it", None),
        ("Use SELECT a FROM b; it works; or not", "SELECT a FROM b; it works;"),
        ("Use SELECT a FROM b", "SELECT a FROM b;"),
        ("```sql\nSELECT 1", "SELECT 1;"),
    ],
)
def test_where_the_query_stands(text, sql):
    assert MODULE.query_of(text) == sql


@pytest.mark.parametrize(
    ("value", "read"),
    [("12", 12), (" 1.50 ", 1.5), ("1e3", 1000.0), ("a", "a"), ("", ""), (None, 0), ("nan", 0), (b"1", b"1"), ("9" * 400, float("inf"))],
)
def test_values(value, read):
    assert MODULE._value(value) == read


CELLS = st.one_of(st.none(), st.integers(-5, 5), st.sampled_from([0.5, 0.505, 1e9, "a", "1", "x y"]))


@given(
    st.integers(1, 3).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=5)), st.randoms()
)
@settings(max_examples=60, deadline=None)
def test_a_result_has_its_own_columns_in_any_order(table, random):
    columns = list(zip(*table, strict=True))
    random.shuffle(columns)
    rows = list(zip(*columns, strict=True))
    assert MODULE._has_columns(rows, table, [], False)
    random.shuffle(rows)
    assert MODULE._has_columns(rows, table, [], True)
    assert not MODULE._has_columns([*rows, rows[0]], table, [], True)


@given(st.text() | st.text(alphabet="`sqlSELECT 1;\n'"))
@settings(max_examples=50, deadline=None)
def test_any_text_gets_a_verdict(text):
    assert judge(VERIFIER, AREAS, text, files=FILES, seconds=1).reward == 0


@pytest.mark.parametrize("text", ["``` "])
def test_ten_megabytes(text):
    assert judge(VERIFIER, AREAS, "```sql x" + text * (10_000_000 // len(text)), files=FILES).reward == 0


def test_the_prepare_script_on_an_archive_of_upstreams_form(tmp_path):
    ddl = io.StringIO()
    csv.writer(ddl).writerows([["table_name", "DDL"], ["a", "CREATE TABLE a (\n x\n);"], ["b", "CREATE TABLE b (y);"]])
    gold = "evaluation_suite/gold"
    texts = {
        "spider2-lite.jsonl": "".join(
            json.dumps({"instance_id": name, "db": "My-Shop", "question": "?"}) + "\n" for name in ("local10", "bq1", "local9")
        ),
        f"{gold}/spider2lite_eval.jsonl": '{"instance_id": "local9", "condition_cols": [[0], [1]], "ignore_order": true}\n'
        '{"instance_id": "local10", "ignore_order": false}\n{"instance_id": "bq1"}',
        f"{gold}/exec_result/local9_a.csv": "x,y\n1,\n",
        f"{gold}/exec_result/local9_b.csv": 'x,y\n"a, b",2.50\n',
        f"{gold}/exec_result/local10.csv": "x\n",
        f"{gold}/exec_result/local10_a.csv": "x\n1\n",
        f"{gold}/sql/local10.sql": "SELECT 1 WHERE 0\n",
        "resource/databases/sqlite/my_shop/DDL.csv": ddl.getvalue(),
        "README.md": "",
    }
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        for name, text in texts.items():
            member = tarfile.TarInfo(f"Spider2-0123/spider2-lite/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    first, second = load_module(FILES / "prepare.py", "prepare").prepare({"Spider2.tar.gz": tmp_path / "a.tar.gz"})
    assert (first["id"], first["gold_result"], first["condition_cols"]) == ("local9", [[["1", None]], [["a, b", "2.50"]]], [[0], [1]])
    assert first["schema_text"] == "CREATE TABLE a (\n x\n);\n\nCREATE TABLE b (y);" and "gold_sql" not in first
    assert (second["gold_result"], second["gold_sql"], second["ignore_order"]) == ([[]], "SELECT 1 WHERE 0", False)
