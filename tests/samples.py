"""Benchmarks and config folders that several tests build on."""

import textwrap
from pathlib import Path

from pytest_gym.benchmark import Benchmark, DatasetSpec, Metric
from pytest_gym.prompt import Prompt


def make_benchmark(name="bench", folder=Path("/nowhere"), **changes):
    """A benchmark as a config in `folder` would give it."""
    values = {
        "description": "A benchmark",
        "domain": "other",
        "tags": (),
        "requires": (),
        "version": 1,
        "prompt": Prompt(None, "{question}", "p.yaml"),
        "harness": "single_turn",
        "verifier": "exact_match",
        "verifier_options": {},
        "metric": Metric(),
        "sampling": {},
        "datasets": (DatasetSpec("rows", "benchmark", (), None, "rows.jsonl"),),
        "subset": None,
        "cluster": None,
        "path": folder / "config.yaml",
        "line": 3,
        "root": folder,
    }
    return Benchmark(name=name, **{**values, **changes})


def write(root, files):
    """Write texts to paths below `root`, dedented; the root."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))
    return root
