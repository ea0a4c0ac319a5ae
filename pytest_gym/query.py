"""Queries: SQL that a model wrote, run on a SQLite database that it can only read.

    path = find_database(files, "concert_singer")
    reply = compare_queries(compare, path, gold_sql, model_sql, seconds=30, memory_mb=2048)

A query is no program. SQLite interprets it, and an authorizer leaves it nothing but reading: no writing, no other file, no PRAGMA, no
extension. What is left to it is time and memory, so it runs in the helper process of `bounded`, which can be killed; that costs less than
a millisecond, where a sandbox takes a tenth of a second and a package of the system. Not here: what makes two results equal (verifiers).
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from pytest_gym.bounded import OutOfBounds, run_bounded
from pytest_gym.errors import DataError, GymError

Row = tuple[Any, ...]
MAX_SQL = 1_000_000
"""Characters that a query may have: SQLite's own default limit of bytes."""

_MAX_VALUE = 100_000_000
_ALLOWED = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE)
_FORBIDDEN_FUNCTIONS = ("load_extension", "fts3_tokenizer")
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
_STEPS = 10_000


class QueryError(GymError):
    """A query has no result; the text is one sentence. `broken`: the database is at fault, not the query."""

    kind = "query"

    def __init__(self, reason: str, *, broken: bool = False) -> None:
        super().__init__(reason)
        self.broken = broken


class Database:
    """A SQLite database to read from: a file, opened read-only, or a script `….sql`, built in memory.

    seconds: processor time for each query. decode: what becomes of text that is no UTF-8, `ignore` or `strict` (an error). Raises
    QueryError with `broken` where the file is no database. For the helper process: only there is memory limited.
    """

    def __init__(self, path: str, *, seconds: float, decode: str = "ignore") -> None:
        self.seconds = seconds
        self._deadline = float("inf")
        script = path.endswith(".sql")
        try:
            # Immutable: no locks, and no journal is looked for, so that nothing is ever written beside the file.
            address = ":memory:" if script else f"{Path(path).absolute().as_uri()}?mode=ro&immutable=1"
            self._connection = sqlite3.connect(address, uri=not script, isolation_level=None)
            if script:
                self._connection.executescript(Path(path).read_text(encoding="utf-8"))
            # Sorting in memory: a temporary file could fill the disk.
            self._connection.executescript("PRAGMA temp_store = MEMORY; PRAGMA query_only = ON; PRAGMA trusted_schema = OFF;")
            self._connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
            raise QueryError(f"{path} is no database that can be read: {error}", broken=True) from error
        self._connection.text_factory = lambda data: data.decode(errors=decode)
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MAX_VALUE)
        self._connection.set_authorizer(_authorize)
        self._connection.set_progress_handler(lambda: time.process_time() > self._deadline, _STEPS)

    def __enter__(self) -> Database:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._connection.close()

    def rows(self, sql: str) -> Iterator[Row]:
        """The rows of one query as they come; the values are None, int, float, str and bytes.

        Raises QueryError where it cannot be run, gives no table, or takes too much time or memory; no other exception, whatever the text.
        """
        if len(sql) > MAX_SQL:
            raise QueryError(f"the query is longer than {MAX_SQL:,} characters")
        self._deadline = time.process_time() + self.seconds
        try:
            cursor = self._connection.execute(sql)
            if cursor.description is None:
                raise QueryError("the statement gives no table")
            yield from cursor
        except MemoryError:
            raise QueryError("needed more memory than it may have") from None
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                raise QueryError(f"took longer than {self.seconds:g} s of processor time") from None
            broken = getattr(error, "sqlite_errorcode", 0) & 0xFF in _BROKEN
            raise QueryError(f"SQLite says: {error}", broken=broken) from None
        except (sqlite3.Warning, ValueError, OverflowError) as error:
            # Two statements, a null character, lone surrogates, text that is no UTF-8 where `decode` is strict.
            raise QueryError(f"SQLite says: {error}") from None
        finally:
            self._deadline = float("inf")


def compare_queries(
    function: Callable[..., dict[str, Any]], database: Path, gold: str | None, sql: str, *rest: Any, seconds: float, memory_mb: int
) -> dict[str, Any]:
    """Call `function(database, gold, sql, seconds, *rest)`, at the top level of a verifier's file, in the helper process; its reply.

    The reply has `broken` (why the row cannot be judged), `failed` (why the query has no result), or what the function says. Each query has
    `seconds` of processor time by `Database`; a single step that does not end, or takes too much memory, costs the helper, and it is then
    found out on the gold query alone whose fault that was. Never raises on a query.
    """
    limits: dict[str, Any] = {"seconds": 2 * seconds + 5, "memory_mb": memory_mb, "imports": ("sqlite3",)}
    try:
        return run_bounded(function, str(database), gold, sql, seconds, *rest, **limits)  # type: ignore[no-any-return]
    except OutOfBounds as error:
        failed = f"the query {error}"
    if gold is not None:
        try:
            reply = run_bounded(function, str(database), gold, gold, seconds, *rest, **limits)
        except OutOfBounds as error:
            return {"broken": f"the gold query {error}"}
        if reply.get("broken"):
            return reply  # type: ignore[no-any-return]
    return {"failed": failed}


def find_database(files: Path, name: str) -> Path:
    """The database `name` of the benchmark in the folder `files`: `databases/` below it, or below `GYM_SOURCES/<benchmark's folder>`.

    There it is `<name>/<name>.sqlite`, `<name>.sqlite`, or a script `<name>.sql`. Raises DataError that says where it was looked for.
    """
    if name in ("", ".", "..") or Path(name).name != name or "\0" in name:
        raise DataError(f"{name!r} cannot be the name of a database")
    folders = [files / "databases"]
    if sources := os.environ.get("GYM_SOURCES"):
        folders.append(Path(sources) / files.name / "databases")
    for folder in folders:
        for path in (folder / name / f"{name}.sqlite", folder / f"{name}.sqlite", folder / f"{name}.sql"):
            if path.is_file():
                return path
    where = folders[-1] if sources else Path("DIR") / files.name / "databases"
    advice = "" if sources else " and set GYM_SOURCES=DIR"
    raise DataError(f"there is no database {name!r} in {folders[0]}: put it at {where / name / name}.sqlite{advice}")


def _authorize(action: int, first: str | None, second: str | None, database: str | None, trigger: str | None) -> int:
    if action in _ALLOWED or (action == sqlite3.SQLITE_FUNCTION and second not in _FORBIDDEN_FUNCTIONS):
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY
