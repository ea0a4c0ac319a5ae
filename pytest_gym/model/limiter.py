"""How many requests may be under way at once: fewer where the server pushes back, more again when it answers, none while it asks for rest.

Additive increase, multiplicative decrease, as of TCP (Chiu and Jain 1989, https://doi.org/10.1016/0169-7552(89)90019-6). It counts the
tries of requests; it knows neither HTTP nor why a try failed. All of it runs in one event loop; other threads may look at its numbers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType

_ROUNDS_TO_THE_TOP = 16


class Limiter:
    """At most `limit` tries at once, first come first served; `async with limiter.slot():` around each try.

    `limit` holds now, `most` is the configured number, `active` tries are under way, and until `pause_until` (of the loop's clock, which
    is the monotonic one; 0.0 where there is no pause) nobody may begin one.
    """

    def __init__(self, limit: int) -> None:
        self.limit = self.most = limit
        self.active = 0
        self.pause_until = 0.0
        # A step of one would take half a million answers to come back to 1,024 connections.
        self._step = max(1, limit // _ROUNDS_TO_THE_TOP)
        self._credit = 0
        self._reduced_at = float("-inf")
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._opening: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """How many tries are held back."""
        return sum(not future.done() for future in self._waiting)

    def slot(self) -> Limiter:
        """One try's place, as an async context manager: entering waits until there is one."""
        # The limiter itself: a place has no state of its own, and a request should cost nothing here.
        return self

    async def __aenter__(self) -> Limiter:
        if self.active < self.limit and not self._waiting and not self.pause_until:
            self.active += 1
            return self
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            # It may have been given the place in the very moment in which it was ended.
            if place.done() and not place.cancelled():
                self._leave()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._leave()

    def succeeded(self) -> None:
        """Note that a try was answered: `limit` answers let the limit grow by one step, up to `most`."""
        if self.limit < self.most:
            self._credit += 1
            if self._credit >= self.limit:
                self._credit = 0
                self.limit = min(self.limit + self._step, self.most)
                self._admit()

    def pushed_back(self, sent_at: float) -> None:
        """Note that the server had no room for a try that began at `sent_at` (of the loop's clock): the limit is halved.

        Once a round only: what was sent before the limit was last lowered says nothing about the lower one.
        """
        if sent_at < self._reduced_at:
            return
        self._reduced_at = asyncio.get_running_loop().time()
        self._credit = 0
        self.limit = max(1, self.limit // 2)

    def pause(self, seconds: float) -> None:
        """Let nobody begin for `seconds`; a longer pause that holds already stays."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        if seconds <= 0 or until <= self.pause_until:
            return
        self.pause_until = until
        if self._opening is not None:
            self._opening.cancel()
        self._opening = loop.call_at(until, self._open)

    def close(self) -> None:
        """End a pause that holds, so that nothing of it is left in the loop."""
        if self._opening is not None:
            self._opening.cancel()
            self._open()

    def _open(self) -> None:
        self._opening = None
        self.pause_until = 0.0
        self._admit()

    def _leave(self) -> None:
        self.active -= 1
        if self._waiting:
            self._admit()

    def _admit(self) -> None:
        while self._waiting and self.active < self.limit and not self.pause_until:
            place = self._waiting.popleft()
            if not place.done():
                self.active += 1
                place.set_result(None)
