"""Talking to a model: one file per wire API behind one protocol, the HTTP client that knows no cases, and the handle of one case.

`WIRES` names the APIs. A wire is a pure translator: it builds the body of a request and reads a decoded reply; sending, retrying and
sorting out errors is the client's work.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pytest_gym.harnesses import Reply
from pytest_gym.records import Message

WIRES = ("chat",)


class Wire(Protocol):
    """One wire API."""

    path: str
    """Where requests go, below the base URL."""

    def request(
        self, model: str, messages: Sequence[Message], sampling: Mapping[str, Any], tools: Sequence[Mapping[str, Any]] | None
    ) -> dict[str, Any]:
        """The body of a request."""

    def reply(self, data: Any) -> Reply:
        """The answer in a decoded body. Raises ValueError with what is missing where it is no valid reply."""


def load_wire(api: str) -> Wire:
    """The wire module named by `--gym-api`."""
    wire: Wire = importlib.import_module(f"pytest_gym.model.{api}").WIRE
    return wire
