"""A run's scores beside those that others have published of the same model (`published:` in a config): how far apart, and what differs.

Reproducing a known number is the best check of a setup. Pure: entries of `summary.json` in, entries of `summary.json` out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_gym.benchmark import Benchmark


def same_model(one: str, other: str) -> bool:
    """Whether two names mean one model: capitals and the organisation before the last `/` do not count."""
    return one.rpartition("/")[2].casefold() == other.rpartition("/")[2].casefold()


def beside_published(benchmark: Benchmark, entry: Mapping[str, Any], models: Sequence[str]) -> list[dict[str, Any]]:
    """The published scores of a model that goes by one of the names in `models`, each with what this run makes of it.

    entry: the benchmark's in `summary.json`. Each has the keys of the config's entry, `value` (this run's, None where it has none),
    `difference` (this run's minus the published), `tolerance` = 2 · √(SE² + SE²), `within` (whether the difference is), None where they
    cannot be told, and `differs`, what is known to differ from the protocol there. The published SE is √(p(1 − p)/n) over its n tasks,
    which is the most that it can be.
    """
    found = []
    rows = benchmark.dataset().num_rows
    for published in benchmark.published:
        if not any(same_model(published["model"], name) for name in models):
            continue
        metric = entry["metrics"].get(published["metric"]) or {"value": None, "se": None}
        value, se, score = metric["value"], metric["se"], published["score"]
        n = published["n"] or rows
        theirs = math.sqrt(score * (1 - score) / n) if n is not None and 0 <= score <= 1 else None
        difference = None if value is None else value - score
        tolerance = None if se is None or theirs is None or difference is None else 2 * math.hypot(se, theirs)
        within = None if tolerance is None or difference is None else abs(difference) <= tolerance
        found.append(
            {
                **published,
                "value": value,
                "difference": difference,
                "tolerance": tolerance,
                "within": within,
                "differs": _differs(benchmark, published, entry, n),
            }
        )
    return found


def _differs(benchmark: Benchmark, published: Mapping[str, Any], entry: Mapping[str, Any], n: int | None) -> list[str]:
    """What is known to differ: only what the config's entry says of its protocol can be compared."""
    pairs: list[tuple[str, Any, Any]] = [(name, said, benchmark.sampling.get(name)) for name, said in published["sampling"].items()]
    if published["examples"] is not None:
        pairs.append(("worked examples", published["examples"], sum(turn.role == "assistant" for turn in benchmark.prompt.messages)))
    if n is not None:
        pairs.append(("tasks", n, entry["tasks"]))
    differs = [f"{name} {said} there, {'not set' if own is None else own} here" for name, said, own in pairs if said != own]
    return differs + ([f"{entry['missing']:,} cases missing here"] if entry["missing"] else [])
