"""`scores.csv.gz`: one line for every planned case of a run, and reading a stored run's outcomes from it, or from what else there is.

pandas, duckdb and the like read it, too: its columns are in docs/results.md. Not here: what the outcomes mean (`scores`).
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import math
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from operator import ne
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_gym.benchmark import Metric
from pytest_gym.errors import RunError
from pytest_gym.records import Landed
from pytest_gym.scores import CLASSES, FLAG_NAMES, Counts, Scored, outcomes_of
from pytest_gym.stored import StoredRun
from pytest_gym.verify import Corpora

SCORES = "scores.csv.gz"

_COLUMNS = ("benchmark", "task_id", "repeat", "passed", "reward", "class", "flags", "error", "answer", "output_tokens", "latency_s", "row")
_GROUPS = ("subset", "cluster")
_NAMED = "scores."
_BLOCK = 1 << 15
_LINES = 1_000
# So many different numbers of a column are remembered as texts: most columns have few, and looking one up is faster than reading it.
_REMEMBERED = 20_000


def write_scores(path: Path, benchmarks: Sequence[Scored]) -> None:
    """Write one line for every planned case of `benchmarks`; columns are in docs/results.md. Raises RunError where that fails."""
    named = list(dict.fromkeys(name for scored in benchmarks for name in scored.outcomes.scores))
    draft = path.with_name(path.name + ".new")
    try:
        # No name and no time within, so that equal runs have equal files.
        with draft.open("wb") as raw, gzip.GzipFile("", "wb", 5, raw, 0) as packed, io.TextIOWrapper(packed, "utf-8", newline="") as text:
            out = csv.writer(text, lineterminator="\n")
            out.writerow([*_COLUMNS, *_GROUPS, *(_NAMED + name for name in named)])
            for scored in benchmarks:
                out.writerows(_lines(scored, named))
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise RunError(f"{path} cannot be written: {error.strerror or error}") from error


def _lines(scored: Scored, named: Sequence[str]) -> Iterator[Sequence[Any]]:
    outcomes, repeats = scored.outcomes, scored.repeats
    flagged = {bits: "+".join(word for bit, word in FLAG_NAMES.items() if bits & bit) for bits in range(16)}
    subsets, clusters = outcomes.subsets or [None] * scored.tasks, outcomes.clusters or [None] * scored.tasks
    nothing = np.full(repeats, np.nan)
    place = 0
    for position, (task, row) in enumerate(zip(scored.task_ids, scored.rows, strict=True)):
        groups = ["" if name is None else name for name in (subsets[position], clusters[position])]
        more = [outcomes.scores[name][position].tolist() if name in outcomes.scores else nothing.tolist() for name in named]
        codes = [-1] * repeats if outcomes.answers is None else outcomes.answers[position].tolist()
        passed, rewards = outcomes.passed[position].tolist(), outcomes.rewards[position].tolist()
        classes, flags = scored.classes[position].tolist(), scored.flags[position].tolist()
        tokens, latency = scored.tokens[position].tolist(), scored.latency[position].tolist()
        for repeat in range(repeats):
            judged = passed[repeat] == passed[repeat]
            yield (
                scored.name,
                task,
                repeat,
                int(passed[repeat]) if judged else "",
                _number(rewards[repeat]),
                CLASSES[classes[repeat]],
                flagged[flags[repeat]],
                scored.errors.get(place, ""),
                scored.answers[codes[repeat]] if codes[repeat] >= 0 else "",
                "" if tokens[repeat] != tokens[repeat] else int(tokens[repeat]),
                "" if latency[repeat] != latency[repeat] else round(latency[repeat], 4),
                row,
                *groups,
                *(_number(column[repeat]) for column in more),
            )
            place += 1


def _number(value: float) -> Any:
    return "" if value != value else int(value) if value == int(value) else value


def read_scores(path: Path, manifest: Mapping[str, Any]) -> dict[str, Scored]:
    """The benchmarks of `scores.csv.gz`, in their order. Raises RunError with the line where the file is not what it should be."""
    parts: dict[str, _Part] = {}
    line = 1
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as text:
            header = next(csv.reader(text), [])
        if missing := [name for name in (*_COLUMNS, *_GROUPS) if name not in header]:
            raise RunError(f"{path}: has no column {missing[0]!r}")
        for cells in _cells(path, len(header)):
            columns = {name: cells[place :: len(header)] for place, name in enumerate(header)}
            if strange := set(columns["class"]).difference(CLASSES):
                raise ValueError(f"{strange.pop()!r} is no class")
            names = columns["benchmark"]
            for start, end in itertools.pairwise([*_starts(names), len(names)]):
                part = parts.setdefault(names[start], _Part(names[start]))
                whole = (start, end) == (0, len(names))
                part.add(columns if whole else {name: column[start:end] for name, column in columns.items()})
            line += len(names)
        return {name: part.scored(manifest) for name, part in parts.items()}
    except (OSError, EOFError, ValueError, KeyError, csv.Error, zlib.error) as error:
        raise RunError(f"{path}, after line {line:,}: cannot be read: {error}; without the file, rollouts.jsonl is read") from None


def _cells(path: Path, width: int) -> Iterator[list[str]]:
    """The cells of all lines but the first, some lines at a time, one after the other.

    A million lines have no list each, and are taken apart by `csv` only from where a quote stands on: that is several times slower.
    """
    done, rest = 0, b""
    with gzip.open(path, "rb") as file:
        while block := file.read(_BLOCK):
            block = rest + block
            if b'"' in block or b"\r" in block:
                break
            end = block.rfind(b"\n") + 1
            block, rest = block[:end], block[end:]
            if lines := block.count(b"\n"):
                cells = block[:-1].decode().replace("\n", ",").split(",")
                if len(cells) != lines * width:
                    raise ValueError(f"{lines:,} lines have {len(cells):,} cells, not {width} each")
                if not done:
                    del cells[:width]
                done += lines
                if cells:
                    yield cells
        else:
            if rest:
                raise ValueError("the last line is not whole")
            return
    with gzip.open(path, "rt", encoding="utf-8", newline="") as text:
        rows = csv.reader(itertools.islice(text, done, None))
        if not done:
            next(rows)
        while some := list(itertools.islice(rows, _LINES)):
            if any(len(row) != width for row in some):
                raise ValueError(f"a line has not {width} cells")
            yield list(itertools.chain.from_iterable(some))


def _starts(values: Sequence[str]) -> list[int]:
    """Where a value stands that is not the one before it, 0 included."""
    return [0, *itertools.compress(itertools.count(1), map(ne, values, itertools.islice(values, 1, None)))]


class _Part:
    """The columns of one benchmark while they are read."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.columns: dict[str, list[NDArray[Any]]] = {}
        self.tasks: dict[str, tuple[int, str, str, str]] = {}
        self.codes: dict[str, int] = {"": -1}
        self.errors: dict[int, str] = {}
        self.lines = 0
        self.numbers: dict[str, _Numbers] = defaultdict(_Numbers)

    def add(self, columns: Mapping[str, Sequence[str]]) -> None:
        """Take some lines. The repeats of a task stand side by side, so most is done once for each task."""
        ids = columns["task_id"]
        starts = _starts(ids)
        for start in starts:
            if ids[start] not in self.tasks:
                self.tasks[ids[start]] = (len(self.tasks), columns["row"][start], columns["subset"][start], columns["cluster"][start])
        positions = [self.tasks[ids[start]][0] for start in starts]
        self._keep("position", np.repeat(np.array(positions, dtype=np.int64), np.diff([*starts, len(ids)])))
        self._keep("repeat", self.numbers["repeat"].of(columns["repeat"]).astype(np.int64))
        for answer in dict.fromkeys(columns["answer"]):
            self.codes.setdefault(answer, len(self.codes) - 1)
        self._keep("answer", np.fromiter(map(self.codes.__getitem__, columns["answer"]), np.int32, len(ids)))
        bits = {text: sum(bit for bit, word in FLAG_NAMES.items() if word in text.split("+")) for text in set(columns["flags"])}
        self._keep("flags", np.fromiter(map(bits.__getitem__, columns["flags"]), np.uint8, len(ids)))
        if columns["error"].count("") < len(ids):
            self.errors |= {self.lines + place: kind for place, kind in enumerate(columns["error"]) if kind}
        self.lines += len(ids)
        for name, values in columns.items():
            if name in ("passed", "reward", "output_tokens", "latency_s") or name.startswith(_NAMED):
                kind = np.float32 if name in ("output_tokens", "latency_s") else np.float64
                self._keep(name, self.numbers[name].of(values).astype(kind, copy=False))

    def _keep(self, name: str, values: NDArray[Any]) -> None:
        self.columns.setdefault(name, []).append(values)

    def scored(self, manifest: Mapping[str, Any]) -> Scored:
        """All that was taken."""
        flat = {name: np.concatenate(chunks) for name, chunks in self.columns.items()}
        tasks, repeats = len(self.tasks), int(flat["repeat"].max()) + 1
        place = flat["position"] * repeats + flat["repeat"]

        def grid(name: str, empty: float) -> NDArray[Any]:
            array = np.full(tasks * repeats, empty, dtype=flat[name].dtype)
            array[place] = flat[name]
            return array.reshape(tasks, repeats)

        passed = grid("passed", math.nan)
        landed = (~np.isnan(passed)).astype(np.uint8)
        groups = list(self.tasks.values())
        named = {name.removeprefix(_NAMED): grid(name, math.nan) for name, values in flat.items() if _is_named(name, values)}
        outcomes = outcomes_of(
            grid("reward", math.nan),
            passed,
            grid("answer", -1),
            [subset or None for *_, subset, _ in groups],
            [cluster or None for *_, cluster in groups],
            named,
        )
        return Scored(
            self.name,
            metric_of(manifest, self.name),
            list(self.tasks),
            [row for _, row, *_ in groups],
            outcomes,
            grid("flags", 0) | landed,
            grid("output_tokens", math.nan),
            grid("latency_s", math.nan),
            {int(place[line]): kind for line, kind in self.errors.items()},
            [answer for answer in self.codes if answer],
            planned_of(manifest, self.name).get("subset"),
        )


