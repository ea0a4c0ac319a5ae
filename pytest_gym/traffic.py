"""What is under way between the engine and the endpoint, counted for whoever watches: asked, landed, failed, and since when.

The engine's loop writes; other threads only look. Nothing is decided by these numbers.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pytest_gym.records import Rollout

if TYPE_CHECKING:
    from pytest_gym.model.client import Client


class Traffic:
    """The counts of one engine. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.landed = 0
        self.output_tokens = 0
        self.failed: set[int] = set()
        self.last_landed_at = 0.0
        self.client: Client | None = None
        self._asked: dict[int, float] = {}

    def ask(self, case: int) -> None:
        """Note that a case's turn has come."""
        self._asked[case] = time.monotonic()

    def end(self, case: int) -> None:
        """Note that a case is no longer under way, whatever has come of it."""
        self._asked.pop(case, None)

    def land(self, case: int, rollout: Rollout) -> None:
        """Note that a case has its answer, or its error."""
        self.landed += 1
        self.last_landed_at = time.monotonic()
        self.output_tokens += rollout.usage.output_tokens or 0
        if rollout.error is not None:
            self.failed.add(case)
        else:
            self.failed.discard(case)

    @property
    def retry_reason(self) -> str | None:
        """What the last of those heard that wait for another try; None where none does."""
        return self.client.retry_reason if self.client is not None and self.client.retrying else None

    def oldest(self) -> tuple[int, float, int] | None:
        """The case that is under way for longest, since when, and how many are under way; None where none is."""
        # A copy in one step: the loop goes on changing the dict. Its order is that of asking.
        under_way = list(self._asked.items())
        return (*under_way[0], len(under_way)) if under_way else None
