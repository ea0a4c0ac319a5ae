"""The hooks that pytest-gym calls: what a tracker, a dashboard or a team's own conventions hang on to.

They are called in the process that the user started, never in a worker, except where the docstring says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_gym.benchmark import Benchmark
    from pytest_gym.records import Result


def pytest_gym_roots(config: pytest.Config) -> Sequence[Path]:  # type: ignore[empty-body]
    """Called once before benchmarks are looked up. Return further gym roots; they come after `--gym-path` and before rootdir."""


@pytest.hookspec(firstresult=True)
def pytest_gym_modify_benchmark(config: pytest.Config, benchmark: Benchmark) -> Benchmark | None:
    """Called for each selected benchmark after settings are applied. Return another Benchmark to take its place, or None."""


def pytest_gym_result(config: pytest.Config, result: Result) -> None:
    """Called for each result as it lands. `result.rollout` is None: read it from the run folder where it is needed."""


def pytest_gym_run_finished(config: pytest.Config, run: Path, summary: dict[str, Any]) -> None:
    """Called when the files of the run folder `run` are written. `summary` is the content of its `summary.json`."""
