"""MMLU-Pro: upstream's test table, as its parquet file or as JSON lines of the same columns, to rows."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """Options lettered from A; the id is upstream's `question_id`, the expected answer its `answer` (not `answer_index`)."""
    (path,) = files.values()
    for row in _json_lines(path) if path.suffix == ".jsonl" else _parquet(path):
        options = dict(zip("ABCDEFGHIJ"[: len(row["options"])], row["options"], strict=True))
        options_text = "\n".join(f"{letter}) {text}" for letter, text in options.items())
        yield {
            "id": str(row["question_id"]),
            "question": row["question"],
            "options_text": options_text,
            "problem": f"{row['question']}\n\n{options_text}",
            "options": [{letter: text} for letter, text in options.items()],
            "expected_answer": row["answer"],
            "category": row["category"],
            "src": row["src"],
        }


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    try:
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("reading a parquet file needs pyarrow: pip install 'pytest-gym[parquet]'") from error
    yield from parquet.read_table(path).to_pylist()
