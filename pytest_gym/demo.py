"""The demo model: an OpenAI-compatible server on loopback whose simulated model answers from the references, with skill.

It exists so that the main job can be tried without a model, a key or a network, over the same HTTP path as a real run. Each task has a
skill, drawn once from a seed, so that some tasks are always passed, some sometimes and some never. Nothing here measures anything.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future

from pytest_gym.errors import GymError
from pytest_gym.model.chat import Chat
from pytest_gym.plan import Plan
from pytest_gym.records import Json, Message, Task

SEED = 20260401
LATENCY_S = 0.01
REPEATS = 4
"""Attempts at each task where neither the user nor the benchmark asks for several: with one, variance has nothing to show."""

_NO_IDEA = Message("assistant", "I am not sure about this one.")


class DemoServer:
    """Answers the prompts of a plan. `references` maps a benchmark to a function that gives a perfect answer to a task, or None."""

    def __init__(self, plan: Plan, references: Mapping[str, Callable[[Task], str | Message | None]]) -> None:
        self._answers: dict[str, tuple[Message, Message, float]] = {}
        self._asked: Counter[str] = Counter()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        for planned in plan.benchmarks:
            tasks = [planned.task(position) for position in range(len(planned.rows))]
            texts = [_message(references[planned.benchmark.name](task)) for task in tasks]
            for number, (task, text) in enumerate(zip(tasks, texts, strict=True)):
                try:
                    # As the wire sends them: parts have another form there.
                    key = _prompt_key(Chat().request("demo", planned.benchmark.prompt.render(task), {}, None)["messages"])
                except ValueError:
                    # What cannot be sent (a file that is not there) is the case's own error when it is asked.
                    continue
                others = [other for other in texts[number + 1 :] + texts[:number] if other != text]
                wrong = others[0] if others else _NO_IDEA
                self._answers[key] = (text, wrong, _skill(f"{planned.benchmark.name}/{task.id}"))

    def start(self) -> str:
        """Listen on a free port of loopback, in a thread; returns the base URL."""
        ready: Future[int] = Future()

        async def main() -> None:
            self._loop = asyncio.get_running_loop()
            self._end = asyncio.Event()
            try:
                server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
            except OSError as error:
                ready.set_exception(GymError(f"the demo model cannot listen on 127.0.0.1: {error.strerror or error}"))
                return
            ready.set_result(server.sockets[0].getsockname()[1])
            async with server:
                await self._end.wait()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        self._thread = threading.Thread(target=lambda: asyncio.run(main()), name="gym-demo", daemon=True)
        self._thread.start()
        return f"http://127.0.0.1:{ready.result()}/v1"

    def close(self) -> None:
        """Stop listening and end the thread; may be called again."""
        if self._thread is not None and self._loop is not None:
            if not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(5)
            self._thread = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = next((int(line.partition(":")[2]) for line in head.split("\r\n") if line.startswith("content-length:")), 0)
                body = json.loads(await reader.readexactly(length))
                await asyncio.sleep(LATENCY_S)
                payload = json.dumps(self._reply(body)).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(payload) + payload)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            # The client has gone, which is how every connection ends.
            pass
        finally:
            writer.close()

    def _reply(self, body: Mapping[str, object]) -> dict[str, object]:
        messages = body.get("messages")
        key = _prompt_key(messages)
        attempt = self._asked[key]
        self._asked[key] += 1
        answer = self._answer(key, attempt, body.get("temperature"))
        text = answer.content if isinstance(answer.content, str) else ""
        # Four characters are a token here, and what goes beyond the limit is cut as a real server does it.
        most = body.get("max_tokens") or body.get("max_completion_tokens")
        cut = isinstance(most, int) and len(text) > 4 * most
        text = text[: 4 * most] if cut and isinstance(most, int) else text
        message: Json = {"role": "assistant", "content": text}
        finish = "length" if cut else "stop"
        if answer.tool_calls:
            message["tool_calls"] = [call.to_json() for call in answer.tool_calls]
            finish = "tool_calls"
        return {
            "id": f"demo-{key[:8]}-{attempt}",
            "object": "chat.completion",
            "model": "demo",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": len(json.dumps(messages)) // 4, "completion_tokens": len(text) // 4 + 1},
        }

    def _answer(self, key: str, attempt: int, temperature: object) -> Message:
        if key not in self._answers:
            return _NO_IDEA
        right, wrong, skill = self._answers[key]
        # Another temperature is another draw, no other skill.
        chance = random.Random(f"{SEED}/{key}/{attempt}" if not temperature else f"{SEED}/{key}/{attempt}/{temperature}")
        if chance.random() < skill:
            return right
        return wrong if chance.random() < 0.8 else _NO_IDEA


def _skill(name: str) -> float:
    """The share of attempts at a task that come out right, fixed for each task: half of them always, some mostly, a few hardly ever."""
    chance = random.Random(f"{SEED}/{name}")
    kind = chance.random()
    if kind < 0.5:
        return 1.0
    return chance.uniform(0.4, 0.95) if kind < 0.85 else chance.uniform(0.0, 0.25)


def _message(answer: str | Message | None) -> Message:
    return Message("assistant", answer) if isinstance(answer, str) and answer else answer or _NO_IDEA


def _prompt_key(messages: object) -> str:
    return hashlib.sha256(json.dumps(messages, sort_keys=True).encode()).hexdigest()
