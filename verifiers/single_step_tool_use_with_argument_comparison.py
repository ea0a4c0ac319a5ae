"""single_step_tool_use_with_argument_comparison: the next step of a recorded conversation, a message or tool calls, is the expected one.

Rule: where a message is expected, any message counts and any tool call is wrong. Where calls are expected, each is met by a call of the
same name whose arguments compare equal:

    objects     the same keys, each value equal; lists: the same length, item by item
    floats      less than `float_tolerance` apart; any other number: equal. The value must have the expected one's type
    strings     of two or more words on both sides: the share of common words is at least `word_count_similarity_threshold`; else equal

The share of common words is taken of lower-case words with their counts: common / (words here + words there). That is the benchmark's
own definition; it is at most 0.5, since common words count once above and twice below. `scores` has `jaccard`: the reward with the true
multiset Jaccard index, common / (here + there − common), against the same threshold.

Expected and made calls are paired in the best possible way (maximum bipartite matching). By default the number of calls is no matter:
reward 1 where all expected calls are met, further ones are free. With `parallel_tool_call_rewarding` it is:

    allow_subset, allow_superset   whether fewer or more calls than expected are judged at all (else 0)
    parallel_tool_call_reward_mode binary_strict: all needed are met; fractional: the share of the needed; f1: 2 · met / (expected + made)

Needed are all expected calls, or with `allow_subset` as many as were made if these are fewer. One expected and one made call are compared
outright. Source of truth: NeMo Gym's server of this name, which defines the benchmark.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

from pytest_gym import DataError, Message, Rollout, Task, ToolCall, Verdict, verifier

Call = tuple[str, Any]
Mode = Literal["binary_strict", "fractional", "f1"]
Alike = Callable[[int, int, int], bool]


class _Unreadable:
    """Stands for arguments that are no JSON; equal to nothing."""


@verifier
def single_step_tool_use_with_argument_comparison(
    task: Task,
    rollout: Rollout,
    *,
    word_count_similarity_threshold: float = 0.1,
    float_tolerance: float = 1e-6,
    parallel_tool_call_rewarding: bool = False,
    allow_subset: bool = False,
    allow_superset: bool = False,
    parallel_tool_call_reward_mode: Mode = "binary_strict",
) -> Verdict:
    """Reward 1 where the step is the expected one; between 0 and 1 where the number of calls counts.

    Options:
        word_count_similarity_threshold: share of common words, 0 to 0.5, from which two texts are alike.
        float_tolerance: floats closer than this are equal.
        parallel_tool_call_rewarding: the number of calls counts.
        allow_subset: fewer calls than expected are judged.
        allow_superset: more calls than expected are judged.
        parallel_tool_call_reward_mode: what is given for calls that are met in part.

    Raises DataError for a row whose expected action cannot be read.
    """
    expected = _expected(task)
    made = [(call.name, _arguments(call)) for call in rollout.tool_calls]
    if not made and not rollout.text.strip():
        return Verdict(0.0, explanation="neither a call nor a message", scores={"jaccard": 0.0})
    if not expected or not made:
        right = float(not expected and not made)
        says = "a message was expected" if not expected else "a tool call was expected"
        kind = "message" if not made else "calls"
        return Verdict(right, extracted=kind, explanation=f"{says}, {kind} came", scores={"jaccard": right})

    def reward(alike: Alike) -> tuple[float, str]:
        counts = len(expected), len(made)
        forbidden = parallel_tool_call_rewarding and not (allow_subset if counts[1] < counts[0] else allow_superset)
        if counts[0] != counts[1] and forbidden:
            return 0.0, f"{counts[0]} calls expected, {counts[1]} made"
        met = _most([[call for call in range(len(made)) if _equal(made[call], each, alike, float_tolerance)] for each in expected])
        says = f"{met} of {counts[0]} expected calls met by {counts[1]} calls"
        if counts == (1, 1) or not parallel_tool_call_rewarding:
            return float(met == counts[0]), says
        if parallel_tool_call_reward_mode == "f1":
            return 2 * met / sum(counts), says
        needed = min(counts) if allow_subset else counts[0]
        return met / needed if parallel_tool_call_reward_mode == "fractional" else float(met == needed), says

    threshold = word_count_similarity_threshold
    value, says = reward(lambda common, here, there: common / (here + there) >= threshold)
    jaccard, _ = reward(lambda common, here, there: common / (here + there - common) >= threshold)
    shown = json.dumps(sorted(call.name for call in rollout.tool_calls))
    return Verdict(value, extracted=shown, explanation=says, scores={"jaccard": jaccard})


@single_step_tool_use_with_argument_comparison.reference  # type: ignore[type-var, unused-ignore]
def reference(task: Task) -> str | Message:
    """The expected action itself."""
    calls = [
        ToolCall.from_json({"id": f"call_{number}", "function": {"name": name, "arguments": json.dumps(given)}})
        for number, (name, given) in enumerate(_expected(task))
    ]
    return Message("assistant", "", tool_calls=tuple(calls)) if calls else str(task["expected_action"].get("content") or "Understood.")


def _equal(made: Call, expected: Call, alike: Alike, tolerance: float) -> bool:
    return made[0] == expected[0] and _same(made[1], expected[1], alike, tolerance)


def _same(made: Any, expected: Any, alike: Alike, tolerance: float) -> bool:
    if not isinstance(made, type(expected)):
        return False
    if isinstance(expected, dict):
        return made.keys() == expected.keys() and all(_same(made[key], value, alike, tolerance) for key, value in expected.items())
    if isinstance(expected, list):
        return len(made) == len(expected) and all(_same(one, other, alike, tolerance) for one, other in zip(made, expected, strict=True))
    if isinstance(expected, float):
        return bool(abs(made - expected) < tolerance)
    if isinstance(expected, str):
        here, there = made.lower().split(), expected.lower().split()
        if min(len(here), len(there)) < 2:
            return bool(made == expected)
        return alike((Counter(here) & Counter(there)).total(), len(here), len(there))
    return bool(made == expected)


def _most(candidates: Sequence[Sequence[int]]) -> int:
    """How many of the expected calls can have a call of their own (Kuhn's augmenting paths, without recursion's limit)."""
    owner: dict[int, int] = {}
    for start in range(len(candidates)):
        came_from: dict[int, tuple[int, int | None]] = {}
        queue: list[tuple[int, int | None]] = [(start, None)]
        while queue:
            expected, via = queue.pop()
            for call in candidates[expected]:
                if call in came_from:
                    continue
                came_from[call] = (expected, via)
                if call in owner:
                    queue.append((owner[call], call))
                    continue
                step: int | None = call
                while step is not None:
                    owner[step], step = came_from[step]
                queue = []
                break
    return len(owner)


def _arguments(call: ToolCall) -> Any:
    if call.arguments is not None:
        return call.arguments
    try:
        return json.loads(call.raw)
    except (ValueError, RecursionError):
        return _Unreadable()


def _expected(task: Task) -> list[Call]:
    """The expected calls; none where a message is expected."""
    where = task.where("expected_action")
    action = task.get("expected_action")
    kind = action.get("type") if isinstance(action, dict) else None
    if kind == "message":
        return []
    calls = (
        action["calls"]
        if isinstance(action, dict) and kind == "function_call_batch" and isinstance(action.get("calls"), list)
        else [action]
    )
    if kind not in ("function_call", "function_call_batch") or not calls:
        raise DataError(f"{where}: must be a message, a function_call, or a function_call_batch with calls, not {action!r}")
    found: list[Call] = []
    for call in calls:
        try:
            found.append((str(call["name"]), json.loads(call["arguments"]) if isinstance(call["arguments"], str) else call["arguments"]))
        except (TypeError, KeyError, ValueError) as error:
            raise DataError(f"{where}: each call needs a name and arguments in JSON, not {call!r}") from error
    return found
