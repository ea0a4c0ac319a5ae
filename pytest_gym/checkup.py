"""A checkup: which benchmarks `--gym-check` means, which of their rows are at hand, and what is said in the end.

Checked are the example rows, and the benchmark's own where they are prepared, lie beside the config, or can be prepared from GYM_SOURCES:
nothing is downloaded unless a split is named. Not here: the checks (check).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pytest_gym.benchmark import Benchmark, DatasetSpec
from pytest_gym.catalogue import Catalogue
from pytest_gym.check import Finding, check_declared, check_rows
from pytest_gym.dataset import Dataset
from pytest_gym.discovery import Output
from pytest_gym.errors import ConfigError, GymError
from pytest_gym.fetch import local_paths
from pytest_gym.index import open_indexed
from pytest_gym.prepare import Progress, is_prepared, prepare, read_lock
from pytest_gym.report.check import check_text
from pytest_gym.report.layout import plain
from pytest_gym.resolve import Selected, select
from pytest_gym.versions import compare

ALL = "all"
_TOLD = ("sandbox", "judge")
"""Resources of a verifier that a user must be told of before a run: `requires` has the same words."""


@dataclass
class Checked:
    """One benchmark's findings. `rows` has the number of rows of each split that was looked at."""

    name: str
    rows: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing failed; warnings and excused findings do not count."""
        return all(finding.result != "fail" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """One element of `--gym-check --gym-json`."""
        return {"name": self.name, "ok": self.ok, "rows": self.rows, "findings": [asdict(finding) for finding in self.findings]}


@dataclass
class Checkup:
    """What every checkup needs: the catalogue, `find` (a benchmark with settings applied), and where data and gym.lock are."""

    catalogue: Catalogue
    find: Callable[[str], Benchmark]
    cache: Path
    sources: Path | None
    lock: Path
    progress: Progress

    def command(self, names: str, *, split: str | None, limit: str | None, as_json: bool, width: int) -> Output:
        """`--gym-check=NAMES`. Raises ConfigError for a name that does not exist; what is wrong with one that does is a finding."""
        checked = [self.check(name, split, limit) for name in self._names(names)]
        if names.strip() == ALL:
            checked += [Checked(f"({error.kind})", {}, [Finding("config", "fail", str(error))]) for error in self.catalogue.broken()]
        code = 0 if all(one.ok for one in checked) else 1
        if as_json:
            return Output(json.dumps([one.to_json() for one in checked], indent=2, ensure_ascii=False) + "\n", code=code)
        return Output(plain(check_text([one.to_json() for one in checked], width=width)), code=code)

    def check(self, name: str, split: str | None = None, limit: str | None = None) -> Checked:
        """One benchmark, on the split that is named or on all that are at hand; `limit` as in `Dataset.select`."""
        done = Checked(name)
        try:
            benchmark = self.find(name)
            pins = read_lock(self.lock).get(name, {})
            splits = [split] if split else self._at_hand(benchmark)
            done.findings += check_declared(benchmark, pins)
            selected = select(self.catalogue, benchmark, split=None, demo=False, where=f"{benchmark.path}:{benchmark.line}")
        except GymError as error:
            done.findings.append(Finding("config", "fail", str(error)))
            return done
        done.findings += _resources(selected)
        if not splits:
            done.findings.append(Finding("rows", "fail", "there are neither example rows (data/example.jsonl) nor prepared ones"))
        for each in splits:
            self._check_split(done, selected, each, limit)
        return done

    def _check_split(self, done: Checked, selected: Selected, split: str, limit: str | None) -> None:
        benchmark = selected.benchmark
        try:
            spec = benchmark.dataset(split)
            prepared = prepare(benchmark, spec, cache=self.cache, sources=self.sources, lock=self.lock, progress=self.progress)
            dataset = open_indexed(prepared.path, benchmark, self.cache)
            done.rows[split] = len(dataset)
            done.findings.append(Finding("rows", "ok", f"{len(dataset):,} rows", split))
            if split == "benchmark":
                done.findings.append(self._version(selected, dataset))
        except GymError as error:
            done.findings.append(Finding("rows", "fail", str(error), split))
            return
        done.findings += check_rows(replace(selected, spec=spec), dataset, split, limit)
        dataset.close()

    def _version(self, selected: Selected, dataset: Dataset) -> Finding:
        if not selected.benchmark.path.is_relative_to(self.lock.parent.resolve()):
            return Finding("version", "skipped", f"not of this repository, so {self.lock.name} does not record it")
        try:
            return Finding("version", *compare(self.lock, selected, dataset))
        except OSError as error:
            return Finding("version", "warn", f"{self.lock} cannot be written: {error.strerror or error}")

    def _at_hand(self, benchmark: Benchmark) -> list[str]:
        """The splits whose rows are here: the examples, and the benchmark itself where nothing has to be downloaded for it."""
        found = []
        try:
            if (benchmark.folder / benchmark.dataset("example").path).is_file():
                found.append("example")
        except ConfigError:
            pass
        return [*found, "benchmark"] if self._is_at_hand(benchmark, benchmark.dataset()) else found

    def _is_at_hand(self, benchmark: Benchmark, spec: DatasetSpec) -> bool:
        if is_prepared(benchmark, spec, self.cache):
            return True
        places = [local_paths(source, benchmark.name, self.sources) for source in spec.sources]
        return bool(places) and all(any(path.is_file() for path in paths) for paths in places)

    def _names(self, names: str) -> list[str]:
        return self.catalogue.names() if names.strip() == ALL else self.catalogue.match(names)


def _resources(selected: Selected) -> list[Finding]:
    """A finding where the verifier asks for what the config's `requires` does not tell."""
    hidden = [name for name in _TOLD if name in selected.verifier.resources and name not in selected.benchmark.requires]
    what = f"the verifier {selected.verifier.name!r} needs {' and '.join(hidden)}, which the config's requires must say"
    return [Finding("config", "fail", what)] if hidden else []
