"""Fetching: one raw source file, from GYM_SOURCES, from the cache of downloads, or over http(s), checked before anybody reads it.

Every failure is one DataError that says which file to put where, so that a machine without a network can be served by hand.
Not here: what is made of the file (prepare).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from pytest_gym.archive import unpack
from pytest_gym.benchmark import Source
from pytest_gym.errors import DataError

# '@' cannot stand in a benchmark's name, so the folder of downloads is never a benchmark's.
DOWNLOADS = "@sources"
RETRIES = 3
BACKOFF_S = 0.5
TIMEOUT_S = 60.0
_PASSING = frozenset((408, 425, 429, 500, 502, 503, 504))
_PROGRESS_S = 2.0
_HUB = "https://huggingface.co"


def fetch(source: Source, benchmark: str, *, cache: Path, sources: Path | None, progress: Callable[[str], None]) -> Path:
    """The path of `source`'s file, its sha256 checked where the config pins it. Raises DataError where it is not to be had.

    Where the file is an archive with a `member`, that is unpacked into the cache, and its path is given.
    """
    path = _file(source, benchmark, cache=cache, sources=sources, progress=progress)
    if source.member is None:
        return path
    unpacked = cache / DOWNLOADS / hashlib.sha256(f"{file_sha256(path)}\0{source.member}".encode()).hexdigest()[:16] / source.name
    with alone(unpacked.parent):
        if not unpacked.is_file():
            with temporary_beside(unpacked) as part:
                try:
                    unpack(path, source.member, part)
                except DataError as error:
                    raise DataError(f"{benchmark}: {error}") from error
                os.replace(part, unpacked)
    return unpacked


def _file(source: Source, benchmark: str, *, cache: Path, sources: Path | None, progress: Callable[[str], None]) -> Path:
    for candidate in local_paths(source, benchmark, sources):
        if candidate.is_file():
            return _checked(candidate, source, benchmark)
    address = _address(source)
    if address is None:
        raise DataError(f"{benchmark}: the source file {source.name!r} has no address in the config; {_advice(source, benchmark, sources)}")
    target = cache / DOWNLOADS / hashlib.sha256(address.encode("utf-8", "surrogatepass")).hexdigest()[:16] / source.file_name
    try:
        # Whoever comes second waits, and finds the file there.
        with alone(target.parent, lambda: progress(f"{benchmark}: {source.name}: waiting for another process that fetches it")):
            if not (target.is_file() and source.sha256 in (None, file_sha256(target))):
                _download(address, target, source, benchmark, progress)
    except _Failed as failed:
        advice = _advice(source, benchmark, sources)
        raise DataError(f"{benchmark}: the source file {source.name!r} cannot be fetched from {address}: {failed}; {advice}") from failed
    return target


def local_paths(source: Source, benchmark: str, sources: Path | None) -> list[Path]:
    """Where under GYM_SOURCES a file is looked for, best first: `local:`, `<benchmark>/<name>`, for a variant `a/b` also `a/<name>`."""
    if sources is None:
        return []
    parts = benchmark.split("/")
    paths = [sources / source.local] if source.local else []
    return paths + [sources.joinpath(*parts[:count], source.file_name) for count in range(len(parts), 0, -1)]


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def temporary_beside(target: Path) -> Iterator[Path]:
    """A new path in `target`'s folder (which is made): to be written whole and moved over `target`, and removed if it was not.

    The name is unique, so that several processes may write the same target at once.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    path = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def alone(folder: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a lock on a folder (made where it is missing) against other processes and threads; nothing where the system has no flock.

    `waiting` is called where somebody else has it. The lock ends with the process, so nothing is ever left behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting is not None:
                waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


class _Failed(Exception):
    """Why a download failed; `again` says that another attempt may do better."""

    def __init__(self, reason: str, *, again: bool = False) -> None:
        super().__init__(reason)
        self.again = again


def _checked(path: Path, source: Source, benchmark: str) -> Path:
    if source.sha256 is not None and (found := file_sha256(path)) != source.sha256:
        raise DataError(f"{benchmark}: {path} is not the file that the config pins: its sha256 is {found}, not {source.sha256}")
    return path


def _address(source: Source) -> str | None:
    if source.hf is None:
        return source.url
    where, _, rest = source.hf.partition("@")
    revision, _, path = rest.partition("/")
    endpoint = (os.environ.get("HF_ENDPOINT") or _HUB).rstrip("/")
    # A revision such as refs/convert/parquet is written with %2F in the config, and stays so in the address.
    return f"{endpoint}/datasets/{where}/resolve/{quote(revision, safe='%')}/{quote(path)}"


def _advice(source: Source, benchmark: str, sources: Path | None) -> str:
    wanted = local_paths(source, benchmark, sources or Path("DIR"))[0]
    return f"put the file at {wanted}" + ("" if sources else " and set GYM_SOURCES=DIR")


def _download(address: str, target: Path, source: Source, benchmark: str, progress: Callable[[str], None]) -> None:
    headers = {"Accept-Encoding": "identity", "User-Agent": "pytest-gym"}
    if source.hf is not None:
        if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
            raise _Failed("HF_HUB_OFFLINE is set")
        if token := os.environ.get("HF_TOKEN"):
            headers["Authorization"] = f"Bearer {token}"
    for attempt in range(RETRIES + 1):
        try:
            with temporary_beside(target) as part:
                found = _stream(address, headers, part, lambda said: progress(f"{benchmark}: {source.name}: {said}"))
                if source.sha256 not in (None, found):
                    raise _Failed(f"its sha256 is {found}, but the config pins {source.sha256}: it was changed upstream, or on the way")
                os.replace(part, target)
            return
        except OSError as error:
            raise _Failed(f"it cannot be written to {target}: {error.strerror or error}") from error
        except _Failed as failed:
            if not failed.again or attempt == RETRIES:
                raise
            progress(f"{benchmark}: {source.name}: {failed}; trying again")
            time.sleep(BACKOFF_S * 2**attempt)


def _stream(address: str, headers: dict[str, str], part: Path, progress: Callable[[str], None]) -> str:
    """Write what `address` gives to `part`; its sha256."""
    import httpx

    digest, done, shown = hashlib.sha256(), 0, time.monotonic()
    try:
        with (
            httpx.Client(follow_redirects=True, timeout=TIMEOUT_S, headers=headers) as client,
            client.stream("GET", address) as response,
        ):
            if response.status_code != 200:
                raise _Failed(_status(response.status_code), again=response.status_code in _PASSING)
            total = int(response.headers.get("Content-Length") or 0) / 1e6
            progress(f"fetching {total:.1f} MB" if total else "fetching")
            with part.open("wb") as file:
                for chunk in response.iter_bytes(1 << 18):
                    file.write(chunk)
                    digest.update(chunk)
                    done += len(chunk)
                    if time.monotonic() - shown > _PROGRESS_S:
                        shown = time.monotonic()
                        progress(f"{done / 1e6:.1f} of {total:.1f} MB" if total else f"{done / 1e6:.1f} MB")
    except httpx.TransportError as error:
        raise _Failed(f"{type(error).__name__}: {error}".rstrip(": "), again=not isinstance(error, httpx.UnsupportedProtocol)) from error
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise _Failed(f"{type(error).__name__}: {error}".rstrip(": ")) from error
    return digest.hexdigest()


def _status(code: int) -> str:
    if code in (401, 403):
        return f"the server refuses it (status {code}); where the data is gated, set HF_TOKEN to a token that may read it"
    return f"the server answers with status {code}"
