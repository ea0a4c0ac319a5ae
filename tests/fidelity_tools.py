"""The part of `fidelity.py` on tool calls, documents, long contexts, speech and translation: references and empty answers on real rows.

What was measured against other people's code (docs/verifiers.md says which) was run outside this repository and is not repeated here.
"""

from __future__ import annotations

import json
from pathlib import Path

from pytest_gym.records import Message
from pytest_gym.testing import judge, make_task
from pytest_gym.verify import load_module, load_verifier

ROOT = Path(__file__).resolve().parent.parent
NEMO = (
    "structured_outputs", "structeval", "xlam_fc", "single_step_tool_use_with_argument_comparison", "calendar", "indirect_prompt_injection",
    "graphwalks", "mrcr", "ruler", "ruler2", "asr_with_pc", "wmt_translation", "hotpotqa_qa",
    "math_proof_judgement", "imo_gradingbench", "litmus_agent",
)  # fmt: skip
BFCL = ("simple_python", "multiple", "parallel", "parallel_multiple", "live_simple", "live_parallel", "live_parallel_multiple")


def rows_of(path: Path) -> list[dict]:
    """The rows of a JSON-lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def tools(sources: Path) -> None:
    """References pass and empty answers do not: NeMo Gym's example rows, and all of BFCL that is at hand."""
    for name in NEMO:
        path = sources / f"nemo_gym_checkout/resources_servers/{name}/data/example.jsonl"
        if path.exists():
            report(f"{name}, NeMo Gym's example rows", name, rows_of(path))
    for category in BFCL:
        path = sources / f"bfcl/BFCL_v4_{category}.json"
        if path.exists():
            answers = rows_of(path.parent / "possible_answer" / path.name)
            rows = [{**row, **answer, "category": category} for row, answer in zip(rows_of(path), answers, strict=True)]
            report(f"bfcl, {category}", "bfcl", rows)


def report(title: str, name: str, rows: list[dict]) -> None:
    """Print how many references have the full reward, and how many empty answers have none."""
    path = ROOT / f"verifiers/{name}.py"
    verifier, reference = load_verifier(name, path), load_module(path, "verifier").reference
    right = empty = 0
    for row in rows:
        answer: str | Message = reference(make_task(**{key: value for key, value in row.items() if key != "id"}))
        right += judge(verifier, row, answer).reward == 1.0
        empty += judge(verifier, row, "").reward == 0.0
    print(f"{title}: references pass {right} of {len(rows)}, empty answers fail {empty} of {len(rows)}")
