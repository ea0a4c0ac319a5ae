"""The outlook of a benchmark before anything is asked: who judges, how sharp its score will be, and about how many tokens a run takes.

For choosing a benchmark. Nothing here is measured on a model; what a run did take is in its summary.
"""

from __future__ import annotations

import json
import math
from itertools import islice
from pathlib import Path
from typing import Any

from pytest_gym.benchmark import EXAMPLE, Benchmark
from pytest_gym.errors import GymError
from pytest_gym.prepare import cached_path
from pytest_gym.records import Task
from pytest_gym.tokens import approximate_tokens

KINDS = ("rule", "execution", "judge", "environment")
LOOKED_AT = 200
"""Rows of which the prompt's length is estimated."""


def kind(benchmark: Benchmark) -> str:
    """How answers are judged: by a `rule`, by `execution` of what the model wrote, by a `judge` model, or in an `environment` it acts in.

    Read off the config: a harness of more than one turn is an environment, else `requires` tells.
    """
    if benchmark.harness != "single_turn":
        return "environment"
    if "judge" in benchmark.requires:
        return "judge"
    return "execution" if {"sandbox", "docker"}.intersection(benchmark.requires) else "rule"


def expected_se(benchmark: Benchmark) -> dict[str, Any] | None:
    """The standard error to expect of a share of passed tasks, at the first published score of that range, else at 0.5.

    With m tasks and K repeats SE² = (B + W/K)/m, where between-task and within-task variance add up to p(1 − p). So it lies between
    √(p(1−p)/(mK)), if all tasks are alike, and √(p(1−p)/m), if each is always or never passed. None where the headline is no such share
    or the number of rows is not known.
    """
    spec, metric = benchmark.dataset(), benchmark.metric
    if spec.num_rows is None or not metric.headline.startswith("pass@") or (metric.low, metric.high) != (0.0, 1.0):
        return None
    score = next((p["score"] for p in benchmark.published if p["metric"] == metric.headline and 0 < p["score"] < 1), 0.5)
    most = math.sqrt(score * (1 - score) / spec.num_rows)
    return {"score": score, "at_most": most, "at_least": most / math.sqrt(spec.num_repeats)}


def tokens(benchmark: Benchmark, cache: Path) -> dict[str, Any] | None:
    """About how many tokens a run sends (`input`, by the first 200 rows at hand) and can get back (`output_at_most`, None: no limit).

    `rows` says which rows were looked at: the benchmark's own or the examples. None where none are at hand, or their number is not known.
    """
    spec = benchmark.dataset()
    for which, path in (
        ("benchmark", benchmark.folder / spec.path),
        ("benchmark", cached_path(benchmark, spec, cache)),
        ("example", benchmark.folder / EXAMPLE),
    ):
        if path.is_file() and spec.num_rows is not None:
            lengths = _lengths(benchmark, path)
            if not lengths:
                return None
            requests = spec.num_rows * spec.num_repeats
            most = benchmark.sampling.get("max_tokens")
            return {
                "requests": requests,
                "input": round(sum(lengths) / len(lengths) * requests),
                "output_at_most": None if most is None else most * requests,
                "rows": which,
            }
    return None


def _lengths(benchmark: Benchmark, path: Path) -> list[int]:
    """The estimated tokens of the first prompts; empty where a row cannot be read or rendered."""
    try:
        with path.open(encoding="utf-8") as lines:
            rows = [json.loads(line) for line in islice(lines, LOOKED_AT) if not line.isspace()]
        tasks = [Task(str(index), index, benchmark.name, row) for index, row in enumerate(rows)]
        prompts = [benchmark.prompt.render(task) for task in tasks]
    except (OSError, ValueError, TypeError, GymError):
        return []
    return [sum(approximate_tokens(str(message.content)) for message in messages) for messages in prompts]
