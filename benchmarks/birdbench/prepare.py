"""BIRD dev: the questions and the schemas in dev.zip to rows; the databases themselves are for the verifier."""

import json
import shutil
import sqlite3
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

KEPT = 10
"""Rows of each table that the prompt shows."""


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """One row for each question. dev.zip holds dev.json and, as a zip of its own, the databases."""
    with zipfile.ZipFile(files["dev.zip"]) as archive, tempfile.TemporaryDirectory() as folder:
        questions = json.loads(archive.read(_member(archive, "/dev.json")))
        inner = Path(folder) / "databases.zip"
        with archive.open(_member(archive, "/dev_databases.zip")) as packed:
            _copy(packed, inner)
        with zipfile.ZipFile(inner) as databases:
            names = sorted({row["db_id"] for row in questions})
            schemas = {name: _schema(databases, name, Path(folder) / "database.sqlite") for name in names}
    for row in questions:
        yield {
            "id": str(row["question_id"]),
            "question": row["question"],
            "evidence": row["evidence"],
            "gt_sql": row["SQL"],
            "sql_context": schemas[row["db_id"]],
            "difficulty": row["difficulty"],
            "db_id": row["db_id"],
        }


def dump(path: Path) -> str:
    """The database as SQL: each table with its first ten rows, then what else the schema has."""
    with sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True) as connection:
        connection.text_factory = lambda data: data.decode(errors="ignore")
        lines = []
        schema = "SELECT type = 'table', name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        for is_table, name, sql in connection.execute(f"{schema} ORDER BY type <> 'table', rowid").fetchall():
            lines.append(f"{sql};")
            if not is_table:
                continue
            quoted = name.replace('"', '""')
            columns = [row[1].replace('"', '""') for row in connection.execute(f'PRAGMA table_info("{quoted}")')]
            values = " || ',' || ".join(f'quote("{column}")' for column in columns)
            found = connection.execute(f'SELECT {values} FROM "{quoted}" LIMIT {KEPT + 1}').fetchall()
            lines += [f'INSERT INTO "{quoted}" VALUES({row});'.replace("\n", " ") for (row,) in found[:KEPT]]
            lines += ["..."] if len(found) > KEPT else []
    connection.close()
    return "\n".join(lines)


def _schema(databases: zipfile.ZipFile, name: str, path: Path) -> str:
    with databases.open(_member(databases, f"/{name}/{name}.sqlite")) as packed:
        _copy(packed, path)
    return dump(path)


def _copy(packed: IO[bytes], path: Path) -> None:
    with path.open("wb") as file:
        shutil.copyfileobj(packed, file, 1 << 20)


def _member(archive: zipfile.ZipFile, end: str) -> str:
    # Folders are named after the release, and macOS leaves shadows of the files beside them.
    found = [name for name in archive.namelist() if f"/{name}".endswith(end) and "__MACOSX" not in name]
    if len(found) != 1:
        raise ValueError(f"{archive.filename}: {len(found)} files end in {end}, not one")
    return found[0]
