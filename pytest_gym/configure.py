"""The start of a gym run: from the command line to what is selected and checked, and to what is registered with pytest.

`configure` is called by the plugin, once in the process that the user started and once in each worker. Whatever can be wrong with names,
configs, options and settings is found here, before a worker or a request starts. What then happens is the business of `session`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_gym import options as gym_options
from pytest_gym.arguments import split_arguments
from pytest_gym.catalogue import Catalogue, builtin_root
from pytest_gym.errors import ConfigError, GymError
from pytest_gym.fixtures import Fixtures
from pytest_gym.gates import parse as parse_gate
from pytest_gym.gates import tolerated
from pytest_gym.model import check_wire, load_wire
from pytest_gym.options import Options
from pytest_gym.plan import Plan
from pytest_gym.reports import CaseReports
from pytest_gym.resolve import Selected, default_cache, resolve
from pytest_gym.responses import Responses
from pytest_gym.restore import restore
from pytest_gym.schema import DOMAINS, REQUIRES
from pytest_gym.settings import Settings, parse_assignments
from pytest_gym.shard import parse as parse_shard
from pytest_gym.state import GymState, Origin
from pytest_gym.suite import Suite


def configure(config: pytest.Config) -> None:
    """Set up a gym run in this process, if one is asked for. Raises pytest.UsageError for whatever the user can mend."""
    try:
        if hasattr(config, "workerinput"):
            if "gym" in config.workerinput:
                from pytest_gym.remote import configure_worker

                _register(config, configure_worker(config, json.loads(config.workerinput["gym"])))
        else:
            _configure_main(config)
    except GymError as error:
        raise pytest.UsageError(str(error)) from None


def catalogue_of(config: pytest.Config, options: Options, further: Sequence[Path] = ()) -> Catalogue:
    """The gym roots of this run in their order: `--gym-path`, `further` ones, those of other plugins, rootdir, the shipped ones."""
    base = config.invocation_params.dir
    given = [base / Path(path).expanduser() for path in options.path]
    for path, word in zip(given, options.path, strict=True):
        if not any((path / folder).is_dir() for folder in ("benchmarks", "verifiers")):
            raise ConfigError(f"--gym-path={word}: holds neither a folder benchmarks/ nor verifiers/")
    hooked = [Path(path) for paths in config.hook.pytest_gym_roots(config=config) if paths for path in paths]
    return Catalogue([*given, *further, *hooked, config.rootpath, builtin_root()])


def cache_of(config: pytest.Config, settings: Settings) -> Path:
    """The folder for downloaded and prepared data: the setting `data.cache`, else the user's own."""
    own = settings.get("data.cache")
    return config.invocation_params.dir / Path(own).expanduser() if own else default_cache()


def settings_of(config: pytest.Config, options: Options, suites: Sequence[Suite] = ()) -> Settings:
    """The settings of this run: those of its suites, lines in pyproject, then those of the command line."""
    lines = [line for line in config.getini("gym_set") or [] if line not in options.set]
    settings = parse_assignments([*lines, *options.set], "--gym-set")
    for suite in reversed(suites):
        below = parse_assignments(suite.settings, suite.place)
        settings = Settings({**below.values, **settings.values})
    return settings


