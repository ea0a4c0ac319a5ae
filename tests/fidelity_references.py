"""The part of `fidelity.py` on upstream's own rows: for every benchmark whose data is at hand, which references and empty answers pass.

All rows, also of those that run programs (of their empty answers 200); the tests take a few of these (`test_benchmark_folders.py`). Where
not all is as it should be, the reason that the config gives is printed.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from pytest_gym.catalogue import Catalogue, builtin_root
from pytest_gym.dataset import Dataset
from pytest_gym.errors import GymError
from pytest_gym.fetch import local_paths
from pytest_gym.prepare import prepare
from pytest_gym.probe import judge_all
from pytest_gym.records import Verdict
from pytest_gym.resolve import select


def references(sources: Path) -> None:
    """Print one line for each benchmark."""
    catalogue = Catalogue([builtin_root()])
    with tempfile.TemporaryDirectory() as folder:
        for name in catalogue.names():
            benchmark = catalogue.benchmark(name)
            spec = benchmark.dataset()
            if not spec.sources or not all(any(path.is_file() for path in local_paths(one, name, sources)) for one in spec.sources):
                continue
            begin = time.perf_counter()
            try:
                selected = select(catalogue, benchmark, split="benchmark", demo=False, where=name)
                ready = prepare(benchmark, spec, cache=Path(folder), sources=sources, lock=None, progress=lambda sentence: None)
            except GymError as error:
                print(f"{name}: {error}")
                continue
            dataset = Dataset.open(ready.path, benchmark)
            tasks = [dataset.task(index) for index in range(len(dataset))]
            answers = [(task, answer) for task in tasks if (answer := selected.reference(task)) is not None]
            right = [isinstance(verdict, Verdict) and verdict.passed and verdict.reward >= 1 for verdict in judge_all(selected, answers)]
            some = tasks[:200] if selected.runs_programs else tasks
            empty = [isinstance(verdict, Verdict) and not verdict.passed for verdict in judge_all(selected, [(task, "") for task in some])]
            all_well = {"reference": len(right) == len(tasks) and all(right), "empty": all(empty)}
            excused = "".join(f"; {key}: {benchmark.check.get(key, 'NOT EXCUSED')}" for key, well in all_well.items() if not well)
            passed, failed = f"{sum(right):,} of {len(right):,}", f"{sum(empty):,} of {len(empty):,}"
            seconds = time.perf_counter() - begin
            print(
                f"{name}: {len(tasks):,} rows, references pass {passed}, empty answers fail {failed}, {seconds:.1f} s{excused}", flush=True
            )


if __name__ == "__main__":
    import os

    references(Path(os.environ["GYM_SOURCES"]))
