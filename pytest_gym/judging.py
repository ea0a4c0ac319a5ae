"""Async verifiers at work in the engine's loop: each stored rollout judged once, so many at a time, and kept the moment it is judged.

Everything here runs on the engine's loop. Sync verifiers are no business of the engine: they run where their case does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any

from pytest_gym.errors import GymError, RunError
from pytest_gym.journal import Journal
from pytest_gym.plan import Plan
from pytest_gym.records import CaseError, Rollout, Verdict
from pytest_gym.verify import check_verdict, explain_exception

Judge = Callable[..., Coroutine[Any, Any, Verdict]]


class Judging:
    """`judges` maps a benchmark to its async verifier with all options bound, `limit` says how many verdicts are made at once.

    `stop` is called with a sentence and a kind where the journal cannot be written.
    """

    def __init__(self, plan: Plan, journal: Journal, judges: Mapping[str, Judge], limit: int, stop: Callable[[str, str], None]) -> None:
        self._plan, self._journal, self._judges, self._limit, self._stop = plan, journal, judges, limit, stop
        self._queue: deque[int] = deque()
        self._known = bytearray(plan.cases)
        self._waiters: dict[int, list[asyncio.Future[None]]] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        """What is to be cancelled when the loop ends."""

    def once(self, case: int, *, next_: bool = False) -> None:
        """Have a stored rollout judged, whoever asks first: a judge model costs money, and may change its mind."""
        if self._known[case] or self._journal.judged(case) or self._plan.locate(case)[0].benchmark.name not in self._judges:
            return
        self._known[case] = True
        (self._queue.appendleft if next_ else self._queue.append)(case)
        if len(self.tasks) < self._limit:
            slot = asyncio.ensure_future(self._slot())
            self.tasks.add(slot)
            slot.add_done_callback(self.tasks.discard)

    def stored(self, cases: Iterable[int]) -> None:
        """Judge what an earlier process left unjudged."""
        for case in cases:
            if self._journal.has(case) and not self._journal.failed(case):
                self.once(case)

    async def verdict(self, case: int, rollout: Rollout | None) -> Verdict | CaseError | None:
        """The verdict on a rollout; with None on the stored one, which is judged once. None where the journal could not keep it."""
        if rollout is not None:
            return await self._judge(case, rollout)
        if not self._journal.judged(case):
            self.once(case, next_=True)
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.setdefault(case, []).append(waiter)
            await waiter
        return self._journal.outcome(case)

    async def _slot(self) -> None:
        while self._queue:
            case = self._queue.popleft()
            try:
                rollout = self._journal.rollout(case)
                assert rollout is not None
                # What a judge model said was paid for, too: it is kept before the turn of its case comes.
                self._journal.add_outcome(case, await self._judge(case, rollout))
            except RunError as error:
                self._stop(str(error), error.kind)
            finally:
                for waiter in self._waiters.pop(case, ()):
                    if not waiter.done():
                        waiter.set_result(None)

    async def _judge(self, case: int, rollout: Rollout) -> Verdict | CaseError:
        planned, position, _ = self._plan.locate(case)
        metric, name = planned.benchmark.metric, planned.benchmark.verifier
        try:
            task = planned.task(position)
        except GymError as error:
            return CaseError(error.kind, str(error))
        try:
            verdict = await self._judges[planned.benchmark.name](task, rollout)
            return check_verdict(verdict, verifier=name, low=metric.low, high=metric.high, threshold=metric.pass_threshold)
        except GymError as error:
            return CaseError(error.kind, str(error))
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            if is_ending(error):
                raise
            return CaseError("verifier", explain_exception(error, name, task))


def is_ending(error: BaseException) -> bool:
    """Whether a CancelledError is the engine's own end, and not one that a harness or verifier let out."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
