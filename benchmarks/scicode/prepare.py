"""SciCode's problems to rows: the steps with their tests; steps whose code upstream gives have it as `prefilled`."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytest_gym.tables import read_rows

KEPT = ("step_number", "step_description_prompt", "step_background", "function_header", "return_line", "test_cases", "ground_truth_code")


def prepare(files: Mapping[str, Path]) -> Iterable[dict[str, Any]]:
    """The id is upstream's `problem_id`; files named `<step>.txt` hold the code of steps that nobody is asked for."""
    given = {name.removesuffix(".txt"): path.read_text(encoding="utf-8") for name, path in files.items() if name.endswith(".txt")}
    for name, path in files.items():
        for row in read_rows(path, name) if name.endswith(".jsonl") else ():
            steps = [{key: step[key] for key in KEPT if step.get(key) is not None} for step in row["sub_steps"]]
            for step in steps:
                if step["step_number"] in given:
                    step["prefilled"] = given[step["step_number"]]
            yield {
                "id": row["problem_id"],
                "problem_name": row["problem_name"],
                "required_dependencies": row["required_dependencies"],
                "sub_steps": steps,
            }
