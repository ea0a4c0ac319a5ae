"""The fixtures of a case: `task`, `rollout`, `verifier`, `verdict`, and the resource `files`.

All the work is done in setup, so that what is not an answer (endpoint, verifier that raises, broken row) is an error (E) and a failure
(F) means a wrong answer. A conftest may override `verifier` or `rollout` as any fixture, and request and wrap ours.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from pytest_gym.cases import Case
from pytest_gym.errors import GymError, Stopped
from pytest_gym.records import CaseError, Rollout, Task, Verdict
from pytest_gym.report.text import printable
from pytest_gym.state import GYM
from pytest_gym.verify import check_verdict, clean, explain_exception

VerifierCall = Callable[[Task, Rollout], Verdict]


class Fixtures:
    """Registered as a plugin for a gym run only: in other runs these names are the user's own."""

    @pytest.fixture
    def task(self, request: pytest.FixtureRequest) -> Task:
        """The row of the dataset that this case is about."""
        item = _case(request)
        try:
            return request.config.stash[GYM].plan.task(item.gym_case)
        except GymError as error:
            _fail(item, CaseError(error.kind, str(error)))

    @pytest.fixture
    def rollout(self, request: pytest.FixtureRequest) -> Rollout:
        """What the model answered: waits until the engine has made this attempt."""
        item = _case(request)
        engine = request.config.stash[GYM].engine
        try:
            rollout = engine.rollout(item.gym_case)
        except Stopped as stop:
            request.session.shouldstop = printable(str(stop))
            if stop.first:
                _fail(item, CaseError(stop.kind, str(stop)))
            pytest.skip("not asked: the run was stopped")
        if rollout.error is not None:
            if engine.stopped:
                request.session.shouldstop = printable(engine.stopped)
            _fail(item, rollout.error)
        return rollout

    @pytest.fixture
    def verifier(self, request: pytest.FixtureRequest) -> VerifierCall:
        """The benchmark's verifier as a plain callable `(task, rollout) -> Verdict`; for an async one it waits for the engine."""
        item = _case(request)
        return request.config.stash[GYM].judge(item)

    @pytest.fixture
    def files(self, request: pytest.FixtureRequest) -> Path:
        """The benchmark's folder."""
        return _case(request).planned.benchmark.folder

    @pytest.fixture
    def verdict(self, request: pytest.FixtureRequest, task: Task, rollout: Rollout, verifier: VerifierCall) -> Verdict:
        """The judgement of this attempt, checked: a reward in range, and `passed` decided."""
        item = _case(request)
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
        except GymError as error:
            _fail(item, CaseError(error.kind, str(error)))
        except Exception as error:
            _fail(item, CaseError("verifier", explain_exception(error, benchmark.verifier, task)))
        item.gym_outcome = {"verdict": verdict.to_json(), "latency_s": rollout.latency_s}
        if "rollout" in request.config.stash[GYM].overridden:
            item.gym_outcome["rollout"] = rollout.to_json()
        return verdict


def _case(request: pytest.FixtureRequest) -> Case:
    if not isinstance(request.node, Case):
        pytest.fail(f"the fixture {request.fixturename!r} belongs to the cases of a benchmark", pytrace=False)
    return request.node


def _fail(item: Case, error: CaseError) -> NoReturn:
    """End the setup of a case with an error that the report can tell from others."""
    item.gym_outcome = {"error": {"kind": error.kind, "message": clean(error.message)}}
    # Raised, not `pytest.fail()`ed: an exception class of ours would be printed with a traceback in setup.
    raise pytest.fail.Exception(printable(f"{error.kind}: {error.message}"), pytrace=False) from None
