"""Server-sent events: however a stream is written and wherever it is cut, the same events come out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym.model.events import Event, EventDecoder

LINE = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=12)
NAME = st.none() | LINE.map(str.strip).filter(bool)
EVENTS = st.lists(st.tuples(NAME, st.lists(LINE, min_size=1, max_size=3)), max_size=6)


def decoded(pieces: list[bytes]) -> list[Event]:
    decoder = EventDecoder()
    return [*(event for piece in pieces for event in decoder.feed(piece)), *decoder.end()]


@settings(max_examples=150, deadline=None)
@given(data=st.data(), events=EVENTS, mark=st.booleans())
def test_any_way_of_writing_and_any_cut_give_the_same_events(data, events, mark):
    text = "\ufeff" if mark else ""
    ends = ["\r\n", "\r", "\n"]
    for name, lines in events:
        fields = [("data", line) for line in lines]
        if name is not None:
            fields.insert(data.draw(st.integers(0, len(fields))), ("event", name))
        for field, value in fields:
            if data.draw(st.booleans()):
                text += data.draw(st.sampled_from([": a comment", "id: 7", "retry: 10", "unknown", ":"])) + data.draw(st.sampled_from(ends))
            # One blank after the colon is not part of the value.
            blank = " " if value[:1] == " " else data.draw(st.sampled_from(["", " "]))
            text += f"{field}:{blank}{value}{data.draw(st.sampled_from(ends))}"
        # An LF after a CR would be the same line's end, and no blank line.
        text += data.draw(st.sampled_from(ends[:2] if text.endswith("\r") else ends))
    raw = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    pieces = [raw[one:other] for one, other in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    wanted = [Event(name, "\n".join(lines)) for name, lines in events]
    assert decoded([raw]) == decoded(pieces) == decoded([raw[at : at + 1] for at in range(len(raw))]) == wanted


@pytest.mark.parametrize(
    ("raw", "events"),
    [
        (b"", []),
        (b"\n\n\r\n", []),
        (b"data: 1\n\n", [(None, "1")]),
        (b"data:1\r\rdata: 2\r\n\r\n", [(None, "1"), (None, "2")]),
        (b"data: one\ndata: two\ndata\n\n", [(None, "one\ntwo\n")]),
        (b"event: error\ndata: {}\n\ndata: 2\n\n", [("error", "{}"), (None, "2")]),
        (b"event: lost\n\ndata: 1\n\n", [(None, "1")]),
        (b": comment\n:\ndata:  two blanks\n\n", [(None, " two blanks")]),
        (b'{"no": "stream"}\n\n', []),
        (b"data: cut off", [(None, "cut off")]),
        (b"data: a\xff\xfeb\n\n", [(None, "a\ufffd\ufffdb")]),
        (b"data: \xf0\x9f\x98", [(None, "\ufffd")]),
        ("data: \u2028\u0085\x0b\x1c\n\n".encode(), [(None, "\u2028\u0085\x0b\x1c")]),
    ],
)
def test_examples(raw, events):
    wanted = [Event(*event) for event in events]
    assert decoded([raw]) == wanted
    assert decoded([raw[at : at + 1] for at in range(len(raw))]) == wanted
