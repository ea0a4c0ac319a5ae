"""Indexes in the data cache: a dataset that was read once is opened again without reading its rows.

An index is believed while its file is the very one that was read (size, times, inode) and was not written in the moment of reading; else
the file is read anew. It also remembers the rows of a file that has changed since, so that an error can say how many differ.
Not here: what an index holds (dataset).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pytest_gym.benchmark import Benchmark
from pytest_gym.dataset import Dataset, row_hash
from pytest_gym.errors import DataError
from pytest_gym.fetch import temporary_beside

# '@' cannot stand in a benchmark's name.
INDEXES = "@indexes"
# A file that is written twice within one tick of the clock has the same times: it must have been at rest this long when it was read.
_REST_NS = 100_000_000


class Known(NamedTuple):
    """What an index says of a file: its sha256 in hex and its number of rows."""

    sha256: str
    num_rows: int


def open_indexed(path: Path, benchmark: Benchmark, cache: Path) -> Dataset:
    """`Dataset.open`, or the same from the index in `cache`. Raises DataError as that does."""
    place = _place(path, benchmark, cache)
    if look(path, benchmark, cache) is not None:
        # Somebody may replace or remove it meanwhile: then the file itself is read.
        with contextlib.suppress(DataError):
            return Dataset.load(place)
    dataset = Dataset.open(path, benchmark)
    # A cache that cannot be written costs time, nothing else.
    with contextlib.suppress(OSError), temporary_beside(place) as part:
        dataset.save_index(part)
        os.replace(part, place)
    return dataset


def look(path: Path, benchmark: Benchmark, cache: Path) -> Known | None:
    """What the index says of `path`, where it can be believed; a few milliseconds whatever the file's size."""
    place = _place(path, benchmark, cache)
    try:
        with place.open("rb") as file:
            meta = json.loads(file.readline())
            read_ns = os.fstat(file.fileno()).st_mtime_ns
        status = path.stat()
        identity = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        rested = max(status.st_mtime_ns, status.st_ctime_ns) + _REST_NS < read_ns
        return Known(meta["sha256"], meta["num_rows"]) if meta["identity"] == identity and rested else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def differing(path: Path, wanted: str, benchmark: Benchmark, cache: Path, rows: Iterable[bytes]) -> str:
    """In how many rows `rows` (lines of bytes) differ from the file with sha256 `wanted` that once was at `path`, as a half-sentence."""
    try:
        before = Dataset.hashes_of(_place(path, benchmark, cache), wanted)
    except DataError:
        return "how many rows differ cannot be told, as the frozen rows were never read with this cache"
    now = [row_hash(row) for row in rows if not row.isspace()]
    # Rows that were moved are the same rows: only one that is nowhere else any more differs.
    gone, new = (Counter(before) - Counter(now)).total(), (Counter(now) - Counter(before)).total()
    if not gone and not new:
        return "the same rows in another order or with other spaces"
    first = next(
        (number for number, (old, row) in enumerate(zip(before, now, strict=False), 1) if old != row), min(len(before), len(now)) + 1
    )
    text = f"{max(gone, new):,} of {len(before):,} rows differ, the first is row {first}"
    return text + (f"; there are {len(now):,} now" if len(now) != len(before) else "")


def _place(path: Path, benchmark: Benchmark, cache: Path) -> Path:
    """Where the index is: what it depends on, beside the bytes, is in its name."""
    checked = [str(path.absolute()), benchmark.name, benchmark.subset, benchmark.cluster, sorted(benchmark.prompt.fields)]
    return cache / INDEXES / f"{hashlib.sha256(json.dumps(checked).encode()).hexdigest()[:32]}.index"
