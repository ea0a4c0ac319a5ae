"""Progress while cases run: one status line on a terminal, a line every tenth elsewhere, in place of a dot for each case.

This module decides when something is written and keeps pytest's own progress off the cases; numbers come from `standing`, texts from
`report/status`. Summary, failures and counts are pytest's and stay as they are. Nothing is registered for `-v`, whose line per case is
pytest's, too.

Who draws: serially the main thread, after a report or while it waits for an answer (then pytest captures whatever is written, so capturing
is suspended for the moment); with workers a thread in the controller, whose main thread waits in xdist.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gym.cases import Case
from pytest_gym.report.status import log_line, stall_line, status_line
from pytest_gym.standing import Pace, RunningScore, Standing, Waiting

if TYPE_CHECKING:
    from pytest_gym.session import GymSession

REDRAW_S = 0.25
"""The status line is drawn at most so often."""

STALL_S = 30.0
"""Nothing has landed for so long: it is said what is waited for."""

REPEAT_S = 60.0
"""A log is told of it at most so often."""

_ERASE = "\r\x1b[K"


def register(session: GymSession, terminal: Any, *, distributed: bool) -> GymProgress | None:
    """Show the progress of this run by `terminal` (pytest's reporter); None where cases have a line of their own (`-v`)."""
    config = session.config
    verbosity = config.get_verbosity(pytest.Config.VERBOSITY_TEST_CASES)
    if verbosity > 0:
        return None
    shown = "nothing" if verbosity < 0 else "status" if _has_a_line_to_itself(config, terminal) else "lines"
    progress = GymProgress(session, terminal, shown, distributed=distributed)
    config.pluginmanager.register(progress, "gym-progress")
    return progress


class GymProgress:
    """The progress of a run in the process that the user started. `shown` is `status`, `lines` or `nothing`."""

    def __init__(self, session: GymSession, terminal: Any, shown: str, *, distributed: bool) -> None:
        self._session, self._terminal, self._shown = session, terminal, shown
        plan = session.state.plan
        self._scores = {planned.benchmark.name: RunningScore(planned) for planned in plan.benchmarks}
        self._current = next(iter(self._scores))
        self._total = self._finished = 0
        self._others = self._others_finished = 0
        self._errors: set[int] = set()
        self._began_at = self._finished_at = 0.0
        self._drawn_at = 0.0
        self._stall_said_at = -REPEAT_S
        self._tenths = 0
        self._line = ""
        self._on = self._begun = False
        self._counting, self._writing = threading.Lock(), threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="gym-progress", daemon=True) if distributed else None
        self._capture = session.config.pluginmanager.get_plugin("capturemanager")

    # -- what there is to do --------------------------------------------------------------------------------------------------------

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Count what this process will run."""
        cases = sum(isinstance(item, Case) for item in session.items)
        self._total, self._others = cases, len(session.items) - cases

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Count what the workers will run: all of them have the same list."""
        if not self._total + self._others:
            cases = sum(map(self._is_case, ids))
            self._total, self._others = cases, len(ids) - cases

    # -- pytest's own progress ------------------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Take the place of pytest's progress for as long as tests run. It lies within the session's wrapper, which may print."""
        terminal = self._terminal
        before = terminal.showfspath, terminal._show_progress_info
        # A share of all tests that leaves the cases out would be wrong.
        terminal._show_progress_info = False
        terminal.showfspath = False
        self._paths = before[0]
        self._on = True
        if self._thread is not None and self._shown != "nothing":
            self._thread.start()
        else:
            self._thread = None
        try:
            return (yield)
        finally:
            self._on = False
            self._end.set()
            if self._thread is not None:
                self._thread.join(2)
            self._erase()
            terminal.showfspath, terminal._show_progress_info = before

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> Generator[None, Any, Any]:
        """No letter for a case. The short summary asks again when tests no longer run, and gets its word."""
        status = yield
        if self._on and status and (self._shown == "status" or self._is_case(report.nodeid)):
            return status[0], "", ""
        return status

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Leave their paths to other tests where these have their dots."""
        if not self._begun:
            self._began_at = now = time.monotonic()
            self._answers, self._verdicts, self._tokens = Pace(now), Pace(now), Pace(now)
            self._begun = True
        if self._shown != "status":
            self._terminal.showfspath = self._paths and not self._is_case(nodeid)

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_testnodedown(self, error: object) -> None:
        """Make room for what xdist says of a worker that crashed."""
        if error:
            self._erase()

    # -- counting -------------------------------------------------------------------------------------------------------------------

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in what has come of a case."""
        data = getattr(report, "gym", None)
        if data is None or "unasked" in data:
            return
        case, error = data["case"], data.get("error")
        planned, position, repeat = self._session.state.plan.locate(case)
        name = planned.benchmark.name
        with self._counting:
            self._current = name
            self._scores[name].judged(position, repeat, data.get("verdict"))
            if error is None:
                self._errors.discard(case)
            else:
                self._errors.add(case)
        if error is not None and error["kind"] == "crash":
            # The worker that would have said that the case has finished is no more.
            self._case_finished()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Count a case or another test, and show how far things are."""
        if self._is_case(nodeid):
            self._case_finished()
        else:
            self._others_finished += 1

    def _case_finished(self) -> None:
        self._finished += 1
        self._finished_at = now = time.monotonic()
        if self._shown == "status":
            if self._thread is None and now - self._drawn_at >= REDRAW_S:
                self._draw(now)
        elif self._shown == "lines":
            # Fewer than ten have no tenths.
            tenths = self._finished * 10 // self._total if self._total >= 10 else 10 * (self._finished >= self._total)
            if tenths > self._tenths:
                self._tenths = tenths
                self._say(log_line(self._standing(now, done=self._finished)))

    def _is_case(self, nodeid: str) -> bool:
        return nodeid.partition("::")[0] in self._scores

    # -- showing --------------------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """To be called now and then by whoever waits for an answer in the main thread, where pytest captures what is written."""
        if self._on and self._thread is None and self._shown != "nothing":
            with self._capture.global_and_fixture_disabled() if self._capture else contextlib.nullcontext():
                self._beat()

    def _watch(self) -> None:
        while not self._end.wait(REDRAW_S):
            # Until the first test starts xdist has the line.
            if self._begun:
                self._beat()

    def _beat(self) -> None:
        now = time.monotonic()
        if self._shown == "status":
            self._draw(now)
        elif now - self._stall_said_at >= REPEAT_S:
            standing = self._standing(now)
            sentence = stall_line(standing) if standing.waiting is not None else None
            if sentence:
                self._stall_said_at = now
                self._say(sentence)

    def _draw(self, now: float) -> None:
        self._drawn_at = now
        file = self._terminal._tw._file
        # A line that fills the terminal would make some of them go to the next.
        line = status_line(self._standing(now), _width(file) - 2)
        try:
            line.encode(file.encoding or "ascii")
        except UnicodeEncodeError:
            line = line.replace("±", "+-").encode("ascii", "replace").decode()
        with self._writing:
            if self._end.is_set() or line == self._line:
                return
            if self._terminal.currentfspath and not self._line:
                self._terminal.ensure_newline()
            # Not by pytest's writer: it remembers all that was written since the last newline, which here never comes.
            self._put(f"\r{line}\x1b[K")
            self._line = line
            # Whoever writes by pytest's reporter begins a new line then.
            self._terminal.currentfspath = -2

    def _erase(self) -> None:
        with self._writing:
            if self._line:
                self._put(_ERASE)
                self._line = ""
                self._terminal.currentfspath = None

    def _put(self, text: str) -> None:
        file = self._terminal._tw._file
        try:
            file.write(text)
            file.flush()
        except (OSError, ValueError):
            # The terminal has gone, which must not become a case's error: nobody is left to be shown anything.
            self._shown = "nothing"

    def _say(self, text: str) -> None:
        with self._writing, contextlib.suppress(OSError, ValueError):
            self._terminal.write_line(f"gym: {text}")
            self._terminal.flush()

    # -- numbers --------------------------------------------------------------------------------------------------------------------

    def _standing(self, now: float, done: int | None = None) -> Standing:
        """How the run stands; `done` counts the cases that are through, None those that have an answer."""
        with self._counting:
            return self._numbers(now, done)

    def _numbers(self, now: float, done: int | None) -> Standing:
        engine = self._session.engine
        assert engine is not None
        traffic = engine.traffic
        limiter = traffic.client.limiter if traffic.client is not None else None
        total, finished = self._total, min(self._finished, self._total)
        outstanding, answered = engine.queued + engine.in_flight, finished
        if traffic.client is None or engine.stopped or "rollout" in engine.overridden:
            # Nobody is asked, or an override gets its answers where nobody sees it.
            outstanding = 0
        else:
            answered = max(finished, total - outstanding)
        for pace, count in ((self._answers, traffic.landed), (self._verdicts, finished), (self._tokens, traffic.output_tokens)):
            pace.note(now, count)
        pause, limited = 0.0, False
        if limiter is not None:
            pause, limited = limiter.pause_until - now, limiter.limit < limiter.most
        return Standing(
            done=answered if done is None else done,
            total=total,
            to_judge=answered - finished,
            benchmark=self._current if len(self._scores) > 1 else None,
            score=self._scores[self._current].score(),
            in_flight=limiter.active if limiter is not None else engine.in_flight,
            limit=limiter.limit if limiter is not None and limited else None,
            most=limiter.most if limiter is not None and limited else None,
            errors=len(traffic.failed | self._errors),
            tokens_per_s=self._tokens.rate,
            left=self._answers.seconds_for(outstanding) if outstanding else self._verdicts.seconds_for(total - finished),
            paused=pause if pause > 1 and outstanding else None,
            waiting=self._waiting(now, answered - finished),
            others=(self._others_finished, self._others),
        )

    def _waiting(self, now: float, to_judge: int) -> Waiting | None:
        engine = self._session.engine
        assert engine is not None
        oldest, landed_at = engine.traffic.oldest(), engine.traffic.last_landed_at
        if oldest is not None:
            case, since, count = oldest
            if now - max(since, landed_at) >= STALL_S:
                return Waiting(engine.plan.node_id(case), now - since, count - 1, engine.traffic.retry_reason)
        elif to_judge and self._others_finished >= self._others:
            quiet = now - max(self._finished_at, landed_at, self._began_at)
            if quiet >= STALL_S:
                return Waiting(f"{to_judge:,} verdict{'s' * (to_judge != 1)}", quiet)
        return None


def _has_a_line_to_itself(config: pytest.Config, terminal: Any) -> bool:
    """Whether a line may be drawn again and again: on a real terminal, where nothing else writes between, and no log keeps each drawing."""
    if not terminal.isatty() or os.environ.get("TERM") == "dumb" or any(os.environ.get(name) for name in ("CI", "BUILD_NUMBER")):
        return False
    shared = ("usepdb", "trace", "setupshow", "setuponly", "setupplan")
    live_log = config.getini("log_cli") or config.getoption("log_cli_level", None)
    return config.getoption("capture", "no") != "no" and not live_log and not any(config.getoption(name, False) for name in shared)


def _width(file: Any) -> int:
    """The columns of the terminal at this moment: it may have been resized."""
    try:
        return os.get_terminal_size(file.fileno()).columns or 80
    except (OSError, ValueError, AttributeError):
        return shutil.get_terminal_size().columns
