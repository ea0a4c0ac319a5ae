"""Measures how far the verifiers agree with their sources of truth, and prints one line for each comparison.

    GYM_SOURCES=DIR python tests/fidelity.py [PUBLISHED]

GYM_SOURCES holds datasets under their upstream names, as for the tests. PUBLISHED is a folder with model outputs that their makers
published together with verdicts, which are too large to keep:

    example_model_solutions.jsonl   openai/grade-school-math @ 3101c7d, grade_school_math/data: four models on GSM8K's test split
    model_outputs_*.zip             TIGER-AI-Lab/MMLU-Pro @ f418b11, eval_results: any of the files; answers as the repository's own
                                    evaluation extracted them are in their field `pred`
    and those that fidelity_instructions.py names

What is missing is left out, and said. Not a test: nothing here passes or fails. The numbers stand in docs/verifiers.md.
"""

from __future__ import annotations

import json
import os
import sys
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pytest_gym.testing import make_rollout, make_task  # noqa: E402
from pytest_gym.verify import Verifier, load_module, load_verifier  # noqa: E402
from tests.fidelity_instructions import instructions  # noqa: E402
from tests.fidelity_references import references  # noqa: E402
from tests.fidelity_tools import tools  # noqa: E402


def lines(path: Path) -> Iterator[dict]:
    """The rows of a JSON-lines file."""
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def measure(name: str, verifier: Verifier, cases: Iterable[tuple[dict, str, bool]], **options: object) -> None:
    """Print how many of the cases (fields, text, should it pass) get the verdict that they should."""
    begin, agreed, total, wrong = time.perf_counter(), 0, 0, []
    for fields, text, expected in cases:
        verdict = verifier(make_task(**fields), make_rollout(text), **options)
        total += 1
        agreed += (verdict.reward == 1.0) == expected
        if (verdict.reward == 1.0) != expected:
            wrong.append((total, expected, verdict.extracted, verdict.explanation))
    seconds = time.perf_counter() - begin
    print(f"{name}: {agreed} of {total} ({agreed / max(total, 1):.2%}), {seconds:.1f} s")
    if os.environ.get("SHOW"):
        for row in wrong[: int(os.environ["SHOW"])]:
            print("   ", row)


def gsm8k_gold(answer: str) -> str:
    """The number behind GSM8K's `####` (or `A:` in the published outputs)."""
    return answer.rpartition("####" if "####" in answer else "A:")[2].strip().replace(",", "")


def math(sources: Path, published: Path | None) -> None:
    """The verifier `math` on references, on worked solutions and on published outputs."""
    verifier = load_verifier("math", ROOT / "verifiers/math.py")
    module = load_module(ROOT / "verifiers/math.py", "verifier")
    if (path := sources / "gsm8k/test.jsonl").exists():
        rows = [(gsm8k_gold(row["answer"]), row["answer"]) for row in lines(path)]
        measure("math, gsm8k, boxed gold", verifier, (({"expected_answer": gold}, f"\\boxed{{{gold}}}", True) for gold, _ in rows))
        measure("math, gsm8k, worked solutions (no box)", verifier, (({"expected_answer": gold}, text, True) for gold, text in rows))
        shifted = [(gold, rows[number - 1][0]) for number, (gold, _) in enumerate(rows)]
        cases = [({"expected_answer": gold}, f"\\boxed{{{other}}}", float(gold) == float(other)) for gold, other in shifted]
        measure("math, gsm8k, the answer of another row", verifier, cases)
    solved = [
        ("math_500/test.jsonl", "answer", "solution"),
        ("aime/aime24.jsonl", "expected_answer", "reference_solution"),
        ("aime/aime25.jsonl", "expected_answer", "reference_solution"),
        ("comp_math_24_25/test.jsonl", "expected_answer", "reference_solution"),
    ]
    for name, answer, solution in solved:
        if not (path := sources / name).exists():
            continue
        rows = [(str(row[answer]), row.get(solution) or "") for row in lines(path)]
        measure(f"math, {name}, boxed gold", verifier, (({"expected_answer": gold}, f"\\boxed{{{gold}}}", True) for gold, _ in rows))
        boxed = [(gold, text) for gold, text in rows if "\\boxed" in text or "\\fbox" in text]
        measure(f"math, {name}, worked solutions with a box", verifier, (({"expected_answer": gold}, text, True) for gold, text in boxed))
        # The reference hands the library the whole text, also where there is a box.
        whole = [({"expected_answer": gold}, text, bool(library(module, gold, text))) for gold, text in boxed]
        measure(f"math, {name}, against math-verify on the whole text", verifier, whole)
    if published and (path := published / "example_model_solutions.jsonl").exists():
        rows = list(lines(path))
        for model in ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"):
            cases = [({"expected_answer": gsm8k_gold(r["ground_truth"])}, r[model]["solution"], r[model]["is_correct"]) for r in rows]
            measure(f"math, gsm8k, published verdicts of {model}", verifier, cases)


def library(module: object, gold: str, text: str) -> bool:
    """The verdict of math-verify on a whole text, as the reference calls it."""
    compare: Callable[[str, str], dict] = module.compare  # type: ignore[attr-defined]
    from pytest_gym.bounded import OutOfBounds, run_bounded

    try:
        return bool(run_bounded(compare, f"\\boxed{{{gold}}}", text, seconds=5, imports=("math_verify",))["right"])
    except OutOfBounds:
        return False


def mcqa(sources: Path, published: Path | None) -> None:
    """The verifier `mcqa` on references and on published outputs."""
    verifier = load_verifier("mcqa", ROOT / "verifiers/mcqa.py")
    if (path := sources / "mmlu_pro/test_every_12th.jsonl").exists():
        rows = [{"expected_answer": row["answer"], "options": row["options"]} for row in lines(path)]
        for mode in verifier.options["mode"].annotation.__args__:
            cases = [(row, verifier.reference_text(make_task(**row), {"mode": mode}) or "", True) for row in rows]
            measure(f"mcqa, mmlu_pro, references, {mode}", verifier, cases, mode=mode)
    for path in sorted(published.glob("model_outputs_*.zip")) if published else ():
        with zipfile.ZipFile(path) as archive:
            rows = json.loads(archive.read(archive.namelist()[0]))
        answers = [
            ({"expected_answer": row["answer"], "options": row["options"]}, text, row["pred"])
            for row in rows
            if isinstance(text := row.get("model_outputs", row.get("generated_text")), str)
        ]
        name = path.stem.removeprefix("model_outputs_")
        cases = [(fields, text, pred == fields["expected_answer"]) for fields, text, pred in answers]
        measure(f"mcqa, mmlu_pro, published verdicts of {name}", verifier, cases, mode="answer_is")
        # Upstream's evaluation changed over time: some files were made without its third step, some guess where nothing was found.
        letters = [
            (letter, pred)
            for fields, text, pred in answers
            if pred is not None and (letter := verifier(make_task(**fields), make_rollout(text), mode="answer_is").extracted) is not None
        ]
        agreed = sum(letter == pred for letter, pred in letters)
        print(f"mcqa, mmlu_pro, the letter where both have one, {name}: {agreed} of {len(letters)} ({agreed / max(len(letters), 1):.2%})")


if __name__ == "__main__":
    where = os.environ.get("GYM_SOURCES")
    if not where:
        sys.exit("set GYM_SOURCES to the folder with the datasets")
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    if folder is None:
        print("no folder with published outputs given: those comparisons are left out")
    math(Path(where), folder)
    mcqa(Path(where), folder)
    if folder:
        instructions(Path(where), folder)
    tools(Path(where))
    references(Path(where))
