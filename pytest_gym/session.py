"""A gym run in the process that the user started: what is opened before anything is collected, how reports become results, what is written.

`GymSession` owns the datasets, the engine and the run folder. It is registered for a gym run only, and never in a worker.
"""

from __future__ import annotations

import json
import os
import socket
import time
import urllib.request
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from pytest_gym import __version__
from pytest_gym import options as gym_options
from pytest_gym.catalogue import Catalogue
from pytest_gym.display import GymTerminal
from pytest_gym.engine import Engine, EngineOptions
from pytest_gym.errors import ConfigError, GymError, RunError, Stopped, did_you_mean
from pytest_gym.fingerprint import protocol
from pytest_gym.model import load_wire
from pytest_gym.model.client import ClientOptions, allowed_connections
from pytest_gym.records import CaseError, Landed, Result, Rollout, Verdict
from pytest_gym.report.markdown import summary_markdown
from pytest_gym.resolve import open_dataset
from pytest_gym.run import MANIFEST, SCHEMA, SUMMARY, SUMMARY_MD, RunFolder, default_folder
from pytest_gym.settings import Settings
from pytest_gym.state import GymState
from pytest_gym.workers import Controller, EngineSocket

if TYPE_CHECKING:
    from pytest_gym.demo import DemoServer
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
        self.started = time.time()
        self.folder: RunFolder | None = None
        self.engine: Engine | None = None
        self._tally: Tally | None = None
        self._landed: deque[Landed] = deque()
        self.summary: dict[str, Any] | None = None
        self.frozen: dict[str, Any] = {}
        self.trouble: str | None = None
        self.notes = list(catalogue.shadowed)
        self.closing: list[str] = []
        self.demo: DemoServer | None = None
        self._socket = EngineSocket() if distributed else None
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
        return _without_query(self.state.options.base_url or "")

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
            self._open_datasets()
            self._check_wanted()
            if gym_options.nothing_is_run(self.config):
                return
            self._start_engine()
        except GymError as error:
            raise pytest.UsageError(str(error)) from None
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if terminal is not None:
            self.config.pluginmanager.register(GymTerminal(self, terminal), "gym-terminal")

    def _open_datasets(self) -> None:
        base = self.config.invocation_params.dir
        sources = os.environ.get("GYM_SOURCES")
        for number, selected in enumerate(self.state.selected):
            opened = open_dataset(
                selected,
                cache=self._cache,
                sources=base / sources if sources else None,
                lock=self.config.rootpath / "gym.lock",
                progress=self._say,
            )
            # A file that lives beside its config is frozen by the repository that both are in.
            self.frozen[selected.benchmark.name] = opened.frozen or not selected.spec.sources
            index = Path()
            if self._socket is not None:
                # Workers read the index, not the rows: each of them would parse the whole file for its share.
                index = self._socket.folder / f"{number}.index"
                opened.dataset.save_index(index)
            self.state.plan.add(
                selected.benchmark,
                opened.dataset,
                repeats=self._repeats(selected.spec.num_repeats),
                limit=self.state.options.limit,
                index=index,
            )
        if not self.state.plan.cases:
            raise ConfigError("there is no case to run: no benchmark has a row")

    def _repeats(self, documented: int) -> int:
        options = self.state.options
        if options.demo and not options.repeats and documented == 1:
            from pytest_gym.demo import REPEATS

            return REPEATS
        return options.repeats or documented

    def _check_wanted(self) -> None:
        for name, wanted in self.state.wanted.items():
            planned = next(planned for planned in self.state.plan.benchmarks if planned.benchmark.name == name)
            known = {f"{task}-r{repeat}" for task in planned.names for repeat in range(planned.repeats)}
            for case in sorted(wanted - known):
                near = did_you_mean(case, known, otherwise=f" (cases go from {min(known)} to {max(known)})")
                raise ConfigError(f"{name} has no case {case!r}{near}")

    def _start_engine(self) -> None:
        options, plan, get = self.state.options, self.state.plan, self.settings.get
        base_url, model, key = options.base_url or "", self.model, gym_options.api_key(options)
        if options.demo:
            from pytest_gym.demo import DemoServer

            self.demo = DemoServer(plan, {s.benchmark.name: s.reference for s in self.state.selected})
            base_url = self.demo.start()
        else:
            _look_whether_anybody_listens(base_url)
        self.base_url = base_url
        self.concurrency = allowed_connections(options.concurrency)
        if self.concurrency < options.concurrency:
            self.notes.append(
                f"{self.concurrency} connections instead of {options.concurrency}: the limit on open files allows no more (ulimit -n)"
            )
        names = [planned.benchmark.name for planned in plan.benchmarks]
        base = self.config.invocation_params.dir
        path = base / options.output if options.output else default_folder(base, names, self.started)
        self.folder = RunFolder(path, ignore_parent=not options.output)
        engine_options = EngineOptions(
            model=model,
            client=ClientOptions(
                base_url=base_url,
                concurrency=self.concurrency,
                timeout=get("client.timeout"),
                connect=get("client.timeout.connect"),
                first_byte=get("client.timeout.first_byte"),
                max_retries=get("client.max_retries"),
            ),
            wire=load_wire(options.api),
            key=key,
            harnesses={s.benchmark.name: s.harness for s in self.state.selected},
            sampling={s.benchmark.name: s.benchmark.sampling for s in self.state.selected},
            judges={s.benchmark.name: s.call_async for s in self.state.selected if s.verifier.is_async},
            stop_after_errors=get("client.stop_after_errors"),
            outcomes={kind: get(f"outcomes.{kind}") for kind in ("context_length", "content_filter")},
        )
        self.engine = Engine(plan, self.folder.journal, engine_options, landed=self._landed.append)
        self.engine.start(*([self._socket.serve] if self._socket else []))
        self.state.engine = LocalEngine(self.engine)
        # Now and not at the first report: a Ctrl-C in the middle of numpy's import would leave half of it, and no summary.
        self.tally()
        if self._socket is not None:
            wanted = {name: sorted(cases) for name, cases in self.state.wanted.items()}
            self._controller.plan, self._controller.extra = plan, {"misses": self.state.misses, "wanted": wanted, "split": options.split}
        self.folder.write_json(MANIFEST, self._manifest(None))

    # -- while cases run ----------------------------------------------------------------------------------------------------------------

    def tally(self) -> Tally:
        """The counts so far, with all that has landed."""
        if self._tally is None:
            # Not at the top: what only looks needs no numpy.
            from pytest_gym.tally import Tally

            self._tally = Tally(self.state.plan)
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
        if data is None or self.folder is None:
            return
        tally = self.tally()
        case, plan = data["case"], self.state.plan
        key = plan.key(case)
        outcome = Verdict.from_json(data["verdict"]) if "verdict" in data else CaseError.from_json(data["error"])
        try:
            if "rollout" in data:
                rollout = Rollout.from_json(json.loads(data["rollout"]))
                self.folder.journal.add_rollout(case, key, rollout)
                tally.landed(Landed.of(case, rollout))
            self.folder.journal.add_verdict(key, outcome)
        except RunError as error:
            self.trouble = self.trouble or str(error)
            if self.engine is not None:
                self.engine.stop(str(error), error.kind)
        tally.judged(case, outcome)
        planned, position, repeat = plan.locate(case)
        verdict, error_ = (outcome, None) if isinstance(outcome, Verdict) else (None, outcome)
        result = Result(key.benchmark, key.task_id, planned.rows[position], repeat, verdict, error_)
        self.config.hook.pytest_gym_result(config=self.config, result=result)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
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

    # -- at the end -----------------------------------------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the files of the run folder. It precedes the summary, which shows what was written."""
        if self.folder is None or self.engine is None:
            return
        self.engine.close()
        tally = self.tally()
        wall_s = time.monotonic() - self._began
        self.summary = tally.summary(demo=self.state.options.demo, wall_s=wall_s)
        complete = len(tally.outcomes) == self.state.plan.cases
        folder, summary = self.folder, self.summary
        code = int(pytest.ExitCode.INTERRUPTED) if self._interrupted or self.trouble else int(exitstatus)

        def page() -> None:
            text = summary_markdown(summary, self._manifest(code))
            folder.write_text(SUMMARY_MD, text)
            _append_step_summary(text)

        # Each for itself: what the disk refuses of one must not cost the others.
        for write in (
            lambda: folder.write_json(SUMMARY, summary),
            lambda: folder.write_json(MANIFEST, self._manifest(code)),
            page,
            lambda: folder.fold(self.state.plan, tally.outcomes),
        ):
            try:
                write()
            except RunError as error:
                self.trouble = self.trouble or str(error)
        folder.journal.close(remove=complete and not self.trouble)
        if self.trouble and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            session.exitstatus = pytest.ExitCode.INTERRUPTED
        self.config.hook.pytest_gym_run_finished(config=self.config, run=self.folder.path, summary=self.summary)

    def _manifest(self, exit_code: int | None) -> dict[str, Any]:
        plan, options = self.state.plan, self.state.options
        shown = {name: value for name, value in options.to_json().items() if value not in (None, [], False)}
        if "base_url" in shown:
            shown["base_url"] = self.shown_url
        reported = self._tally.reported_models.most_common(1) if self._tally else []
        return {
            "schema": SCHEMA,
            "pytest_gym": __version__,
            "started": _stamp(self.started),
            "finished": None if exit_code is None else _stamp(time.time()),
            "exit_code": exit_code,
            "options": {**shown, "settings": self.settings.to_json()},
            "planned": {"cases": plan.cases, "selection": _selection(self.config)},
            "seed": int(options.limit.partition("@")[2]) if options.limit and "@" in options.limit else None,
            "model": {
                "name": self.model,
                "base_url": "demo" if options.demo else _without_query(self.base_url),
                "api": options.api,
                "reported": reported[0][0] if reported else None,
            },
            "demo": options.demo,
            "shard": None,
            "benchmarks": {
                planned.benchmark.name: protocol(
                    self.state.by_name(planned.benchmark.name),
                    planned,
                    frozen=self.frozen[planned.benchmark.name],
                    overridden=self.engine.overridden if self.engine else (),
                )
                for planned in plan.benchmarks
            },
        }

    def close(self) -> None:
        """End threads and servers, whatever has happened; may be called again."""
        if self.engine is not None:
            self.engine.close()
        if self.demo is not None:
            self.demo.close()
        if self._socket is not None:
            self._socket.close()


