"""What comes back in an answer: bytes within bounds, unpacked, then JSON or a stream's events. Nothing is sent here.

Everything that is read is the endpoint's, and hostile until it is read: a body without end, a small one that unpacks to a huge one, JSON
nested a thousand deep, an answer in pieces that never ends.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from typing import Any, TypeVar

from pytest_gym.model import Stream
from pytest_gym.model.events import Event, EventDecoder
from pytest_gym.model.failures import Failure, Secret, error_inside, excerpt

T = TypeVar("T")

_HEAD = 65_536


class TooLarge(Exception):
    """The body is larger than it may be."""


async def pieces(chunks: AsyncIterable[bytes], encoding: str | None, most: int) -> AsyncGenerator[bytes, None]:
    """The bytes of a body, unpacked as its content encoding says.

    Raises TooLarge beyond `most` bytes, packed or unpacked, and Failure where they do not unpack.
    """
    packed = 0
    if encoding in (None, "", "identity"):
        async for chunk in chunks:
            packed += len(chunk)
            if packed > most:
                raise TooLarge
            yield chunk
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise Failure("bad_reply", f"packed its answer in a way that was not asked for ({encoding[:40]!r})")
    # 32 and more: zlib sees for itself whether it is gzip.
    unpacker = zlib.decompressobj(32 + zlib.MAX_WBITS)
    unpacked = 0
    try:
        async for chunk in chunks:
            packed += len(chunk)
            # One byte more than may be tells that there is more, and bounds what a small bomb becomes.
            data = unpacker.decompress(chunk, most - unpacked + 1)
            unpacked += len(data)
            if max(packed, unpacked) > most:
                raise TooLarge
            if data:
                yield data
    except zlib.error as error:
        raise Failure("bad_reply", f"sent a body that does not unpack ({error})") from None
    if not unpacker.eof and packed:
        raise Failure("bad_reply", "broke its answer off before its end")


def decoded(content: bytes, read: Callable[[Any], T], secret: Secret) -> T:
    """What `read` makes of the JSON in a body. Raises Failure where it is none, or an error, or `read` does not take it."""
    # A byte order mark is not JSON, but some gateways write one.
    text = content.decode("utf-8", "replace").removeprefix("\ufeff")
    if not text.strip():
        raise Failure("bad_reply", "answered with an empty body", excerpt="")
    try:
        data = json.loads(text)
        if secret.may_be_in(text):
            data = secret.out_of_all(data)
    except json.JSONDecodeError:
        said = excerpt(text, secret)
        raise Failure("bad_reply", f"answered with something that is not JSON: {said!r}", excerpt=said) from None
    except RecursionError:
        raise Failure("bad_reply", "answered with JSON nested too deeply") from None
    except ValueError as error:
        raise Failure("bad_reply", f"answered with JSON that cannot be read ({str(error)[:80]})") from None
    return understood(data, read, secret, text)


def understood(data: Any, read: Callable[[Any], T], secret: Secret, text: str | None = None) -> T:
    """What `read` makes of decoded JSON, whose source is `text`. Raises Failure where it is an error, or `read` does not take it."""
    if isinstance(data, dict) and data.get("error"):
        raise error_inside(data, secret)
    try:
        return read(data)
    except (TypeError, AttributeError, LookupError) as error:
        reason = f"with fields of unknown form ({error})"
    except ValueError as error:
        reason = f"but {error}"
    except RecursionError:
        reason = "with JSON nested too deeply"
    said = excerpt(json.dumps(data) if text is None else text, secret)
    raise Failure("bad_reply", f"answered, {secret.redact(reason)}: {said!r}", excerpt=said)


async def streamed(chunks: AsyncIterator[bytes], stream: Stream, secret: Secret) -> tuple[Any, float | None, float]:
    """Read server-sent events into `stream`: the body that they amount to, and when its first token and its end came (loop's clock)."""
    clock = asyncio.get_running_loop().time
    decoder, head = EventDecoder(), bytearray()
    first: float | None = None
    try:
        async for chunk in chunks:
            if len(head) < _HEAD:
                head += chunk[:_HEAD]
            for event in decoder.feed(chunk):
                if _take(event, stream, secret) and first is None:
                    first = clock()
            if stream.done:
                break
        else:
            for event in decoder.end():
                if _take(event, stream, secret) and first is None:
                    first = clock()
        ended = clock()
        body = secret.out_of_all(stream.body()) if secret else stream.body()
    except ValueError as error:
        said = excerpt(bytes(head), secret)
        raise Failure("bad_reply", f"sent a stream, but {secret.redact(str(error))}: {said!r}", excerpt=said) from None
    except (TypeError, AttributeError, LookupError, RecursionError) as error:
        said = excerpt(bytes(head), secret)
        raise Failure("bad_reply", f"sent a stream with events of unknown form ({type(error).__name__}): {said!r}", excerpt=said) from None
    return body, first, ended


def _take(event: Event, stream: Stream, secret: Secret) -> bool:
    text = event.data.strip()
    if not text:
        return False
    if text == "[DONE]":
        return stream.event(event.name, text)
    try:
        data = json.loads(text)
    except json.JSONDecodeError:
        said = excerpt(text, secret)
        # An error's text need not be JSON.
        named = "answered with an error" if event.name == "error" else "sent an event that is not JSON"
        raise Failure("server" if event.name == "error" else "bad_reply", f"{named}: {said!r}", status=200, excerpt=said) from None
    if event.name == "error" or (isinstance(data, dict) and (data.get("error") or data.get("type") == "error")):
        raise error_inside(data, secret)
    return stream.event(event.name, data)
