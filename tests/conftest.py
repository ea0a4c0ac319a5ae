"""Fixtures that all tests share: a clean environment, a scripted endpoint, and a small gym root run by an inner pytest."""

from __future__ import annotations

import gc
import gzip
import json
import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import certifi  # noqa: F401
import filelock  # noqa: F401
import httpx_aiohttp.transport  # noqa: F401 (pytester forgets modules after each inner run, and numpy cannot be loaded twice)
import pytest
import scipy.special  # noqa: F401

import pytest_gym.bounded
import pytest_gym.configure
import pytest_gym.demo
import pytest_gym.derived
import pytest_gym.gate_tests
import pytest_gym.manifest
import pytest_gym.progress
import pytest_gym.published
import pytest_gym.report.markdown
import pytest_gym.report.status
import pytest_gym.report.terminal
import pytest_gym.scorefile
import pytest_gym.session
import pytest_gym.standing
import pytest_gym.table
import pytest_gym.tally  # noqa: F401
from tests.endpoint import Endpoint, chat

CONFIG = """
sums:
  description: Small sums
  domain: math
  tags: [arithmetic]
  prompt_config: {{user: "What is {{question}}?"}}
  verifier: {verifier}
  sampling: {{temperature: 0.5, max_tokens: 100}}
  subset: kind
  datasets:
    - name: sums
      type: benchmark
      path: sums.jsonl
      num_repeats: {repeats}
"""

VERIFIER = '''
"""Right if the answer ends in the expected number."""
from pytest_gym import Rollout, Task, Verdict, verifier

@verifier
def ends_with(task: Task, rollout: Rollout, *, field: str = "answer") -> Verdict:
    words = rollout.text.split()
    found = words[-1] if words else None
    return Verdict(float(found == task[field]), extracted=found, explanation=f"found {found}")

@ends_with.reference
def reference(task: Task, *, field: str = "answer") -> str:
    return f"It is {task[field]}"
'''


def pytest_configure() -> None:
    """How many examples a test tries that does not say it. A session of benchmarks alone comes here, too, and has no Hypothesis."""
    if find_spec("hypothesis"):
        from hypothesis import settings

        settings.register_profile("suite", max_examples=60)
        settings.load_profile("suite")


def pytest_collection_finish() -> None:
    """What is loaded by now stays: hundreds of pytests within pytest need not look through it for garbage again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in list(os.environ):
        if name.startswith(("GYM_", "PYTEST_XDIST", "OPENAI_", "ANTHROPIC_", "HF_")) and name != "GYM_SOURCES":
            monkeypatch.delenv(name)
    for name in (
        "PYTEST_ADDOPTS",
        "CI",
        "GITHUB_STEP_SUMMARY",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "http_proxy",
        "https_proxy",
        "COLUMNS",
        "PYTHONDONTWRITEBYTECODE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GYM_CACHE", str(tmp_path_factory.getbasetemp() / "gym-cache"))


@pytest.fixture
def endpoint() -> Iterator[Callable[..., Endpoint]]:
    """Make scripted endpoints; they are closed at the end."""
    made: list[Endpoint] = []

    def make(script: Callable[[dict[str, Any], int], Any]) -> Endpoint:
        made.append(Endpoint(script))
        return made[-1]

    yield make
    for one in made:
        one.close()


def adder(body: dict[str, Any], number: int) -> Any:
    """Answers `What is 3+4?` rightly."""
    question = body["messages"][-1]["content"].removeprefix("What is ").removesuffix("?")
    left, _, right = question.partition("+")
    return chat(f"It is {int(left) + int(right)}")


class Gym:
    """A gym root in pytester's folder with the benchmark `sums`, whose row n asks n+1 and expects the sum, or `wrong` ones not."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.path = pytester.path
        # Plugins that happen to be installed for our own tests make every inner run seconds slower.
        pytester.makeini("[pytest]\naddopts = --strict-markers -p no:hypothesispytest -p no:anyio -p no:rerunfailures\n")

    def write(
        self, *, rows: int = 5, repeats: int = 1, wrong: tuple[int, ...] = (), verifier: str = "ends_with", name: str = "sums"
    ) -> None:
        folder = self.path / "benchmarks" / name
        folder.mkdir(parents=True, exist_ok=True)
        (self.path / "verifiers").mkdir(exist_ok=True)
        (self.path / "verifiers" / "ends_with.py").write_text(VERIFIER)
        (folder / "config.yaml").write_text(CONFIG.format(verifier=verifier, repeats=repeats).replace("sums", name))
        lines = [
            {"question": f"{n}+1", "answer": str(n + 1 + (100 if n in wrong else 0)), "kind": "even" if n % 2 == 0 else "odd"}
            for n in range(rows)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def run(self, *words: str, url: str | None = None, benchmark: str | None = "sums", subprocess: bool = False) -> pytest.RunResult:
        given = [f"--gym-benchmark={benchmark}"] if benchmark else []
        if url:
            given += ["--gym-model=m", f"--gym-base-url={url}", "--gym-output=run"]
        run = self.pytester.runpytest_subprocess if subprocess else self.pytester.runpytest_inprocess
        return run(*given, *words)

    def summary(self, folder: str = "run") -> dict[str, Any]:
        data: dict[str, Any] = json.loads((self.path / folder / "summary.json").read_text())
        return data

    def results(self, folder: str = "run") -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.path / folder / "rollouts.jsonl").read_text().splitlines()]

    def texts(self, folder: str = "run") -> dict[str, str]:
        """Every file of a run folder by its name, unpacked."""
        files = [path for path in (self.path / folder).rglob("*") if path.is_file()]
        return {path.name: (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode() for path in files}

    def manifest(self, folder: str = "run") -> dict[str, Any]:
        data: dict[str, Any] = json.loads((self.path / folder / "run.json").read_text())
        return data


@pytest.fixture
def gym(pytester: pytest.Pytester) -> Gym:
    """A gym root to run an inner pytest in; call `gym.write()` first."""
    return Gym(pytester)


@pytest.fixture(params=[(), ("-n2",)], ids=["serial", "n2"])
def how(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Every behaviour that a user sees holds serially and distributed."""
    words: tuple[str, ...] = request.param
    return words


def sources() -> Path:
    """The folder of real upstream data, or a skip that says how to give it."""
    folder = os.environ.get("GYM_SOURCES")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs upstream data: set GYM_SOURCES to a folder that has it")
    return Path(folder).resolve()
