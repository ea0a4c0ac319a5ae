"""clauses: what Spider's parser reads, what exact set match compares, and how difficult a query is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import SqlSchema, UnparsableSql

SCHEMA = SqlSchema(
    [
        ["Boat", ["Boat_ID", "Name", "Length", "Built"]],
        ["crew", ["crew_id", "name", "age", "Boat_ID"]],
        ["race", ["Boat_ID", "year", "place"]],
    ],
    [["crew.boat_id", "boat.boat_id"], ["race.Boat_ID", "boat.boat_id"]],
)
JOINED = "SELECT T1.name FROM boat AS T1 JOIN crew AS T2 ON T1.boat_id = T2.boat_id"


def difference(sql, gold):
    return SCHEMA.difference(SCHEMA.parse(sql), SCHEMA.parse(gold))


@pytest.mark.parametrize(
    ("sql", "gold"),
    [
        ("select NAME , length from BOAT;", "SELECT length, name FROM boat"),
        ("SELECT DISTINCT name FROM boat", "SELECT name FROM boat"),
        ("SELECT name FROM boat WHERE length > 9 AND built < 1990", "SELECT name FROM boat WHERE built < 3 AND length > 'x'"),
        ("SELECT name FROM boat WHERE built BETWEEN 1 AND 2", "SELECT name FROM boat WHERE built BETWEEN 1990 AND 1999"),
        ("SELECT name FROM boat ORDER BY length LIMIT 3", "SELECT name FROM boat ORDER BY length ASC LIMIT 1"),
        ("SELECT T2.boat_id FROM crew AS T1 JOIN boat AS T2",
         "SELECT T1.boat_id FROM boat AS T2 JOIN crew AS T1 ON T1.boat_id = T2.boat_id"),
        ("SELECT boat.name FROM boat JOIN crew", JOINED),
        (f"{JOINED} GROUP BY T1.boat_id HAVING count(*) > 1", f"{JOINED} GROUP BY T2.boat_id HAVING count(*) > 2"),
        ("SELECT name FROM boat WHERE boat_id IN (SELECT boat_id FROM race WHERE year = 1)",
         "SELECT name FROM boat WHERE boat_id IN (SELECT boat_id FROM race WHERE year = 2)"),
        ("SELECT name FROM boat UNION SELECT name FROM crew", "SELECT name FROM boat UNION SELECT name FROM crew"),
        ("SELECT length - built FROM boat", "SELECT length - built FROM boat"),
        ("SELECT count(*) FROM (SELECT name FROM boat)", "SELECT count(*) FROM (SELECT name FROM boat)"),
    ],
)  # fmt: skip
def test_what_matches(sql, gold):
    assert difference(sql, gold) is None


@pytest.mark.parametrize(
    ("sql", "gold", "clause"),
    [
        ("SELECT name FROM boat", "SELECT name, length FROM boat", "SELECT"),
        ("SELECT max(length) FROM boat", "SELECT min(length) FROM boat", "SELECT"),
        ("SELECT count(*) FROM boat", "SELECT count(*) FROM crew", "FROM"),
        ("SELECT name FROM boat WHERE length > 1", "SELECT name FROM boat WHERE length >= 1", "WHERE"),
        ("SELECT name FROM boat WHERE length > 1 AND built = 1", "SELECT name FROM boat WHERE length > 1 OR built = 1", "WHERE"),
        ("SELECT name FROM boat WHERE name NOT LIKE 'a'", "SELECT name FROM boat WHERE name LIKE 'a'", "WHERE"),
        ("SELECT name FROM boat GROUP BY name", "SELECT name FROM boat GROUP BY length", "GROUP BY or HAVING"),
        ("SELECT name FROM boat GROUP BY name HAVING count(*) > 1", "SELECT name FROM boat GROUP BY name", "GROUP BY or HAVING"),
        ("SELECT name FROM boat GROUP BY name , built", "SELECT name FROM boat GROUP BY built , name", "GROUP BY or HAVING"),
        ("SELECT name FROM boat ORDER BY length DESC", "SELECT name FROM boat ORDER BY length", "ORDER BY or LIMIT"),
        ("SELECT name FROM boat ORDER BY length LIMIT 1", "SELECT name FROM boat ORDER BY length", "ORDER BY or LIMIT"),
        ("SELECT name FROM boat LIMIT 1", "SELECT name FROM boat", "the use of LIMIT"),
        ("SELECT name FROM boat UNION SELECT name FROM crew", "SELECT name FROM boat EXCEPT SELECT name FROM crew", "UNION"),
        ("SELECT name FROM boat UNION SELECT name FROM crew", "SELECT name FROM boat UNION SELECT age FROM crew", "UNION"),
        # Within a condition DISTINCT, LIMIT and the column of a foreign key count, as upstream has it.
        ("SELECT name FROM boat WHERE boat_id IN (SELECT DISTINCT boat_id FROM race)",
         "SELECT name FROM boat WHERE boat_id IN (SELECT boat_id FROM race)", "WHERE"),
    ],
)  # fmt: skip
def test_what_does_not_match(sql, gold, clause):
    assert difference(sql, gold) == clause


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "SELECT",
        "SELECT name",
        "SELECT colour FROM boat",
        "SELECT name FROM ship",
        "SELECT T9.name FROM boat AS T1",
        "SELECT name FROM boat b",
        "SELECT name FROM boat AS crew",
        "SELECT name AS n FROM boat",
        "SELECT name FROM boat LEFT JOIN crew ON boat.boat_id = crew.boat_id",
        "SELECT name FROM boat WHERE length =5",
        "SELECT name FROM boat WHERE length <> 5",
        "SELECT name FROM boat WHERE name = 'it's'",
        "SELECT name FROM boat WHERE length",
        "SELECT name FROM boat LIMIT",
        "SELECT name FROM boat LIMIT x",
        "SELECT (SELECT 1 FROM boat) FROM boat",
        "SELECT CASE WHEN length > 1 THEN 1 END FROM boat",
        "SELECT max(length) - min(length) FROM boat",
        "SELECT `name` FROM boat",
        "DELETE FROM boat",
        "SELECT name FROM " + "(SELECT name FROM " * 200,
        "SELECT name FROM boat" + " " * 30_000,
    ],
)
def test_what_is_not_read(sql):
    with pytest.raises(UnparsableSql) as error:
        SCHEMA.parse(sql)
    assert str(error.value).strip() and len(str(error.value)) < 120


@pytest.mark.parametrize(
    ("sql", "difficulty"),
    [
        ("SELECT count(*) FROM boat WHERE length > 1", "easy"),
        ("SELECT name, length FROM boat", "medium"),
        ("SELECT name FROM boat WHERE length > 1 ORDER BY length", "medium"),
        ("SELECT name FROM boat WHERE length > 1 ORDER BY length LIMIT 1", "hard"),
        ("SELECT name FROM boat WHERE boat_id IN (SELECT boat_id FROM race)", "hard"),
        ("SELECT name FROM boat UNION SELECT name FROM crew", "hard"),
        ("SELECT name, age FROM crew WHERE age > 1 UNION SELECT name, age FROM crew WHERE age < 2", "extra"),
        (f"{JOINED} WHERE T2.age > 1 GROUP BY T1.name ORDER BY T1.name LIMIT 1", "extra"),
        # A NOT counts as an aggregate.
        ("SELECT max(length) FROM boat WHERE name NOT LIKE 'x'", "medium"),
    ],
)
def test_difficulty(sql, difficulty):
    assert SCHEMA.parse(sql).difficulty == difficulty


@pytest.mark.parametrize(
    ("tables", "keys"),
    [([["boat"]], []), (["boat"], []), ([["boat", [1]]], []), ([["boat", ["id"]]], [["boat.id", "crew.id"]]), ([], [["a"]])],
)
def test_a_schema_of_another_form(tables, keys):
    with pytest.raises((ValueError, TypeError, AttributeError)):
        SqlSchema(tables, keys)


WORDS = (
    "select from where group by order having limit union intersect except join on as and or not between in like is exists max count "
    "distinct asc desc boat crew T1 T2.name name age boat.name ( ) , * ; . ' \" = > ! + - 1 2.5 'x' none"
).split()


@given(st.one_of(st.text(), st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join)))
@settings(max_examples=200, deadline=None)
def test_any_text_is_read_or_refused(text):
    try:
        query = SCHEMA.parse(text)
    except UnparsableSql:
        return
    assert SCHEMA.difference(query, query) is None and query.difficulty