class _Numbers(dict[str, float]):
    """The numbers that the texts of a column stand for, NaN for an empty one."""

    def __missing__(self, text: str) -> float:
        self[text] = value = float(text) if text else math.nan
        return value

    def of(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """The numbers of a column."""
        if len(self) <= _REMEMBERED:
            return np.fromiter(map(self.__getitem__, texts), np.float64, len(texts))
        return np.fromiter(map(float, [text or "nan" for text in texts] if "" in texts else texts), np.float64, len(texts))


def _is_named(name: str, values: NDArray[Any]) -> bool:
    # A column that another benchmark of the run has is there, too, and empty.
    return name.startswith(_NAMED) and not bool(np.all(np.isnan(values)))


def metric_of(manifest: Mapping[str, Any], name: str) -> Metric:
    """The metric that a run's manifest says a benchmark had."""
    said = manifest["benchmarks"][name]["metric"]
    low, high = said["range"]
    return Metric(
        said["headline"],
        said["direction"],
        -math.inf if low is None else float(low),
        math.inf if high is None else float(high),
        float(said["pass_threshold"]),
        said.get("aggregate") or {},
    )


def planned_of(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """What a run planned of a benchmark: `tasks`, `repeats`, `subset`; empty where the manifest does not say."""
    found: Mapping[str, Any] = (manifest["planned"].get("benchmarks") or {}).get(name) or {}
    return found


def scored_run(run: StoredRun, corpora: Corpora = lambda verifier: ()) -> dict[str, Scored]:
    """The benchmarks of a stored run: from its `scores.csv.gz`, else from its results or its journal.

    corpora: looks up the functions of corpus metrics, of which a run keeps the statistics alone.
    An unfinished run's tasks that it has not come to are there, too, without their ids. Raises RunError
    for what cannot be read.
    """
    path = run.path / SCORES
    try:
        found = read_scores(path, run.manifest) if path.exists() and not run.unfinished else _from_entries(run)
        return {name: one.with_corpora(corpora(run.manifest["benchmarks"][name]["verifier"]["name"])) for name, one in found.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{run.word}: its manifest is not whole ({error}); it was not written by this version, or changed since") from None


def _from_entries(run: StoredRun) -> dict[str, Scored]:
    manifest = run.manifest
    counts = {name: Counts(0, int(entry["num_repeats"])) for name, entry in manifest["benchmarks"].items()}
    positions: dict[str, dict[str, int]] = {name: {} for name in counts}
    for entry in run.entries():
        name, task, repeat = entry.key
        if name in counts:
            position = positions[name].setdefault(task, len(positions[name]))
            counts[name].landed(position, repeat, Landed.of(0, entry.rollout))
            if entry.outcome is not None:
                counts[name].judged(position, repeat, entry.outcome)
    found = {}
    for name, count in counts.items():
        planned = planned_of(manifest, name)
        unknown = max(int(planned.get("tasks") or 0) - len(positions[name]), 0)
        ids = [*positions[name], *[""] * unknown]
        found[name] = count.scored(
            name,
            metric_of(manifest, name),
            task_ids=ids,
            rows=[""] * len(ids),
            subsets=[None] * len(ids),
            clusters=[None] * len(ids),
            subset_field=planned.get("subset"),
        )
    return found
