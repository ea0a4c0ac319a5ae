"""A gym run in the process that the user started: what is opened before anything is collected, how reports become results, what is written.

`GymSession` owns the datasets, the engine and the run folder. It is registered for a gym run only, and never in a worker.
"""

from __future__ import annotations

import json
import os
import shlex
import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gym import options as gym_options
from pytest_gym.catalogue import Catalogue
from pytest_gym.display import GymTerminal
from pytest_gym.engine import Engine
from pytest_gym.errors import GymError, RunError
from pytest_gym.grouping import of_plan
from pytest_gym.local import LocalEngine
from pytest_gym.manifest import manifest, without_query
from pytest_gym.model.client import allowed_connections
from pytest_gym.opening import check_ready, check_sandbox, check_wanted, engine_options, look_whether_anybody_listens, open_plan
from pytest_gym.records import CaseError, Landed, Result, Rollout, Verdict
from pytest_gym.report.changes import changes_text
from pytest_gym.report.markdown import summary_markdown
from pytest_gym.resume import Resume
from pytest_gym.reverify import Reverify
from pytest_gym.run import CHANGES, MANIFEST, SUMMARY, SUMMARY_MD, RunFolder, default_folder
from pytest_gym.settings import Settings
from pytest_gym.state import GymState
from pytest_gym.workers import Controller, EngineSocket

if TYPE_CHECKING:
    from pytest_gym.demo import DemoServer
    from pytest_gym.gate_tests import GateTests
    from pytest_gym.tally import Tally


