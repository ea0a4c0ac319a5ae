"""Which of the words on the command line mean benchmarks: `gsm8k::0007-r2`, `benchmarks/gsm8k`, `benchmarks/gsm8k/config.yaml`.

They are taken out of pytest's arguments, which stay paths of ordinary tests. A word that is neither is left for pytest to judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_gym.catalogue import Catalogue
from pytest_gym.options import looks_like_benchmark


@dataclass(frozen=True)
class Arguments:
    """The words sorted: `paths` for pytest, `cases` by node id, `configs` as paths of benchmark configs, `roots` the gym roots of these."""

    paths: Sequence[str]
    cases: Sequence[str] = ()
    configs: Sequence[Path] = ()
    roots: Sequence[Path] = ()

    @property
    def asks(self) -> bool:
        """Whether the words alone ask for a gym run."""
        return bool(self.cases or self.configs)


def split_arguments(config: pytest.Config, catalogue: Catalogue) -> Arguments:
    """Sort the words of the command line. An id whose benchmark is in no gym root is left to pytest."""
    if config.args_source is not config.ArgsSource.ARGS:
        return Arguments([])
    paths: list[str] = []
    cases: list[str] = []
    configs: dict[Path, Path] = {}
    base = config.invocation_params.dir
    for word in config.args:
        head, colons, _ = word.partition("::")
        if not looks_like_benchmark(word) or ((base / head).is_file() and colons):
            paths.append(word)
        elif colons:
            (cases if head in catalogue.names() else paths).append(word)
        elif (found := _config_at(base / word)) is not None:
            configs[found] = next(parent.parent for parent in found.parents if parent.name == "benchmarks")
        else:
            paths.append(word)
    return Arguments(paths, cases, list(configs), list(dict.fromkeys(configs.values())))


def _config_at(path: Path) -> Path | None:
    """The config of a benchmark, given it or its folder below a folder `benchmarks`; None for any other path."""
    config = (path / "config.yaml" if path.is_dir() else path).resolve()
    if config.name != "config.yaml" or not config.is_file() or "benchmarks" not in config.parent.parts:
        return None
    # Other tools have folders and files of these names, too.
    return config if "datasets" in config.read_text(encoding="utf-8", errors="replace") else None
