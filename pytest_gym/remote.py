"""A gym run seen from inside a worker: it gets what was decided, and asks the engine over a socket for one case at a time.

Kept apart from `workers`, so that a worker imports neither the engine nor HTTP nor numpy. Frames: four bytes of length, big-endian, then
JSON; both ends are on this machine.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_gym.catalogue import Catalogue
from pytest_gym.errors import Stopped
from pytest_gym.options import Options
from pytest_gym.plan import Plan
from pytest_gym.records import CaseError, Rollout, Verdict
from pytest_gym.resolve import select
from pytest_gym.state import GymState


def configure_worker(config: pytest.Config, data: dict[str, Any]) -> GymState:
    """The state of this worker, from what the controller put into its input."""
    options = Options.from_json(data["options"])
    catalogue = Catalogue([Path(root) for root in data["roots"]])
    plan = Plan.from_json(data["plan"])
    config.args = data["paths"]
    state = GymState(
        options,
        [select(catalogue, p.benchmark, split=data["split"], demo=options.demo, where=str(p.benchmark.path)) for p in plan.benchmarks],
        plan,
        data["misses"],
    )
    state.wanted = {name: set(names) for name, names in data["wanted"].items()}
    state.only = None if data["only"] is None else frozenset(data["only"])
    engine = RemoteEngine(data["address"], data["token"])
    config.add_cleanup(engine.close)
    state.engine = engine
    return state


class RemoteEngine:
    """The worker's end; implements `state.EngineAccess`."""

    def __init__(self, address: Sequence[Any], token: str) -> None:
        self.stopped: str | None = None
        self._address, self._token = address, token
        self._socket: socket.socket | None = None
        self._kept: tuple[int, Verdict | None] = (-1, None)

    def _connected(self) -> socket.socket:
        if self._socket is None:
            if self._address[0] == "unix":
                self._socket = socket.socket(socket.AF_UNIX)
                self._socket.connect(self._address[1])
            else:
                self._socket = socket.create_connection(("127.0.0.1", self._address[1]))
            self._socket.sendall(frame(json.dumps({"token": self._token}).encode()))
        return self._socket

    @property
    def decided(self) -> bool:
        """Whether nothing more needs to be asked, for all gates are decided."""
        try:
            return bool(self._ask({"decided": True})["decided"])
        except Stopped:
            return False  # the case itself says it

    def begin(self, cases: Sequence[int], *, overridden: Sequence[str]) -> None:
        """Say which cases are to be rolled out, in their order, and which of our fixtures are defined anew."""
        self._ask({"begin": list(cases), "overridden": list(overridden)})

    def rollout(self, case: int) -> Rollout:
        """Wait for the rollout of a case. Raises Stopped where it will never come."""
        reply = self._ask({"case": case})
        if "stop" in reply:
            self.stopped = reply["stop"]
            raise Stopped(reply["stop"], first=reply["first"], kind=reply["kind"])
        self.stopped = reply["stopped"]
        self._kept = case, Verdict.from_json(reply["kept"]) if reply["kept"] else None
        return Rollout.from_json(reply["rollout"])

    def kept(self, case: int) -> Verdict | None:
        """The verdict that an earlier process of this run gave on the rollout that was just asked for, or None."""
        return self._kept[1] if self._kept[0] == case else None

    def judge(self, case: int, rollout: Rollout | None) -> Verdict | CaseError:
        """Wait for the async verifier's verdict on a rollout; None means the stored one."""
        reply = self._ask({"case": case, "judge": None if rollout is None else rollout.to_json()})
        if "stop" in reply:
            self.stopped = reply["stop"]
            raise Stopped(reply["stop"], first=reply["first"], kind=reply["kind"])
        return Verdict.from_json(reply["verdict"]) if "verdict" in reply else CaseError.from_json(reply["error"])

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            self._connected().sendall(frame(json.dumps(request).encode()))
            (length,) = struct.unpack(">I", self._receive(4))
            reply: dict[str, Any] = json.loads(self._receive(length))
        except OSError as error:
            self.stopped = f"the engine is gone ({error.strerror or error})"
            raise Stopped(self.stopped, first=False, kind="stopped") from None
        return reply

    def _receive(self, length: int) -> bytes:
        parts, missing = [], length
        while missing:
            part = self._connected().recv(min(missing, 1 << 20))
            if not part:
                raise ConnectionError("the connection was closed")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


def frame(payload: bytes) -> bytes:
    """A message as it goes over the socket."""
    return struct.pack(">I", len(payload)) + payload