class GymSession:
    """In the process that the user started: owns datasets, engine and run folder, and turns reports into results."""

    def __init__(
        self,
        config: pytest.Config,
        state: GymState,
        catalogue: Catalogue,
        settings: Settings,
        cache: Path,
        *,
        distributed: bool,
    ) -> None:
        self.config, self.state, self.catalogue, self.settings = config, state, catalogue, settings
        self._cache = cache
        self.concurrency = state.options.concurrency
        self.base_url: str | None = None
        self.asks = state.origin is None or state.origin.asks
        self.started = time.time()
        self.folder: RunFolder | None = None
        self.engine: Engine | None = None
        self._local: LocalEngine
        self._tally: Tally | None = None
        self._landed: deque[Landed] = deque()
        self.summary: dict[str, Any] | None = None
        self.frozen: dict[str, Any] = {}
        self.trouble: str | None = None
        self.notes = list(catalogue.shadowed)
        self.closing: list[str] = []
        self.demo: DemoServer | None = None
        self._socket = EngineSocket() if distributed else None
        self.gates: GateTests | None = None
        self.groups: Mapping[str, Sequence[str | None]] = {}
        self._began = time.monotonic()
        self._interrupted = False
        if self._socket is not None:
            self._controller = Controller(state.options, [str(root) for root in catalogue.roots], self._socket, config.args)
            config.pluginmanager.register(self._controller, "gym-controller")

    @property
    def model(self) -> str:
        """The model's name."""
        return self.state.options.model or "demo"

    @property
    def shown_url(self) -> str:
        """The endpoint as it is shown: a query may hold a key."""
        return without_query(self.state.options.base_url or "")

    @property
    def shown_folder(self) -> str | None:
        """The run folder as it is shown: relative to where the user stands, if it is below."""
        if self.folder is None:
            return None
        base = self.config.invocation_params.dir
        return str(self.folder.path.relative_to(base) if self.folder.path.is_relative_to(base) else self.folder.path)

    # -- before anything is collected -------------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Prepare the datasets, look whether anybody listens, make the run folder, start the engine: before workers start."""
        try:
            sources = os.environ.get("GYM_SOURCES")
            self.frozen = open_plan(
                self.state,
                cache=self._cache,
                sources=self.config.invocation_params.dir / sources if sources else None,
                lock=self.config.rootpath / "gym.lock",
                say=self._say,
                indexes=self._socket.folder if self._socket else None,
            )
            check_wanted(self.state)
            if not self.state.plan.cases:
                self.notes.append("this shard is empty: there are fewer tasks than shards, and nothing is asked")
            if self.state.options.by is not None:
                self.groups, reasons = of_plan(self.state.plan, self.state.options.by)
                self.notes += reasons
            if self.gates is not None:
                self.notes += self.gates.prepare()
            if gym_options.nothing_is_run(self.config):
                return
            self._start_engine()
        except GymError as error:
            raise pytest.UsageError(str(error)) from None
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None:
            self.config.pluginmanager.register(GymTerminal(self, terminal), "gym-terminal")
            # Not at the top: it needs numpy, which a mere look does not.
            from pytest_gym.progress import register

            progress = register(self, terminal, distributed=self._socket is not None)
            if progress is not None:
                self._local.tick = progress.tick

    def _start_engine(self) -> None:
        state, options, plan = self.state, self.state.options, self.state.plan
        check_ready(state)
        self.notes += check_sandbox(state)
        key = gym_options.api_key(options)
        if options.demo and self.asks:
            from pytest_gym.demo import DemoServer

            self.demo = DemoServer(plan, {s.benchmark.name: s.reference for s in state.selected})
            self.base_url = self.demo.start()
        elif self.asks:
            self.base_url = options.base_url or ""
            look_whether_anybody_listens(self.base_url)
        self.concurrency = allowed_connections(options.concurrency)
        if self.concurrency < options.concurrency:
            self.notes.append(
                f"{self.concurrency} connections instead of {options.concurrency}: the limit on open files allows no more (ulimit -n)"
            )
        self._open_folder()
        assert self.folder is not None
        given = engine_options(state, self.settings, model=self.model, base_url=self.base_url, concurrency=self.concurrency, key=key)
        self.engine = Engine(plan, self.folder.journal, given, landed=self._landed.append)
        self.engine.start(*([self._socket.serve] if self._socket else []))
        self._local = LocalEngine(self.engine)
        state.engine = self._local
        # Now and not at the first report: a Ctrl-C in the middle of numpy's import would leave half of it, and no summary.
        self.tally()
        if self._socket is not None:
            wanted = {name: sorted(cases) for name, cases in state.wanted.items()}
            self._controller.plan, self._controller.extra = (
                plan,
                {
                    "misses": state.misses,
                    "wanted": wanted,
                    "only": None if state.only is None else sorted(state.only),
                    "split": options.split,
                },
            )
        self.folder.write_json(MANIFEST, self.manifest(None))

    def _open_folder(self) -> None:
        """Make the run folder, or open the resumed run's, and put into its journal what is known already."""
        state, options, plan = self.state, self.state.options, self.state.plan
        base, origin = self.config.invocation_params.dir, state.origin
        if origin is not None:
            origin.check(self.manifest(None))
        resumed = origin.run.path if isinstance(origin, Resume) else None
        names = [planned.benchmark.name for planned in plan.benchmarks]
        path = base / options.output if options.output else default_folder(base, names, self.started, options.shard)
        self.folder = RunFolder(resumed or path, ignore_parent=not options.output and not resumed, resume=resumed is not None)
        if self.folder.taken_over:
            self.notes.append(f"the lock of {self.folder.taken_over} was left behind, and is taken over")
        if origin is None:
            self.folder.open_journal(plan)
            return
        origin.prepare(plan)
        self.folder.open_journal(plan)
        journal = self.folder.journal

        def seen(case: int, rollout: Rollout) -> None:
            self._landed.append(Landed.of(case, rollout))

        try:
            self.notes += origin.preload(plan, journal, seen)
        except GymError:
            if resumed is None:
                self.folder.discard()
            raise
        if not origin.asks:
            for case in range(plan.cases):
                if not journal.has(case):
                    nothing = Rollout(error=CaseError("no_response", origin.absent(plan.key(case))))
                    journal.add_rollout(case, nothing)
                    seen(case, nothing)

    # -- while cases run ----------------------------------------------------------------------------------------------------------------

    def tally(self) -> Tally:
        """The counts so far, with all that has landed."""
        if self._tally is None:
            # Not at the top: what only looks needs no numpy.
            from pytest_gym.tally import Tally

            self._tally = Tally(self.state.plan, self.state.corpora, self.groups)
        while self._landed:
            self._tally.landed(self._landed.popleft())
        return self._tally

    def _say(self, line: str) -> None:
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None and terminal.verbosity >= 0:
            terminal.write_line(line)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Turn the report of a case into a result: journal, tally, and the hook for others."""
        data = getattr(report, "gym", None)
        if data is None or self.folder is None or "unasked" in data:
            return
        tally = self.tally()
        case, plan = data["case"], self.state.plan
        key = plan.key(case)
        outcome = Verdict.from_json(data["verdict"]) if "verdict" in data else CaseError.from_json(data["error"])
        try:
            if "rollout" in data:
                rollout = Rollout.from_json(json.loads(data["rollout"]))
                self.folder.journal.add_rollout(case, rollout)
                tally.landed(Landed.of(case, rollout))
            if not data.get("kept") and not self._kept_by_engine(case, outcome):
                self.folder.journal.add_outcome(case, outcome)
        except RunError as error:
            self.trouble = self.trouble or str(error)
            if self.engine is not None:
                self.engine.stop(str(error), error.kind)
        tally.judged(case, outcome)
        if isinstance(self.state.origin, Reverify):
            self.state.origin.judged(case, outcome)
        planned, position, repeat = plan.locate(case)
        verdict, error_ = (outcome, None) if isinstance(outcome, Verdict) else (None, outcome)
        result = Result(key.benchmark, key.task_id, planned.rows[position], repeat, verdict, error_)
        self.config.hook.pytest_gym_result(config=self.config, result=result)

    def _kept_by_engine(self, case: int, outcome: Verdict | CaseError) -> bool:
        """Whether the engine, in which async verifiers run, has put this very outcome into the journal."""
        judged = self.engine is not None and self.engine.judges(case)
        return judged and self.folder is not None and self.folder.journal.outcome(case) == outcome

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """After one Ctrl-C or SIGTERM let what is in flight land, up to five seconds: it is paid for. A second one ends at once."""
        try:
            return (yield)
        except KeyboardInterrupt:
            self._interrupted = True
            if self.engine is not None:
                if self.engine.in_flight:
                    self._say(f"\ngym: waiting up to 5 s for {self.engine.in_flight} answers that are on their way; once more ends at once")
                self.engine.close(patience=5.0)
            raise
        except EOFError:
            if self._socket is None:
                raise
            # A worker that is killed while it starts takes execnet's channel with it, which xdist lets through.
            raise session.Interrupted("a worker died while it was being started (out of memory?); what landed is kept") from None

    # -- at the end -----------------------------------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the files of the run folder. It precedes the summary, which shows what was written."""
        if self.folder is None or self.engine is None:
            return
        self.engine.close()
        tally = self.tally()
        if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and self.state.plan.cases and not isinstance(self.state.origin, Resume):
            # Nothing was selected: a folder would look like a run.
            self.folder.discard()
            self.folder = None
            return
        # As it was before: the summary of a resumed run is about all of its processes.
        wall_s = time.monotonic() - self._began + (self.state.origin.wall_s if isinstance(self.state.origin, Resume) else 0.0)
        scored = tally.scored()
        models = [self.model, *tally.reported_models]
        self.summary = tally.summary(scored, demo=self.state.options.demo, wall_s=wall_s, asked=self.asks, models=models)
        if self.gates is not None:
            self.summary["gates"] = [result.to_json() for result in self.gates.judged()]
            self.summary |= self.gates.stopped()
            exitstatus = self.gates.exit_status(session, exitstatus)
        complete = self.folder.journal.complete
        folder, summary, origin = self.folder, self.summary, self.state.origin
        if not self.state.plan.cases and exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED:
            # A shard too many (12 jobs for 10 tasks) has done all that it had to: it must not fail a whole array.
            session.exitstatus = exitstatus = pytest.ExitCode.OK
        code = int(pytest.ExitCode.INTERRUPTED) if self._interrupted or self.trouble else int(exitstatus)

        def page() -> None:
            text = summary_markdown(summary, self.manifest(code))
            folder.write_text(SUMMARY_MD, text)
            _append_step_summary(text)

        def changes() -> None:
            if isinstance(origin, Reverify):
                folder.write_json(CHANGES, origin.changes())

        # Not at the top: it needs numpy.
        from pytest_gym.scorefile import SCORES, write_scores

        # Each for itself: what the disk refuses of one must not cost the others.
        for write in (
            lambda: folder.write_json(SUMMARY, summary),
            lambda: write_scores(folder.path / SCORES, scored),
            lambda: folder.write_json(MANIFEST, self.manifest(code)),
            page,
            folder.fold,
            changes,
        ):
            try:
                write()
            except RunError as error:
                self.trouble = self.trouble or str(error)
        self._close_with(folder)
        folder.journal.close(remove=complete and not self.trouble)
        folder.unlock()
        if self.trouble and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            session.exitstatus = pytest.ExitCode.INTERRUPTED
        self.config.hook.pytest_gym_run_finished(config=self.config, run=self.folder.path, summary=self.summary)

    def _close_with(self, folder: RunFolder) -> None:
        """The last lines of the scorecard: what has changed, and how to go on."""
        origin = self.state.origin
        if isinstance(origin, Reverify):
            self.closing += changes_text(origin.changes(), folder=CHANGES)
        if self.gates is not None:
            self.closing += self.gates.closing()
        left = folder.journal.without_verdict(self.engine.begun) if self.engine else 0
        if left and self.asks and not self.state.options.demo:
            workers = self.config.getoption("numprocesses", None)
            words = f"pytest --gym-resume={shlex.quote(str(self.shown_folder))}" + (f" -n {workers}" if workers else "")
            what = (
                "1 case has no verdict; this goes on with it:" if left == 1 else f"{left:,} cases have no verdict; this goes on with them:"
            )
            self.closing += [what, f"  {words}"]

    def manifest(self, exit_code: int | None = None) -> dict[str, Any]:
        """What `run.json` says; `exit_code` None while the run goes on."""
        state = self.state
        before = state.origin.run.manifest if isinstance(state.origin, Resume) else None
        reported = self._tally.reported_models.most_common(1) if self._tally else []
        entry = manifest(
            state,
            self.settings,
            started=self.started,
            exit_code=exit_code,
            model=self.model,
            base_url="demo" if state.options.demo else self.base_url,
            reported=reported[0][0] if reported else None,
            selection=_selection(self.config) if before is None else before["planned"]["selection"],
            frozen=self.frozen,
            overridden=self.engine.overridden if self.engine else (),
        )
        return entry | (self.gates.stopped() if self.gates else {})

    def close(self) -> None:
        """End threads and servers, whatever has happened; may be called again."""
        if self.engine is not None:
            self.engine.close()
        if self.demo is not None:
            self.demo.close()
        if self._socket is not None:
            self._socket.close()
        if self.folder is not None:
            self.folder.unlock()


def _append_step_summary(text: str) -> None:
    """Show the summary on the page of a GitHub Actions job, where this is one."""
    page = os.environ.get("GITHUB_STEP_SUMMARY")
    if page:
        try:
            with open(page, "a", encoding="utf-8", errors="replace") as out:
                out.write(text)
        except OSError as error:
            raise RunError(f"GITHUB_STEP_SUMMARY={page} cannot be written: {error.strerror or error}") from error


def _selection(config: pytest.Config) -> dict[str, Any]:
    """What the command line selects beyond the benchmarks, by the names of pytest's own options."""
    chosen = {name: config.getoption(name, None) for name in ("keyword", "markexpr", "lf", "failedfirst", "deselect", "stepwise")}
    return {name: value for name, value in chosen.items() if value}
