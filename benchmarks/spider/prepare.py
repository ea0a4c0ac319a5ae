"""Spider: upstream's questions and schemas to rows, with the difficulty that its evaluator gives each gold query."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_gym import SqlSchema


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """One row for each question in upstream's order, which is its id: upstream has none."""
    questions, schemas = (json.loads(files[name].read_text(encoding="utf-8")) for name in ("dev.json", "tables.json"))
    described = {schema["db_id"]: describe(schema) for schema in schemas}
    for number, row in enumerate(questions):
        schema = described[row["db_id"]]
        query = row["query"].strip()
        yield {
            "id": f"{number:04d}",
            "question": row["question"],
            "query": query,
            "db_id": row["db_id"],
            "difficulty": SqlSchema(schema["tables"], schema["foreign_keys"]).parse(query).difficulty,
            **schema,
        }


def describe(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema as the verifier needs it, and as SQL for the prompt. Columns are numbered over all tables; number 0 is `*`."""
    tables: list[str] = schema["table_names_original"]
    names: list[list[Any]] = schema["column_names_original"]
    full = [f"{tables[table]}.{column}" if table >= 0 else column for table, column in names]
    statements = []
    for number, table in enumerate(tables):
        numbers = [at for at, (owner, _) in enumerate(names) if owner == number]
        lines = [f"  {_quoted(names[at][1])} {schema['column_types'][at]}" for at in numbers]
        if keys := [_quoted(names[at][1]) for at in numbers if at in schema["primary_keys"]]:
            lines.append(f"  PRIMARY KEY ({', '.join(keys)})")
        for first, second in schema["foreign_keys"]:
            if first in numbers:
                owner, column = names[second]
                lines.append(f"  FOREIGN KEY ({_quoted(names[first][1])}) REFERENCES {_quoted(tables[owner])} ({_quoted(column)})")
        statements.append(f"CREATE TABLE {_quoted(table)} (\n" + ",\n".join(lines) + "\n);")
    return {
        "schema_text": "\n".join(statements),
        "tables": [[table, [column for owner, column in names if owner == number]] for number, table in enumerate(tables)],
        "foreign_keys": [[full[first], full[second]] for first, second in schema["foreign_keys"]],
    }


def _quoted(name: str) -> str:
    return name if name.isidentifier() else f'"{name}"'