def _configure_main(config: pytest.Config) -> None:
    given = gym_options.parse(config)
    restored = restore(config, given)
    options = restored.options if restored else given
    catalogue = catalogue_of(config, options)
    arguments = split_arguments(config, catalogue)
    if not gym_options.is_asked_for(config) and not arguments.asks:
        if config.getoption("gym_demo") and not gym_options.is_look(config):
            raise ConfigError("--gym-demo of what? Name a benchmark, as in --gym-benchmark=gsm8k --gym-demo; pytest --gym-list shows all")
        return
    if options.json:
        raise ConfigError("--gym-json: a run leaves its JSON in its folder (summary.json); the option goes with --gym-list and its like")
    if restored and arguments.asks:
        raise ConfigError(f"{gym_options.flag('resume' if options.resume else 'reverify')}: the run knows its cases; leave out the others")
    if arguments.roots:
        catalogue = catalogue_of(config, options, arguments.roots)
    base = config.invocation_params.dir
    paths = dict.fromkeys([*(str(base / Path(path).expanduser()) for path in options.path), *map(str, arguments.roots)])
    # `auto` is decided once, here: the manifest then names the shard, and a resumed run keeps it on any machine.
    shard = str(parse_shard(options.shard, os.environ)) if options.shard else None
    options = replace(options, cases=tuple(arguments.cases) or options.cases, shard=shard, path=tuple(paths))
    origin: Origin | None = restored.origin if restored else None
    if options.responses:
        if options.demo or restored:
            other = "demo" if options.demo else "resume" if options.resume else "reverify"
            raise ConfigError(f"--gym-responses={options.responses} and {gym_options.flag(other)} exclude each other: who answered?")
        origin = Responses(base / options.responses, options.responses)
        options = replace(options, model=options.model or Path(options.responses).name)
    if not gym_options.nothing_is_run(config) and (origin is None or origin.asks):
        gym_options.check_runnable(options)
    names = restored.names if restored else catalogue.match(",".join(options.benchmark)) if options.benchmark else []
    if options.responses and not (names or arguments.asks):
        raise ConfigError(f"--gym-responses={options.responses}: answers to which benchmark? Name it, as in --gym-benchmark=gsm8k")
    names += [benchmark.name for path in arguments.configs for benchmark in catalogue.at(path)]
    names += [case.partition("::")[0] for case in options.cases]
    names = list(dict.fromkeys(names))

    def modify(benchmark: Any) -> Any:
        return config.hook.pytest_gym_modify_benchmark(config=config, benchmark=benchmark) or benchmark

    suites = catalogue.chosen_suites(options.benchmark)
    settings = restored.settings if restored else settings_of(config, options, suites)
    selected = resolve(catalogue, settings, names, split=options.split, demo=options.demo, modify=modify)
    if origin is None or origin.asks:
        wire = load_wire(options.api)
        for one in selected:
            check_wire(wire, one.benchmark.sampling, f"{one.benchmark.name} with --gym-api={options.api}")
    config.args = list(arguments.paths) if config.args_source is config.ArgsSource.ARGS else []
    lines = gate_lines(config, options, selected, suites)
    misses = settings.get("wrong_answers") or ("xfail" if options.demo or lines else "fail")
    if config.option.runxfail:
        misses = "fail"
    state = GymState(options, selected, Plan(), misses)
    state.wanted = {}
    state.origin, state.only = origin, restored.only if restored else None
    for case in options.cases:
        name, _, rest = case.partition("::")
        state.wanted.setdefault(name, set()).add(rest)
    from pytest_gym.gate_tests import GateTests
    from pytest_gym.session import GymSession
    from pytest_gym.workers import is_distributed

    session = GymSession(config, state, catalogue, settings, cache_of(config, settings), distributed=is_distributed(config))
    session.notes += restored.notes if restored else []
    config.pluginmanager.register(session, "gym-session")
    if lines or options.baseline:
        session.gates = GateTests(session, lines)
        config.pluginmanager.register(session.gates, "gym-gates")
    _register(config, state)
    config.add_cleanup(session.close)
    _hear_sigterm(config)


def gate_lines(
    config: pytest.Config, options: Options, selected: Sequence[Selected], suites: Sequence[Suite] = ()
) -> list[tuple[str, str]]:
    """The gates of a run, each with where it stands: options, pyproject and the benchmarks' configs hold together.

    Raises ConfigError for one that does not parse, before anything is fetched or asked; and for options that need gates.
    """
    ini = [line for line in config.getini("gym_gates") or [] if line not in options.gate]
    lines = [*((text, "--gym-gate") for text in options.gate), *((text, "gym_gates") for text in ini)]
    lines += [(text, f"{suite.place}: gates") for suite in suites for text in suite.gates]
    for one in selected:
        benchmark = one.benchmark
        lines += [(f"{benchmark.name}: {text}", f"{benchmark.path}:{benchmark.line}: gates") for text in benchmark.gates]
    for text, where in lines:
        gate = parse_gate(text, where)
        if gate.needs_baseline and not options.baseline:
            raise ConfigError(f"{where}: {text!r} compares with a baseline: give --gym-baseline=RUN")
    if options.stop_when_decided is not None:
        from pytest_gym.sequential import confidence_of  # numpy, which a run needs anyway

        confidence_of(options.stop_when_decided)
    if options.stop_when_decided and not lines:
        raise ConfigError("--gym-stop-when-decided: there is no gate to be decided; give --gym-gate, as in --gym-gate='pass@1 >= 0.8'")
    if options.max_errors is not None:
        tolerated(options.max_errors, 0)
    return lines


def _register(config: pytest.Config, state: GymState) -> None:
    config.pluginmanager.register(Fixtures(state), "gym-fixtures")
    config.pluginmanager.register(CaseReports(state), "gym-cases")
    config.add_cleanup(_end_helper)
    # Domains and needs that no selected benchmark has are registered, too: `-m "math and not judge"` must not be an unknown marker.
    known = [*DOMAINS, *REQUIRES, *(mark for selected in state.selected for mark in selected.benchmark.markers)]
    for mark in dict.fromkeys(known):
        config.addinivalue_line("markers", f"{mark}: benchmarks of pytest-gym")


def _end_helper() -> None:
    """End the helper process in which verifiers run what may hang, if one was started."""
    bounded = sys.modules.get("pytest_gym.bounded")
    if bounded is not None:
        bounded.close()


def _hear_sigterm(config: pytest.Config) -> None:
    """Make SIGTERM one Ctrl-C: by itself it would end pytest without a summary."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:
        # Not the main thread: pytest was started inside another program, whose signals are not ours.
        return

    def restore() -> None:
        signal.signal(signal.SIGTERM, before)

    config.add_cleanup(restore)
