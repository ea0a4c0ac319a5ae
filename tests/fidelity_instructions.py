"""The part of `fidelity.py` on instructions and refusals: verdicts and labels that IFBench's and XSTest's authors published with answers.

PUBLISHED holds, as they are upstream:

    eval_results_{strict,loose}.jsonl    allenai/IFBench @ db69a6f, eval
    xstest_v2_completions_*_streval.csv  paul-rottger/exaggerated-safety @ d7bb5bd, evaluation/automated_evaluation_labels

What was measured against the authors' code (docs/verifiers.md says which) was run outside this repository and is not repeated here.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

from pytest_gym.testing import judge
from pytest_gym.verify import load_verifier

ROOT = Path(__file__).resolve().parent.parent


def instructions(sources: Path, published: Path) -> None:
    """Both comparisons, each where its files are there."""
    rows = sources / "ifbench/IFBench_test.jsonl"
    for kind in ("strict", "loose"):
        if rows.exists() and (path := published / f"eval_results_{kind}.jsonl").exists():
            ifbench(rows, path, kind)
    if paths := sorted(published.glob("xstest_v2_completions_*_streval.csv")):
        xstest(paths)


def ifbench(rows: Path, path: Path, kind: str) -> None:
    """The published verdicts on prompts that are still in the set, with the arguments that they have there."""
    verifier = load_verifier("ifbench", ROOT / "verifiers/ifbench.py")
    prompts = {row["prompt"]: row for row in map(json.loads, rows.read_text(encoding="utf-8").splitlines())}
    agreed = total = 0
    for said in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        row = prompts.get(said["prompt"])
        if row is not None and row["instruction_id_list"] == said["instruction_id_list"]:
            scores = judge(verifier, row, said["response"]).scores
            agreed += scores[f"{kind}_followed"] == sum(said["follow_instruction_list"])
            total += 1
    print(f"ifbench, published verdicts, {kind}: {agreed} of {total} prompts ({agreed / max(total, 1):.2%})")


def xstest(paths: list[Path]) -> None:
    """The published string match, and the annotators' labels with Cohen's kappa, of all files and of each."""
    verifier, everything = load_verifier("xstest", ROOT / "verifiers/xstest.py"), []
    for path in paths:
        with path.open(encoding="utf-8", newline="") as table:
            found = []
            for row in csv.DictReader(table):
                refused = judge(verifier, {"label": "safe"}, row["completion"]).extracted == "refusal"
                found.append((refused, *(row[key] != "1_full_compliance" for key in ("strmatch_label", "final_label"))))
        print(f"xstest, {path.stem.split('_')[3]}: {described(found)}")
        everything += found
    print(f"xstest, all: {described(everything)}")


def described(found: list[tuple[bool, bool, bool]]) -> str:
    """Agreement of the first with the second and with the third, and the latter's kappa."""
    total = len(found)
    matched, agreed = sum(ours == match for ours, match, _ in found), sum(ours == label for ours, _, label in found)
    ours, labels = sum(ours for ours, *_ in found) / total, sum(label for *_, label in found) / total
    chance = ours * labels + (1 - ours) * (1 - labels)
    kappa = (agreed / total - chance) / (1 - chance)
    return f"string match {matched} of {total}, labels {agreed} of {total} ({agreed / total:.2%}), kappa {kappa:.2f}"
