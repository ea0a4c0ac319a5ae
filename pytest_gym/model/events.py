"""Server-sent events out of the bytes of a streamed answer, wherever the network cuts them. What an event means is the wire's business.

After the WHATWG HTML standard, 9.2.6 (https://html.spec.whatwg.org/multipage/server-sent-events.html): lines end in LF, CR or CRLF, a
blank line ends an event, several `data` lines are one text, lines that begin with a colon are comments. Unlike there, an event that the
end of the stream cuts off before its blank line is given too: some servers leave the last one out.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import NamedTuple


class Event(NamedTuple):
    """One event: its name, where it has one, and its data as text."""

    name: str | None
    data: str


class EventDecoder:
    """Bytes in, events out. It holds what has come of one event; whoever feeds it bounds the bytes."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._tail: list[str] = []
        self._after_cr = False
        self._name: str | None = None
        self._data: list[str] = []

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes."""
        return list(self._lines(self._decoder.decode(data)))

    def end(self) -> list[Event]:
        """The event that the end of the stream completes, if any."""
        events = list(self._lines(self._decoder.decode(b"", final=True)))
        if self._tail:
            self._field("".join(self._tail))
            self._tail.clear()
        return [*events, *self._event()]

    def _lines(self, text: str) -> Iterator[Event]:
        if self._after_cr and text:
            # A CR ended the line at once; an LF after it, in the next piece, is part of that end.
            self._after_cr = False
            text = text.removeprefix("\n")
        if not text:
            return
        if "\r" in text:
            self._after_cr = text[-1] == "\r"
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        *whole, rest = text.split("\n")
        for line in whole:
            if self._tail:
                line = "".join((*self._tail, line))
                self._tail.clear()
            if line:
                self._field(line)
            else:
                yield from self._event()
        if rest:
            self._tail.append(rest)

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._name = value or None

    def _event(self) -> Iterator[Event]:
        name, data = self._name, self._data
        self._name, self._data = None, []
        if data:
            yield Event(name, "\n".join(data))
