"""From names to what a run needs of each benchmark: its config with settings applied, dataset, verifier with checked options, harness.

Whatever can be wrong with a config, an option of a verifier or a missing package is found here, before anything is asked or collected.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_gym.benchmark import Benchmark, DatasetSpec
from pytest_gym.catalogue import Catalogue
from pytest_gym.dataset import Dataset
from pytest_gym.errors import ConfigError, GymError, VerifierError
from pytest_gym.harnesses import Harness, load_harness
from pytest_gym.index import open_indexed
from pytest_gym.nemo import with_rows_prompt
from pytest_gym.prepare import prepare
from pytest_gym.records import Message, Rollout, Task, Verdict
from pytest_gym.sandbox import Sandbox
from pytest_gym.settings import Settings
from pytest_gym.verify import Verifier, check_needs, check_options


@dataclass(frozen=True, eq=False)
class Selected:
    """One benchmark of a run, ready to be asked and judged."""

    benchmark: Benchmark
    spec: DatasetSpec
    verifier: Verifier
    options: Mapping[str, Any]
    harness: Harness
    sandbox: Sandbox = field(default_factory=Sandbox)

    def call(self, task: Task, rollout: Rollout) -> Verdict:
        """Judge with a sync verifier, its options and resources bound."""
        verdict: Verdict = self.verifier(task, rollout, *self._resources(), **self.options)
        return verdict

    def call_async(self, task: Task, rollout: Rollout) -> Coroutine[Any, Any, Verdict]:
        """Judge with an async verifier, its options and resources bound."""
        coroutine: Coroutine[Any, Any, Verdict] = self.verifier(task, rollout, *self._resources(), **self.options)
        return coroutine

    def reference(self, task: Task) -> str | Message | None:
        """A perfect answer to the task, where the row or the verifier names one."""
        return self.verifier.reference_text(task, self.options)

    def expected(self, task: Task) -> str:
        """The right answer as a failure report shows it: the field that the verifier compares with, else the reference."""
        field = self.options.get("field")
        value = task.get(field) if isinstance(field, str) else task.get("expected_answer")
        try:
            reference = None if value is not None else self.reference(task)
            return str(value) if value is not None else _in_short(reference)
        except GymError:
            # Only what a failure report shows beside the answer: it must not hide the failure.
            return ""

    @property
    def runs_programs(self) -> bool:
        """Whether the verifier runs what the model wrote."""
        return "sandbox" in self.verifier.resources

    def _resources(self) -> list[Path | Sandbox]:
        known: dict[str, Path | Sandbox] = {"files": self.benchmark.folder, "sandbox": self.sandbox}
        return [known[name] for name in self.verifier.resources]


def resolve(
    catalogue: Catalogue,
    settings: Settings,
    names: Sequence[str],
    *,
    split: str | None,
    demo: bool,
    modify: Callable[[Benchmark], Benchmark] = lambda benchmark: benchmark,
) -> list[Selected]:
    """Load the named benchmarks. Raises GymError naming file, line and key for whatever is wrong with one."""
    settings.check_benchmarks(names)
    selected, sandbox = [], Sandbox.of(settings)
    for name in names:
        benchmark = modify(settings.for_benchmark(catalogue.benchmark(name)))
        selected.append(select(catalogue, benchmark, split=split, demo=demo, where=settings.place(benchmark), sandbox=sandbox))
    return selected


def select(
    catalogue: Catalogue, benchmark: Benchmark, *, split: str | None, demo: bool, where: str, sandbox: Sandbox | None = None
) -> Selected:
    """A loaded benchmark with its verifier and harness; `where` begins the sentence about an option that is wrong."""
    if demo and split is None and (not _is_beside(benchmark) or _has_split(benchmark, "example")):
        split = "example"
    verifier = _verifier(catalogue, benchmark, where)
    options = check_options(verifier, {**served_options(verifier, benchmark), **benchmark.verifier_options}, where)
    check_needs(verifier)
    spec = benchmark.dataset(split)
    return Selected(
        benchmark=with_rows_prompt(benchmark, spec) if benchmark.nemo else benchmark,
        spec=spec,
        verifier=verifier,
        options=options,
        harness=load_harness(benchmark.harness, catalogue.roots, where),
        sandbox=sandbox or Sandbox(),
    )


def _verifier(catalogue: Catalogue, benchmark: Benchmark, where: str) -> Verifier:
    try:
        return catalogue.verifier(benchmark.verifier)
    except VerifierError as error:
        if not benchmark.nemo:
            raise
        server = benchmark.nemo["resources_server"]
        raise VerifierError(
            f"{where}: {benchmark.name} is judged by NeMo Gym's {server!r}, for which there is no verifier here; "
            f"one would be verifiers/{benchmark.verifier}.py of a gym root"
        ) from error


def served_options(verifier: Verifier, benchmark: Benchmark) -> dict[str, Any]:
    """What NeMo Gym's resources server is configured with and our verifier has under the same name; nothing for our own configs."""
    said = benchmark.nemo.get("server_options", {})
    return {name: said[name] for name in verifier.options if name in said}


def _is_beside(benchmark: Benchmark) -> bool:
    """Whether the dataset itself lives beside the config: a team's own set needs no example of it."""
    return (benchmark.folder / benchmark.dataset().path).is_file()


def _has_split(benchmark: Benchmark, split: str) -> bool:
    try:
        benchmark.dataset(split)
    except ConfigError:
        return False
    return True


@dataclass(frozen=True, eq=False)
class Opened:
    """A dataset ready to be read; `frozen` is false where its hash was not known to the config."""

    dataset: Dataset
    frozen: bool


def open_dataset(selected: Selected, *, cache: Path, sources: Path | None, lock: Path | None, progress: Callable[[str], None]) -> Opened:
    """Prepare the dataset on first use, check it, and index its rows. Raises DataError for whatever is missing or broken."""
    prepared = prepare(selected.benchmark, selected.spec, cache=cache, sources=sources, lock=lock, progress=progress)
    return Opened(open_indexed(prepared.path, selected.benchmark, cache), prepared.frozen)


def default_cache() -> Path:
    """The user's cache folder for downloaded and prepared data: `GYM_CACHE`, else the platform's own."""
    import platformdirs

    own = os.environ.get("GYM_CACHE")
    return Path(own).expanduser() if own else Path(platformdirs.user_cache_dir("pytest-gym"))


def _in_short(answer: str | Message | None) -> str:
    """An answer as a failure report shows it: its text, then its tool calls as `name(arguments)`."""
    if answer is None or isinstance(answer, str):
        return answer or ""
    text = answer.content if isinstance(answer.content, str) else ""
    return "\n".join([*filter(None, [text]), *(f"{call.name}({call.raw})" for call in answer.tool_calls)])
