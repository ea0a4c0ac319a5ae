"""`--gym-prepare`: the data of many benchmarks fetched, made, checked and frozen, several at once; one that fails does not stop the others.

Not here: preparing one (prepare), and which benchmarks are meant (commands).
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_gym.benchmark import Benchmark, DatasetSpec
from pytest_gym.discovery import Output
from pytest_gym.errors import GymError
from pytest_gym.index import open_indexed
from pytest_gym.prepare import Prepared, Progress, prepare

# Downloads wait for the network, so that there may be more of them than processors; more than this is rude to one server.
AT_ONCE = 8


@dataclass(frozen=True)
class Attempt:
    """What became of one dataset: `prepared`, or the sentence of its `error`."""

    benchmark: str
    spec: DatasetSpec
    prepared: Prepared | None = None
    error: str | None = None

    @property
    def frozen(self) -> str:
        """By what its bytes are pinned, in a word: `config`, `gym.lock`, or `repository` for a file beside its config."""
        if self.prepared is not None and self.prepared.frozen:
            return "config"
        return "gym.lock" if self.spec.sources else "repository"

    def to_json(self) -> dict[str, Any]:
        """One element of `--gym-prepare --gym-json`."""
        made = self.prepared
        return {
            "name": self.benchmark,
            "split": self.spec.type,
            "path": str(made.path) if made else None,
            "sha256": made.sha256 if made else None,
            "num_rows": made.num_rows if made else None,
            "frozen": self.frozen if made else None,
            "error": self.error,
        }


def prepare_command(
    benchmarks: Sequence[Benchmark],
    *,
    split: str | None,
    cache: Path,
    sources: Path | None,
    lock: Path,
    progress: Progress,
    as_json: bool,
) -> Output:
    """`--gym-prepare=NAMES`: every dataset of these benchmarks, or the `split` alone; exit code 1 where one failed.

    `progress` gets whole lines, never two at once. Raises ConfigError where a benchmark has no such split.
    """
    wanted = [(benchmark, spec) for benchmark in benchmarks for spec in _specs(benchmark, split)]
    saying = threading.Lock()

    def say(line: str) -> None:
        with saying:
            progress(line)

    def attempt(item: tuple[Benchmark, DatasetSpec]) -> Attempt:
        benchmark, spec = item
        try:
            prepared = prepare(benchmark, spec, cache=cache, sources=sources, lock=lock, progress=say)
            # The rows are checked and indexed now, so that the run that follows begins at once.
            open_indexed(prepared.path, benchmark, cache).close()
        except GymError as error:
            say(f"{benchmark.name}: FAILED")
            return Attempt(benchmark.name, spec, error=str(error))
        return Attempt(benchmark.name, spec, prepared)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        attempts = list(pool.map(attempt, wanted))
    code = 1 if any(one.error for one in attempts) else 0
    if as_json:
        return Output(json.dumps([one.to_json() for one in attempts], indent=2, ensure_ascii=False) + "\n", code=code)
    return Output("".join(f"{line}\n" for line in _lines(attempts)), code=code)


def _specs(benchmark: Benchmark, split: str | None) -> Sequence[DatasetSpec]:
    return benchmark.datasets if split is None else (benchmark.dataset(split),)


def _lines(attempts: Sequence[Attempt]) -> Iterator[str]:
    named = [(one.benchmark + (f":{one.spec.type}" if one.spec.type != "benchmark" else ""), one) for one in attempts]
    longest = max((len(name) for name, _ in named), default=0)
    for name, one in named:
        if one.prepared is not None:
            yield f"{name:<{longest}}  {one.prepared.num_rows:>9,} rows  {one.prepared.sha256[:12]}  frozen by {one.frozen}"
    failed = [one for one in attempts if one.error]
    if failed:
        yield ""
    yield from (str(one.error) for one in failed)
    yield ""
    yield f"{len(attempts) - len(failed)} prepared" + (f", {len(failed)} failed" if failed else "")
