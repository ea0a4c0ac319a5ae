"""The protocol of a benchmark as run: everything but the model that can move a score, and one hash of it.

What is hashed is content, never a path or the order of keys, so that the same protocol has the same fingerprint on every machine.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import io
import json
import sys
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from pytest_gym.plan import Planned
from pytest_gym.resolve import Selected

FOR_VERIFIERS = ("english", "extract", "ifeval", "instructions")
"""The modules that verifiers may import beside the package itself; each moves a verifier's fingerprint where it is used."""

_NO_MATTER = frozenset({("dataset", "name"), ("dataset", "frozen"), ("sampling", "stream")})
_PARTS = ("version", "dataset", "prompt", "harness", "verifier", "metric", "sampling", "outcomes", "num_repeats", "overridden")


def protocol(
    selected: Selected, planned: Planned, *, frozen: bool, overridden: Sequence[str] = (), outcomes: Mapping[str, str]
) -> dict[str, Any]:
    """The entry of a benchmark in `run.json`: its parts as data, `fingerprint`, 16 hexadecimal digits over all of them, and `fingerprints`
    of each.

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
            "libraries": libraries(selected.verifier.function),
            **({"sandbox": selected.sandbox.protocol()} if selected.runs_programs else {}),
        },
        "metric": benchmark.metric.to_json(),
        "sampling": dict(benchmark.sampling),
        "outcomes": dict(outcomes),
        "num_repeats": planned.repeats,
        "overridden": list(overridden),
    }
    each = {name: fingerprint({name: part}) for name, part in parts.items()}
    return {"fingerprint": fingerprint(parts), "fingerprints": each, **parts}


def fingerprint(parts: Mapping[str, Any]) -> str:
    """16 hexadecimal digits of the SHA-256 of the canonical JSON of `parts`.

    Neither the name of a dataset counts, nor whether it was frozen or answers were streamed: none of them can move a score. 1.0 is 1.
    """
    counted = {
        name: {key: value for key, value in part.items() if (name, key) not in _NO_MATTER} if isinstance(part, dict) else part
        for name, part in parts.items()
    }
    return hashlib.sha256(json.dumps(_canonical(counted), sort_keys=True, default=str).encode()).hexdigest()[:16]


def libraries(function: Any) -> dict[str, str]:
    """The versions of the packages that the file of a verifier imports, also within its functions; `absent` where one is not installed.

    Those that modules of `FOR_VERIFIERS` import for it count as well.
    """
    return {name: _version(name) for path in _files(function) for name in _imported(path)}


def _canonical(value: Any) -> Any:
    """Equal numbers as one number, so that `temperature: 0` and `0.0` are the same protocol."""
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


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
    """A hash of the whole file that a verifier or harness stands in (its helpers count as well), and of what it uses of `FOR_VERIFIERS`.

    Comments, blank lines and the ending of lines do not count.
    """
    text = "".join(_code(Path(path).read_bytes()) for path in _files(function))
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text else "unknown"


def _files(function: Any) -> list[str]:
    path = inspect.getsourcefile(function)
    if path is None:
        return []
    found = [path]
    for one in found:
        # It grows as it goes: what these modules use of each other counts as well.
        text = Path(one).read_bytes()
        ours = [str(Path(__file__).with_name(f"{name}.py")) for name in FOR_VERIFIERS if f"pytest_gym.{name}".encode() in text]
        found += [other for other in ours if other not in found]
    return found


def _code(source: bytes) -> str:
    """Python source without comments and blank lines; texts in quotes stay as they are."""
    text = source.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    lines, dropped = text.split("\n"), set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        row = token.start[0] - 1
        if token.type == tokenize.COMMENT:
            lines[row] = lines[row][: token.start[1]].rstrip()
        if token.type in (tokenize.COMMENT, tokenize.NL) and not lines[row].strip():
            dropped.add(row)
    return "\n".join(line for row, line in enumerate(lines) if row not in dropped).rstrip("\n")


@functools.cache
def _imported(path: str) -> tuple[str, ...]:
    found = set()
    for node in ast.walk(ast.parse(Path(path).read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return tuple(sorted(found - sys.stdlib_module_names - {"pytest_gym"}))


@functools.cache
def _version(module: str) -> str:
    for name in (module, module.replace("_", "-")):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    # The slow way: every installed package is asked for its modules.
    names = metadata.packages_distributions().get(module)
    return metadata.version(names[0]) if names else "absent"
