"""Proof arena: proofs that models wrote at three competitions, with labels made of the judges' points."""

import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_gym.tables import read_rows
from pytest_gym.tokens import approximate_tokens

LONGEST = 10_000
"""Proofs of more tokens (approximately) are left out."""


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """One row for each proof that the judges call right or wrong, in NeMo Gym's order (shuffled by seed 42 before the long ones go).

    IMO and USAMO: right if both judges gave 7 of 7 points, wrong if both gave less than 6. IMC: right with 10 of 10, wrong below 8. All
    others are left out. The ten proofs that their makers published are right.
    """
    tables = {name: list(read_rows(path, name)) for name, path in files.items() if name.endswith(".parquet")}
    rows = [
        *_published("openai_imo", files, tables["imo_2025.parquet"]),
        *_published("gemini_imo", files, tables["imo_2025.parquet"]),
        *_judged("usamo", tables["usamo_2025_outputs.parquet"]),
        *_judged("imo", tables["imo_2025_outputs.parquet"]),
        *_judged("imc", tables["imc_2025_outputs.parquet"]),
    ]
    random.Random(42).shuffle(rows)
    for number, row in enumerate(rows):
        if approximate_tokens(row["proof"]) <= LONGEST:
            yield {"id": f"{number:04d}", **row}


def _published(source: str, files: Mapping[str, Path], problems: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for number, problem in zip(range(1, 6), problems, strict=False):
        if int(problem["problem_idx"]) != number:
            raise ValueError(f"imo_2025.parquet: row {number} is problem {problem['problem_idx']}, expected {number}")
        proof = files[f"{source}-{number}.txt"].read_text(encoding="utf-8")
        rubric = [part["desc"] for part in problem["grading_scheme"]]
        yield _row(source, problem["problem"], proof, rubric, right=True, problem_idx=number, model=source)


def _judged(source: str, table: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    full, wrong_below = (10, 8) if source == "imc" else (7, 6)
    for row in table:
        points = [row["points_judge_1"]]
        if source != "imc" and row["points_judge_2"] is not None:
            points.append(row["points_judge_2"])
        if all(given == full for given in points) or all(given < wrong_below for given in points):
            rubric = [part["grading_scheme_desc"] for part in row["grading_details_judge_1"]]
            proof = row["answer"].split("</think>")[-1]
            right = points[0] == full
            yield _row(source, row["problem"], proof, rubric, right=right, problem_idx=row["problem_idx"], model=row["model_name"])


def _row(source: str, problem: str, proof: str, rubric: list[str], *, right: bool, problem_idx: int | str, model: str) -> dict[str, Any]:
    return {
        "problem": problem.strip(),
        "proof": proof.strip(),
        "rubric": "\n".join(f"- {part}" for part in rubric),
        "expected_judgement": "Judgement: Yes" if right else "Judgement: No",
        "source": source,
        "problem_idx": str(problem_idx),
        "model": model,
    }
