"""Versions: what each version of a benchmark's protocol was, so that a change without a raised `version:` is noticed.

`--gym-check` records the version and a hash of each part of the protocol in the benchmark's entry of gym.lock, for the benchmarks of the
user's own repository: that file is committed, so that the next check, on any machine, compares with it.
"""

from __future__ import annotations

from pathlib import Path

from pytest_gym.dataset import Dataset
from pytest_gym.fingerprint import fingerprint, protocol
from pytest_gym.plan import Plan
from pytest_gym.prepare import read_lock, write_lock
from pytest_gym.resolve import Selected

_NOT_OURS = ("fingerprint", "fingerprints", "version", "outcomes", "overridden")


def parts_of(selected: Selected, dataset: Dataset) -> dict[str, str]:
    """A hash of each part of the protocol as the config has it: dataset, prompt, harness, verifier, metric, sampling, repeats."""
    planned = Plan().add(selected.benchmark, dataset, repeats=selected.spec.num_repeats, limit=None, index=Path())
    whole = protocol(selected, planned, frozen=True, outcomes={})
    # What is installed here is no change of the benchmark.
    whole["verifier"] = {**whole["verifier"], "libraries": {}}
    return {name: fingerprint({name: part}) for name, part in whole.items() if name not in _NOT_OURS}


def compare(lock: Path, selected: Selected, dataset: Dataset) -> tuple[str, str]:
    """A result and a sentence: whether the protocol is what gym.lock has for this version. A new or raised version is recorded.

    Raises DataError where gym.lock is broken, OSError where it cannot be written.
    """
    benchmark = selected.benchmark
    entry, parts = read_lock(lock).get(benchmark.name, {}), parts_of(selected, dataset)
    version, known = entry.get("version"), entry.get("protocol")
    if isinstance(version, int) and isinstance(known, dict):
        changed = [name for name in dict.fromkeys((*known, *parts)) if known.get(name) != parts.get(name)]
        if not changed:
            return "ok", f"version {benchmark.version}, as recorded in {lock.name}"
        if benchmark.version <= version:
            what = f"changed since version {version} was recorded in {lock.name}"
            return "fail", f"{', '.join(changed)} {what}: raise version in {benchmark.path}:{benchmark.line}, or take the change back"
    sizes = {"sha256": dataset.sha256, "num_rows": len(dataset)}
    write_lock(lock, benchmark.name, {**sizes, **entry, "version": benchmark.version, "protocol": parts})
    return "ok", f"version {benchmark.version} recorded in {lock.name}; commit it"
