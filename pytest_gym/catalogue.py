"""The catalogue: gym roots in, benchmarks and verifiers by name out.

A gym root is a folder with `benchmarks/` and/or `verifiers/`. An earlier root shadows a later one. One broken config never hides the rest,
and looking a benchmark up by name reads as few files as it can. Not here: what a config means (benchmark, config).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from pytest_gym.benchmark import NAME, Benchmark, read_benchmark
from pytest_gym.config import ConfigFiles
from pytest_gym.errors import ConfigError, VerifierError, did_you_mean
from pytest_gym.nemo import config_files, is_checkout, is_nemo, read_nemo, usual
from pytest_gym.suite import Suite, members, read_suite, within
from pytest_gym.verify import Verifier, load_verifier

CONFIG = "config.yaml"
# Folders below a benchmark that hold no configs, and may hold very many files.
_SKIPPED = frozenset(("data", "__pycache__", "node_modules"))


def builtin_root() -> Path:
    """The gym root that is shipped: `builtin/` inside the installed package, the repository itself in an editable install."""
    package = Path(__file__).resolve().parent
    return package / "builtin" if (package / "builtin").is_dir() else package.parent


class _Found(NamedTuple):
    name: str
    path: Path
    benchmark: Benchmark | None
    error: ConfigError | None


class Catalogue:
    """The benchmarks and verifiers of several gym roots, the first root first."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = tuple(dict.fromkeys(Path(root).resolve() for root in roots))
        self._files = ConfigFiles(self.roots)
        self._by_file: dict[Path, list[_Found]] = {}
        self._suites: dict[str, Suite] = {}
        self._configs: dict[Path, list[Path]] = {}
        self._notes: dict[str, None] = {}

    def names(self) -> list[str]:
        """The names of all benchmarks that can be read, sorted."""
        return [benchmark.name for benchmark in self.all()]

    def all(self) -> list[Benchmark]:
        """All benchmarks that can be read, by name."""
        return self._everything[0]

    def broken(self) -> list[ConfigError]:
        """What is wrong with the others: one error for each block or file that cannot be read, the same sentence once."""
        return list({str(found.error): found.error for found in self._everything[1] if found.error}.values())

    @property
    def shadowed(self) -> list[str]:
        """A sentence for each benchmark or verifier, of those looked up so far, of which a later root has another one."""
        return list(self._notes)

    def benchmark(self, name: str) -> Benchmark:
        """The benchmark called `name`, or with `name` among its aliases, or the config at this path in a NeMo Gym checkout.

        Raises its own ConfigError where it is broken, else one with the nearest names.
        """
        if name.endswith((".yaml", ".yml")):
            return self._of_checkout(name)
        for index, root in enumerate(self.roots):
            found = self._in_root(root, name)
            if found is None:
                continue
            for other in self.roots[index + 1 :]:
                for path in self._usual(other, name):
                    if path.is_file() and _mentions(path, name) and any(f.name == name for f in self._read(path, other)):
                        self._note(f"benchmark {name!r}: {found.path} shadows {path}")
            if found.benchmark is None:
                raise found.error or self._unknown(name)
            return found.benchmark
        for benchmark in self.all():
            if name in benchmark.aliases:
                self._note(f"{name} is another name of {benchmark.name}")
                return benchmark
        raise self._unknown(name)

    def _of_checkout(self, name: str) -> Benchmark:
        for root in self.roots:
            if is_checkout(root) and (root / name).is_file():
                return self.at(root / name)[0]
        raise self._unknown(name)

    def at(self, path: Path) -> list[Benchmark]:
        """The benchmarks of a config file, or of the config in a folder. Raises ConfigError where there is none."""
        file = path / CONFIG if path.is_dir() else path
        root = next((root for root in self.roots if file.resolve().is_relative_to(root)), file.resolve().parent)
        found = self._read(file.resolve(), root)
        for item in found:
            if item.error:
                raise item.error
        if not found:
            raise ConfigError(f"{file}: declares no benchmark (no block has datasets)")
        return [item.benchmark for item in found if item.benchmark]

    def match(self, patterns: str) -> list[str]:
        """The names that a comma list of names and globs selects, in its order, each once.

        Raises ConfigError for a name or glob without a match, and the broken benchmark's own error where one is selected.
        """
        wanted = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]
        if not wanted:
            raise ConfigError("no benchmark is named; pytest --gym-list shows all")
        names: dict[str, None] = {}
        for pattern in wanted:
            if not any(char in pattern for char in "*?["):
                names.update(dict.fromkeys(self._named(pattern)))
                continue
            benchmarks, broken = self._everything
            for found in broken:
                if found.error and fnmatchcase(found.name, pattern):
                    raise found.error
            matched = [benchmark.name for benchmark in benchmarks if fnmatchcase(benchmark.name, pattern)]
            if not matched:
                raise self._unknown(pattern)
            names.update(dict.fromkeys(matched))
        return list(names)

    def _named(self, name: str) -> list[str]:
        try:
            return [self.benchmark(name).name]
        except ConfigError:
            if name not in self.suites:
                raise
            return members(self.suites[name], self.suites, self.match)

    @property
    def suites(self) -> Mapping[str, Suite]:
        """All suites by name, those of an earlier root first; a benchmark of the same name goes before a suite."""
        benchmarks, _ = self._everything
        taken = {benchmark.name for benchmark in benchmarks}
        return {name: suite for name, suite in sorted(self._suites.items()) if name not in taken}

    def chosen_suites(self, patterns: Sequence[str]) -> list[Suite]:
        """The suites among the words of `--gym-benchmark`, with those that they name, the innermost first."""
        found: dict[str, Suite] = {}
        for word in filter(None, (word.strip() for pattern in patterns for word in pattern.split(","))):
            if any(char in word for char in "*?["):
                continue
            try:
                self.benchmark(word)
            except ConfigError:
                if word in self.suites:
                    found.update({one.name: one for one in within(self.suites[word], self.suites)})
        return list(found.values())

    def verifier(self, name: str) -> Verifier:
        """The verifier called `name`, from `verifiers/<name>.py` of the first root that has it.

        Raises VerifierError with the nearest names where none has.
        """
        paths = [path for root in self.roots if NAME.fullmatch(name) and (path := root / "verifiers" / f"{name}.py").is_file()]
        if not paths:
            files = (path.stem for root in self.roots for path in (root / "verifiers").glob("*.py"))
            known = sorted({stem for stem in files if not stem.startswith("_")})
            hint = did_you_mean(name, known, otherwise=f" (there are: {', '.join(known) or 'none'})")
            raise VerifierError(f"there is no verifier {name!r}{hint}; a verifier is a file verifiers/{name}.py of a gym root")
        for other in paths[1:]:
            self._note(f"verifier {name!r}: {paths[0]} shadows {other}")
        return load_verifier(name, paths[0])

    @cached_property
    def _everything(self) -> tuple[list[Benchmark], list[_Found]]:
        taken: dict[str, _Found] = {}
        broken: list[_Found] = []
        for root in self.roots:
            here: dict[str, _Found] = {}
            for path in self._walk(root):
                for found in self._read(path, root):
                    other = here.get(found.name)
                    if other is None:
                        here[found.name] = found
                        continue
                    # The folder that has the benchmark's name keeps it, as it does when the name is looked up.
                    usual = self._usual(root, found.name)
                    first, second = (found, other) if found.path in usual and other.path not in usual else (other, found)
                    here[found.name] = first
                    broken.append(second._replace(error=_twice(first, second)))
            for name, found in here.items():
                if name in taken:
                    self._note(f"benchmark {name!r}: {taken[name].path} shadows {found.path}")
                else:
                    taken[name] = found
        broken += [found for found in taken.values() if found.error]
        return [taken[name].benchmark for name in sorted(taken) if taken[name].benchmark], broken  # type: ignore[misc]

    def _in_root(self, root: Path, name: str) -> _Found | None:
        usual = [path for path in self._usual(root, name) if path.is_file()]
        for path in (*usual, *(path for path in self._walk(root) if path not in usual)):
            if _mentions(path, name) or path in usual[:1]:
                for found in self._read(path, root):
                    if found.name == name:
                        return found
        return None

    def _usual(self, root: Path, name: str) -> list[Path]:
        """Where a benchmark's config is expected: `benchmarks/a/b/config.yaml`, then `benchmarks/a/config.yaml`."""
        if not NAME.fullmatch(name):
            return []
        if is_checkout(root):
            return usual(root, name)
        parts = name.split("/")
        return [root.joinpath("benchmarks", *parts[:count], CONFIG) for count in range(len(parts), 0, -1)]

    def _walk(self, root: Path) -> list[Path]:
        if root not in self._configs:
            self._configs[root] = list(config_files(root) if is_checkout(root) else _configs(root / "benchmarks"))
        return self._configs[root]

    def _read(self, path: Path, root: Path) -> list[_Found]:
        if path in self._by_file:
            return self._by_file[path]
        found: list[_Found] = []
        try:
            if is_nemo(self._files.parse(path)) or is_checkout(root):
                benchmark = read_nemo(self._files, path, root)
                found = [_Found(benchmark.name, path, benchmark, None)] if benchmark else []
                self._by_file[path] = found
                return found
            self._files.blocks(path)
            names = self._files.own(path)
        except ConfigError as error:
            # Which blocks it would have is not known; its folder's name is the best guess at what is missing.
            folder = path.parent
            name = folder.relative_to(root / "benchmarks").as_posix() if folder.is_relative_to(root / "benchmarks") else folder.name
            found.append(_Found(name, path, None, error))
            names = []
        for name in names:
            try:
                suite = read_suite(self._files, path, name)
                benchmark = None if suite else read_benchmark(self._files, path, name, root)
            except ConfigError as error:
                found.append(_Found(name, path, None, error))
            else:
                if benchmark is not None:
                    found.append(_Found(name, path, benchmark, None))
                elif suite is not None:
                    self._suites.setdefault(name, suite)
        self._by_file[path] = found
        return found

    def _unknown(self, name: str) -> ConfigError:
        names = [*self.names(), *self.suites]
        near = did_you_mean(name, names, otherwise="")
        what = "no benchmark matches" if any(char in name for char in "*?[") else "there is no benchmark"
        broken = len(self.broken())
        aside = f" ({broken} more cannot be read)" if broken else ""
        return ConfigError(f"{what} {name!r}{near or ';'} pytest --gym-list shows all {len(names)}{aside}")

    def _note(self, sentence: str) -> None:
        self._notes[sentence] = None


def _twice(first: _Found, second: _Found) -> ConfigError:
    where = f"{second.path}:{second.benchmark.line}" if second.benchmark else str(second.path)
    return second.error or ConfigError(f"{where}: benchmark {second.name!r} is also declared in {first.path}, which is used; rename one")


def _configs(folder: Path) -> Iterator[Path]:
    """The config files below a folder, sorted, without following hidden and data folders."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    below: Iterable[os.DirEntry[str]] = (entry for entry in entries if not entry.is_file())
    for entry in entries:
        if entry.name == CONFIG and entry.is_file():
            yield Path(entry.path)
    for entry in below:
        if entry.name not in _SKIPPED and not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
            yield from _configs(Path(entry.path))


def _mentions(path: Path, name: str) -> bool:
    """Whether the file's text has the name at all: cheaper than parsing it, and no other file can declare it."""
    try:
        return name.encode() in path.read_bytes()
    except OSError:
        return True
