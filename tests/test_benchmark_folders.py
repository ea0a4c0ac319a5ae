"""Every benchmark of the catalogue: what its folder holds, that references pass and empty answers do not, also on all data at hand.

A benchmark that may break one of these says so in its config, with the reason (`check: {reference: …, empty: …}`). Wrong answers of other
kinds and the example rows are the business of `--gym-check` (test_check.py), and what single benchmarks do beyond this is in tests of
their own.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import cache

import pytest

from pytest_gym.benchmark import Benchmark
from pytest_gym.catalogue import Catalogue, builtin_root
from pytest_gym.dataset import Dataset
from pytest_gym.errors import GymError
from pytest_gym.fetch import local_paths
from pytest_gym.prepare import prepare
from pytest_gym.probe import judge_all
from pytest_gym.records import Task
from pytest_gym.resolve import Selected, select
from pytest_gym.sandbox import Sandbox
from tests.conftest import sources

CATALOGUE = Catalogue([builtin_root()])
NAMES = CATALOGUE.names()
FOLDERS = sorted({str(CATALOGUE.benchmark(name).folder.relative_to(builtin_root() / "benchmarks")) for name in NAMES})
SECTIONS = ("Reward", "Prompt", "Published scores to reproduce", "Pitfalls")


# Judging is slow where a program is run or a formula read by a library: so many rows, drawn by a seed, stand for the others there.
# All rows load and render all the same, and `--gym-check` judges all references.
DRAWN = {"programs": 4, "math": 40}
EMPTIES = 100


@cache
def no_sandbox() -> str | None:
    """Why programs cannot be run here, or None where they can."""
    try:
        Sandbox().check()
    except GymError as error:
        return str(error)
    return None


def of(name: str, split: str) -> Selected:
    """The benchmark, or a skip where a package or the sandbox is missing."""
    try:
        selected = select(CATALOGUE, CATALOGUE.benchmark(name), split=split, demo=False, where=name)
    except GymError as error:
        if "pip install" in str(error):
            pytest.skip(str(error))
        raise
    if selected.runs_programs and (reason := no_sandbox()):
        pytest.skip(reason)
    return selected


def hold(selected: Selected, tasks: Sequence[Task], empty: Sequence[str]) -> None:
    """All rows render, their references have the full reward and `empty` answers do not pass, but for what the config excuses."""
    benchmark = selected.benchmark
    for task in tasks:
        assert benchmark.harness != "single_turn" or benchmark.prompt.render(task)
    judged = drawn(tasks, DRAWN["programs"] if selected.runs_programs else DRAWN.get(selected.verifier.name, len(tasks)))
    answers = [(task, selected.reference(task)) for task in judged]
    if "reference" not in benchmark.check:
        assert [task.id for task, answer in answers if answer is None] == []
        wrong = [
            (task.id, verdict)
            for (task, _), verdict in zip(answers, judge_all(selected, answers), strict=True)
            if isinstance(verdict, GymError) or not verdict.passed or verdict.reward < 1
        ]
        assert wrong == []
    if "empty" not in benchmark.check:
        probes = [(task, text) for task in drawn(judged, 2 if selected.runs_programs else EMPTIES) for text in empty]
        verdicts = zip(probes, judge_all(selected, probes), strict=True)
        assert [(task.id, verdict) for (task, _), verdict in verdicts if isinstance(verdict, GymError) or verdict.passed] == []


def drawn(tasks: Sequence[Task], number: int) -> list[Task]:
    return random.Random(0).sample(list(tasks), number) if len(tasks) > number else list(tasks)


def whole(benchmark: Benchmark, path: str) -> list[Task]:
    dataset = Dataset.open(path, benchmark)
    return [dataset.task(index) for index in range(len(dataset))]


def test_no_config_is_broken():
    assert [str(error) for error in CATALOGUE.broken()] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_readme_has_all_sections(folder):
    text = (builtin_root() / "benchmarks" / folder / "README.md").read_text(encoding="utf-8")
    assert [section for section in SECTIONS if not re.search(rf"^## {section}$", text, re.MULTILINE | re.IGNORECASE)] == []
    assert [word for word in ("source", "licences?") if not re.search(rf"^\|? ?{word}\b", text, re.MULTILINE | re.IGNORECASE)] == []


@pytest.mark.parametrize("name", [name for name in NAMES if CATALOGUE.benchmark(name).dataset().sources])
def test_all_data_at_hand(name, tmp_path):
    folder = sources()
    benchmark = CATALOGUE.benchmark(name)
    spec = benchmark.dataset()
    for source in spec.sources:
        if not any(path.is_file() for path in local_paths(source, name, folder)):
            pytest.skip(f"GYM_SOURCES has no {source.local or source.name}")
    ready = prepare(benchmark, spec, cache=tmp_path, sources=folder, lock=None, progress=lambda sentence: None)
    hold(of(name, "benchmark"), whole(benchmark, ready.path), ("",))
