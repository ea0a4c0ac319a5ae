"""Gates as tests of their own: judged when the last case is over, and published as ordinary reports by the process that the user started.

So the terminal, JUnit XML, the exit code and every CI plug-in agree, serially and under xdist. What a gate is stands in `gates`, whether it
holds is decided in `gating`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gym.errors import DECIDED, ConfigError
from pytest_gym.gates import Gate, check_subsets, parse_all, tolerated
from pytest_gym.plan import ORDER_SEED
from pytest_gym.report.text import printable

if TYPE_CHECKING:
    from pytest_gym.baseline import Baseline
    from pytest_gym.gating import Circumstances, GateResult
    from pytest_gym.session import GymSession

_FOLDER = "gates"


class GateTests:
    """The gates of one run. `lines` are (text, where it stands)."""

    def __init__(self, session: GymSession, lines: Sequence[tuple[str, str]]) -> None:
        self._session, self._lines = session, lines
        self.gates: list[Gate] = []
        self._baseline: Baseline | None = None
        self._results: list[GateResult] | None = None
        self._errors: Counter[str] = Counter()
        self._began = time.monotonic()
        self._looked = 0.0
        self._stopped = False

    @property
    def tolerance(self) -> str:
        """The missing data that gates tolerate, as `--gym-max-errors` says it."""
        return self._session.state.options.max_errors or "0"

    def prepare(self) -> list[str]:
        """Check the gates against what is planned, and read the baseline. Returns notes for the header; raises GymError."""
        plan = self._session.state.plan.benchmarks
        self.gates = parse_all(self._lines, [p.benchmark.name for p in plan], [p.repeats for p in plan])
        for gate in self.gates:
            for planned in plan:
                if gate.matches(planned.benchmark.name):
                    subsets = [planned.dataset.subsets[row] for row in planned.rows]
                    check_subsets(gate, planned.benchmark.name, planned.benchmark.subset, subsets)
        word = self._session.state.options.baseline
        if not word:
            return []
        # Not at the top: they need numpy, which a mere look does not.
        from pytest_gym.baseline import expected_power, read_baseline

        self._baseline = read_baseline(Path(self._session.config.invocation_params.dir / word), word, self._session.state.corpora)
        notes = []
        for planned in plan:
            for gate in self.gates:
                if gate.needs_baseline and gate.matches(planned.benchmark.name) and planned.benchmark.name not in self._baseline.benchmarks:
                    raise ConfigError(f"gate {gate.text!r}: the baseline {word} has no benchmark {planned.benchmark.name}")
                if gate.matches(planned.benchmark.name) and planned.benchmark.name in self._baseline.benchmarks:
                    before = self._baseline.benchmarks[planned.benchmark.name]
                    notes += expected_power(gate, before, planned.repeats)
        return notes

    def judged(self) -> list[GateResult]:
        """The verdicts on all gates, made once."""
        if self._results is None:
            from pytest_gym.gating import judge

            known, scored = self._known(), self._session.tally().scored()
            self._results = [judge(gate, one, known) for gate in self.gates for one in scored if gate.matches(one.name)]
        return self._results

    def _known(self) -> Circumstances:
        from pytest_gym.baseline import with_differences
        from pytest_gym.compare import differs
        from pytest_gym.gating import Circumstances

        session, baseline = self._session, self._baseline
        if baseline is not None:
            baseline = with_differences(baseline, differs(baseline.manifest, session.manifest()))
        doubts = ["a simulated model answered (--gym-demo)"] if session.state.options.demo else []
        return Circumstances(self.tolerance, doubts, baseline)

    def _stop_if_decided(self) -> None:
        """Stop the engine once nothing that is left can change a verdict. Looking takes a tenth of the time at most, and half a second."""
        engine, plan = self._session.engine, self._session.state.plan
        started = time.monotonic()
        # Of what -k and its like leave out nothing is known: then gates are not decided.
        if self._results is not None or engine is None or len(engine.begun) < plan.cases:
            return
        if self._looked > 0.5 + 0.1 * (started - self._began):
            return
        from pytest_gym.sequential import all_foreseen, confidence_of
        from pytest_gym.stopping import settled

        scored, confidence = self._session.tally().scored(), confidence_of(self._session.state.options.stop_when_decided or "")
        known = self._known()
        found = settled(self.gates, scored, known) if confidence is None else all_foreseen(self.gates, scored, known, confidence)
        if any(one.left_out for one in scored) and found is not None:
            # What lands from now on is kept, and changes nothing: the verdicts are these.
            self._results, self._stopped = found, True
            engine.stop("all gates are decided", DECIDED)
        self._looked += time.monotonic() - started

    def stopped(self) -> dict[str, Any]:
        """For summary and manifest: by which rule the run stopped when its gates were decided, and how many cases that spared."""
        if not self._stopped:
            return {}
        rule = self._session.state.options.stop_when_decided
        seed = {"order_seed": ORDER_SEED} if self._session.state.in_random_order else {}
        spared = sum(one.left_out for one in self._session.tally().scored())
        return {"stopped_when_decided": {"rule": rule, **seed, "not_asked": spared}} if spared else {}

    def closing(self) -> list[str]:
        """What stands below the gates: whether the run stopped early, and a line for each benchmark that the baseline has."""
        early = [
            f"all gates are decided: {of['not_asked']:,} of {self._session.state.plan.cases:,} cases were neither run nor reported"
            for of in self.stopped().values()
        ]
        if self._baseline is None:
            return early
        from pytest_gym.baseline import against

        lines = [line for one in self._session.tally().scored() if (line := against(self._baseline, one))]
        return [*early, *lines, f"  pytest --gym-compare={self._baseline.word},{self._session.shown_folder}"] if lines else early

    def exit_status(self, session: pytest.Session, status: int) -> int:
        """The exit status: usage error where there are gates and nothing at all was judged, which no gate can make up for."""
        if self.gates and self._session.state.plan.cases and self._session.tally().nothing_judged and status in (0, 1, 5):
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
            return int(pytest.ExitCode.USAGE_ERROR)
        return status

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None]:
        """Report errors within the tolerance as skipped, with their reason: the gates alone make the exit code."""
        data = getattr(report, "gym", None)
        if self.gates and data is not None and "error" in data and report.outcome == "failed":
            planned, _, _ = self._session.state.plan.locate(data["case"])
            self._errors[planned.benchmark.name] += 1
            if self._errors[planned.benchmark.name] <= tolerated(self.tolerance, planned.cases):
                error = data["error"]
                report.outcome = "skipped"
                reason = printable(f"missing, within --gym-max-errors={self.tolerance}: {error['kind']}: {error['message']}")
                report.longrepr = (report.location[0], report.location[1] or 0, reason)
        yield
        if data is not None and self._session.state.options.stop_when_decided:
            self._stop_if_decided()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Publish the gates after the last case, also where -x or a stop was that."""
        try:
            result = yield
        except (session.Interrupted, session.Failed):
            self._publish(session)
            raise
        self._publish(session)
        return result

    def _publish(self, session: pytest.Session) -> None:
        if self._session.folder is None:
            return
        results = self.judged()
        # What pytest counts the reports against.
        session.testscollected += len(results)
        hook = self._session.config.hook
        seen: Counter[str] = Counter()
        for result in results:
            seen[result.gate] += 1
            again = f" ({seen[result.gate]})" if seen[result.gate] > 1 else ""
            # The last part stands above a failure. Were it the end of the id, pytest would write its dots as colons: `>= 0::85`.
            nodeid, location = printable(f"{_FOLDER}::{result.gate}{again}"), (_FOLDER, None, printable(f"gate {result.gate}"))
            hook.pytest_runtest_logstart(nodeid=nodeid, location=location)
            for when in ("setup", "call", "teardown"):
                hook.pytest_runtest_logreport(report=_report(result, nodeid, location, when))
            hook.pytest_runtest_logfinish(nodeid=nodeid, location=location)


def _report(result: GateResult, nodeid: str, location: tuple[str, int | None, str], when: Any) -> pytest.TestReport:
    failed = when == "call" and not result.passed
    said = printable(f"{result.verdict}: {result.message}")
    return pytest.TestReport(
        nodeid=nodeid,
        location=location,
        keywords={"gate": 1},
        outcome="failed" if failed else "passed",
        longrepr=said if failed else None,
        when=when,
        sections=[] if failed or when != "call" else [("gate", said)],
    )
