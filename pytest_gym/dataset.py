"""Datasets: a prepared JSONL file, opened once and read by row.

Opening checks every row and keeps where it begins, its id and its groups, not the row itself; an index file hands that to other processes.
Not here: getting the file (prepare), and escaping for anything but node ids.
"""

from __future__ import annotations

import codecs
import hashlib
import heapq
import json
import os
import re
import threading
import weakref
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_gym.benchmark import Benchmark
from pytest_gym.errors import ConfigError, DataError, did_you_mean
from pytest_gym.records import Task

_HASH_BYTES = 8
_SCHEMA = 2
# What an index keeps per row, apart from the line about the file.
_LISTS = ("ids", "subsets", "clusters")
_LIMIT = re.compile(r"([0-9]{1,12})(?:@([0-9]{1,18}))?")
_NOT_NODE = re.compile(r"[^A-Za-z0-9_.-]")
_NODE_LENGTH = 48


class Row(dict[str, Any]):
    """The fields of one row. Asking for one that is not there raises DataError naming benchmark, row (1-based line) and field."""

    __slots__ = ("benchmark", "line")

    def __init__(self, fields: Mapping[str, Any], benchmark: str, line: int) -> None:
        super().__init__(fields)
        self.benchmark = benchmark
        self.line = line

    def __missing__(self, name: str) -> Any:
        has = ", ".join(map(str, self)) or "none"
        raise DataError(f"{self.benchmark}, row {self.line}: no field {name!r} (it has: {has})")


