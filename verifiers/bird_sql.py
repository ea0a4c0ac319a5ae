"""bird_sql: the query gives the same set of rows as the row's gold query.

Rule: the last fence marked sql is the query (`extract.sql_block`); it and the gold query `gt_sql` are run on the database `db_id`. Reward 1
where the two results, as sets of rows, are equal: order and repetitions do not count, the order of columns does, names of columns do not.
Values are equal as in Python: 1 and 1.0 are, 1 and '1' are not. Text that is no UTF-8 loses the bytes that are not. A query that cannot be
run, or takes more than `seconds`, is wrong; a gold query that cannot be run is the row's error, as is a database that is not there.

Sources of truth: the official evaluation of BIRD (`set(predicted) == set(gold)`) and NeMo Gym's server of this name with the same rule.
That server runs `SELECT 1` where there is no fence, takes away everything behind a `--`, and gives a broken gold query the reward 0; with
`extraction: nemo` the query is taken out of the answer as it does. Upstream's databases can be written to; here queries only read, so that
a statement that gives no table is wrong, also where the gold result is empty.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pytest_gym import Database, DataError, QueryError, Rollout, Task, Verdict, compare_queries, find_database, verifier
from pytest_gym.extract import remove_thinking, sql_block


@verifier
def bird_sql(
    task: Task,
    rollout: Rollout,
    files: Path,
    *,
    extraction: Literal["fence", "nemo"] = "fence",
    seconds: float = 30.0,
    memory_mb: int = 2048,
) -> Verdict:
    """Reward 1 where the query and the gold query give the same set of rows.

    Options:
        extraction: `fence`, the last sql fence or what else looks like the query; `nemo`, as NeMo Gym's server does.
        seconds: processor time for each of the two queries.
        memory_mb: address space of the process that runs them, in MiB.

    Named score: `executed`, 1 where the query gave a result at all. Raises DataError for a row whose database is not there, or whose gold
    query gives no result.
    """
    gold, database = _text(task, "gt_sql"), _database(task, files)
    text = remove_thinking(rollout.text)
    sql = sql_block(text) if extraction == "fence" else nemo_query(text)
    if not sql:
        return Verdict(0.0, explanation="no query in the answer", scores={"executed": 0.0})
    reply = compare_queries(compare, database, gold, sql, seconds=seconds, memory_mb=memory_mb)
    if broken := reply.get("broken"):
        raise DataError(f"{task.where('gt_sql')}: the gold query gives no result: {broken}")
    failed = reply.get("failed")
    says = failed or ("the rows are those of the gold query" if reply["match"] else reply["why"])
    return Verdict(
        float(not failed and reply["match"]), extracted=" ".join(sql.split()), explanation=says, scores={"executed": float(not failed)}
    )


@bird_sql.ready
def ready(task: Task, files: Path) -> None:
    """Whether the task's database is there."""
    _database(task, files)


@bird_sql.reference
def reference(task: Task) -> str:
    """The gold query in a fence."""
    return f"```sql\n{_text(task, 'gt_sql')}\n```"


def compare(database: str, gold: str, sql: str, seconds: float) -> dict[str, Any]:
    """Run both and compare them as sets; in the helper process. The second is read only as far as it can still be equal."""
    try:
        with Database(database, seconds=seconds) as opened:
            wanted = set(opened.rows(gold))
            try:
                missing = set(wanted)
                for row in opened.rows(sql):
                    if row not in wanted:
                        return {"match": False, "why": "it gives a row that the gold query does not"}
                    missing.discard(row)
            except QueryError as error:
                if error.broken:
                    raise
                return {"failed": str(error)}
    except QueryError as error:
        return {"broken": str(error)}
    return {"match": not missing, "why": f"it lacks {len(missing):,} of the gold query's {len(wanted):,} rows"}


_COMMENT = re.compile(r"--|/\*")
_LETTER = re.compile("[a-zA-Z]")


def nemo_query(text: str) -> str:
    """The query as NeMo Gym's server takes it: the last ```` ```sql ```` fence that has a letter in it, else `SELECT 1`.

    Comments are taken out, a `--` with all that follows it; blanks become single ones; a first line in `**` goes.
    """
    found, at = None, 0
    while (start := text.find("```sql", at)) >= 0:
        letter = _LETTER.search(text, start + 6)
        end = text.find("```", letter.end()) if letter else -1
        if end < 0:
            break
        found, at = text[start + 6 : end], end + 3
    if found is None:
        return "SELECT 1"
    kept, at, closes = [], 0, "*/" in found
    while comment := _COMMENT.search(found, at):
        end = len(found) if comment[0] == "--" else found.find("*/", comment.end()) if closes else -1
        if end < 0:
            # A comment that never closes is none, but a `--` within it is.
            closes = False
            kept.append(found[at : comment.end()])
            at = comment.end()
        else:
            kept.append(found[at : comment.start()])
            at = end if comment[0] == "--" else end + 2
    sql = re.sub(r"\s+", " ", "".join(kept) + found[at:])
    return re.sub(r"^\*\*.*\*\*", "", sql).strip()


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
