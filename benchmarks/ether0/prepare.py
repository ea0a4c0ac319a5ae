"""Rows of ether0-benchmark: those whose answers can be judged here, with one right answer or with many."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

OPEN = ("formula_eval", "functional_group_eval", "valid_mol_eval")
REMOTE = ("sol_eval", "rxn_forward")
LETTERS = "ABCDEF"


def prepare(files: Mapping[str, Path], *, answers: Literal["one", "many"], letters: bool = False) -> Iterator[dict[str, Any]]:
    """The rows whose function takes one answer, or takes many that must be plausible; none of those that ask a service.

    `letters` makes `question` of the problem: choices get letters and an answer is a letter, every other answer stands in a box.
    """
    try:
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("reading parquet needs pyarrow: pip install 'pytest-gym[parquet]'") from error
    for row in pyarrow.parquet.read_table(files["test.parquet"]).to_pylist():
        function, data, _ = row["solution"].split("!:!", 2)
        if function in REMOTE or (function in OPEN) != (answers == "many"):
            continue
        fields = {name: row[name] for name in ("id", "problem", "problem_type", "solution", "ideal")}
        fields["kind"] = row["problem_type"].partition("/")[0]
        yield {**fields, **lettered(function, row["problem"], data)} if letters else fields


def lettered(function: str, problem: str, data: str) -> dict[str, Any]:
    """The question that wants a letter or a box, and the choices by letter."""
    lines = [line for line in problem.splitlines() if line.strip()]
    choices = [line for line in lines if " " not in line]
    if function != "str_eval" or data not in choices:
        return {"question": f"{problem}\n\nReason step by step, and put the answer into \\boxed{{}}.", "choices": {}}
    named = dict(zip(LETTERS, choices, strict=False))
    asked = " ".join(line for line in lines if " " in line)
    listed = "\n".join(f"{letter}. {choice}" for letter, choice in named.items())
    wish = f"Reason step by step. End with a line of the form 'Answer: X', where X is a letter from {LETTERS[0]} to {list(named)[-1]}."
    return {"question": f"{asked}\n\n{listed}\n\n{wish}", "choices": named}
