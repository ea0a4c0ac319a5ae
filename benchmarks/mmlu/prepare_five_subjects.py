"""MMLU's first five subjects from a mirror's CSV files, to rows. They have a header, and the answer is the option's number from 0."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

_HEADER = ["question", "choice0", "choice1", "choice2", "choice3", "answer"]


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """Fields and ids as `prepare.py` gives them: these subjects stand first in the full set too."""
    number = 0
    for name in sorted(files):
        with files[name].open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file)
            if next(reader, None) != _HEADER:
                raise ValueError(f"{name}:1: the header is not {','.join(_HEADER)}")
            for cells in reader:
                if len(cells) != 6 or cells[5] not in ("0", "1", "2", "3"):
                    raise ValueError(f"{name}:{reader.line_num}: is not question, four options and a number 0-3: {cells}")
                question, *choices, answer = cells
                options = dict(zip("ABCD", choices, strict=True))
                yield {
                    "id": f"{number:04d}",
                    "question": question,
                    "problem": "\n".join([question, "", *(f"{letter}) {text}" for letter, text in options.items())]),
                    "options": [{letter: text} for letter, text in options.items()],
                    "expected_answer": "ABCD"[int(answer)],
                    "subject": name.removesuffix("_test.csv"),
                }
                number += 1
