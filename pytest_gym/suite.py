"""Suites: a block of a config that names benchmarks with settings and gates, and is selected like a benchmark.

Reading one, and which benchmarks several of them stand for. Not here: finding them (catalogue), and what settings and gates mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_gym.errors import ConfigError
from pytest_gym.schema import BLOCK_KEYS, SUITE_KEYS, check_keys, read

if TYPE_CHECKING:
    from pytest_gym.config import ConfigFiles


@dataclass(frozen=True)
class Suite:
    """Benchmarks that belong together: names and globs of benchmarks, or names of other suites; settings and gates as lines.

    `path` and `line` are the block in its config file.
    """

    name: str
    description: str
    benchmarks: tuple[str, ...]
    settings: tuple[str, ...]
    gates: tuple[str, ...]
    path: Path
    line: int

    @property
    def place(self) -> str:
        """How an error about the suite begins: its file and line."""
        return f"{self.path}:{self.line}: suite {self.name!r}"


def read_suite(files: ConfigFiles, path: Path, name: str) -> Suite | None:
    """The suite that the block `name` of the config `path` declares; None where it is none. Raises ConfigError with file and line."""
    block = files.resolved(path, name)
    said = block.get("suite")
    if said is None:
        return None
    check_keys(block, BLOCK_KEYS, f"suite {name!r}")
    if block.get("datasets") is not None:
        raise ConfigError(f"{block.where('suite')}: {name!r} has datasets and a suite; a block is a benchmark or a suite")
    if not hasattr(said, "where"):
        raise ConfigError(f"{block.where('suite')}: suite must be a mapping with benchmarks, settings and gates, not {said!r}")
    values = read(said, SUITE_KEYS, f"suite {name!r}")
    description = block.get("description")
    if description is not None and not isinstance(description, str):
        raise ConfigError(f"{block.where('description')}: description must be a text, not {description!r}")
    if not values["benchmarks"]:
        raise ConfigError(f"{said.where('benchmarks')}: suite {name!r} names no benchmark")
    line = files.parse(path).where(name).line
    lists = {key: tuple(values[key]) for key in ("benchmarks", "settings", "gates")}
    return Suite(name, " ".join((description or "").split()), **lists, path=path, line=line)


def members(suite: Suite, suites: Mapping[str, Suite], match: Callable[[str], Sequence[str]], above: Sequence[str] = ()) -> list[str]:
    """The benchmarks of a suite and of the suites that it names, each once, in their order; `match` gives those of a name or glob.

    Raises ConfigError where suites name each other in a circle, or what `match` raises.
    """
    chain = (*above, suite.name)
    names: dict[str, None] = {}
    for one in suite.benchmarks:
        if one in chain:
            raise ConfigError(f"{suite.place}: suites name each other in a circle: {' -> '.join((*chain, one))}")
        try:
            found = members(suites[one], suites, match, chain) if one in suites else match(one)
        except ConfigError as error:
            raise error if one in suites else ConfigError(f"{suite.place}: {error}") from None
        names.update(dict.fromkeys(found))
    return list(names)


def within(suite: Suite, suites: Mapping[str, Suite]) -> list[Suite]:
    """The suites that a suite names, from the innermost outwards, and itself last: a later one's settings go over an earlier one's."""
    found = [inner for name in suite.benchmarks if name in suites for inner in within(suites[name], suites)]
    return [*found, suite]
