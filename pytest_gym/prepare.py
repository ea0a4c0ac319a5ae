"""Preparing: raw source files in, a frozen JSONL file out.

A file beside the config is used as it is. Everything else lives in the data cache: sources are fetched, the benchmark's prepare script
turns them into rows, and the bytes are checked against the config or, where that pins none, against gym.lock.
Not here: what rows must hold (dataset), getting a raw file (fetch), and where cache, GYM_SOURCES and gym.lock are (the caller says).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_gym.benchmark import Benchmark, DatasetSpec
from pytest_gym.errors import DataError, GymError
from pytest_gym.fetch import alone, fetch, file_sha256, temporary_beside
from pytest_gym.index import differing, look
from pytest_gym.seal import Unsealed, sealed
from pytest_gym.tables import read_rows
from pytest_gym.verify import load_module

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Prepared:
    """A dataset file that is ready: its sha256 (hex) and number of rows. `frozen` says that the config itself pins the bytes."""

    path: Path
    sha256: str
    num_rows: int
    frozen: bool


def prepare(
    benchmark: Benchmark, spec: DatasetSpec, *, cache: Path, sources: Path | None, lock: Path | None, progress: Progress
) -> Prepared:
    """The dataset file of one split, made if it is not there yet.

    `cache` is the data cache, `sources` the folder that GYM_SOURCES names, `lock` the path of gym.lock (None: nothing is recorded);
    `progress` gets sentences while it takes time. Safe for many processes at once: what they write is the same, and moved into place whole.
    Raises DataError in one sentence: what is missing or differs, and what to do.
    """
    beside = benchmark.folder / spec.path
    try:
        if beside.is_file():
            return _as_it_is(benchmark, spec, beside, cache)
        if not spec.sources and spec.prepare_script is None:
            where = f"{benchmark.path}:{benchmark.line}"
            if script := benchmark.nemo.get("prepare_script"):
                made = f"NeMo Gym makes it with {script} (gym eval prepare --benchmark {benchmark.name}), and then it is used as it is"
                raise DataError(f"{where}: the dataset {benchmark.nemo['jsonl_fpath']!r} of {benchmark.name} is not there: {made}")
            raise DataError(f"{where}: the dataset {spec.path!r} of {benchmark.name} does not exist beside the config")
        if sources is not None and not sources.is_dir():
            raise DataError(f"GYM_SOURCES names {sources}, which is not a folder")
        return _from_cache(benchmark, spec, cache, sources, lock, progress)
    except OSError as error:
        raise DataError(f"{benchmark.name}: cannot be prepared: {error}") from error


def is_prepared(benchmark: Benchmark, spec: DatasetSpec, cache: Path) -> bool:
    """Whether the dataset's file is there, without looking into it: cheap enough for a list of all benchmarks."""
    return (benchmark.folder / spec.path).is_file() or cached_path(benchmark, spec, cache).is_file()


def cached_path(benchmark: Benchmark, spec: DatasetSpec, cache: Path) -> Path:
    """Where in the cache the prepared file of a dataset is."""
    return cache / benchmark.name / spec.path


def _as_it_is(benchmark: Benchmark, spec: DatasetSpec, path: Path, cache: Path) -> Prepared:
    sha256, num_rows = _measure(benchmark, path, cache)
    for what, found, wanted in (("sha256", sha256, spec.sha256), ("num_rows", num_rows, spec.num_rows)):
        if wanted not in (None, found):
            how_many = ""
            if spec.sha256 not in (None, sha256):
                with path.open("rb") as file:
                    how_many = f" ({differing(path, spec.sha256 or '', benchmark, cache, file)})"
            raise DataError(
                f"{benchmark.name}: {path} is not what the config froze: its {what} is {found}, not {wanted}{how_many}; "
                f"if the change is meant, correct {benchmark.path} and raise its version"
            )
    return Prepared(path, sha256, num_rows, frozen=spec.sha256 is not None)


def _from_cache(
    benchmark: Benchmark, spec: DatasetSpec, cache: Path, sources: Path | None, lock: Path | None, progress: Progress
) -> Prepared:
    path = cached_path(benchmark, spec, cache)
    with alone(path.parent, lambda: progress(f"{benchmark.name}: waiting for another process that prepares it")):
        return _made(benchmark, spec, path, cache, sources, lock, progress)


