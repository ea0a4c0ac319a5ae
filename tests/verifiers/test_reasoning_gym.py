"""reasoning_gym: which answer counts, the library's scores, and that no scorer runs what a model wrote."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import DataError
from pytest_gym.catalogue import builtin_root
from pytest_gym.testing import judge, make_rollout, make_task, verifier_cases
from pytest_gym.verify import load_module, load_verifier
from tests.conftest import sources

if importlib.util.find_spec("reasoning_gym") is None:
    pytest.skip("needs the extra 'reasoning_gym'", allow_module_level=True)
PATH = builtin_root() / "verifiers/reasoning_gym.py"
VERIFIER = load_verifier("reasoning_gym", PATH)
MODULE = load_module(PATH, "verifier")
FOLDER = builtin_root() / "benchmarks/reasoning_gym"


def row(name, answer="", **metadata):
    return {"question": "?", "answer": answer, "metadata": {"source_dataset": name, **metadata}}


GCD = row("gcd", "42")
TARGET = row("countdown", "7*(8+3)", numbers=[7, 8, 3], target=77)
INTEGRAL = row("simple_integration", "x**3 + C", integrand="3*x**2", variable="x")
PRODUCT = row("polynomial_multiplication", "2*a**2 - 5*a")
QUEENS = row("n_queens", "Q _\n_ Q", valid_answers=["Q _\n_ Q"])
SPIRAL = row("spiral_matrix", "1 2 4 3")
BITS = row("bitwise_arithmetic", "0x42", problem="((0x1f + 0x2) << 0x1)")

test_standard = verifier_cases(
    "verifiers/reasoning_gym.py",
    full=[
        (GCD, "<answer>42</answer>"),
        (GCD, "<answer>1</answer> or <answer> 42\n</answer>"),
        (GCD, r"\boxed{42} or \boxed{41}"),
        (GCD, "<think>41</think>42"),
        (TARGET, "<answer>(3 + 8)*7</answer>"),
        (INTEGRAL, "<answer>x*x*x - 5</answer>"),
        (PRODUCT, "<answer>-5*a + a*a*2</answer>"),
        (SPIRAL, "1 2 4 3"),
        (BITS, "66"),
        (row("arc_1d", "1 2"), "1 2"),
        (row("arc_agi", "1 2\n3 4", output=[[1, 2], [3, 4]]), "<answer>1 2\n3 4</answer>"),
    ],
    zero=[
        (GCD, "41"),
        (GCD, ""),
        (INTEGRAL, "<answer>x**2</answer>"),
        (PRODUCT, "a +"),
        (row("prime_factorization", "2 × 3", number=6), "<answer>three</answer>"),
    ],
    malformed=[
        (INTEGRAL, "(" * 5000),
        (INTEGRAL, "9**" * 5000 + "9"),
        (SPIRAL, "[" * 100_000),
        (GCD, "x" * 10_000_000),
    ],
)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (" all\n", "all"),
        ("<answer>1</answer><answer>2", "1"),
        ("<answer>a <answer>b</answer>", "a <answer>b"),
        ("</answer><answer>c</answer>", "c"),
        ("<Answer>d</Answer>", "<Answer>d</Answer>"),
        (r"\boxed{} \boxed{\frac{1}{2}}", r"\frac{1"),
        (r"\boxed{1", r"\boxed{1"),
        ("<answer></answer> 3", ""),
    ],
)
def test_answer(text, answer):
    assert MODULE._answer(text) == answer


@given(st.lists(st.sampled_from(["<answer>", "</answer>", "\\boxed{", "}", "{", "a", " ", "\n"]), max_size=12).map("".join))
@settings(max_examples=100, deadline=None)
def test_the_answer_is_what_the_servers_expressions_find(text):
    tags = re.findall(r"<answer>\s?(.*?)\s?</answer>", text, re.DOTALL)
    box = re.search(r"\\boxed\{([^}]+)\}", text)
    assert MODULE._answer(text) == (tags[-1] if tags else box[1] if box else text).strip()


def test_parts_of_the_reward():
    assert judge(VERIFIER, TARGET, "<answer>8*7</answer>").reward == 0.05
    assert judge(VERIFIER, QUEENS, "[['Q', '_'], ['_', 'Q']]").reward == 0.5
    assert judge(VERIFIER, SPIRAL, "[1, 2, 2 + 2, 3]").reward == 0.1
    failed = judge(VERIFIER, row("prime_factorization", "2 × 3", number=6), "three")
    assert "ValueError" in failed.explanation and failed.extracted == "three"


EVALUATING = {
    "algorithmic/binary_matrix.py": row("binary_matrix", "0"),
    "algorithmic/spiral_matrix.py": SPIRAL,
    "algorithmic/string_insertion.py": row("string_insertion", "ABC"),
    "algebra/intermediate_integration.py": {**INTEGRAL, "metadata": {**INTEGRAL["metadata"], "source_dataset": "intermediate_integration"}},
    "algebra/polynomial_multiplication.py": PRODUCT,
    "algebra/simple_integration.py": INTEGRAL,
    "games/countdown.py": TARGET,
    "games/n_queens.py": QUEENS,
    "games/puzzle24.py": row("puzzle24", "8*3*1*1"),
}
OF_THE_ROW = {"algorithmic/number_sorting.py", "arithmetic/bitwise_arithmetic.py"}
OF_GENERATORS = {"arithmetic/basic_arithmetic.py", "arithmetic/gsm_symbolic/generators_00_49.py", "code/codeio.py"}
OF_GENERATORS |= {"arithmetic/gsm_symbolic/generators_50_99.py", "logic/propositional_logic.py"}


def test_no_other_scorer_evaluates_anything():
    library = Path(importlib.util.find_spec("reasoning_gym").submodule_search_locations[0])
    danger = re.compile(
        r"(?<![\w.])(?:eval|exec|parse_expr|sympify|__import__)\(|\.(?:parse_expr|sympify|lambdify|loads)\((?<!json\.loads\()"
    )
    found = {str(path.relative_to(library)) for path in library.rglob("*.py") if danger.search(path.read_text())}
    assert found == {*EVALUATING, *OF_THE_ROW, *OF_GENERATORS}


@pytest.mark.parametrize("name", EVALUATING)
def test_what_a_model_wrote_is_not_run(name, tmp_path):
    trace = tmp_path / "trace"
    for code in ("open({!r}, 'w')", "__import__('os').system('touch ' + {!r})", "[c for c in [open({!r}, 'w')]]", "sin('open({!r}, 1)')"):
        text = code.format(str(trace))
        assert judge(VERIFIER, EVALUATING[name], text).reward <= 0.05
        assert judge(VERIFIER, EVALUATING[name], f"().__class__.__base__ or {text}").reward <= 0.05
    assert not trace.exists()


@pytest.mark.parametrize("fields", [row("number_sorting", "[open('trace', 'w')]", direction="ascending"), {**BITS, "answer": "open"}])
def test_what_a_row_says_is_not_run(fields, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fields = {**fields, "metadata": {**fields["metadata"], "problem": "open('trace', 'w')"}}
    with pytest.raises(DataError, match="cannot work with this row"):
        judge(VERIFIER, fields, "[1]")
    assert not (tmp_path / "trace").exists()


def test_an_answer_without_end_is_wrong():
    verdict = judge(VERIFIER, SPIRAL, "9**9**9**9", seconds=0.3)
    assert verdict.reward == 0 and "took longer than" in verdict.explanation


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"question": "?", "answer": "1"}, "metadata", "source_dataset"),
        (row("no_such_task", "1"), "metadata", "has no data set 'no_such_task'"),
        (row("composite", "1"), "metadata", "has no data set"),
        ({**GCD, "question": 3}, "question", "a text"),
        ({**GCD, "answer": 42}, "answer", "text or null"),
        (row("word_sorting", "a, b"), "metadata", "KeyError: 'sorted_words'"),
        (row("countdown", "1", target=3), "metadata", "gives the row's own answer 0.01"),
        (row("rush_hour", None), "metadata", "board_config"),
    ],
)
def test_a_broken_row_is_named(fields, field, says):
    with pytest.raises(DataError, match=rf"puzzles: row 3 \(task '7'\), field '{field}'.*(?:{says})"):
        VERIFIER(make_task(task_id="7", index=2, benchmark="puzzles", **fields), make_rollout("right"))


@given(st.text(), st.sampled_from([GCD, TARGET, QUEENS, BITS]))
@settings(max_examples=30, deadline=None)
def test_any_text_gets_a_verdict(text, fields):
    assert judge(VERIFIER, fields, text).reward <= 0.05


def test_generated_problems_are_the_same_everywhere_and_their_answers_right():
    prepare = load_module(FOLDER / "prepare.py", "prepare").prepare
    rows = list(prepare({}, categories=["arithmetic", "graphs"], samples=1))
    text = json.dumps(rows, sort_keys=True)
    assert (len(rows), hashlib.sha256(text.encode()).hexdigest()[:16]) == (24, "37796bf41fcc9978")
    for each in rows:
        assert judge(VERIFIER, each, VERIFIER.reference_text(make_task(**each), {})).reward == 1, each["id"]
        assert judge(VERIFIER, each, "").reward < 0.1
    with pytest.raises(ValueError, match="no category 'poetry'; there are algebra"):
        next(prepare({}, categories=["poetry"]))


def test_every_task_of_the_list_is_in_one_category():
    tasks = [task for tasks in load_module(FOLDER / "prepare.py", "prepare").TASKS.values() for task in tasks]
    assert len(set(tasks)) == len(tasks) == 102


def test_nemo_gym_rows():
    path = sources() / "nemo_gym_checkout/resources_servers/reasoning_gym/data/example.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for each in rows:
        assert judge(VERIFIER, each, VERIFIER.reference_text(make_task(**each), {})).reward == 1
        assert judge(VERIFIER, each, "").reward == 0
    assert len(rows) == 5
