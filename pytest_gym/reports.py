"""Wherever cases run: collecting them, telling the engine which there are, and attaching to each report what came of its case.

Registered in the process that the user started and in each worker. What is made of the reports is `session`'s business.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Generator
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from pytest_gym.cases import BenchmarkCollector, Case, make_body
from pytest_gym.errors import Stopped
from pytest_gym.fixtures import Fixtures
from pytest_gym.options import nothing_is_run
from pytest_gym.state import GymState


class CaseReports:
    """The hooks around cases."""

    def __init__(self, state: GymState) -> None:
        self._state = state

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        """Append one collector per benchmark to what the session collected."""
        report = yield
        if isinstance(collector, pytest.Session) and report.passed:
            state = self._state
            own = [
                BenchmarkCollector.make(
                    collector,
                    planned,
                    make_body(state.by_name(planned.benchmark.name).expected, misses=state.misses),
                    state.wanted.get(planned.benchmark.name),
                    state.only,
                    in_random_order=state.in_random_order,
                )
                for planned in state.plan.benchmarks
            ]
            report.result = [*report.result, *own]
        return report

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Start the engine with what `-k`, `-m`, `--lf` and `--deselect` have left."""
        items = [item for item in session.items if isinstance(item, Case)]
        if nothing_is_run(session.config):
            return
        if not items:
            with contextlib.suppress(Stopped):
                self._state.engine.begin([], overridden=())
            return
        defined = items[0]._fixtureinfo.name2fixturedefs
        ours = Fixtures.__module__
        # `verifier` is not among them where an overridden `verdict` does not ask for it.
        known = [name for name in ("rollout", "verifier", "verdict") if name in defined]
        overridden = {name: defined[name][-1].func.__module__ != ours for name in known}
        self._state.overridden = tuple(name for name, other in overridden.items() if other)
        # An override that asks for ours, to change it, needs it as early as we do.
        asked = not overridden["rollout"] or "rollout" in defined["rollout"][-1].argnames
        cases = [item.gym_case for item in items] if asked and not overridden["verdict"] else []
        with contextlib.suppress(Stopped):  # each case hears of it again, and says it
            self._state.engine.begin(cases, overridden=self._state.overridden)
        for name in overridden:
            if len(defined[name]) > 1 and not overridden[name]:
                hidden = defined[name][0].func
                warnings.warn(
                    pytest.PytestWarning(
                        f"the fixture {name!r} of {hidden.__module__} is hidden by pytest-gym's own: define it in a conftest.py itself"
                    ),
                    stacklevel=1,
                )

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """With `--gym-stop-when-decided`: leave out what need not be known any more, without a report; also a case that waits."""
        if not isinstance(item, Case) or not self._state.options.stop_when_decided:
            return None
        if self._state.engine.decided:
            return True
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        if not any("decided" in getattr(report, "gym", ()) for report in reports):
            for report in reports:
                item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Attach verdict or error to the report that decides the case."""
        report = yield
        if isinstance(item, Case):
            if report.when == "setup":
                if report.skipped and item.gym_outcome:
                    attach(report, item, item.gym_outcome)
                elif report.failed:
                    outcome = (
                        item.gym_outcome if item.gym_outcome and ("error" in item.gym_outcome or "unasked" in item.gym_outcome) else None
                    )
                    message = f"setup failed: {_crash_line(report)}"
                    attach(report, item, outcome or {"error": {"kind": "fixture", "message": message}})
            elif report.when == "call" and item.gym_outcome:
                attach(report, item, item.gym_outcome)
                # What JUnit and `--durations` show is the model's time: the waiting is in setup, and means nothing.
                report.duration = item.gym_outcome.get("latency_s", report.duration)
            elif report.when == "teardown":
                item.gym_outcome = None
        return report


def attach(report: pytest.TestReport, item: Case, outcome: dict[str, Any]) -> None:
    """Put the outcome of a case on its report, as plain values: it travels to the controller with it, and survives a later crash."""
    vars(report)["gym"] = {"case": item.gym_case, **outcome}


def _crash_line(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(getattr(crash, "message", report.longrepr)).splitlines()[0]
