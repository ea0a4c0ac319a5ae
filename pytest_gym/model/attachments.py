"""Parts of a message that are files: read when they are sent, held against their hash, and encoded for a JSON body.

Which kinds a wire API takes, and in which form, is the wires' business.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from typing import NamedTuple

from pytest_gym.records import Part

MEDIA_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".wav": "audio/wav",
    ".mp3": "audio/mpeg",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".m4a": "audio/mp4",
    ".pdf": "application/pdf",
    ".txt": "text/plain",
    ".md": "text/plain",
    ".csv": "text/csv",
    ".json": "application/json",
}
"""Media type by suffix: our own table, because that of the system differs between machines."""


_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,")


class Attachment(NamedTuple):
    """A file that was read: its name without folders, its media type, its bytes."""

    name: str
    media_type: str
    content: bytes

    @property
    def base64(self) -> str:
        """The content in base64."""
        return base64.b64encode(self.content).decode("ascii")

    @property
    def data_url(self) -> str:
        """The content as a `data:` URL (RFC 2397)."""
        return f"data:{self.media_type};base64,{self.base64}"


def read(part: Part) -> Attachment:
    """The file of a part, or what its `data:` url holds.

    Raises ValueError where it is absent, unreadable, of unknown type, or not the one that was meant.
    """
    if part.url is not None and (match := _DATA_URL.match(part.url)):
        try:
            content = base64.b64decode(part.url[match.end() :], validate=True)
        except ValueError as error:
            raise ValueError(f"a part of type {part.type!r} has a data url that is no base64: {error}") from None
        return Attachment(part.type, match[1].lower().replace("/x-", "/"), content)
    if part.path is None:
        raise ValueError(f"a part of type {part.type!r} has neither a url nor a path")
    path = Path(part.path)
    media_type = MEDIA_TYPES.get(path.suffix.lower())
    if media_type is None:
        raise ValueError(f"the media type of {part.path} is not known by its suffix (known: {', '.join(MEDIA_TYPES)})")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{part.path} cannot be read: {error.strerror or error}") from None
    if part.sha256 is not None and (found := hashlib.sha256(content).hexdigest()) != part.sha256.lower():
        raise ValueError(f"{part.path} is not the file that was meant: its SHA-256 is {found}, not {part.sha256}")
    return Attachment(path.name, media_type, content)


def image_url(part: Part) -> str:
    """The address of an image: its url, or its file as a `data:` URL."""
    if part.url is not None:
        return part.url
    image = read(part)
    if not image.media_type.startswith("image/"):
        raise ValueError(f"{part.path} is no image: its suffix says {image.media_type}")
    return image.data_url
