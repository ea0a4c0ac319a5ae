"""The pytest plugin `gym`: the four hooks that every pytest run sees, and nothing more.

Everything else is imported and registered only for a gym run, so that an installed and unused pytest-gym costs no one anything. This module
and what it imports here need the standard library and pytest only.
"""

from __future__ import annotations

import pytest

from pytest_gym import options


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the `--gym-*` options and their ini twins."""
    options.declare(parser)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Declare the `pytest_gym_*` hooks, which other plugins may implement whether or not gym is used."""
    from pytest_gym import hookspecs

    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Answer `--gym-list` and its kin before anything is collected or distributed."""
    if not options.is_look(config):
        return None
    from pytest_gym.commands import look

    return look(config)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Start a gym run where the command line asks for one, by an option or by the id of a case."""
    if config.option.help or config.option.version:
        return
    worker = getattr(config, "workerinput", {})
    if "gym" in worker if worker else options.is_asked_for(config) or config.getoption("gym_demo") or arguments_may_ask(config):
        from pytest_gym.configure import configure

        configure(config)


def arguments_may_ask(config: pytest.Config) -> bool:
    """A cheap look at the command line's words: whether one could be the id of a case or the path of a benchmark."""
    if config.args_source is not config.ArgsSource.ARGS or options.is_look(config):
        return False
    return any(options.looks_like_benchmark(word) for word in config.args)
