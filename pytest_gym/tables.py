"""Tables: a source file whose rows need no script, read row by row: jsonl, json, csv, tsv and parquet, plain or as .gz.

The rows are as they stand in the file: cells of csv and tsv are texts. Not here: changing rows (a prepare script), writing them (prepare).
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from pytest_gym.errors import DataError

# csv's own limit of 128 KiB is less than many a document in a data set.
_LONGEST_CELL = 1 << 30


def is_table(name: str) -> bool:
    """Whether a file of this name can be read as rows."""
    return _format(name) in _READERS


def formats() -> str:
    """The names of the formats, for a sentence."""
    return ", ".join(_READERS)


def read_rows(path: Path, name: str) -> Iterator[Any]:
    """The rows of the file at `path`, whose format `name` tells. Raises DataError with file and, where there is one, line."""
    try:
        opened: Any = gzip.open(path) if name.endswith(".gz") else path.open("rb")
        with opened as file:
            yield from _READERS[_format(name)](file, path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text: {error}") from error
    except (EOFError, zlib.error, OSError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _format(name: str) -> str:
    return name.removesuffix(".gz").rpartition(".")[2].lower()


def _jsonl(file: IO[bytes], path: Path) -> Iterator[Any]:
    for number, line in enumerate(file, 1):
        if line.isspace():
            continue
        try:
            yield json.loads(line.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{number}: the line is not JSON: {error}") from error


def _json(file: IO[bytes], path: Path) -> Iterator[Any]:
    try:
        data = json.loads(file.read().decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        where = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise DataError(f"{path}{where}: is not JSON: {error}") from error
    if not isinstance(data, list):
        raise DataError(f"{path}: must be a list of rows, not {type(data).__name__}; a prepare_script can take the rows out of it")
    yield from data


def _separated(delimiter: str) -> Callable[[IO[bytes], Path], Iterator[Any]]:
    def read(file: IO[bytes], path: Path) -> Iterator[Any]:
        csv.field_size_limit(_LONGEST_CELL)
        text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        try:
            header = next(reader, [])
            if len(set(header)) != len(header) or not all(header):
                raise DataError(f"{path}:1: the first line must name the columns, each with a name of its own: {header!r:.120}")
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise DataError(f"{path}:{reader.line_num}: the line has {len(cells)} cells where the first one names {len(header)}")
                yield dict(zip(header, cells, strict=True))
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num}: is not {'CSV' if delimiter == ',' else 'TSV'}: {error}") from error
        finally:
            text.detach()

    return read


def _parquet(file: IO[bytes], path: Path) -> Iterator[Any]:
    if importlib.util.find_spec("pyarrow") is None:
        raise DataError(f"{path}: reading parquet needs the package 'pyarrow': pip install 'pytest-gym[parquet]'")
    import pyarrow
    import pyarrow.parquet

    try:
        for batch in pyarrow.parquet.ParquetFile(file).iter_batches():
            yield from batch.to_pylist()
    except (pyarrow.ArrowException, ValueError) as error:
        raise DataError(f"{path}: is not a parquet file that can be read: {' '.join(str(error).split())}") from error


_READERS: dict[str, Callable[[IO[bytes], Path], Iterator[Any]]] = {
    "jsonl": _jsonl,
    "json": _json,
    "csv": _separated(","),
    "tsv": _separated("\t"),
    "parquet": _parquet,
}
