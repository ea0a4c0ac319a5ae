"""What `--gym-resume` and `--gym-reverify` take from the run that they name, and which words of the command line go with it.

A run knows its own options: only what cannot move a score may be given anew. Whether today's benchmarks are still the run's is found out
later, when their datasets are open (`resume`, `reverify`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from typing import Any

import pytest

from pytest_gym import options as gym_options
from pytest_gym.errors import ConfigError
from pytest_gym.manifest import without_query
from pytest_gym.options import Options, flag
from pytest_gym.resume import Resume
from pytest_gym.reverify import Reverify
from pytest_gym.settings import Settings, parse_assignments
from pytest_gym.state import Origin
from pytest_gym.stored import StoredRun

_REPORT = ("gate", "baseline", "max_errors", "stop_when_decided", "show_failures", "by")
_FREE = {"resume": ("base_url", "concurrency", *_REPORT), "reverify": ("output", *_REPORT)}
_SELECTING = ("keyword", "markexpr", "lf", "deselect", "stepwise")


@dataclass(frozen=True)
class Restored:
    """A run's options and settings, with what the command line changes; `names` are its benchmarks, `notes` say what was changed."""

    options: Options
    settings: Settings
    origin: Origin
    names: list[str]
    notes: list[str]
    only: frozenset[int] | None = None


def restore(config: pytest.Config, given: Options) -> Restored | None:
    """The run that `--gym-resume` or `--gym-reverify` names, if one does.

    Raises ConfigError, with old and new value, for what must not change.
    """
    if given.resume and given.reverify:
        raise ConfigError("--gym-resume and --gym-reverify exclude each other: the one asks the model for what is missing, the other never")
    mode = "resume" if given.resume else "reverify"
    word = given.resume or given.reverify
    if word is None:
        return None
    run = StoredRun(config.invocation_params.dir / word, word)
    where = f"{flag(mode)}={word}"
    for key in ("reverified", "responses", "aggregated"):
        if key in run.manifest and mode == "resume":
            raise ConfigError(f"{where}: asked no model itself, it is made from other answers: make it again, with {flag('output')}")
    stored = _stored_options(run)
    options = _merged(config, given, stored, mode, where)
    old = Settings.from_json(run.manifest["options"].get("settings", {}))
    settings = _settings(given, old, mode, where) if config.getoption("gym_set") else old
    notes = [
        f"{flag(name)}: {_shown(getattr(stored, name))} before, {_shown(getattr(options, name))} now"
        for name in ("base_url", "concurrency")
        if getattr(stored, name) not in (None, getattr(options, name))
    ]
    notes += [
        f"{name}: {_shown(old.values.get(name))} before, {_shown(value)} now"
        for name, value in settings.values.items()
        if old.values.get(name) != value
    ]
    names = list(run.manifest["benchmarks"])
    if mode == "reverify":
        return Restored(options, settings, Reverify(run), names, notes)
    resume = Resume(run)
    if "rollout" in resume.overridden:
        raise ConfigError(
            f"{where}: a conftest overrides the fixture 'rollout' in this run: what it does to an answer it would do again to each that is"
            " there; start a new run"
        )
    _restore_selection(config, run, resume, where)
    return Restored(options, settings, resume, names, notes, None if resume.selected is None else frozenset(resume.selected))


def _stored_options(run: StoredRun) -> Options:
    kept = run.manifest.get("options", {})
    known = {field.name for field in fields(Options)}
    # To stop early is said anew each time: who resumes a run that did wants the rest.
    left = ("resume", "reverify", "responses", "output", "stop_when_decided")
    stored = Options.from_json({name: value for name, value in kept.items() if name in known and name not in left})
    repeats = {entry["num_repeats"] for entry in run.manifest["benchmarks"].values()}
    if "responses" in run.manifest and stored.repeats is None and len(repeats) == 1:
        # As many as its file had.
        stored = replace(stored, repeats=repeats.pop())
    return stored


def _merged(config: pytest.Config, given: Options, stored: Options, mode: str, where: str) -> Options:
    changes: dict[str, Any] = {mode: getattr(given, mode)}
    for option in gym_options.DECLARED:
        name = option.name
        typed = config.getoption(f"gym_{name}", None) not in (None, [])
        # What may be changed may be so by the environment; the rest of it is for new runs.
        exported = name in _FREE[mode] and name not in gym_options.TYPED_ONLY and os.environ.get(gym_options.ini_name(option).upper())
        if not (typed or exported) or name in (mode, "set"):
            continue
        value, before = getattr(given, name), getattr(stored, name)
        if name in _FREE[mode]:
            changes[name] = value
        elif value != before:
            raise ConfigError(
                f"{where}: {flag(name)} is {_shown(value)} here and {_shown(before)} in the run, and cannot be changed; "
                f"leave it out, or start a new run"
            )
    if given.base_url and stored.base_url == without_query(given.base_url):
        # The manifest holds no query, which may be a key: the same address in the environment or pyproject still has it.
        changes.setdefault("base_url", given.base_url)
    if stored.base_url is None and mode == "resume":
        changes.setdefault("base_url", given.base_url)
    return replace(stored, **changes)


def _settings(given: Options, old: Settings, mode: str, where: str) -> Settings:
    new = parse_assignments(given.set, "--gym-set")
    for name, value in new.values.items():
        free = not Settings.moves_scores(name) or (mode == "reverify" and ".verifier." in name)
        if not free and old.values.get(name) != value:
            raise ConfigError(
                f"{where}: the setting {name} is {_shown(value)} here and {_shown(old.values.get(name))} in the run, "
                f"and cannot be changed; leave it out, or start a new run"
            )
    return Settings({**old.values, **new.values})


def _restore_selection(config: pytest.Config, run: StoredRun, resume: Resume, where: str) -> None:
    """Select what the run selected: by its cases where it came so far, else by the same words of the command line."""
    before = run.manifest.get("planned", {}).get("selection", {})
    for name in _SELECTING:
        typed = config.getoption(name, None)
        if typed and typed != before.get(name):
            raise ConfigError(
                f"{where}: selects what the run selected, and {name} cannot be changed "
                f"({_shown(typed)} here, {_shown(before.get(name))} there)"
            )
        if resume.begun and name in before:
            # The cases themselves are known; the words (`--lf` above all) could mean others today.
            setattr(config.option, name, [] if name == "deselect" else "" if name in ("keyword", "markexpr") else False)
        elif name in before:
            setattr(config.option, name, before[name])


def _shown(value: object) -> str:
    if value in (None, "", (), []):
        return "not set"
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