def _made(
    benchmark: Benchmark, spec: DatasetSpec, path: Path, cache: Path, sources: Path | None, lock: Path | None, progress: Progress
) -> Prepared:
    name = benchmark.name if spec.type == "benchmark" else f"{benchmark.name}:{spec.type}"
    locked = None if spec.sha256 is not None else read_lock(lock).get(name)
    wanted = spec.sha256 if locked is None else locked["sha256"]
    # Without a pin nobody can say whether the file in the cache is still what this config would give, so its making is remembered.
    recipe, made_by = path.with_name(path.name + ".recipe"), _recipe(spec)
    if path.is_file() and (wanted is not None or (recipe.is_file() and recipe.read_text() == made_by)):
        sha256, num_rows = _measure(benchmark, path, cache)
        if wanted in (None, sha256) and spec.num_rows in (None, num_rows):
            prepared = Prepared(path, sha256, num_rows, frozen=spec.sha256 is not None)
            _record(lock, name, prepared, locked, progress)
            return prepared
    files = {source.name: fetch(source, benchmark.name, cache=cache, sources=sources, progress=progress) for source in spec.sources}
    progress(f"{benchmark.name}: preparing")
    with temporary_beside(path) as part:
        # Closed here, not whenever it is collected: the seal on the script ends with it.
        with contextlib.closing(_rows(benchmark, spec, files)) as rows:
            sha256, num_rows = _write(part, rows, benchmark.name)
        if wanted is not None and sha256 != wanted:
            with part.open("rb") as file:
                how_many = differing(path, wanted, benchmark, cache, file)
        else:
            how_many = ""
        _compare(benchmark, spec, sha256, num_rows, locked, lock, how_many)
        os.replace(part, path)
    if spec.sha256 is None:
        with temporary_beside(recipe) as part:
            part.write_text(made_by)
            os.replace(part, recipe)
    prepared = Prepared(path, sha256, num_rows, frozen=spec.sha256 is not None)
    _record(lock, name, prepared, locked, progress)
    progress(f"{benchmark.name}: {num_rows:,} rows ready")
    return prepared


def _measure(benchmark: Benchmark, path: Path, cache: Path) -> tuple[str, int]:
    """A dataset file's sha256 and number of rows: from its index where there is one, which spares reading it."""
    return look(path, benchmark, cache) or (file_sha256(path), _count(path))


def _rows(benchmark: Benchmark, spec: DatasetSpec, files: Mapping[str, Path]) -> Generator[Any, None, None]:
    """The rows as the script yields them, or as they stand in the only source; whatever it raises becomes a DataError."""
    if spec.prepare_script is None:
        source = spec.sources[0]
        try:
            yield from read_rows(files[source.name], source.name)
        except DataError as error:
            raise DataError(f"{benchmark.name}: {error}") from error
        return
    script = Path(spec.prepare_script)
    try:
        with sealed():
            function = getattr(load_module(script, "prepare"), "prepare", None)
            if not callable(function):
                raise DataError(f"{script}: has no function 'prepare(files)' that gives the rows of {benchmark.name}")
            rows = function(files, **spec.prepare_options)
            if isinstance(rows, dict | str | bytes) or not isinstance(rows, Iterable):
                raise DataError(f"{script}: prepare must return or yield rows, not {type(rows).__name__}")
            yield from rows
    except GymError:
        raise
    except Unsealed as error:
        raise DataError(
            f"{_line_of(error.__context__ or error, script)}: {benchmark.name}: prepare asks the network for {error}; "
            "name the file under sources, where it is fetched and pinned"
        ) from error
    except (Exception, SystemExit) as error:
        said = f"{type(error).__name__}: {error}".rstrip(": ")
        raise DataError(f"{_line_of(error, script)}: {benchmark.name}: prepare failed: {said}") from error