class LocalEngine:
    """The engine in this very process; implements `state.EngineAccess`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @property
    def stopped(self) -> str | None:
        """Why nothing more is asked, or None."""
        return self._engine.stopped

    def begin(self, cases: Sequence[int], *, overridden: Sequence[str]) -> None:
        """Say which cases are to be rolled out, in their order, and which of our fixtures are defined anew."""
        self._engine.begin(cases, overridden=overridden)

    def rollout(self, case: int) -> Rollout:
        """Wait for the rollout of a case. Raises Stopped where it will never come."""
        self._engine.future(case).result()
        return self._engine.take(case)

    def judge(self, case: int, rollout: Rollout | None) -> Verdict | CaseError:
        """Wait for the async verifier's verdict on a rollout; None means the stored one."""
        try:
            return self._engine.judge(case, rollout).result()
        except CancelledError:
            raise Stopped(self._engine.stopped or "the engine has ended", first=False, kind="stopped") from None


def _look_whether_anybody_listens(base_url: str) -> None:
    url = urlsplit(base_url)
    if urllib.request.getproxies().get(url.scheme) and not urllib.request.proxy_bypass(url.hostname or ""):
        return
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        socket.create_connection((url.hostname or "", port), timeout=2).close()
    except TimeoutError:
        # A slow way there is no proof that nobody is: the client's own time-outs decide.
        return
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        pytest.exit(
            f"gym: nothing listens at {_without_query(base_url)} ({reason}): start the endpoint, or check --gym-base-url", returncode=2
        )


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


def _without_query(url: str) -> str:
    return url.partition("?")[0]


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(seconds))
