"""The engine as a case sees it that runs in the same process: serial runs. A worker's way to it is `remote`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from typing import TypeVar

from pytest_gym.engine import Engine
from pytest_gym.errors import Stopped
from pytest_gym.records import CaseError, Rollout, Verdict

T = TypeVar("T")
_TICK_S = 0.5


class LocalEngine:
    """The engine in this very process; implements `state.EngineAccess`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.tick: Callable[[], None] | None = None
        """Called every half second while a case waits: the thread that waits is the only one whose writing pytest lets through."""

    @property
    def stopped(self) -> str | None:
        """Why nothing more is asked, or None."""
        return self._engine.stopped

    @property
    def decided(self) -> bool:
        """Whether nothing more needs to be asked, for all gates are decided."""
        return self._engine.decided

    def begin(self, cases: Sequence[int], *, overridden: Sequence[str]) -> None:
        """Say which cases are to be rolled out, in their order, and which of our fixtures are defined anew."""
        self._engine.begin(cases, overridden=overridden)

    def rollout(self, case: int) -> Rollout:
        """Wait for the rollout of a case. Raises Stopped where it will never come."""
        self._wait(self._engine.future(case))
        return self._engine.take(case)

    def kept(self, case: int) -> Verdict | None:
        """The verdict that an earlier process of this run gave, or None."""
        return self._engine.kept(case)

    def judge(self, case: int, rollout: Rollout | None) -> Verdict | CaseError:
        """Wait for the async verifier's verdict on a rollout; None means the stored one."""
        try:
            return self._wait(self._engine.judge(case, rollout))
        except CancelledError:
            raise Stopped(self._engine.stopped or "the engine has ended", first=False, kind="stopped") from None

    def _wait(self, future: Future[T]) -> T:
        while True:
            try:
                return future.result(_TICK_S)
            except TimeoutError:
                if future.done():
                    return future.result()
                if self.tick is not None:
                    self.tick()