def _write(path: Path, rows: Iterable[Any], benchmark: str) -> tuple[str, int]:
    """Write the frozen form of the rows; its sha256 and their number."""
    digest, number = hashlib.sha256(), 0
    with path.open("wb") as file:
        for number, row in enumerate(rows, 1):
            if not isinstance(row, dict):
                raise DataError(f"{benchmark}: row {number} from prepare is not a mapping but {type(row).__name__}")
            try:
                line = (json.dumps(row, ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n").encode()
            except UnicodeEncodeError as error:
                raise DataError(f"{benchmark}: row {number} from prepare holds a lone surrogate, which is no text") from error
            except (TypeError, ValueError, RecursionError) as error:
                raise DataError(f"{benchmark}: row {number} from prepare cannot be written as JSON: {error}") from error
            file.write(line)
            digest.update(line)
    if not number:
        raise DataError(f"{benchmark}: prepare gave no rows")
    return digest.hexdigest(), number


def _compare(
    benchmark: Benchmark, spec: DatasetSpec, sha256: str, num_rows: int, locked: Mapping[str, Any] | None, lock: Path | None, how_many: str
) -> None:
    by = "the config" if locked is None else str(lock)
    wanted_sha256 = spec.sha256 if locked is None else locked["sha256"]
    wanted_rows = spec.num_rows if locked is None or spec.num_rows is not None else locked["num_rows"]
    if wanted_rows not in (None, num_rows):
        hashes = f" (sha256 {sha256}, not {wanted_sha256}; {how_many})" if wanted_sha256 not in (None, sha256) else ""
        raise DataError(f"{benchmark.name}: prepared {num_rows:,} rows where {by} froze {wanted_rows:,}{hashes}: {_suspect(spec)}")
    if wanted_sha256 not in (None, sha256):
        raise DataError(
            f"{benchmark.name}: the {num_rows:,} prepared rows are not those that {by} froze "
            f"(sha256 {sha256}, not {wanted_sha256}; {how_many}): {_suspect(spec)}"
        )


def _suspect(spec: DatasetSpec) -> str:
    if all(source.sha256 for source in spec.sources):
        return f"the sources are as pinned, so {spec.prepare_script or 'the config'} has changed"
    return f"upstream's data or {spec.prepare_script or 'the config'} has changed"


def _recipe(spec: DatasetSpec) -> str:
    """A hash of what a prepared file is made of: the sources as the config names them, and the script's text."""
    script = Path(spec.prepare_script).read_bytes() if spec.prepare_script else b""
    named = json.dumps([[source.name, source.url, source.hf, source.local, source.sha256, source.member] for source in spec.sources])
    options = json.dumps(spec.prepare_options, sort_keys=True) if spec.prepare_options else ""
    return hashlib.sha256(named.encode() + options.encode() + script).hexdigest()


def _count(path: Path) -> int:
    """The number of rows: of lines that are not empty."""
    with path.open("rb") as file:
        return sum(1 for line in file if not line.isspace())


def read_lock(lock: Path | None) -> dict[str, dict[str, Any]]:
    """The entries of gym.lock by name, empty where there is none. Raises DataError with file and line where it is broken."""
    if lock is None or not lock.is_file():
        return {}
    try:
        data = json.loads(lock.read_text(encoding="utf-8"))
    except ValueError as error:
        where = f"{lock}:{getattr(error, 'lineno', 1)}"
        raise DataError(f"{where}: is not JSON ({error}); restore it from version control, or delete it") from error
    for name, entry in data.items() if isinstance(data, dict) else [("the file", data)]:
        if not isinstance(entry, dict) or not isinstance(entry.get("sha256"), str) or not isinstance(entry.get("num_rows"), int):
            raise DataError(f"{lock}: {name} must be {{sha256, num_rows}}; restore the file from version control, or delete it")
    return dict(data)


def _record(lock: Path | None, name: str, prepared: Prepared, locked: Mapping[str, Any] | None, progress: Progress) -> None:
    """Write what was prepared into gym.lock, where the config pins nothing and it is not there yet."""
    if lock is None or prepared.frozen or locked is not None:
        return
    try:
        write_lock(lock, name, {"sha256": prepared.sha256, "num_rows": prepared.num_rows})
    except OSError as error:
        # A read-only checkout is no reason not to run; it is said, and the next run is told again.
        progress(f"{name}: cannot be recorded in {lock}: {error.strerror or error}")
    else:
        progress(f"{name}: recorded in {lock}; commit it to freeze the data")


def write_lock(lock: Path, name: str, entry: Mapping[str, Any]) -> None:
    """Put one entry into gym.lock, the others untouched; safe for many processes at once. Raises OSError where it cannot be written."""
    with alone(lock.parent):
        data = {**read_lock(lock), name: dict(entry)}
        with temporary_beside(lock) as part:
            part.write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")
            os.replace(part, lock)


def _line_of(error: BaseException, script: Path) -> str:
    trace, line = error.__traceback__, 0
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename) == script.resolve():
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"{script}:{line}" if line else str(script)
