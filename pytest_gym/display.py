"""What a gym run shows on the terminal: its line in the header, ten failures in full, and the scorecard.

Texts and layout come from `report/`; this module only decides when and where they are written, by pytest's own writer.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_gym.report.terminal import scorecard

if TYPE_CHECKING:
    from pytest_gym.session import GymSession


class GymTerminal:
    """Registered in the process that the user started, where there is a terminal reporter."""

    def __init__(self, session: GymSession, terminal: Any) -> None:
        self._session, self._terminal = session, terminal
        self._mine: list[pytest.TestReport] = []

    def pytest_report_header(self) -> list[str]:
        """Which model, which benchmarks, how fast, and where it is kept."""
        session = self._session
        options, plan = session.state.options, session.state.plan
        who = "DEMO, a simulated model" if options.demo else f"{session.model} at {session.shown_url}"
        lines = [f"gym: {who}, {session.concurrency} requests at once" if session.asks else f"gym: {session.model}, nobody is asked"]
        for planned in plan.benchmarks:
            name, rows, whole = planned.benchmark.name, len(planned.rows), len(planned.dataset)
            tasks = f"{rows:,} tasks" if rows == whole else f"{rows:,} of {whole:,} tasks"
            if planned.shard is not None:
                tasks = f"shard {planned.shard.index} of {planned.shard.count}: {rows:,} of {planned.whole:,} tasks"
            loose = "" if session.frozen[name] else ", not frozen upstream"
            lines.append(f"gym: {name}: {tasks} × {planned.repeats}{loose}")
        if moved := session.settings.moving():
            lines.append(f"gym: set: {', '.join(moved)}")
        lines += [f"gym: {note}" for note in session.notes]
        if session.folder is not None:
            lines.append(f"gym: results in {session.shown_folder}")
        return lines

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self) -> Generator[None, None, None]:
        """Show the first failures in the order of the cases, count the rest, then the scorecard."""
        stats, shown = self._terminal.stats, self._session.state.options.show_failures
        hidden = 0
        kept = {}
        if shown != "all":
            for category in ("failed", "error"):
                reports = stats.get(category, [])
                own = sorted((r for r in reports if hasattr(r, "gym")), key=lambda report: report.gym["case"])
                if len(own) > int(shown):
                    kept[category] = reports
                    stats[category] = [r for r in reports if not hasattr(r, "gym")] + own[: int(shown)]
                    hidden += len(own) - int(shown)
        try:
            yield
        finally:
            stats.update(kept)
        if hidden:
            self._terminal.write_line(f"… and {hidden:,} more, all in the results (--gym-show-failures=all shows them)")
        self._scorecard()

    def _scorecard(self) -> None:
        session, terminal = self._session, self._terminal
        if session.trouble:
            terminal.write_line(f"gym: {session.trouble}", red=True, bold=True)
        if session.summary is None:
            return
        verbosity = terminal.verbosity
        if verbosity == 0 and session.groups:
            # Who asks for groups wants to see them.
            verbosity = 1
        if verbosity >= 0:
            terminal.write_sep("=", "DEMO scorecard" if session.state.options.demo else "scorecard", bold=True)
        width = min(max(terminal._tw.fullwidth, 60), 100)
        for line in scorecard(session.summary, verbosity=verbosity, width=width, run_folder=session.shown_folder, notes=session.closing):
            for text, markup in line:
                terminal.write(text, **markup)
            terminal.write_line("")
        if verbosity < 0:
            # How to go on is said however few the words are.
            for note in session.closing:
                terminal.write_line(note)
