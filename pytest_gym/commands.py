"""The commands that show something (`--gym-list`, `--gym-check`, `--gym-profile` and their kin): which was asked, and showing it.

Runs before collection and before xdist, as `--fixtures` and `--markers` do. What is said is made in the modules named in each branch.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_gym import discovery
from pytest_gym import options as gym_options
from pytest_gym.benchmark import Benchmark, DatasetSpec
from pytest_gym.catalogue import Catalogue
from pytest_gym.configure import cache_of, catalogue_of, gate_lines, settings_of
from pytest_gym.dataset import Dataset
from pytest_gym.errors import DataError, GymError
from pytest_gym.index import open_indexed
from pytest_gym.prepare import is_prepared, prepare
from pytest_gym.resolve import select
from pytest_gym.settings import Settings
from pytest_gym.verify import Corpora, CorpusMetric

if TYPE_CHECKING:
    from pytest_gym.gate_stored import StoredGates
    from pytest_gym.grouping import Regroup


def look(config: pytest.Config) -> int:
    """Carry out the command and return the exit code. Raises pytest.UsageError for what the user can mend."""
    asked = [name for name in gym_options.LOOKS if config.getoption(f"gym_{name}") is not None]
    if len(asked) > 1:
        raise pytest.UsageError(" and ".join(map(gym_options.flag, asked)) + " exclude each other: give one at a time")
    if config.getoption("gym_by") and asked[0] not in ("profile", "compare"):
        raise pytest.UsageError(f"--gym-by goes with a run, --gym-profile or --gym-compare, not with {gym_options.flag(asked[0])}")
    try:
        options = gym_options.parse(config)
        catalogue = catalogue_of(config, options)
        cache = cache_of(config, settings_of(config, options))
        width = min(shutil.get_terminal_size((100, 24)).columns, 120)

        def prepared(benchmark: Benchmark) -> bool:
            return is_prepared(benchmark, benchmark.dataset(), cache)

        if options.list is not None:
            said = discovery.list_command(catalogue, options.list, prepared, as_json=options.json, width=width)
        elif options.search is not None:
            said = discovery.search_command(catalogue, options.search, as_json=options.json, width=width)
        elif options.new is not None:
            from pytest_gym.scaffold import new_command

            said = new_command(options.new, config.invocation_params.dir, config.rootpath, as_json=options.json)
        elif options.check is not None:
            said = _check(config, options, catalogue, cache, min(width, 100))
        elif options.prepare is not None:
            said = _prepare(config, options, catalogue, cache)
        elif options.aggregate is not None:
            said = _aggregate(config, options, catalogue, cache, min(width, 100))
        elif options.profile is not None:
            from pytest_gym.profile import profile_command

            base = config.invocation_params.dir
            gates = _gates(config, options, corpora := _corpora(catalogue))
            regroup = _regroup(config, options, catalogue, cache)
            said = profile_command(options.profile, base, corpora, gates, regroup, as_json=options.json, width=min(width, 100))
        elif options.compare is not None:
            said = _compare(config, options, catalogue, cache, min(width, 100))
        else:
            said = discovery.show_command(catalogue, options.show or "", prepared, cache=cache, as_json=options.json, width=width)
    except GymError as error:
        raise pytest.UsageError(str(error)) from None
    try:
        sys.stderr.write(said.err)
        sys.stdout.write(said.out)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; without this the interpreter complains when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return said.code


def _gates(config: pytest.Config, options: gym_options.Options, corpora: Corpora) -> StoredGates:
    """The gates of command line and pyproject. Raises ConfigError for one that does not parse."""
    from pytest_gym.gate_stored import StoredGates

    lines = gate_lines(config, options, ())
    return StoredGates(lines, config.invocation_params.dir, corpora, options.baseline, options.max_errors or "0")


def _check(config: pytest.Config, options: gym_options.Options, catalogue: Catalogue, cache: Path, width: int) -> discovery.Output:
    from pytest_gym.checkup import Checkup

    settings = settings_of(config, options)
    sources = os.environ.get("GYM_SOURCES")
    checkup = Checkup(
        catalogue,
        _finder(config, catalogue, settings),
        cache=cache,
        sources=config.invocation_params.dir / sources if sources else None,
        lock=config.rootpath / "gym.lock",
        progress=_progress,
    )
    return checkup.command(options.check or "", split=options.split, limit=options.limit, as_json=options.json, width=width)


def _prepare(config: pytest.Config, options: gym_options.Options, catalogue: Catalogue, cache: Path) -> discovery.Output:
    from pytest_gym.freeze import prepare_command

    sources = os.environ.get("GYM_SOURCES")
    names = catalogue.names() if (options.prepare or "").strip() == "all" else catalogue.match(options.prepare or "")
    find = _finder(config, catalogue, settings_of(config, options))
    return prepare_command(
        [find(name) for name in names],
        split=options.split,
        cache=cache,
        sources=config.invocation_params.dir / sources if sources else None,
        lock=config.rootpath / "gym.lock",
        progress=_progress,
        as_json=options.json,
    )


def _aggregate(config: pytest.Config, options: gym_options.Options, catalogue: Catalogue, cache: Path, width: int) -> discovery.Output:
    from pytest_gym.aggregate import aggregate_command

    base, settings = config.invocation_params.dir, settings_of(config, options)
    find = _finder(config, catalogue, settings)
    open_dataset = _opener(config, cache)
    words, corpora = options.aggregate or "", _corpora(catalogue)
    return aggregate_command(
        words, options.output, base, find, open_dataset, corpora, _gates(config, options, corpora), as_json=options.json, width=width
    )


def _compare(config: pytest.Config, options: gym_options.Options, catalogue: Catalogue, cache: Path, width: int) -> discovery.Output:
    from pytest_gym.aggregate import spec_of
    from pytest_gym.compare import compare_command
    from pytest_gym.rejudge import rejudge
    from pytest_gym.scores import Scored
    from pytest_gym.stored import StoredRun

    settings = settings_of(config, options)
    find, open_dataset = _finder(config, catalogue, settings), _opener(config, cache)

    def again(run: StoredRun, stored: Scored) -> Scored:
        benchmark = find(stored.name)
        wanted = run.manifest["benchmarks"][stored.name]["dataset"]["name"]
        spec = spec_of(benchmark, (run.manifest.get("options") or {}).get("split"), wanted)
        selected = select(catalogue, benchmark, split=None, demo=False, where=settings.place(benchmark))
        return rejudge(run, stored, selected, open_dataset(benchmark, spec))

    unpaired = bool(settings.get("compare.unpaired"))
    words, base, corpora = options.compare or "", config.invocation_params.dir, _corpora(catalogue)
    regroup = _regroup(config, options, catalogue, cache)
    return compare_command(words, base, again, corpora, regroup, unpaired=unpaired, as_json=options.json, width=width)


def _regroup(config: pytest.Config, options: gym_options.Options, catalogue: Catalogue, cache: Path) -> Regroup:
    """What `--gym-by` asks for; it reads rows that are at hand, and fetches none."""
    from pytest_gym.aggregate import spec_of
    from pytest_gym.grouping import of_stored
    from pytest_gym.stored import StoredRun

    find, open_dataset = _finder(config, catalogue, settings_of(config, options)), _opener(config, cache)

    def open_stored(run: StoredRun, name: str) -> Dataset:
        benchmark = find(name)
        spec = spec_of(benchmark, (run.manifest.get("options") or {}).get("split"), run.manifest["benchmarks"][name]["dataset"]["name"])
        if not is_prepared(benchmark, spec, cache):
            raise DataError(f"the rows of {name} are not at hand, and --gym-by needs them: --gym-prepare={name} fetches them")
        return open_dataset(benchmark, spec)

    field = options.by
    return lambda run, benchmarks: (benchmarks, []) if field is None else of_stored(run, benchmarks, field, open_stored)


def _corpora(catalogue: Catalogue) -> Callable[[str], Sequence[CorpusMetric]]:
    """The corpus metrics of a verifier of the catalogue; none, and a line that says so, where it cannot be loaded."""

    from pytest_gym.nemo_rollouts import JUDGED_THERE

    def find(name: str) -> Sequence[CorpusMetric]:
        if name == JUDGED_THERE:
            return ()
        try:
            return list(catalogue.verifier(name).aggregates.values())
        except GymError as error:
            _progress(f"gym: corpus metrics of verifier {name!r}, if it has any, are left out: {error}")
            return ()

    return find


def _finder(config: pytest.Config, catalogue: Catalogue, settings: Settings) -> Callable[[str], Benchmark]:
    def find(name: str) -> Benchmark:
        benchmark = settings.for_benchmark(catalogue.benchmark(name))
        return config.hook.pytest_gym_modify_benchmark(config=config, benchmark=benchmark) or benchmark

    return find


def _opener(config: pytest.Config, cache: Path) -> Callable[[Benchmark, DatasetSpec], Dataset]:
    """Opens a dataset, prepared as for a run."""
    base, sources = config.invocation_params.dir, os.environ.get("GYM_SOURCES")

    def open_dataset(benchmark: Benchmark, spec: DatasetSpec) -> Dataset:
        prepared = prepare(
            benchmark,
            spec,
            cache=cache,
            sources=base / sources if sources else None,
            lock=config.rootpath / "gym.lock",
            progress=_progress,
        )
        return open_indexed(prepared.path, benchmark, cache)

    return open_dataset


def _progress(line: str) -> None:
    print(line, file=sys.stderr)
