"""spider: the query has the same clauses as the gold query (exact set match), and gives the same result (execution).

Exact set match, score `exact`: both queries are parsed in the schema of the row (`tables`, `foreign_keys`) and compared clause by clause,
without values. Equal must be, in any order, the selected columns with their aggregates, the conditions of WHERE, the grouped columns and
the tables of FROM; as they stand, ORDER BY, HAVING (with a GROUP BY), and what INTERSECT, UNION and EXCEPT add; further the kinds of AND
and OR, whether there is a LIMIT, and the set of keywords. DISTINCT does not count, nor do conditions of joins, and columns that a foreign
key joins are one. Only the SQL that Spider is written in can be parsed: `JOIN … ON`, aliases of tables with AS, no LEFT JOIN, no CASE,
blanks around `=`. What cannot be parsed does not match, whatever it gives. A query within a condition must be the same in all but its
values.

Execution, score `execution`: both run on the database `db_id` (each of them, where its folder has several: the distilled test suite), and
must give the same rows equally often, in the same order where the gold query has an ORDER BY; the order of columns does not count. DISTINCT
is taken out of both first (`keep_distinct`). Where there is no database the score is left out, and the explanation says so.

Sources of truth: the official evaluators, taoyds/spider (`evaluation.py`, `process_sql.py`) for exact set match, taoyds/test-suite-sql-eval
(`exec_eval.py`, without plugged-in values) for execution. A pair that the evaluator itself cannot compare (two nested queries in FROM) ends
the evaluation there; here it is compared. Queries of more than 20,000 characters are not parsed.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any, Literal

from pytest_gym import (
    Database,
    DataError,
    QueryError,
    Rollout,
    SqlSchema,
    Task,
    UnparsableSql,
    Verdict,
    compare_queries,
    find_database,
    verifier,
)
from pytest_gym.extract import remove_thinking, sql_block


@verifier
def spider(
    task: Task,
    rollout: Rollout,
    files: Path,
    *,
    reward: Literal["exact", "execution"] = "exact",
    keep_distinct: bool = False,
    seconds: float = 30.0,
    memory_mb: int = 2048,
) -> Verdict:
    """Reward 1 where the query matches the gold query, by its clauses or by its result.

    Options:
        reward: which of the two named scores is the reward.
        keep_distinct: whether DISTINCT counts in execution.
        seconds: processor time for each of the two queries.
        memory_mb: address space of the process that runs them, in MiB.

    Raises DataError for a row whose gold query cannot be parsed or run, and, where execution is the reward, whose database is not there.
    """
    schema, gold, name = _schema(task), _text(task, "query"), _text(task, "db_id")
    try:
        wanted = schema.parse(gold)
    except UnparsableSql as error:
        raise DataError(f"{task.where('query')}: is not in Spider's SQL: {error}") from error
    sql = sql_block(remove_thinking(rollout.text))
    if not sql:
        return Verdict(0.0, explanation="no query in the answer", scores={"exact": 0.0})
    try:
        difference = schema.difference(schema.parse(sql), wanted)
        says = f"{difference} differs" if difference else "the clauses match"
    except UnparsableSql as error:
        difference, says = "form", f"not in Spider's SQL ({error})"
    scores = {"exact": float(not difference)}
    try:
        database = find_database(files, name)
    except DataError as error:
        if reward == "execution":
            raise DataError(f"{task.where('db_id')}: {error}") from error
        return Verdict(
            scores["exact"], extracted=" ".join(sql.split()), explanation=f"{says}; execution not judged: {error}", scores=scores
        )
    suite = sorted(database.parent.glob("*.sqlite")) if database.parent.name == database.stem else [database]
    failed = None
    for path in suite:
        reply = compare_queries(compare, path, gold, sql, keep_distinct, seconds=seconds, memory_mb=memory_mb)
        if broken := reply.get("broken"):
            raise DataError(f"{task.where('query')}: the gold query gives no result: {broken}")
        if failed := reply.get("failed"):
            break
    scores["execution"] = float(not failed)
    says += f"; {failed}" if failed else "; the results are equal"
    return Verdict(scores[reward], extracted=" ".join(sql.split()), explanation=says, scores=scores)


@spider.ready
def ready(task: Task, files: Path, *, reward: str = "exact") -> None:
    """Whether the task's database is there, where the reward hangs on it."""
    if reward == "execution":
        _database(task, files)


