"""GSM8K: upstream's test.jsonl, one row for each line, to rows."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_CALCULATOR = re.compile(r"<<[^<>]*>>")


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """The answer behind the last '####' without thousands commas; the solution before it without calculator annotations."""
    with files["test.jsonl"].open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            row = json.loads(line)
            solution, mark, answer = row["answer"].rpartition("####")
            if not mark:
                raise ValueError(f"test.jsonl:{number + 1}: the answer has no '####'")
            yield {
                "id": f"{number:04d}",
                "question": row["question"],
                "expected_answer": answer.strip().replace(",", ""),
                "reference_solution": _CALCULATOR.sub("", solution).strip(),
            }
