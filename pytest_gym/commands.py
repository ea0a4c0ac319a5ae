"""`--gym-list`, `--gym-search` and `--gym-show` as pytest commands: which was asked, and printing what it says.

Runs before collection and before xdist, as `--fixtures` and `--markers` do. What is said is made in `discovery`.
"""

from __future__ import annotations

import os
import shutil
import sys

import pytest

from pytest_gym import discovery
from pytest_gym import options as gym_options
from pytest_gym.benchmark import Benchmark
from pytest_gym.configure import cache_of, catalogue_of, settings_of
from pytest_gym.errors import GymError
from pytest_gym.prepare import is_prepared


def look(config: pytest.Config) -> int:
    """Carry out the command and return the exit code. Raises pytest.UsageError for what the user can mend."""
    asked = [name for name in gym_options.LOOKS if config.getoption(f"gym_{name}") is not None]
    if len(asked) > 1:
        raise pytest.UsageError(" and ".join(map(gym_options.flag, asked)) + " exclude each other: give one at a time")
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
        else:
            said = discovery.show_command(catalogue, options.show or "", prepared, as_json=options.json, width=width)
    except GymError as error:
        raise pytest.UsageError(str(error)) from None
    try:
        sys.stderr.write(said.err)
        sys.stdout.write(said.out)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has seen enough; without this the interpreter complains when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(pytest.ExitCode.OK)
