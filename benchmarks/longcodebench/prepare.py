"""LongCodeBench's LongCodeQA: the JSON files of upstream's archive to rows."""

import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_gym.tokens import approximate_tokens

LENGTHS = ("32K", "64K", "128K", "256K", "512K", "1M")


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """The options stand in the prompt, so here they are letters alone; the id is length and number; `n_tokens` is an estimate."""
    with zipfile.ZipFile(files["LongCodeQA.zip"]) as archive:
        members = {Path(name).stem: name for name in archive.namelist() if name.endswith(".json") and not Path(name).name.startswith(".")}
        for length in (length for length in LENGTHS if length in members):
            for number, row in enumerate(json.loads(archive.read(members[length]))):
                question = row["prompt"].strip()
                yield {
                    "id": f"{length}-{number:04d}",
                    "question": question,
                    "options": [{letter: ""} for letter in "ABCD"],
                    "expected_answer": row["correct_letter"].strip().upper(),
                    "length": length,
                    "repo": row["repo"],
                    "is_hard": row["is_hard"],
                    "n_tokens": approximate_tokens(question),
                }
