"""Benchmarks as pytest collectors and cases as pytest items.

A case is a `pytest.Function`, so fixtures, marks, skip and xfail, `--setup-show` and other plugins work by themselves. All cases of a
benchmark share one body and one fixtureinfo, and hold a number, not a row: 100,000 of them are collected in seconds.
Not here: what happens in a case (`fixtures`), and what is made of its report (`session`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pytest_gym.plan import Planned, task_order
from pytest_gym.records import Rollout, Task, Verdict
from pytest_gym.report.text import excerpt, printable

Body = Callable[[Task, Rollout, Verdict], None]


class BenchmarkCollector(pytest.Collector):
    """One benchmark of a run. Its path is rootdir, so that ids do not depend on where the benchmark is installed."""

    planned: Planned
    body: Body
    wanted: set[str] | None
    only: frozenset[int] | None
    in_random_order: bool

    @classmethod
    def make(
        cls,
        session: pytest.Session,
        planned: Planned,
        body: Body,
        wanted: set[str] | None,
        only: frozenset[int] | None,
        *,
        in_random_order: bool = False,
    ) -> BenchmarkCollector:
        """The collector of `planned`; `wanted` names the cases that were asked for by id, `only` those of a resumed run; None means all.

        in_random_order: tasks in the seeded order of `plan.task_order` instead of the dataset's.
        """
        name = planned.benchmark.name
        collector: BenchmarkCollector = cls.from_parent(session, name=name, nodeid=name)
        collector.planned, collector.body, collector.wanted, collector.only = planned, body, wanted, only
        collector.in_random_order = in_random_order
        for mark in planned.benchmark.markers:
            collector.add_marker(mark)
        return collector

    def collect(self) -> Iterator[Case]:
        """The cases, the repeats of a task side by side."""
        planned, body, wanted, only = self.planned, self.body, self.wanted, self.only
        shared: dict[str, Any] = {}
        order = task_order(len(planned.names)) if self.in_random_order else range(len(planned.names))
        for position in order:
            name, first = planned.names[position], planned.first + position * planned.repeats
            for repeat in range(planned.repeats):
                case = first + repeat
                if (wanted is None or f"{name}-r{repeat}" in wanted) and (only is None or case in only):
                    item: Case = Case.from_parent(self, name=f"{name}-r{repeat}", callobj=body, **shared)
                    if not shared:
                        shared = {"fixtureinfo": item._fixtureinfo}
                    item.gym_case = case
                    yield item


class Case(pytest.Function):
    """One attempt at one task."""

    gym_case: int
    gym_outcome: dict[str, Any] | None = None
    """What the fixtures found out: `verdict` or `error`, and `rollout` and `latency_s`; for the report."""

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """The config as the place, and a headline that is no suffix of the node id (pytest would turn its dots into '::')."""
        collector = self.parent
        assert isinstance(collector, BenchmarkCollector)
        # A line there must be: pytest's reports of skips assert it.
        return collector.planned.benchmark.path, collector.planned.benchmark.line - 1, f"{collector.name} {self.name}"

    @property
    def planned(self) -> Planned:
        """The benchmark that the case belongs to."""
        collector = self.parent
        assert isinstance(collector, BenchmarkCollector)
        return collector.planned


def make_body(expected: Callable[[Task], str], *, misses: str) -> Body:
    """What a case does once all is known: it asserts on the verdict. `misses` is `fail` or `xfail`; `expected` names the right answer."""

    def attempt(task: Task, rollout: Rollout, verdict: Verdict) -> None:
        if verdict.passed:
            return
        # No traceback: the place in our source tells a user nothing, and it is memory for each case.
        if misses == "xfail":
            raise pytest.xfail.Exception(_one_line(verdict), pytrace=False)
        raise pytest.fail.Exception(failure_text(task, rollout, verdict, expected(task)), pytrace=False)

    return attempt


def failure_text(task: Task, rollout: Rollout, verdict: Verdict, expected: str) -> str:
    """What is shown of a wrong answer: the question in short, the end of the answer, what was extracted and expected, and why."""
    asked = next((m.content for m in reversed(rollout.messages[:-1]) if m.role == "user"), "")
    found = "nothing" if verdict.extracted is None else repr(excerpt(verdict.extracted, 100))
    # The first line is what pytest's short summary shows.
    first = f"extracted {found}, expected {excerpt(expected, 100)!r}" if expected else f"extracted {found}"
    lines = [
        ("question", excerpt(asked if isinstance(asked, str) else "", 300)),
        ("answer", excerpt(rollout.text, 300, end=True) or "(empty)"),
        ("why", excerpt(verdict.explanation, 300)),
    ]
    if rollout.finish_reason != "stop":
        lines.append(("finished by", rollout.finish_reason))
    shown = [f"{name + ':':<12}" + printable(text).replace("\n", "\n" + " " * 12) for name, text in lines if text]
    return "\n".join([printable(first), *shown])


def _one_line(verdict: Verdict) -> str:
    return printable(excerpt(verdict.explanation, 150)).replace("\n", " ") or "a wrong answer"
