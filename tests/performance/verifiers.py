"""How long verifying takes, without any model: `GYM_SOURCES=DIR python tests/performance/verifiers.py [VERIFIER …]`.

Each set is judged once by a warm process, with every package loaded: 541 IFEval prompts, 300 IFBench prompts, 1,319 GSM8K questions and
164 HumanEval programs. Seconds on the clock and of processor time, with the limits that the project has set itself. IFEval's and IFBench's
answers are made of other prompts, with lists, marks and a line before and behind, so that the eight loose readings all differ. Once more
IFEval at its worst: every check of a language is made, and fails in each reading.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pytest_gym import Sandbox  # noqa: E402
from pytest_gym.testing import judge, make_rollout, make_task  # noqa: E402
from pytest_gym.verify import Verifier, load_verifier  # noqa: E402

Rows = list[tuple[dict[str, Any], str]]
SOURCES = Path(os.environ["GYM_SOURCES"])


def lines(name: str) -> Iterator[dict[str, Any]]:
    """The rows of a file in GYM_SOURCES."""
    path = SOURCES / name
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text(encoding="utf-8")
    return map(json.loads, text.splitlines())


def essays(rows: list[dict[str, Any]]) -> Rows:
    """An answer of some 1,300 characters to each prompt, made of six others."""
    made = []
    for number, row in enumerate(rows):
        parts = [str(rows[(number + step) % len(rows)]["prompt"]) for step in range(1, 7)]
        made.append((row, "**Here** it is:\n" + "\n\n".join(f"* {part}" for part in parts) + "\nHope *that* helps!"))
    return made


def ifeval() -> Rows:
    """IFEval's rows."""
    return essays(list(lines("ifeval/input_data.jsonl")))


def ifeval_in_no_language() -> Rows:
    """The same in letters that are no language, in the case that is asked for, so that each language check is made, and fails."""
    vowels, made = str.maketrans("aeiouAEIOU", "eiouaEIOUA"), []
    for row, text in ifeval():
        text = text.translate(vowels)
        made.append((row, text.upper() if "change_case:english_capital" in row["instruction_id_list"] else text.lower()))
    return made


def gsm8k() -> Rows:
    """GSM8K's worked solutions, the result in a box."""
    found = []
    for row in lines("gsm8k/test.jsonl"):
        steps, _, result = row["answer"].rpartition("####")
        found.append(({"expected_answer": result.strip().replace(",", "")}, f"{steps}So it is \\boxed{{{result.strip()}}}."))
    return found


def human_eval() -> Rows:
    """HumanEval's canonical solutions, each in a fence."""
    return [(row, f"```python\n{row['prompt']}{row['canonical_solution']}\n```") for row in lines("human_eval/HumanEval.jsonl.gz")]


def all_of(verifier: Verifier, rows: Rows, options: Mapping[str, Any]) -> int:
    """Judge them, those in sandboxes side by side; how many pass."""
    if not verifier.resources:
        return sum(judge(verifier, fields, text, **options).reward == 1.0 for fields, text in rows)
    sandbox = Sandbox()

    async def gathered() -> int:
        awaited = (verifier.function(make_task(**fields), make_rollout(text), sandbox, **options) for fields, text in rows)
        return sum(verdict.reward == 1.0 for verdict in await asyncio.gather(*awaited))

    return asyncio.run(gathered())


SETS: list[tuple[str, str, Callable[[], Rows], dict[str, Any], float | None]] = [
    ("ifeval", "IFEval", ifeval, {}, 3.0),
    ("ifeval", "IFEval, in no language", ifeval_in_no_language, {}, None),
    ("ifbench", "IFBench", lambda: essays(list(lines("ifbench/IFBench_test.jsonl"))), {}, None),
    ("math", "GSM8K, boxed", gsm8k, {}, 1.0),
    ("evalplus", "HumanEval, canonical solutions", human_eval, {"seconds": 3}, 15.0),
]


def main() -> None:
    for name, title, make, options, limit in SETS:
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        verifier, rows = load_verifier(name, ROOT / "verifiers" / f"{name}.py"), make()
        all_of(verifier, rows[:20], options)
        wall, cpu = time.perf_counter(), time.process_time()
        passed = all_of(verifier, rows, options)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        says = f"{wall:6.2f} s, {cpu:5.2f} s of processor time" + (f", wanted: at most {limit:g} s" if limit else "")
        print(f"{title:<31} {len(rows):>5} answers, {passed:>4} pass: {says}")


if __name__ == "__main__":
    main()
