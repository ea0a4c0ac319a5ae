"""Answers to prompts whose instructions a program can check: a row's instructions, the readings of an answer, the verdict and its counts.

What IFEval, IFBench and their like share; for their verifiers, which bring the checks. A check is a function of an answer and of the
instruction's arguments. It never raises on the answer.

    instructions_of  the instructions of a row with their arguments, tested
    by_fraction      whether the reward is a share
    readings         an answer's loose readings
    follow           which of them an answer follows, strict and loose
    verdict          what that makes: reward, explanation, named scores
    strict_share     of all instructions of all tasks, from these scores' sums
    loose_share

Not here: any instruction (`ifeval`, verifiers/ifbench.py); what is a word or a sentence (`english`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

from pytest_gym.bounded import OutOfBounds, run_bounded
from pytest_gym.errors import DataError
from pytest_gym.records import Rollout, Task, Verdict

Arguments = Mapping[str, Any]
Check = Callable[[str, Arguments], bool]
Needs = Mapping[str, Mapping[str, type]]
"""For each kind the arguments that it cannot be without, and what they are: `str`, `list` (of texts) or `float` (a number, 0 or more)."""

_LONG = 20_000
_SECONDS = 5.0
_NAMES = {str: "a text", list: "a list of texts", float: "a number, 0 or more"}


def instructions_of(
    task: Task, checks: Mapping[str, Check], needs: Needs, *, held: Mapping[str, Any] | None = None
) -> list[tuple[str, dict[str, Any]]]:
    """The instructions of a row with their arguments, null ones left out.

    The row has `instruction_id_list` and `kwargs`, lists with one entry for each instruction, at the top or in `verifier_metadata` (NeMo
    Gym); `held` is the mapping that has them where it is another one. Raises DataError naming row and field where they do not fit
    together, a kind is unknown, or an argument is absent or of another type.
    """
    if held is None:
        inner = task.get("verifier_metadata")
        held = inner if isinstance(inner, Mapping) and "instruction_id_list" in inner else task.fields
    names, arguments = held["instruction_id_list"], held.get("kwargs")
    where = task.where()
    if not isinstance(names, list) or not names or not isinstance(arguments, list) or len(arguments) != len(names):
        raise DataError(f"{where}: instruction_id_list and kwargs must be lists of the same length, not empty")
    found = []
    for name, given in zip(names, arguments, strict=True):
        if name not in checks:
            raise DataError(f"{where}, field 'instruction_id_list': there is no instruction {name!r}")
        if not isinstance(given, Mapping | None):
            raise DataError(f"{where}, field 'kwargs': the arguments of {name} must be a mapping or null")
        said = {key: value for key, value in (given or {}).items() if value is not None}
        for key, kind in needs.get(name, {}).items():
            if key not in said:
                raise DataError(f"{where}, field 'kwargs': {name} needs {key!r}")
            if not _is(said[key], kind):
                raise DataError(f"{where}, field 'kwargs': {key!r} of {name} must be {_NAMES[kind]}")
        found.append((name, said))
    return found


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
    if isinstance(value, list):
        return kind is list and all(isinstance(item, str) for item in value)
    return isinstance(value, kind)


def by_fraction(task: Task, reward: Literal["row", "all", "fraction"]) -> bool:
    """Whether the reward is the share of instructions followed. `row`: where the row's `grading_mode` is `fraction` and not `binary`.

    NeMo Gym's rows have a `grading_mode`, at the top or in `verifier_metadata`; without one all instructions are wanted. Raises DataError.
    """
    if reward != "row":
        return reward == "fraction"
    inner = task.get("verifier_metadata")
    mode = inner.get("grading_mode") if isinstance(inner, Mapping) and "grading_mode" in inner else task.get("grading_mode")
    if mode not in ("binary", "fraction", None):
        raise DataError(f"{task.where('grading_mode')}: must be 'binary' or 'fraction', not {mode!r}")
    return mode == "fraction"


def follow(text: str, instructions: Sequence[Sequence[Any]], checks: Mapping[str, Check]) -> tuple[list[bool], list[bool]]:
    """Whether each instruction is followed, strict (the answer as it is) and loose (in one of the eight readings).

    A reading of blanks alone follows nothing, and so does an empty answer.
    """
    # Many of the eight are the same text.
    others = [reading for reading in dict.fromkeys(readings(text)) if reading.strip() and reading != text]
    strict, loose = [], []
    for name, arguments in instructions:
        check = checks[name]
        strict.append(bool(text.strip()) and check(text, arguments))
        loose.append(strict[-1] or any(check(reading, arguments) for reading in others))
    return strict, loose


def readings(text: str) -> Iterator[str]:
    """The loose readings beside the answer itself: without its first line, its last, or both, and each, as the whole, without asterisks."""
    lines = text.split("\n")
    for reading in ("\n".join(lines[1:]).strip(), "\n".join(lines[:-1]).strip(), "\n".join(lines[1:-1]).strip()):
        yield reading
        yield reading.replace("*", "")
    yield text.replace("*", "")


def verdict(
    rollout: Rollout,
    instructions: Sequence[tuple[str, dict[str, Any]]],
    followed: Callable[[str, Any], tuple[list[bool], list[bool]]],
    *,
    fraction: bool = False,
) -> Verdict:
    """Passed where all instructions are followed, strict. The reward is that, or with `fraction` the share of those followed, strict.

    `followed` is a function at the top of the verifier's file, `follow` with its checks: a long answer is checked by it in a process with a
    time limit (`run_bounded`), and follows nothing where that is not enough. Scores: `strict_prompt`, `loose_prompt` (0 or 1),
    `strict_fraction`, `loose_fraction`, and the counts `strict_followed`, `loose_followed`, `instructions`.
    """
    text, total = rollout.text, len(instructions)
    try:
        strict, loose = run_bounded(followed, text, instructions, seconds=_SECONDS) if len(text) > _LONG else followed(text, instructions)
    except OutOfBounds as error:
        why = f"checking this answer of {len(text):,} characters {error}"
        return Verdict(0.0, False, explanation=why, scores=_scores(0, 0, total))
    broken = [name for (name, _), kept in zip(instructions, strict, strict=True) if not kept]
    return Verdict(
        sum(strict) / total if fraction else float(not broken),
        not broken,
        explanation="not followed: " + ", ".join(broken) if broken else "all instructions are followed",
        scores=_scores(sum(strict), sum(loose), total),
    )


def _scores(strict: int, loose: int, total: int) -> dict[str, float]:
    return {
        "strict_prompt": float(strict == total),
        "loose_prompt": float(loose == total),
        "strict_fraction": strict / total,
        "loose_fraction": loose / total,
        "strict_followed": float(strict),
        "loose_followed": float(loose),
        "instructions": float(total),
    }


def strict_share(totals: Mapping[str, Any]) -> Any:
    """The share of all instructions that are followed, strict, from the sums `strict_followed` and `instructions`."""
    return totals["strict_followed"] / totals["instructions"]


def loose_share(totals: Mapping[str, Any]) -> Any:
    """The share of all instructions that are followed, loose, from the sums `loose_followed` and `instructions`."""
    return totals["loose_followed"] / totals["instructions"]
