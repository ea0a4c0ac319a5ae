r"""reasoning_gym: the answer to a generated problem, scored by the library that generated it.

Rule: the answer is the content of the last `<answer>…</answer>`, else of the first `\boxed{…}` up to its first closing brace, else the
whole text, without blanks around it. The function `score_answer` of the data set that the row's `metadata.source_dataset` names gives the
reward, from 0 to 1; many give parts for an answer that is close or well-formed, some 0.01 for any.

Source of truth: the package reasoning-gym, as NeMo Gym's server `reasoning_gym` calls it. Two things differ on purpose:

- Some scorers evaluate what the model wrote as Python, others hand it to SymPy, which does the same. Here they see `evaluate` and
  `parse_formula` instead, which take numbers, texts, containers and formulas and refuse every other name and call. An answer such as
  `list("abc")` has no part of the reward that the library would give.
- The grids of `arc_agi` and `rearc` are lists in a row of JSON and tuples in the library, which finds no list equal to a tuple: through
  NeMo Gym's server no answer can be right. Here they are tuples again.

Scorers run in a helper process with limits: an answer that breaks them is wrong, with the reason. So is one on which the scorer raises.
Where it raises on the row's own answer too, or gives that less than 0.5, the row is broken.
"""

from __future__ import annotations

import ast
import math
import sys
import types
from collections.abc import Callable
from functools import cache
from typing import Any, cast

from pytest_gym import DataError, OutOfBounds, Rollout, Task, Verdict, run_bounded, verifier
from pytest_gym.extract import remove_thinking


@verifier(needs={"reasoning_gym": "reasoning_gym"})
def reasoning_gym(task: Task, rollout: Rollout, *, seconds: float = 10.0, memory_mb: int = 2048) -> Verdict:
    r"""Reward from 0 to 1: the score of reasoning-gym's own function for the row's data set.

    Options:
        seconds: processor time that the scorer may take for one answer. Beyond it the answer is wrong.
        memory_mb: address space of the helper process in MiB, likewise.

    Needs the fields `question`, `answer` (null where there is no single right one) and `metadata`. Raises DataError for a row without them,
    with a data set that the library does not have, or that the scorer cannot work with.
    """
    name, entry = _entry(task)
    answer = _answer(remove_thinking(rollout.text))
    try:
        done = run_bounded(
            score, name, entry, answer, _example(name, entry), seconds=seconds, memory_mb=memory_mb, imports=("reasoning_gym",)
        )
    except OutOfBounds as error:
        return Verdict(0.0, extracted=_short(answer), explanation=f"the scorer of {name} {error} on this answer")
    if done["unknown"]:
        raise DataError(f"{task.where('metadata')}: reasoning-gym has no data set {name!r}, which source_dataset names")
    if done["broken"]:
        raise DataError(f"{task.where('metadata')}: the scorer of {name} cannot work with this row: {done['broken']}")
    failed = f": {done['failed']}" if done["failed"] else ""
    says = f"the scorer of {name} gives {done['score']:.4g}{failed}" if answer else f"the answer is empty{failed}"
    return Verdict(done["score"], extracted=_short(answer), explanation=says)


@reasoning_gym.reference
def reference(task: Task) -> str:
    """The row's answer, or the example of one in its metadata, in the tags; DataError where it has neither."""
    name, entry = _entry(task)
    example = _example(name, entry)
    if example is None:
        raise DataError(f"{task.where('answer')}: there is none, because {name} has no single right answer")
    return f"<answer>{example}</answer>"


# ------------------------------------------------------------------------------------------------------------- within the helper process


def score(name: str, entry: dict[str, Any], answer: str, example: str | None) -> dict[str, Any]:
    """Let the library score. Runs in the helper process.

    Gives `score` (0 to 1), `failed` (why the scorer raised), `broken` (why it cannot work with the row at all) and `unknown`.
    """
    verdict: dict[str, Any] = {"score": 0.0, "failed": None, "broken": None, "unknown": False}
    scorer = _scorer(name)
    if scorer is None:
        return {**verdict, "unknown": True}
    if name in _TUPLES:
        entry = {**entry, "metadata": {**entry["metadata"], "output": _tuples(entry["metadata"].get("output"))}}
    try:
        found = float(scorer(answer=answer, entry=entry))
        if not math.isfinite(found):
            raise ValueError(f"the score is {found}")
        verdict["score"] = min(1.0, max(0.0, found))
    except (MemoryError, RecursionError):
        raise
    except Exception as error:
        verdict["failed"] = _said(error)
    if verdict["score"] < 1 and example is not None and example != answer:
        try:
            # The library's own answers get 1, or nearly that where numbers were rounded.
            if (found := float(scorer(answer=example, entry=entry))) < 0.5:
                verdict["broken"] = f"it gives the row's own answer {found:g}"
        except Exception as error:
            verdict["broken"] = _said(error)
    elif verdict["failed"] and example == answer:
        verdict["broken"] = verdict["failed"]
    return verdict