class Dataset:
    """The rows of one file: `open` checks it whole, `load` takes an index that `save_index` wrote.

    `ids`, `subsets` and `clusters` are lists over the rows, `sha256` is the file's in hex. Safe to read from many threads.
    """

    def __init__(self, path: Path, benchmark: str, meta: Mapping[str, Any], offsets: array[int], hashes: bytes) -> None:
        self.path = path
        self.benchmark = benchmark
        self.sha256: str = meta["sha256"]
        self.ids: list[str] = meta["ids"]
        self.subsets: list[str | None] = _spread(meta["subsets"], len(self.ids))
        self.clusters: list[str | None] = _spread(meta["clusters"], len(self.ids))
        self._meta = meta
        self._offsets = offsets
        self._hashes = hashes
        self._lock = threading.Lock()
        try:
            self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError as error:
            raise DataError(f"{benchmark}: {path} cannot be read: {error.strerror or error}") from error
        self._close = weakref.finalize(self, os.close, self._file)
        if _stamp(self._file) != meta["stamp"]:
            self.close()
            raise DataError(f"{benchmark}: {path} has changed since it was indexed; start again")

    @classmethod
    def open(cls, path: Path, benchmark: Benchmark) -> Dataset:
        """Read `path` once and check every row. Raises DataError with file and line (or both rows) for the first that is wrong."""
        name, needed = benchmark.name, sorted(benchmark.prompt.fields)
        lines: dict[str, int] = {}
        subsets, clusters = _Groups(benchmark.subset, "subset"), _Groups(benchmark.cluster, "cluster")
        offsets, hashes, whole, blank = array("Q"), bytearray(), hashlib.sha256(), 0
        end = 0
        try:
            with path.open("rb") as file:
                stamp, identity = _stamp(file.fileno()), _identity(file.fileno())
                for number, raw in enumerate(file, 1):
                    start, end = end, end + len(raw)
                    whole.update(raw)
                    if raw.isspace():
                        # Editors leave empty lines at the end; one in the middle would shift every row number after it.
                        blank = blank or number
                        continue
                    where = f"{path}:{blank or number}"
                    if blank:
                        raise DataError(f"{where}: {name}: the line is empty; every line is one row")
                    row = _parse(raw, where, name)
                    identifier = _row_id(row, number, where)
                    if identifier in lines and benchmark.nemo:
                        # NeMo Gym knows rows by their number and lets ids begin anew, in IHEval for each task.
                        identifier = f"{identifier}.{number - 1:04d}"
                    if identifier in lines:
                        raise DataError(f"{path}: {name}: rows {lines[identifier]} and {number} have the same id {identifier!r}")
                    lines[identifier] = number
                    for field in needed:
                        if row.get(field) is None:
                            what = "is null in" if field in row else "is missing from"
                            raise DataError(
                                f"{where}: {name}: field {field!r}, which the prompt needs, {what} row {number}{_nearest(field, row)}"
                            )
                    subsets.add(row, where)
                    clusters.add(row, where)
                    offsets.append(start)
                    hashes += row_hash(raw)
                    last = end
        except OSError as error:
            raise DataError(f"{name}: {path} cannot be read: {error.strerror or error}") from error
        if not offsets:
            raise DataError(f"{path}: {name}: the file has no rows")
        offsets.append(last)
        meta = {
            "schema": _SCHEMA,
            "path": str(path),
            "benchmark": name,
            "sha256": whole.hexdigest(),
            "num_rows": len(lines),
            "stamp": stamp,
            "identity": identity,
            "ids": list(lines),
            "subsets": subsets.packed(),
            "clusters": clusters.packed(),
        }
        return cls(path, name, meta, offsets, bytes(hashes))

    def __len__(self) -> int:
        return len(self.ids)

    def task(self, index: int) -> Task:
        """The task in row `index` (0-based), read from the file."""
        start, size = self._offsets[index], self._offsets[index + 1] - self._offsets[index]
        if hasattr(os, "pread"):
            raw = os.pread(self._file, size, start)
        else:
            with self._lock:
                os.lseek(self._file, start, os.SEEK_SET)
                raw = os.read(self._file, size)
        row = Row(_parse(raw, f"{self.path}:{index + 1}", self.benchmark), self.benchmark, index + 1)
        return Task(self.ids[index], index, self.benchmark, row, self.subsets[index], self.clusters[index])

    def row_hash(self, index: int) -> str:
        """The first 16 hex digits of the sha256 of a row's bytes, by which the same row is known in another run."""
        return self._hashes[index * _HASH_BYTES : (index + 1) * _HASH_BYTES].hex()

    def close(self) -> None:
        """Close the file; it is also closed when the object goes."""
        self._close()

    def save_index(self, path: Path) -> None:
        """Write what `load` needs: two lines of JSON (the file, its rows), offsets (64 bit, this machine's byte order), row hashes."""
        lists = {name: self._meta[name] for name in _LISTS}
        with path.open("wb") as file:
            file.write(json.dumps({name: value for name, value in self._meta.items() if name not in lists}).encode() + b"\n")
            file.write(json.dumps(lists).encode() + b"\n")
            file.write(self._offsets.tobytes())
            file.write(self._hashes)

    @classmethod
    def load(cls, index_path: Path) -> Dataset:
        """The dataset from its index, without reading a row. Raises DataError where the file is no longer the one that was indexed."""
        meta, offsets, hashes = _read_index(index_path)
        return cls(Path(meta["path"]), meta["benchmark"], meta, offsets, hashes)

    @staticmethod
    def hashes_of(index_path: Path, sha256: str) -> list[bytes]:
        """The row hashes in an index, whatever has become of its file. Raises DataError where it is not of a file with this sha256."""
        meta, _, hashes = _read_index(index_path)
        if meta["sha256"] != sha256:
            raise DataError(f"{index_path}: is of another file")
        return [hashes[start : start + _HASH_BYTES] for start in range(0, len(hashes), _HASH_BYTES)]

    def select(self, limit: str | None) -> list[int]:
        """Row numbers (0-based, in order): all for None, the first n for `"n"`, a sample of n for `"n@seed"`.

        A sample takes the rows whose sha256 of seed and id is smallest, so that it is the same in every Python version, and a row
        that is added changes it by at most one. Raises ConfigError for anything else.
        """
        if limit is None:
            return list(range(len(self)))
        match = _LIMIT.fullmatch(limit)
        if match is None or int(match[1]) == 0:
            raise ConfigError(f"limit must be N or N@SEED, two whole numbers with N at least 1, not {limit!r}")
        count = min(int(match[1]), len(self))
        if match[2] is None:
            return list(range(count))
        seed = int(match[2])
        drawn = heapq.nsmallest(count, range(len(self)), key=lambda index: hashlib.sha256(f"{seed}\0{self.ids[index]}".encode()).digest())
        return sorted(drawn)


def row_hash(raw: bytes) -> bytes:
    """What a row is known by in an index: the first bytes of the sha256 of its line."""
    return hashlib.sha256(raw.strip()).digest()[:_HASH_BYTES]


