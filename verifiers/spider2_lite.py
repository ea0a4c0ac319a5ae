"""spider2_lite: the columns of a gold result are all among the columns that the query gives.

Rule: the query (below) is run on the database `db_id`. Each column of a gold table, or each of those that `condition_cols` numbers from 0,
must equal a column of the result; further columns do not matter, nor do names and the order of columns. Two columns are equal where they
have as many values, and these are pairwise equal: numbers with a difference of at most 0.01 (or one in 10^9), anything else exactly; NULL
is 0, and text that is a number is that number. Where `ignore_order` (default true) both are sorted first, by their values as texts, so that
9.999 and 10.0 may come to stand in different places. One of several gold tables is enough. A result without rows matches a gold table
without rows and no other.

The gold tables are `gold_result`, a list of tables, each a list of rows; or the result of `gold_sql`. `condition_cols` is a list of numbers
for all tables, or a list of such lists, one for each. A query that cannot be run, or takes more than `seconds`, is wrong; a gold query that
cannot be run is the row's error, as is a database that is not there.

The query is the last fence marked sql; else the last fence that begins with SELECT, WITH or another verb of SQL; else everything from the
first such verb in the text to its last semicolon.

Sources of truth: NeMo Gym's server of this name, after the official evaluation of Spider 2.0-Lite (xlang-ai/Spider2). Where a row has both,
the official evaluation knows the tables only and the server the query only (`gold: sql`). Both copy the database and may write to the copy;
here queries only read, so that a statement that gives no table is wrong.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, Literal

from pytest_gym import Database, DataError, QueryError, Rollout, Task, Verdict, compare_queries, find_database, verifier
from pytest_gym.extract import remove_thinking

TOLERANCE = 1e-2
Table = list[list[Any]]


@verifier
def spider2_lite(
    task: Task,
    rollout: Rollout,
    files: Path,
    *,
    gold: Literal["result", "sql"] = "result",
    seconds: float = 30.0,
    memory_mb: int = 2048,
) -> Verdict:
    """Reward 1 where the result has all columns of a gold table.

    Options:
        gold: what counts where a row has both, its gold tables or its gold query.
        seconds: processor time for each query.
        memory_mb: address space of the process that runs them, in MiB.

    Named score: `executed`, 1 where the query gave a result at all. Raises DataError for a broken row, for one whose database is not there,
    and where the gold query gives no result.
    """
    tables, gold_sql = _gold(task, gold)
    columns, ignore_order = _columns(task, 1 if tables is None else len(tables)), _flag(task, "ignore_order")
    database = _database(task, files)
    sql = query_of(remove_thinking(rollout.text))
    if not sql:
        return Verdict(0.0, explanation="no query in the answer", scores={"executed": 0.0})
    reply = compare_queries(compare, database, gold_sql, sql, tables, columns, ignore_order, seconds=seconds, memory_mb=memory_mb)
    if broken := reply.get("broken"):
        field = "db_id" if gold_sql is None else "gold_sql"
        raise DataError(f"{task.where(field)}: {'the database' if gold_sql is None else 'the gold query'} gives no result: {broken}")
    failed = reply.get("failed")
    says = failed or ("the result has all gold columns" if reply["match"] else "the result lacks a gold column")
    return Verdict(
        float(not failed and reply["match"]), extracted=" ".join(sql.split()), explanation=says, scores={"executed": float(not failed)}
    )


@spider2_lite.ready
def ready(task: Task, files: Path) -> None:
    """Whether the task's database is there."""
    _database(task, files)


@spider2_lite.reference
def reference(task: Task, *, gold: Literal["result", "sql"] = "result") -> str | None:
    """The gold query, or where there is none one that spells the first gold table out."""
    if (sql := task.get("gold_sql")) is not None:
        if gold == "sql" or task.get("gold_result") is None:
            return f"```sql\n{sql}\n```"
    tables, _ = _gold(task, gold)
    rows = [", ".join(_literal(value) for value in row) for row in (tables or [[]])[0]]
    # SQLite takes only some hundred selects in one statement, but any number of rows of VALUES.
    return "```sql\n" + ("VALUES " + ", ".join(f"({row})" for row in rows) if rows else "SELECT 1 WHERE 0") + "\n```"


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, float) and not math.isfinite(value):
        return "NULL" if math.isnan(value) else f"{math.copysign(1, value):g}e999"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return repr(float(value)) if isinstance(value, float) else str(int(value))


def compare(
    database: str, gold: str | None, sql: str, seconds: float, tables: list[Table] | None, columns: list[list[int]], ignore_order: bool
) -> dict[str, Any]:
    """Run the query, and the gold query where there is one, and compare; in the helper process.

    The result is read only as far as the longest gold table reaches: one with more rows equals none.
    """
    try:
        with Database(database, seconds=seconds, decode="strict") as opened:
            golds: list[Any] = [list(opened.rows(gold))] if gold is not None else tables or []
            longest = max(map(len, golds), default=0)
            found: list[Any] = []
            try:
                for row in opened.rows(sql):
                    found.append(row)
                    if len(found) > longest:
                        return {"match": False}
            except QueryError as error:
                if error.broken:
                    raise
                return {"failed": str(error)}
    except QueryError as error:
        return {"broken": str(error)}
    return {"match": any(_has_columns(found, table, chosen, ignore_order) for table, chosen in zip(golds, columns, strict=False))}