@cache
def _scorer(name: str) -> Callable[..., Any] | None:
    """The library's function for a data set, in whose module nothing evaluates code."""
    from reasoning_gym.factory import DATASETS, get_score_answer_fn

    # A composite has no problems of its own.
    if name not in DATASETS or name == "composite":
        return None
    for module in {sys.modules[kind.__module__] for kind in DATASETS[name][0].__mro__ if kind.__module__.startswith("reasoning_gym.")}:
        _disarm(module)
    return cast(Callable[..., Any], get_score_answer_fn(name))


def _disarm(module: types.ModuleType) -> None:
    """Put `evaluate` and `parse_formula` before what the module calls by the names eval, exec, parse_expr and sympy.parse_expr."""
    import sympy

    harmless = types.ModuleType("sympy")
    vars(harmless).update(vars(sympy), parse_expr=parse_formula, sympify=parse_formula)
    for name, value in list(vars(module).items()):
        if value is sympy:
            setattr(module, name, harmless)
        elif value in (sympy.parse_expr, sympy.sympify) and callable(value):
            setattr(module, name, parse_formula)
    vars(module).update(eval=evaluate, exec=evaluate)


def evaluate(text: str) -> Any:
    """What Python's eval gives for literals and arithmetic between them; ValueError for anything else."""
    return eval(_checked(text, (*_ARITHMETIC, *_LITERALS), (*_NUMBERS, str, bytes, type(None))), {"__builtins__": {}})


def parse_formula(text: str, **names: Any) -> Any:
    """What SymPy's parse_expr gives for a formula: numbers, symbols, operators and calls of `_FUNCTIONS`; ValueError for anything else."""
    import sympy

    _checked(text, (*_ARITHMETIC, ast.Name, ast.Load, ast.Call), _NUMBERS)
    return sympy.parse_expr(text, **names)


def _checked(text: str, nodes: tuple[type[ast.AST], ...], constants: tuple[type, ...]) -> str:
    text = text.strip()
    for node in ast.walk(ast.parse(text, mode="eval")):
        fine = isinstance(node, nodes)
        if isinstance(node, ast.Constant):
            fine = isinstance(node.value, constants)
        elif isinstance(node, ast.Call):
            fine = fine and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS and not node.keywords
        if not fine:
            raise ValueError(f"{type(node).__name__} is not evaluated")
    return text


_NUMBERS = (int, float, complex)
_TUPLES = ("arc_agi", "rearc")
_ARITHMETIC = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.Constant)
_LITERALS = (ast.List, ast.Tuple, ast.Set, ast.Dict, ast.Load)
_FUNCTIONS = frozenset(
    """
    sin cos tan cot sec csc asin acos atan acot asec acsc sinh cosh tanh coth sech csch asinh acosh atanh acoth exp log ln sqrt cbrt root
    Abs abs sign erf erfi erfc Si Ci Ei li gamma factorial Integer Rational Float Pow Mul Add
    Integral integrate Derivative diff
    """.split()
)


def _tuples(grid: Any) -> Any:
    return tuple(map(_tuples, grid)) if isinstance(grid, list) else grid


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {_short(str(error))}"


# ------------------------------------------------------------------------------------------------------------------------ text and row


def _answer(text: str) -> str:
    """What reasoning-gym's `extract_answer` finds, else the first box, else all."""
    found, start = None, text.find("<answer>")
    while start >= 0 and (end := text.find("</answer>", start)) >= 0:
        found, start = text[start + len("<answer>") : end], text.find("<answer>", end)
    if found is None:
        start = text.find("\\boxed{")
        while start >= 0 and (end := text.find("}", start)) >= 0:
            if end > start + len("\\boxed{"):
                found = text[start + len("\\boxed{") : end]
                break
            start = text.find("\\boxed{", end)
    return (text if found is None else found).strip()


def _entry(task: Task) -> tuple[str, dict[str, Any]]:
    metadata, answer = task.get("metadata"), task.get("answer")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("source_dataset"), str):
        raise DataError(
            f"{task.where('metadata')}: must be a mapping with the data set's name as source_dataset, not {_short(repr(metadata))}"
        )
    if not isinstance(task.get("question"), str):
        raise DataError(f"{task.where('question')}: must be a text, not {_short(repr(task.get('question')))}")
    if not isinstance(answer, str | None):
        raise DataError(f"{task.where('answer')}: must be a text or null, not {_short(repr(answer))}")
    name = str(metadata["source_dataset"])
    if name in _NEEDED and not isinstance(metadata.get(_NEEDED[name]), str | dict):
        raise DataError(f"{task.where('metadata')}: {name} needs {_NEEDED[name]!r}")
    return name, {"question": task["question"], "answer": answer, "metadata": metadata}


_EXAMPLES = {"graph_color": "possible_answer", "propositional_logic": "example_answer", "rubiks_cube": "example_correct_answer"}
"""Where the metadata of data sets without a single right answer have one."""
_NEEDED = {"boxnet": "initial_state", "rush_hour": "board_config"}
"""What the rows of those that have not even that must have."""


def _example(name: str, entry: dict[str, Any]) -> str | None:
    """A right answer, as the library writes it."""
    import json

    if entry["answer"] is not None:
        return str(entry["answer"]).strip()
    example = entry["metadata"].get(_EXAMPLES.get(name, ""))
    return example if isinstance(example, str | None) else json.dumps(example)


def _short(text: str) -> str | None:
    return (text if len(text) <= 2000 else text[:1999] + "…") or None
