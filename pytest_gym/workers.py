"""All that xdist needs in the controller: what a worker is told, the engine's socket, and the refusal of what cannot work.

The engine lives in the controller. A worker asks it for one case at a time over a unix socket in a private directory (loopback TCP with a
token where there are none); its end of it is in `remote`. A rollout's reply is the journal's own bytes.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import socket
import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pytest_gym.engine import Engine
from pytest_gym.errors import Stopped
from pytest_gym.options import Options, nothing_is_run
from pytest_gym.plan import Plan
from pytest_gym.records import Rollout, Verdict
from pytest_gym.remote import frame

CHUNK = 4
"""Cases handed to a worker at once: few, so that `-x` stops after a handful."""

_LONGEST_FRAME = 1 << 30


class EngineSocket:
    """The engine's end: serves workers on the engine's own loop."""

    def __init__(self) -> None:
        self.token = secrets.token_hex(16)
        self.folder = Path(tempfile.mkdtemp(prefix="gym-"))
        path = str(self.folder / "engine")
        # A unix socket's path is limited to about 100 bytes.
        self.address: list[Any] = ["unix", path] if hasattr(socket, "AF_UNIX") and len(path) < 100 else ["tcp", 0]

    async def serve(self, engine: Engine) -> asyncio.AbstractServer:
        """A service for `Engine.start`."""

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                if (await _read(reader)).get("token") == self.token:
                    while True:
                        writer.write(frame(await self._answer(engine, await _read(reader))))
                        await writer.drain()
            except (asyncio.IncompleteReadError, ConnectionError, ValueError, asyncio.CancelledError):
                # The worker is gone or speaks nonsense (its cases are handed out again by xdist), or the run is over.
                pass
            finally:
                writer.close()

        if self.address[0] == "unix":
            return await asyncio.start_unix_server(connected, self.address[1], backlog=256)
        server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=256)
        self.address[1] = server.sockets[0].getsockname()[1]
        return server

    async def _answer(self, engine: Engine, request: dict[str, Any]) -> bytes:
        if "begin" in request:
            engine.begin(request["begin"], overridden=request["overridden"])
            return b"{}"
        if "decided" in request:
            return json.dumps({"decided": engine.decided}).encode()
        case = int(request["case"])
        if "judge" in request:
            stored = request["judge"]
            try:
                outcome = await asyncio.wrap_future(engine.judge(case, None if stored is None else Rollout.from_json(stored)))
            except Stopped as stop:
                return json.dumps({"stop": str(stop), "first": stop.first, "kind": stop.kind}).encode()
            return json.dumps({"verdict" if isinstance(outcome, Verdict) else "error": outcome.to_json()}).encode()
        try:
            await asyncio.wrap_future(engine.future(case))
        except Stopped as stop:
            return json.dumps({"stop": str(stop), "first": stop.first, "kind": stop.kind}).encode()
        raw = engine.journal.raw(case)
        assert raw is not None
        kept = engine.kept(case)
        head = {"stopped": engine.stopped, "kept": kept.to_json() if kept else None}
        return json.dumps(head).encode()[:-1] + b',"rollout":' + raw + b"}"

    def close(self) -> None:
        """Remove the private directory."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Controller:
    """Registered in the controller of a distributed run: tells workers what they need, and hands cases out in small chunks."""

    def __init__(self, options: Options, roots: Sequence[str], engine_socket: EngineSocket, paths: Sequence[str]) -> None:
        self._options, self._roots, self._socket, self._paths = options, roots, engine_socket, paths
        self.plan: Plan | None = None
        self.extra: dict[str, Any] = {}
        self._crashed: set[str] = set()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Also for a replacement of a crashed worker."""
        assert self.plan is not None
        data = {
            "options": self._options.to_json(),
            "roots": list(self._roots),
            "plan": self.plan.to_json(),
            "paths": list(self._paths),
            "address": self._socket.address,
            "token": self._socket.token,
            **self.extra,
        }
        node.workerinput["gym"] = json.dumps(data)

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport, sched: Any) -> None:
        """Hand the case of a crashed worker out once more (its rollout is kept); the second crash of the same case is its error."""
        assert self.plan is not None
        case = self.plan.case_of(crashitem.partition("@")[0])
        if case is None:
            return
        if crashitem not in self._crashed:
            self._crashed.add(crashitem)
            sched.mark_test_pending(crashitem)
            report.outcome = "rerun"  # type: ignore[assignment]
            return
        message = f"two workers died while running {crashitem}: its verifier, or a fixture, ends the process"
        report.when = "setup"
        report.longrepr = f"crash: {message}"
        vars(report)["gym"] = {"case": case, "error": {"kind": "crash", "message": message}}

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """xdist's own `load`, whichever mode was asked for: a whole share per worker would make `-x` run on for hundreds of cases."""
        from xdist.scheduler import LoadScheduling

        if config.option.maxschedchunk is None:
            config.option.maxschedchunk = CHUNK
        return LoadScheduling(config, log)


def is_distributed(config: pytest.Config) -> bool:
    """Whether this is the controller of a run with workers. Raises UsageError for modes that cannot count a case once."""
    if nothing_is_run(config) or not config.pluginmanager.hasplugin("xdist"):
        return False
    distribution, specs = config.getoption("dist", "no"), config.getoption("tx", None) or []
    if distribution == "no" or not specs:
        return False
    if distribution == "each":
        raise pytest.UsageError("--dist=each would count every case once per worker: use --dist=load, or -n N alone")
    for spec in specs:
        if "popen" not in spec.split("//")[0]:
            raise pytest.UsageError(
                f"--tx={spec}: pytest-gym distributes on this machine only (-n N); for several machines use --gym-shard, docs/shards.md"
            )
    return True


async def _read(reader: asyncio.StreamReader) -> dict[str, Any]:
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    if length > _LONGEST_FRAME:
        raise ValueError("frame too long")
    data = json.loads(await reader.readexactly(length))
    if not isinstance(data, dict):
        raise ValueError("no request")
    return data