def node_names(ids: Sequence[str]) -> list[str]:
    """The ids as parts of pytest node ids: other characters than `[A-Za-z0-9_.-]` become '_', and long ids are cut at 48.

    What was changed gets a hash of the whole id behind it (57 characters in all), so that two ids stay two names.
    Raises DataError naming both where they do not.
    """
    names: dict[str, str] = {}
    for identifier in ids:
        name = _NOT_NODE.sub("_", identifier)[:_NODE_LENGTH]
        if name != identifier:
            name = f"{name}-{hashlib.sha256(identifier.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
        if name in names:
            raise DataError(f"the ids {names[name]!r} and {identifier!r} give the same node id {name!r}; rename one")
        names[name] = identifier
    return list(names)


def group_name(value: Any, field: str, what: str, where: str) -> str | None:
    """A row's value as the name of a group of tasks. Raises DataError where it is no text, number, yes or no, or null."""
    if isinstance(value, dict | list):
        raise DataError(f"{where}: field {field!r} is {what}, so it must be a text or a number, not {value!r:.80}")
    return value if value is None or isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


class _Groups:
    """The values of one row field, each kept once, with a number per row; nothing where there is no such field."""

    def __init__(self, field: str | None, what: str) -> None:
        self.field = field
        self.what = what
        self.numbers: dict[str | None, int] = {}
        self.codes: list[int] = []

    def add(self, row: Mapping[str, Any], where: str) -> None:
        if self.field is None:
            return
        if self.field not in row:
            hint = _nearest(self.field, row)
            raise DataError(f"{where}: the row has no field {self.field!r}, which the config names as {self.what}{hint}")
        key = group_name(row[self.field], self.field, f"the {self.what}", where)
        self.codes.append(self.numbers.setdefault(key, len(self.numbers)))

    def packed(self) -> dict[str, Any] | None:
        return None if self.field is None else {"values": list(self.numbers), "codes": self.codes}


def _spread(packed: Mapping[str, Any] | None, count: int) -> list[str | None]:
    if packed is None:
        return [None] * count
    values = packed["values"]
    return [values[code] for code in packed["codes"]]


def _parse(raw: bytes, where: str, benchmark: str) -> dict[str, Any]:
    try:
        row = _DECODER.decode(raw.removeprefix(codecs.BOM_UTF8).decode())
        # An escape may hide half a character, which nothing later on could send or write.
        if b"\\u" in raw:
            json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise DataError(f"{where}: {benchmark}: the row holds a lone surrogate (an escape like \\ud800), which is no text") from None
    except (ValueError, RecursionError) as error:
        said = "nested too deep" if isinstance(error, RecursionError) else error
        raise DataError(f"{where}: {benchmark}: the line is not JSON: {said}") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: {benchmark}: a row is a JSON object, not {row!r:.80}")
    return row


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON value")


# Made once: json.loads makes a new one for every row where it is given a hook.
_DECODER = json.JSONDecoder(parse_constant=_refuse)


def _row_id(row: Mapping[str, Any], number: int, where: str) -> str:
    # Rows of NeMo Gym have one or the other.
    if "id" not in row and not isinstance(row.get("uuid"), str):
        return f"{number - 1:04d}"
    value = row["id"] if "id" in row else row["uuid"]
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise DataError(f"{where}: the id of a row must be a text or a whole number, not {value!r:.80}")
    return str(value)


def _nearest(field: str, row: Mapping[str, Any]) -> str:
    return "" if field in row else did_you_mean(field, row, otherwise=f" (it has: {', '.join(row) or 'none'})")


def _stamp(file: int) -> list[int]:
    status = os.fstat(file)
    return [status.st_size, status.st_mtime_ns]


def _identity(file: int) -> list[int]:
    """What tells a file from one that was put in its place, or written again with its old time."""
    status = os.fstat(file)
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _read_index(path: Path) -> tuple[dict[str, Any], array[int], bytes]:
    try:
        with path.open("rb") as file:
            meta = {**json.loads(file.readline()), **json.loads(file.readline())}
            count = len(meta["ids"])
            offsets = array("Q")
            offsets.frombytes(file.read(8 * (count + 1)))
            hashes = file.read()
        if meta["schema"] != _SCHEMA or len(offsets) != count + 1 or len(hashes) != _HASH_BYTES * count:
            raise ValueError("its parts do not fit together")
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise DataError(f"{path}: is no dataset index: {error}") from error
    return meta, offsets, hashes
