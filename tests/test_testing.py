"""pytest_gym.testing: the four standard cases pass for a good verifier, sync or async, and fail for each kind of bad one."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from pytest_gym import Rollout, Task, Verdict, verifier
from pytest_gym.errors import ConfigError, GymError
from pytest_gym.testing import MALFORMED, judge, make_rollout, make_task, verifier_cases
from pytest_gym.verify import Verifier


@verifier
def same(task: Task, rollout: Rollout, *, field: str = "answer") -> Verdict:
    """A good one."""
    right = rollout.text == task[field]
    return Verdict(float(right), extracted=rollout.text or None, explanation="the same" if right else "not the same")


@same.reference
def _reference(task: Task, *, field: str = "answer") -> str:
    return str(task[field])


@verifier
async def same_async(task: Task, rollout: Rollout, files: Path) -> Verdict:
    """A good one that is awaited and asks for a resource."""
    await asyncio.sleep(0)
    return Verdict(float(rollout.text == (files / "answer").name), explanation="looked")


CASES = {"full": [({"answer": "yes"}, "yes")], "zero": [({"answer": "yes"}, "no")]}

test_sync = verifier_cases(same, **CASES)
test_options = verifier_cases(
    same, full=[({"gold": "yes"}, make_rollout("yes"))], zero=[({"gold": "yes"}, "no")], options={"field": "gold"}
)
test_async = verifier_cases(same_async, full=[({}, "answer")], zero=[({}, "no")], files=Path("folder"))
test_by_path = verifier_cases(
    "verifiers/exact_match.py", full=[({"expected_answer": "yes"}, "yes")], zero=[({"expected_answer": "yes"}, "no")]
)


def test_make_task_and_rollout():
    task = make_task(task_id="7", index=3, benchmark="b", subset="s", answer=1)
    assert (task.id, task.index, task.benchmark, task.subset, task["answer"]) == ("7", 3, "b", "s", 1)
    rollout = make_rollout("text", reasoning="why", finish_reason="length")
    assert (rollout.text, rollout.reasoning, rollout.finish_reason) == ("text", "why", "length")
    assert [message.role for message in rollout.messages] == ["user", "assistant"]


def failures(bad: Verifier, **more) -> list[str]:
    """The kinds of the generated cases that fail."""
    test = verifier_cases(bad, **{**CASES, **more})
    found = []
    for parameters in test.pytestmark[0].args[1]:
        kind, group = parameters.values
        try:
            test(kind, group)
        except pytest.fail.Exception as failure:
            assert bad.name in str(failure)
            found.append(kind)
    return sorted(set(found))


def make(function) -> Verifier:
    def wrong(task: Task, rollout: Rollout) -> Verdict:
        return function(task, rollout)

    return Verifier(wrong)


def test_bad_verifiers_are_found():
    calls = iter(range(1000))
    right = same.function
    assert failures(make(lambda task, rollout: Verdict(0.0, explanation="never"))) == ["full"]
    assert failures(make(lambda task, rollout: Verdict(1.0))) == ["malformed", "zero"]
    assert failures(make(lambda task, rollout: Verdict(1.0)), may_score=True) == ["zero"]
    assert failures(make(lambda task, rollout: Verdict(right(task, rollout).reward))) == ["malformed", "zero"]
    assert failures(make(lambda task, rollout: Verdict(right(task, rollout).reward, explanation=str(next(calls))))) == ["deterministic"]
    assert failures(make(lambda task, rollout: Verdict(2.0))) == ["deterministic", "full", "malformed", "zero"]


def test_a_verifier_that_raises_shows_its_exception():
    test = verifier_cases(make(lambda task, rollout: Verdict(float(rollout.text == "yes") / len(rollout.text), explanation="x")), **CASES)
    parameters = {parameter.id: parameter.values for parameter in test.pytestmark[0].args[1]}
    with pytest.raises(ZeroDivisionError):
        test(*parameters["malformed-0"])


def test_case_ids():
    identifiers = [parameter.id for parameter in verifier_cases(same, **CASES).pytestmark[0].args[1]]
    assert identifiers[:3] == ["full-0", "full-1", "zero-0"]
    assert identifiers[-1] == "deterministic"
    assert len(identifiers) == 4 + len(MALFORMED)


def test_wrong_use():
    with pytest.raises(GymError, match="no such verifier file"):
        verifier_cases("verifiers/nope.py", **CASES)
    with pytest.raises(ValueError, match="at least one case"):
        verifier_cases(same, full=[], zero=[])
    with pytest.raises(ConfigError, match="no option 'feild'"):
        judge(same, {"answer": "yes"}, "yes", feild="x")
