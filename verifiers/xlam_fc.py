"""xlam_fc: the calls of one turn are the expected ones, with at least the expected arguments.

Rule: an expected call is met by a call of the same name that has every expected argument with an equal JSON value; further arguments are
allowed, and nothing is converted (1 equals 1.0 and true, as in Python; "1" equals none of these). Each expected call in turn takes the
first call that is still free and meets it. Reward 1 where all expected calls are met and no call is left over; where none is expected,
where none was made.

`scores`: `num_expected`, `num_predicted`, `num_correct`. `strict` is the reward with two changes: the calls are paired in the best way, not
greedily, and true is no 1.

Source of truth: NeMo Gym's server `xlam_fc`. As there, arguments that are no JSON object count as none at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pytest_gym import DataError, Message, Rollout, Task, ToolCall, Verdict, verifier

Call = tuple[str, Mapping[str, Any]]


@verifier
def xlam_fc(task: Task, rollout: Rollout, *, field: str = "expected_answers") -> Verdict:
    """Reward 1 where the tool calls are the expected ones, in any order.

    Options:
        field: the row's field with the expected calls: a list of {name, arguments}.

    Raises DataError for a row whose expected calls cannot be read.
    """
    expected = _expected(task, field)
    made: list[Call] = [(call.name, call.arguments or {}) for call in rollout.tool_calls]
    free, correct = list(made), 0
    for name, arguments in expected:
        for number, (called, given) in enumerate(free):
            if called == name and all(key in given and given[key] == value for key, value in arguments.items()):
                del free[number]
                correct += 1
                break
    reward = float(correct == len(expected) == len(made))
    strict = float(len(expected) == len(made) and _all_met(expected, made))
    scores = {"num_expected": float(len(expected)), "num_predicted": float(len(made)), "num_correct": float(correct), "strict": strict}
    shown = json.dumps(sorted([name, json.dumps(given, sort_keys=True)] for name, given in made))
    return Verdict(
        reward, extracted=shown, explanation=f"{correct} of {len(expected)} expected calls met by {len(made)} calls", scores=scores
    )


@xlam_fc.reference  # type: ignore[type-var, unused-ignore]
def reference(task: Task, *, field: str = "expected_answers") -> str | Message:
    """The expected calls themselves."""
    calls = [
        ToolCall.from_json({"id": f"call_{number}", "function": {"name": name, "arguments": json.dumps(given)}})
        for number, (name, given) in enumerate(_expected(task, field))
    ]
    return Message("assistant", "", tool_calls=tuple(calls)) if calls else "No function can do this."


def _all_met(expected: list[Call], made: list[Call]) -> bool:
    """Whether every expected call can have a call of its own: augmenting paths, one expected call after the other."""
    owner: dict[int, int] = {}

    def place(index: int, tried: set[int]) -> bool:
        for number, call in enumerate(made):
            if number not in tried and _meets(call, expected[index]):
                tried.add(number)
                if number not in owner or place(owner[number], tried):
                    owner[number] = index
                    return True
        return False

    return all(place(index, set()) for index in range(len(expected)))


def _meets(call: Call, expected: Call) -> bool:
    return call[0] == expected[0] and all(key in call[1] and _same(call[1][key], value) for key, value in expected[1].items())


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    return bool(one == other)


def _expected(task: Task, field: str) -> list[Call]:
    where = task.where(field)
    value = task.get(field)
    if not isinstance(value, list):
        raise DataError(f"{where}: must be a list of {{name, arguments}}, not {value!r}")
    calls: list[Call] = []
    for call in value:
        arguments = call.get("arguments", {}) if isinstance(call, dict) else None
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments)
            except ValueError as error:
                raise DataError(f"{where}: arguments are not JSON: {error}") from error
        if not isinstance(arguments, dict) or not isinstance(call.get("name"), str):
            raise DataError(f"{where}: each must be {{name, arguments}}, not {call!r}")
        calls.append((call["name"], arguments))
    return calls
