"""The protocol of a benchmark as run: everything but the model that can move a score, and one hash of it.

What is hashed is content, never a path or the order of keys, so that the same protocol has the same fingerprint on every machine.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_gym.plan import Planned
from pytest_gym.resolve import Selected

_NO_MATTER = frozenset({("dataset", "frozen"), ("sampling", "stream")})
_PARTS = ("version", "dataset", "prompt", "harness", "verifier", "metric", "sampling", "outcomes", "num_repeats", "overridden")


def protocol(
    selected: Selected, planned: Planned, *, frozen: bool, overridden: Sequence[str] = (), outcomes: Mapping[str, str]
) -> dict[str, Any]:
    """The entry of a benchmark in `run.json`: its parts as data, and `fingerprint`, 16 hexadecimal digits over all of them.

    `overridden` names the fixtures that a conftest defined anew: then the verifier named here is not what judged, or not alone.
    `outcomes` says for each kind of missing answer that may count as one, whether it does (the settings `outcomes.*`).
    """
    benchmark = selected.benchmark
    prompt = benchmark.prompt
    parts: dict[str, Any] = {
        "version": benchmark.version,
        "dataset": {"name": selected.spec.name, "sha256": planned.dataset.sha256, "num_rows": len(planned.dataset), "frozen": frozen},
        "prompt": prompt.content(),
        "harness": {"name": selected.harness.name, "source": _source_hash(selected.harness.function)},
        "verifier": {
            "name": selected.verifier.name,
            "options": dict(selected.options),
            "source": _source_hash(selected.verifier.function),
        },
        "metric": benchmark.metric.to_json(),
        "sampling": dict(benchmark.sampling),
        "outcomes": dict(outcomes),
        "num_repeats": planned.repeats,
        "overridden": list(overridden),
    }
    return {"fingerprint": fingerprint(parts), **parts}


def fingerprint(parts: Mapping[str, Any]) -> str:
    """16 hexadecimal digits of the SHA-256 of the canonical JSON of `parts`.

    Whether a dataset was frozen does not count, nor whether answers were streamed: neither can move a score.
    """
    counted = {
        name: {key: value for key, value in part.items() if (name, key) not in _NO_MATTER} if isinstance(part, dict) else part
        for name, part in parts.items()
    }
    return hashlib.sha256(json.dumps(counted, sort_keys=True, default=str).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Difference:
    """One thing in which two runs differ: a part of the protocol of a benchmark, or (with benchmark None) of the run."""

    part: str
    benchmark: str | None
    a: Any
    b: Any

    def __str__(self) -> str:
        place = f"{self.benchmark}: {self.part}" if self.benchmark else self.part
        return f"{place}: {_short(self.a)} → {_short(self.b)}"


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Difference]:
    """In what two manifests (`run.json`) differ that can move a score: the model, the benchmarks, and each part of their protocols.

    Within a part each leaf is a difference of its own, named like `sampling.temperature`. In the order of the parts; empty for equal ones.
    """
    found = []
    if a["model"]["name"] != b["model"]["name"]:
        found.append(Difference("model", None, a["model"]["name"], b["model"]["name"]))
    if a["model"].get("api") != b["model"].get("api"):
        found.append(Difference("api", None, a["model"].get("api"), b["model"].get("api")))
    for name in dict.fromkeys((*a["benchmarks"], *b["benchmarks"])):
        one, other = a["benchmarks"].get(name), b["benchmarks"].get(name)
        if one is None or other is None:
            found.append(Difference("benchmark", name, "absent" if one is None else "there", "absent" if other is None else "there"))
            continue
        for part in _PARTS:
            left, right = dict(_leaves(part, one.get(part))), dict(_leaves(part, other.get(part)))
            for leaf in dict.fromkeys((*left, *right)):
                if left.get(leaf) != right.get(leaf) and tuple(leaf.split(".", 1)) not in _NO_MATTER:
                    found.append(Difference(leaf, name, left.get(leaf), right.get(leaf)))
    return found


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from _leaves(f"{name}.{key}", below)
    else:
        yield name, value


def _short(value: Any) -> str:
    text = "not set" if value is None else value if isinstance(value, str) else json.dumps(value, default=str)
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "…"


def _source_hash(function: Any) -> str:
    """A hash of the whole file that a verifier or harness stands in: its helpers count as well."""
    path = inspect.getsourcefile(function)
    if path is None:
        return "unknown"
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()[:16]
