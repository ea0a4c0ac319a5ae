"""Spider 2.0-Lite: the tasks on SQLite, out of an archive of upstream's repository; the databases themselves are for the verifier."""

import csv
import io
import json
import re
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_WANTED = re.compile(
    r"spider2-lite/(?P<name>spider2-lite\.jsonl|evaluation_suite/gold/spider2lite_eval\.jsonl"
    r"|evaluation_suite/gold/(?:exec_result|sql)/local[^/]*|resource/databases/sqlite/[^/]+/DDL\.csv)"
)


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """One row for each task whose id begins with `local`, by number; gold tables in the order of their letters."""
    texts = _texts(files["Spider2.tar.gz"])
    tasks = [task for task in _lines(texts["spider2-lite.jsonl"]) if task["instance_id"].startswith("local")]
    said = {row["instance_id"]: row for row in _lines(texts["evaluation_suite/gold/spider2lite_eval.jsonl"])}
    schemas = {name.split("/")[3]: text for name, text in texts.items() if name.endswith("/DDL.csv")}
    for task in sorted(tasks, key=lambda task: int(re.sub(r"\D", "", task["instance_id"]))):
        name = task["instance_id"]
        # Sorted, `name.csv` comes before `name_a.csv`; where it is there it is the only one.
        results = [texts[path] for path in sorted(texts) if re.fullmatch(rf"evaluation_suite/gold/exec_result/{name}(_[a-z])?\.csv", path)]
        results = results[:1] if f"evaluation_suite/gold/exec_result/{name}.csv" in texts else results
        if not results:
            raise ValueError(f"Spider2.tar.gz has no gold table for {name}")
        row = {
            "id": name,
            "instance_id": name,
            "question": task["question"],
            "db_id": task["db"],
            "schema_text": _schema(schemas, task["db"]),
            "gold_result": [_table(text) for text in results],
            "condition_cols": said[name].get("condition_cols") or [],
            "ignore_order": bool(said[name]["ignore_order"]),
        }
        if (gold := texts.get(f"evaluation_suite/gold/sql/{name}.sql")) is not None:
            row["gold_sql"] = gold.strip()
        yield row


def _texts(path: Path) -> dict[str, str]:
    """The files that matter, by their names below spider2-lite. The archive is read once, from its beginning to its end."""
    found = {}
    with tarfile.open(path, "r|*") as archive:
        for member in archive:
            wanted = _WANTED.fullmatch(member.name.partition("/")[2])
            file = archive.extractfile(member) if wanted else None
            if wanted and file is not None:
                found[wanted["name"]] = file.read().decode("utf-8-sig")
    return found


def _lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def _table(text: str) -> list[list[str | None]]:
    """The rows below the header. An empty cell is no value, as pandas, with which upstream reads it, has it."""
    return [[cell or None for cell in row] for row in list(csv.reader(io.StringIO(text, newline="")))[1:]]


def _schema(schemas: Mapping[str, str], name: str) -> str:
    """The statements of the database's DDL.csv; folders differ from names of databases in case and hyphens."""
    plain = {folder.lower().replace("-", "_"): text for folder, text in schemas.items()}
    rows = csv.DictReader(io.StringIO(plain[name.lower().replace("-", "_")], newline=""))
    return "\n\n".join(row["DDL"] for row in rows)
