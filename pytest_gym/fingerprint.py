"""The protocol of a benchmark as run: everything but the model that can move a score, and one hash of it.

What is hashed is content, never a path or the order of keys, so that the same protocol has the same fingerprint on every machine.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_gym.plan import Planned
from pytest_gym.resolve import Selected


def protocol(selected: Selected, planned: Planned, *, frozen: bool, overridden: Sequence[str] = ()) -> dict[str, Any]:
    """The entry of a benchmark in `run.json`: its parts as data, and `fingerprint`, 16 hexadecimal digits over all of them.

    `overridden` names the fixtures that a conftest defined anew: then the verifier named here is not what judged, or not alone.
    """
    benchmark = selected.benchmark
    prompt = benchmark.prompt
    parts: dict[str, Any] = {
        "version": benchmark.version,
        "dataset": {"name": selected.spec.name, "sha256": planned.dataset.sha256, "num_rows": len(planned.dataset), "frozen": frozen},
        "prompt": {"system": prompt.system, "user": prompt.user},
        "harness": {"name": selected.harness.name, "source": _source_hash(selected.harness.function)},
        "verifier": {
            "name": selected.verifier.name,
            "options": dict(selected.options),
            "source": _source_hash(selected.verifier.function),
        },
        "metric": {"headline": benchmark.metric.headline, "pass_threshold": benchmark.metric.pass_threshold},
        "sampling": dict(benchmark.sampling),
        "num_repeats": planned.repeats,
        "overridden": list(overridden),
    }
    return {"fingerprint": fingerprint(parts), **parts}


def fingerprint(parts: Mapping[str, Any]) -> str:
    """16 hexadecimal digits of the SHA-256 of the canonical JSON of `parts`; whether a dataset was frozen does not count."""
    counted = {name: {k: v for k, v in part.items() if k != "frozen"} if isinstance(part, dict) else part for name, part in parts.items()}
    return hashlib.sha256(json.dumps(counted, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _source_hash(function: Any) -> str:
    """A hash of the whole file that a verifier or harness stands in: its helpers count as well."""
    path = inspect.getsourcefile(function)
    if path is None:
        return "unknown"
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()[:16]