@spider.reference
def reference(task: Task) -> str:
    """The gold query in a fence."""
    return f"```sql\n{_text(task, 'query')}\n```"


# -------------------------------------------------------------------------------------------------------------------------------- execution

_CURRENT_YEAR = re.compile(r"YEAR\s*\(\s*CURDATE\s*\(\s*\)\s*\)\s*", re.IGNORECASE)
# A text, a quoted name or a comment as a whole (to the end where it does not close), else a word or a single character.
_PIECE = re.compile(r"'[^']*(?:'|\Z)|\"[^\"]*(?:\"|\Z)|`[^`]*(?:`|\Z)|\[[^\]]*(?:\]|\Z)|--[^\n]*|/\*.*?(?:\*/|\Z)|\w+|.", re.DOTALL)


def compare(database: str, gold: str, sql: str, seconds: float, keep_distinct: bool) -> dict[str, Any]:
    """Run both and compare them; in the helper process. The second is read only as far as the first one reaches."""
    try:
        with Database(database, seconds=seconds) as opened:
            wanted = list(opened.rows(_prepared(gold, keep_distinct)))
            found: list[tuple[Any, ...]] = []
            try:
                for row in opened.rows(_prepared(sql, keep_distinct)):
                    found.append(row)
                    if len(found) > len(wanted):
                        return {"failed": f"it gives more rows than the gold query's {len(wanted):,}"}
            except QueryError as error:
                if error.broken:
                    raise
                return {"failed": str(error)}
    except QueryError as error:
        return {"broken": str(error)}
    return {} if _same_result(wanted, found, "order by" in gold.lower()) else {"failed": "the results differ"}


def _prepared(sql: str, keep_distinct: bool) -> str:
    sql = sql.replace("> =", ">=").replace("< =", "<=").replace("! =", "!=")
    if not keep_distinct:
        pieces = [piece for piece in _PIECE.findall(sql) if piece.lower() != "distinct"]
        # As upstream's library does: what follows the first statement is lost.
        sql = "".join(pieces[: pieces.index(";") + 1] if ";" in pieces else pieces)
    return _CURRENT_YEAR.sub("2020", sql)


def _same_result(wanted: list[tuple[Any, ...]], found: list[tuple[Any, ...]], ordered: bool) -> bool:
    """The same rows up to the order of columns, and where not `ordered` of rows."""
    if not wanted and not found:
        return True
    if len(wanted) != len(found) or len(wanted[0]) != len(found[0]):
        return False
    # Upstream looks first at each row as a bag, sorted by texts, so that 1 and 1.0 may stand in different places.
    bags = [[tuple(sorted(row, key=lambda value: f"{value}{type(value)}")) for row in rows] for rows in (wanted, found)]
    if bags[0] != bags[1] if ordered else set(bags[0]) != set(bags[1]):
        return False
    columns = Counter(zip(*found, strict=True))
    if ordered:
        return Counter(zip(*wanted, strict=True)) == columns
    prefixes = [Counter(row[: number + 1] for row in wanted) for number in range(len(wanted[0]))]

    def place(chosen: list[tuple[Any, ...]]) -> bool:
        if len(chosen) == len(prefixes):
            return True
        for column, left in columns.items():
            if left > chosen.count(column) and Counter(zip(*chosen, column, strict=True)) == prefixes[len(chosen)]:
                if place([*chosen, column]):
                    return True
        return False

    return place([])


# -------------------------------------------------------------------------------------------------------------------------------------- row


def _schema(task: Task) -> SqlSchema:
    for field in ("tables", "foreign_keys"):
        if not isinstance(task.get(field), list):
            raise DataError(f"{task.where(field)}: must be a list, not {task.get(field)!r}")
    try:
        return SqlSchema(task["tables"], task["foreign_keys"])
    except (TypeError, ValueError, AttributeError) as error:
        form = "[[table, [column, …]], …], with foreign keys as pairs of 'table.column'"
        raise DataError(f"{task.where('tables')}: must be {form}: {error}") from error


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
