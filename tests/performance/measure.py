"""What the speed scripts share: a fixed-latency endpoint, and running a command with its whole-process time, processor time and memory.

Run as a script it is the endpoint: `python tests/performance/measure.py LATENCY [GSM8K.jsonl [PADDING]]` prints its URL and serves
until killed.
The only cost of an answer is the latency, so that what is measured is the client. Figures are ratios within one run: machines differ.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple


class Figures(NamedTuple):
    """One run of a command: seconds on the clock, seconds of processor time with its children, peak memory of one process in MiB."""

    wall: float
    cpu: float
    memory: float
    code: int
    out: str


def run(command: Sequence[str], folder: Path) -> Figures:
    """Run a command to its end, in an environment as a user has it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GYM_", "PYTEST_", "OPENAI_"))}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if "GYM_SOURCES" in os.environ:
        environment["GYM_SOURCES"] = str(Path(os.environ["GYM_SOURCES"]).resolve())
    began = time.perf_counter()
    with (folder / "output.txt").open("w+") as out:
        child = subprocess.Popen(command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, env=environment)
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read()
    return Figures(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, child.returncode, text)


def pytest(*words: str) -> list[str]:
    """A pytest command without the plugins that only our own tests need."""
    return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:rerunfailures", *words]


@contextlib.contextmanager
def endpoint(latency: float, answers: Path | None = None, *, padding: int = 0) -> Iterator[str]:
    """The endpoint in a process of its own; gives its base URL. Answers are made `padding` characters longer."""
    words = [sys.executable, __file__, str(latency), str(answers or ""), str(padding)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class _Connection(asyncio.Protocol):
    def __init__(self, latency: float, gold: dict[str, str], padding: int) -> None:
        self.latency, self.gold, self.padding, self.buffer = latency, gold, "x" * padding, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            length = int(re.search(rb"content-length: *(\d+)", self.buffer[:end].lower())[1])  # type: ignore[index]
            if len(self.buffer) < end + 4 + length:
                return
            body, self.buffer = self.buffer[end + 4 : end + 4 + length], self.buffer[end + 4 + length :]
            asyncio.get_running_loop().call_later(self.latency, self.answer, body)

    def answer(self, body: bytes) -> None:
        question = json.loads(body)["messages"][-1]["content"].rsplit("\n\n", 1)[-1].strip()
        value = self.gold.get(question[:80], "42")
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": f"{self.padding}So it is \\boxed{{{value}}}."},
            "finish_reason": "stop",
        }
        reply = {"id": "x", "model": "m", "choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 20}}
        payload = json.dumps(reply).encode()
        if not self.transport.is_closing():
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(payload)
            self.transport.write(head + payload)


async def _serve(latency: float, answers: str, padding: int) -> None:
    gold = {}
    if answers:
        rows = [json.loads(line) for line in Path(answers).read_text(encoding="utf-8").splitlines()]
        gold = {row["question"].strip()[:80]: row["answer"].rsplit("####", 1)[-1].strip().replace(",", "") for row in rows}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(latency, gold, padding), "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "", int(sys.argv[3]) if len(sys.argv) > 3 else 0))
