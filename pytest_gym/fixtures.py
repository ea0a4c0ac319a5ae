"""The fixtures of a case: `task`, `rollout`, `verifier`, `verdict`, and the resources `files` and `sandbox`.

All the work is done in setup, so that what is not an answer (endpoint, verifier that raises, broken row) is an error (E) and a failure
(F) means a wrong answer. A conftest may override `verifier` or `rollout` as any fixture, and request and wrap ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from pytest_gym.cases import Case
from pytest_gym.errors import DECIDED, GymError, Stopped
from pytest_gym.records import CaseError, Rollout, Task, Verdict
from pytest_gym.report.text import printable
from pytest_gym.sandbox import Sandbox
from pytest_gym.state import GymState
from pytest_gym.verify import check_verdict, clean, explain_exception

VerifierCall = Callable[[Task, Rollout], Verdict]


class Fixtures:
    """Registered as a plugin for a gym run only: in other runs these names are the user's own.

    The fixtures do not ask for `request`: pytest makes a fixture definition anew each time one does, a seventh of a case's cost. Which
    case is being set up is noted instead; a process runs one at a time.
    """

    def __init__(self, state: GymState) -> None:
        self._state = state
        self._item: pytest.Item | None = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Note which item the fixtures are about."""
        self._item = item

    def _case(self) -> Case:
        if not isinstance(self._item, Case):
            pytest.fail("task, rollout, verifier, verdict, files and sandbox belong to the cases of a benchmark", pytrace=False)
        return self._item

    @pytest.fixture
    def task(self) -> Task:
        """The row of the dataset that this case is about."""
        item = self._case()
        if "verdict" in self._state.overridden:
            sentence = "a conftest overrides the fixture 'verdict', which is what is recorded: override 'verifier' instead"
            item.session.shouldstop = sentence
            _fail(item, CaseError("fixture", sentence))
        try:
            return self._state.plan.task(item.gym_case)
        except GymError as error:
            _fail(item, CaseError(error.kind, str(error)))

    @pytest.fixture
    def rollout(self) -> Rollout:
        """What the model answered: waits until the engine has made this attempt."""
        item, engine = self._case(), self._state.engine
        try:
            rollout = engine.rollout(item.gym_case)
        except Stopped as stop:
            if stop.kind == DECIDED:
                item.gym_outcome = {"unasked": True, "decided": True}
                pytest.skip("not asked: all gates are decided")
            item.session.shouldstop = printable(str(stop))
            if stop.first:
                # Said once, in the place of a case that nobody has asked: it has no outcome.
                item.gym_outcome = {"unasked": True}
                raise pytest.fail.Exception(printable(f"{stop.kind}: {stop}"), pytrace=False) from None
            pytest.skip("not asked: the run was stopped")
        if rollout.error is not None:
            if rollout.error.kind == "no_response":
                # Nobody was to be asked, so nothing went wrong: missing, and not an error of the run.
                item.gym_outcome = {"error": rollout.error.to_json()}
                pytest.skip(printable(rollout.error.message))
            if engine.stopped:
                item.session.shouldstop = printable(engine.stopped)
            _fail(item, rollout.error)
        return rollout

    @pytest.fixture
    def verifier(self) -> VerifierCall:
        """The benchmark's verifier as a plain callable `(task, rollout) -> Verdict`; for an async one it waits for the engine."""
        return self._state.judge(self._case())

    @pytest.fixture
    def files(self) -> Path:
        """The benchmark's folder."""
        return self._case().planned.benchmark.folder

    @pytest.fixture
    def sandbox(self) -> Sandbox:
        """What runs programs that a model wrote; `sandbox.run_now(…)` for a verifier of a conftest's own."""
        return self._state.by_name(self._case().planned.benchmark.name).sandbox

    @pytest.fixture
    def verdict(self, task: Task, rollout: Rollout, verifier: VerifierCall) -> Verdict:
        """The judgement of this attempt, checked: a reward in range, and `passed` decided."""
        item = self._case()
        kept = None if self._state.overridden else self._state.engine.kept(item.gym_case)
        if kept is not None:
            item.gym_outcome = {"verdict": kept.to_json(), "latency_s": rollout.latency_s, "kept": True}
            return kept
        benchmark = item.planned.benchmark
        metric = benchmark.metric
        try:
            verdict = check_verdict(
                verifier(task, rollout),
                verifier=benchmark.verifier,
                low=metric.low,
                high=metric.high,
                threshold=metric.pass_threshold,
            )
        except Stopped as stop:
            if stop.kind == DECIDED:
                item.gym_outcome = {"unasked": True, "decided": True}
                pytest.skip("not judged: all gates are decided")
            item.session.shouldstop = printable(str(stop))
            pytest.skip("not judged: the run was stopped")
        except GymError as error:
            _fail(item, CaseError(error.kind, str(error)))
        except Exception as error:
            _fail(item, CaseError("verifier", explain_exception(error, benchmark.verifier, task)))
        item.gym_outcome = {"verdict": verdict.to_json(), "latency_s": rollout.latency_s}
        if "rollout" in self._state.overridden:
            # As ASCII text: what travels to the controller may hold no lone surrogate.
            item.gym_outcome["rollout"] = json.dumps(rollout.to_json())
        return verdict


def _fail(item: Case, error: CaseError) -> NoReturn:
    """End the setup of a case with an error that the report can tell from others."""
    item.gym_outcome = {"error": {"kind": error.kind, "message": clean(error.message)}}
    # Raised, not `pytest.fail()`ed: an exception class of ours would be printed with a traceback in setup.
    raise pytest.fail.Exception(printable(f"{error.kind}: {error.message}"), pytrace=False) from None
