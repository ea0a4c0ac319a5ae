"""The manifest of a run, `run.json`: which model, which options, which protocol. It holds no secrets; its keys are in docs/results.md."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from pytest_gym import __version__
from pytest_gym.fingerprint import protocol
from pytest_gym.run import SCHEMA
from pytest_gym.settings import Settings
from pytest_gym.shard import parse as parse_shard
from pytest_gym.state import GymState


def manifest(
    state: GymState,
    settings: Settings,
    *,
    started: float,
    exit_code: int | None,
    model: str,
    base_url: str | None,
    reported: str | None,
    selection: Mapping[str, Any],
    frozen: Mapping[str, bool],
    overridden: Sequence[str],
) -> dict[str, Any]:
    """The content of `run.json`; `exit_code` is None while the run goes on."""
    plan, options = state.plan, state.options
    shown = {name: value for name, value in options.to_json().items() if value not in (None, [], False)}
    if options.base_url:
        shown["base_url"] = without_query(options.base_url)
    entry: dict[str, Any] = {
        "schema": SCHEMA,
        "pytest_gym": __version__,
        "started": stamp(started),
        "finished": None if exit_code is None else stamp(time.time()),
        "exit_code": exit_code,
        "options": {**shown, "settings": settings.to_json()},
        "planned": {"cases": plan.cases, "benchmarks": plan.sizes(), "selection": dict(selection)},
        "seed": int(options.limit.partition("@")[2]) if options.limit and "@" in options.limit else None,
        "model": {
            "name": model,
            "base_url": without_query(base_url) if base_url else None,
            "api": options.api,
            "reported": reported,
        },
        "demo": options.demo,
        "sandbox": _sandbox(state),
        "shard": parse_shard(options.shard, {}).to_json() if options.shard else None,
        "benchmarks": {
            planned.benchmark.name: protocol(
                state.by_name(planned.benchmark.name),
                planned,
                frozen=frozen[planned.benchmark.name],
                overridden=overridden,
                outcomes={kind: settings.get(f"outcomes.{kind}") for kind in ("content_filter", "context_length")},
            )
            for planned in plan.benchmarks
        },
    }
    if state.origin is not None:
        entry.update(state.origin.manifest())
    return entry


def _sandbox(state: GymState) -> dict[str, Any] | None:
    """What isolates the programs of this run; None where none are run."""
    found = next((selected.sandbox for selected in state.selected if selected.runs_programs), None)
    return None if found is None else {"backend": found.choice if found.unsafe else found.backend.name, "unsafe": found.unsafe}


def without_query(url: str) -> str:
    """A URL as it is shown and kept: its query may hold a key."""
    return url.partition("?")[0]


def stamp(seconds: float) -> str:
    """A time as files show it, with its offset from UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(seconds))
