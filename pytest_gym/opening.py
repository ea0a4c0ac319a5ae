"""What a gym run opens before anything is collected: datasets, the plan of its cases, and the look whether anybody listens.

Each function does one step for `session`, which says when. Whatever a user can mend ends here in one sentence.
"""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pytest_gym.engine import EngineOptions
from pytest_gym.errors import ConfigError, did_you_mean
from pytest_gym.manifest import without_query
from pytest_gym.model import load_wire
from pytest_gym.model.client import ClientOptions
from pytest_gym.resolve import open_dataset
from pytest_gym.responses import Responses
from pytest_gym.resume import Resume
from pytest_gym.sandbox import UNSAFE
from pytest_gym.settings import Settings
from pytest_gym.shard import parse as parse_shard
from pytest_gym.state import GymState


def open_plan(
    state: GymState, *, cache: Path, sources: Path | None, lock: Path, say: Callable[[str], None], indexes: Path | None
) -> dict[str, bool]:
    """Prepare each dataset and add it to the plan; returns which are frozen. `indexes` is where workers find the datasets' indexes."""
    options, frozen = state.options, {}
    shard = parse_shard(options.shard, {}) if options.shard else None
    for number, selected in enumerate(state.selected):
        opened = open_dataset(selected, cache=cache, sources=sources, lock=lock, progress=say)
        # A file that lives beside its config is frozen by the repository that both are in.
        frozen[selected.benchmark.name] = opened.frozen or not selected.spec.sources
        index = Path()
        if indexes is not None:
            # Workers read the index, not the rows: each of them would parse the whole file for its share.
            index = indexes / f"{number}.index"
            opened.dataset.save_index(index)
        repeats = options.repeats or _repeats(state, selected.benchmark.name, selected.spec.num_repeats)
        state.plan.add(selected.benchmark, opened.dataset, repeats=repeats, limit=options.limit, index=index, shard=shard)
    if not any(planned.whole for planned in state.plan.benchmarks):
        raise ConfigError("there is no case to run: no benchmark has a row")
    return frozen


def _repeats(state: GymState, benchmark: str, documented: int) -> int:
    if isinstance(state.origin, Responses):
        return state.origin.repeats(benchmark)
    if state.options.demo and documented == 1:
        from pytest_gym.demo import REPEATS

        return REPEATS
    return documented


def check_wanted(state: GymState) -> None:
    """Raise ConfigError for a case that was asked for by id and is not there."""
    for name, wanted in state.wanted.items():
        planned = next(planned for planned in state.plan.benchmarks if planned.benchmark.name == name)
        known = {f"{task}-r{repeat}" for task in planned.names for repeat in range(planned.repeats)}
        for case in sorted(wanted - known):
            where = f" in shard {state.options.shard}" if state.options.shard else ""
            near = did_you_mean(case, known, otherwise=f" (cases go from {min(known)} to {max(known)})" if known else " (it has none)")
            raise ConfigError(f"{name} has no case {case!r}{where}{near}")


def check_ready(state: GymState) -> None:
    """Raise GymError for the first task that its verifier cannot judge whatever is answered, such as one whose files are missing."""
    for selected, planned in zip(state.selected, state.plan.benchmarks, strict=True):
        for position in range(len(planned.rows) if selected.verifier.has_ready else 0):
            selected.verifier.check_ready(planned.task(position), selected.benchmark.folder, selected.options)


def check_sandbox(state: GymState) -> list[str]:
    """Notes on what isolates the programs of this run. Raises SandboxError where there are programs and no sandbox runs any."""
    runs = [selected for selected in state.selected if selected.runs_programs]
    if not runs:
        return []
    sandbox = runs[0].sandbox
    sandbox.check()
    return [UNSAFE] if sandbox.unsafe else [f"programs run in {sandbox.backend.name}, {sandbox.concurrency} at once"]


def engine_options(
    state: GymState, settings: Settings, *, model: str, base_url: str | None, concurrency: int, key: str | None
) -> EngineOptions:
    """What the engine must know; `base_url` None where nobody is asked."""
    get = settings.get
    client = None
    if base_url is not None:
        client = ClientOptions(
            base_url=base_url,
            concurrency=concurrency,
            timeout=get("client.timeout"),
            connect=get("client.timeout.connect"),
            first_byte=get("client.timeout.first_byte"),
            max_retries=get("client.max_retries"),
            rate_limit_wait=get("client.rate_limit_wait"),
            max_reply_mb=get("client.max_reply_mb"),
            # The simulated model is on this machine: no proxy knows the way there.
            proxies=not state.options.demo,
        )
    return EngineOptions(
        model=model,
        client=client,
        wire=load_wire(state.options.api),
        key=key,
        harnesses={s.benchmark.name: s.harness for s in state.selected},
        sampling={s.benchmark.name: s.benchmark.sampling for s in state.selected},
        forced={s.benchmark.name: settings.sampling_set(s.benchmark.name) for s in state.selected},
        judges={s.benchmark.name: s.call_async for s in state.selected if s.verifier.is_async},
        judging=get("judge.concurrency"),
        kept=state.origin.overridden if isinstance(state.origin, Resume) and state.origin.begun else None,
        stop_after_errors=get("client.stop_after_errors"),
        outcomes={kind: get(f"outcomes.{kind}") for kind in ("context_length", "content_filter")},
    )


def look_whether_anybody_listens(base_url: str) -> None:
    """End the run at once, with exit code 2, where nothing listens."""
    url = urlsplit(base_url)
    if urllib.request.getproxies().get(url.scheme) and not urllib.request.proxy_bypass(url.hostname or ""):
        return
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        socket.create_connection((url.hostname or "", port), timeout=2).close()
    except TimeoutError:
        # A slow way there is no proof that nobody is: the client's own time-outs decide.
        return
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        pytest.exit(
            f"gym: nothing listens at {without_query(base_url)} ({reason}): start the endpoint, or check --gym-base-url", returncode=2
        )
