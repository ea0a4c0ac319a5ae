"""Archives: one member of a zip or tar file, written to a path of our choice.

Nothing else of an archive is unpacked, and one in which any entry points outside of itself is refused whole: it was made to do harm, or is
broken. Not here: getting the archive (fetch).
"""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

from pytest_gym.errors import DataError, did_you_mean

_BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, LZMAError, EOFError, RuntimeError, NotImplementedError, ValueError, OSError)


def unpack(archive: Path, member: str, target: Path) -> None:
    """Write the file `member` of a zip or tar archive (also .tar.gz, .bz2, .xz) to `target`.

    Raises DataError where there is no such member (with the nearest), where it is no plain file, where an entry escapes from the
    archive, and where the archive is broken or encrypted.
    """
    try:
        if zipfile.is_zipfile(archive):
            _from_zip(archive, member, target)
        elif tarfile.is_tarfile(archive):
            _from_tar(archive, member, target)
        else:
            raise DataError(f"{archive}: is neither a zip nor a tar archive, so it has no member {member!r}")
    except _BROKEN as error:
        raise DataError(f"{archive}: {member!r} cannot be read from the archive: {error or type(error).__name__}") from error


def _from_zip(archive: Path, member: str, target: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        entries = {entry.filename: entry for entry in opened.infolist()}
        for name in entries:
            _refuse(archive, name, name)
        entry = entries.get(member)
        if entry is None:
            raise _missing(archive, member, entries)
        # A link in a zip is a file that holds the link's target.
        if entry.is_dir() or stat.S_ISLNK(entry.external_attr >> 16):
            raise DataError(f"{archive}: the member {member!r} is no plain file")
        with opened.open(entry) as file:
            _copy(file, target)


def _from_tar(archive: Path, member: str, target: Path) -> None:
    with tarfile.open(archive) as opened:
        entries = {_plain(entry.name): entry for entry in opened.getmembers()}
        for entry in entries.values():
            _refuse(archive, entry.name, entry.name)
            if entry.issym():
                _refuse(archive, entry.name, str(PurePosixPath(entry.name).parent / entry.linkname))
            elif entry.islnk():
                _refuse(archive, entry.name, entry.linkname)
        found = entries.get(_plain(member))
        if found is None:
            raise _missing(archive, member, entries)
        file = opened.extractfile(found) if found.isfile() else None
        if file is None:
            raise DataError(f"{archive}: the member {member!r} is no plain file")
        _copy(file, target)


def _copy(file: IO[bytes], target: Path) -> None:
    with file, target.open("wb") as out:
        shutil.copyfileobj(file, out, 1 << 20)


def _plain(name: str) -> str:
    return name.removeprefix("./")


def _refuse(archive: Path, entry: str, path: str) -> None:
    """Raise DataError where `path`, as seen from the archive's own folder, is outside of it."""
    depth = 0
    text = path.replace("\\", "/")
    for part in text.split("/"):
        depth += -1 if part == ".." else 0 if part in ("", ".") else 1
        if depth < 0:
            break
    if depth < 0 or text.startswith("/") or text[1:2] == ":":
        raise DataError(f"{archive}: is refused: its entry {entry!r} points outside of the archive ({path!r})")


def _missing(archive: Path, member: str, names: Iterable[str]) -> DataError:
    return DataError(f"{archive}: has no member {member!r}{did_you_mean(member, sorted(names), otherwise='')}")
