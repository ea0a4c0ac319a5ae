"""Talking to a model: one file per wire API behind one protocol, the HTTP client that knows no cases, and the handle of one case.

`WIRES` names the APIs. A wire is a pure translator: it builds the body of a request, reads a decoded reply, and puts a streamed one
together; sending, retrying and sorting out errors is the client's work.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pytest_gym.errors import ConfigError
from pytest_gym.harnesses import Reply
from pytest_gym.records import Message

WIRES = ("chat", "responses", "messages", "completions")


class Stream(Protocol):
    """Puts one streamed reply together, event by event."""

    done: bool
    """Whether the API's own end marker has been seen."""

    def event(self, name: str | None, data: Any) -> bool:
        """Take one server-sent event: its name and its decoded JSON, or the text `[DONE]`.

        Returns True where it carries the first token, or tokens, of text, reasoning or a tool call. Raises ValueError where it is no
        valid event.
        """

    def body(self) -> Any:
        """The body that the same request without streaming would have had. Raises ValueError where the stream broke off before its end."""


class Wire(Protocol):
    """One wire API."""

    path: str
    """Where requests go, below the base URL."""

    def headers(self, key: str | None) -> dict[str, str]:
        """The headers of every request: the API's version, where it wants one, and the key, where there is one."""

    def request(
        self, model: str, messages: Sequence[Message], sampling: Mapping[str, Any], tools: Sequence[Mapping[str, Any]] | None
    ) -> dict[str, Any]:
        """The body of a request. `tools` are in the form of Chat Completions.

        Reads the files that parts of the messages name. Raises ValueError where the API has no place for something that was asked for.
        """

    def reply(self, data: Any) -> Reply:
        """The answer in a decoded body. Raises ValueError with what is missing where it is no valid reply."""

    def stream(self) -> Stream:
        """A new assembler for one streamed reply."""


def load_wire(api: str) -> Wire:
    """The wire module named by `--gym-api`."""
    wire: Wire = importlib.import_module(f"pytest_gym.model.{api}").WIRE
    return wire


def check_wire(wire: Wire, sampling: Mapping[str, Any], where: str) -> None:
    """Raise ConfigError, whose sentence begins with `where`, for a setting that the API cannot be given: before anything is asked."""
    try:
        wire.request("", (Message("user", "?"),), sampling, None)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from None