def _has_columns(found: list[Any], gold: list[Any], chosen: list[int], ignore_order: bool) -> bool:
    if not found or not gold:
        return not found and not gold
    if len(found) != len(gold):
        return False
    width = len(gold[0])
    wanted = [number for number in chosen if number < width] or range(width)
    vectors = [_vector(found, number, ignore_order) for number in range(len(found[0]))]
    return all(any(_equal(_vector(gold, number, ignore_order), vector) for vector in vectors) for number in wanted)


def _vector(rows: list[Any], number: int, ignore_order: bool) -> list[Any]:
    values = [_value(row[number]) for row in rows]
    return sorted(values, key=lambda value: (str(value), isinstance(value, int | float))) if ignore_order else values


def _value(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            try:
                value = float(value)
            except ValueError:
                return value
    return 0 if value is None or (isinstance(value, float) and math.isnan(value)) else _float_if_huge(value)


def _float_if_huge(value: Any) -> Any:
    # Text may be a whole number of any length, which neither `str` nor `float` takes.
    return (math.inf if value > 0 else -math.inf) if isinstance(value, int) and value.bit_length() > 1000 else value


def _equal(one: list[Any], other: list[Any]) -> bool:
    for left, right in zip(one, other, strict=True):
        if isinstance(left, int | float) and isinstance(right, int | float):
            if not math.isclose(float(left), float(right), abs_tol=TOLERANCE):
                return False
        elif left != right:
            return False
    return True


# -------------------------------------------------------------------------------------------------------------------------------- the query

_FENCE = re.compile("```sql", re.IGNORECASE)
_VERB = re.compile(r"\s*(?:SELECT|INSERT|UPDATE|DELETE|WITH|CREATE|ALTER|DROP)\s", re.IGNORECASE)
_START = re.compile(r"(?:SELECT|INSERT|UPDATE|DELETE|WITH)\s", re.IGNORECASE)


def query_of(text: str) -> str | None:
    """The query in an answer, as NeMo Gym's server takes it; None or '' where there is none."""
    found, at = None, 0
    while fence := _FENCE.search(text, at):
        end = text.find("```", fence.end())
        if end < 0:
            break
        found, at = text[fence.end() : end].strip(), end + 3
    if found is not None:
        return found
    at = 0
    while (start := text.find("```", at)) >= 0 and (end := text.find("```", start + 3)) >= 0:
        content, at = text[start + 3 : end].strip(), end + 3
        if _VERB.match(content):
            found = content
    if found is not None:
        return found
    if begin := _START.search(text):
        end = text.rfind(";", begin.start())
        return text[begin.start() : end + 1 or len(text)].strip().rstrip(";") + ";"
    return None


# -------------------------------------------------------------------------------------------------------------------------------------- row


def _gold(task: Task, prefer: str) -> tuple[list[Table] | None, str | None]:
    """The gold tables or the gold query, whichever counts."""
    sql: Any = task.get("gold_sql")
    tables: Any = task.get("gold_result")
    if sql is not None and (tables is None or prefer == "sql"):
        return None, _text(task, "gold_sql")
    if not isinstance(tables, list) or not tables:
        raise DataError(f"{task.where('gold_result')}: must be a list of tables, each a list of rows, where there is no gold_sql")
    for table in tables:
        rows: list[Any] = table if isinstance(table, list) else [None]
        if not all(isinstance(row, list) and row and len(row) == len(rows[0]) and all(map(_is_cell, row)) for row in rows):
            raise DataError(
                f"{task.where('gold_result')}: each table must be a list of rows, each a list of as many texts, numbers or nulls"
            )
    return tables, None


def _is_cell(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _columns(task: Task, tables: int) -> list[list[int]]:
    """The numbers of the columns that count, for each gold table."""
    said = task.get("condition_cols") or []
    nested = isinstance(said, list) and bool(said) and all(isinstance(each, list) for each in said)
    lists = said if nested else [said] * tables
    for numbers in lists:
        if not isinstance(numbers, list) or not all(isinstance(number, int) and number >= 0 for number in numbers):
            raise DataError(
                f"{task.where('condition_cols')}: must be a list of column numbers from 0, or one such list for each gold table"
            )
    if len(lists) < tables:
        raise DataError(f"{task.where('condition_cols')}: has {len(lists)} lists for {tables} gold tables")
    return lists


def _flag(task: Task, field: str) -> bool:
    value = task.get(field, True)
    if not isinstance(value, bool):
        raise DataError(f"{task.where(field)}: must be true or false, not {value!r}")
    return value


def _database(task: Task, files: Path) -> Path:
    """Raises DataError, naming the row, where there is none."""
    try:
        return find_database(files, _text(task, "db_id"))
    except DataError as error:
        raise DataError(f"{task.where('db_id')}: {error}") from error


def _text(task: Task, field: str) -> str:
    value = task.get(field)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{task.where(field)}: must be a text that is not empty, not {value!r}")
    return value
