"""ProofBench as a judging task: upstream's proofs with a label made of the expert's rating."""

import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_gym.tables import read_rows
from pytest_gym.tokens import approximate_tokens

LONGEST = 10_000
"""Proofs of more tokens (approximately) are left out."""


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """One row for each proof, in NeMo Gym's order (shuffled by seed 42 before the long ones go); right is a rating of 6 or 7."""
    rows = [row for name, path in files.items() for row in read_rows(path, name)]
    random.Random(42).shuffle(rows)
    for number, row in enumerate(rows):
        proof = row["model_solution"].strip()
        if approximate_tokens(proof) <= LONGEST:
            yield {
                "id": f"{number:04d}",
                "problem_id": row["problem_id"],
                "problem": row["problem"].strip(),
                "proof": proof,
                "rubric": row["marking_scheme"],
                "ground_truth_proof": row["reference_solution"],
                "expected_judgement": "Judgement: Yes" if float(row["expert_rating"]) >= 6 else "Judgement: No",
                "expert_rating": row["expert_rating"],
                "generator": row["generator"],
            }
