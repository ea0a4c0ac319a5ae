"""A scripted OpenAI-compatible endpoint on loopback, for tests: real HTTP, answers by the test's own function."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, Any] | tuple[int, Any, dict[str, str]]


def chat(text: str | None, *, finish: str = "stop", **message: Any) -> Reply:
    """A 200 with one choice."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return 200, {"id": "x", "model": "served-model", "choices": [choice], "usage": usage}


def speak(path: str, text: str) -> Reply:
    """A 200 with `text` as the answer, in the API that `path` belongs to."""
    if path.endswith("/chat/completions"):
        return chat(text)
    if path.endswith("/completions"):
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        return 200, {"id": "x", "model": "served-model", "choices": [{"index": 0, "text": text, "finish_reason": "stop"}], "usage": usage}
    usage = {"input_tokens": 10, "output_tokens": 5}
    if path.endswith("/responses"):
        item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text, "annotations": []}]}
        return 200, {"id": "x", "model": "served-model", "status": "completed", "error": None, "output": [item], "usage": usage}
    assert path.endswith("/messages"), path
    content = [{"type": "text", "text": text}]
    return 200, {"type": "message", "model": "served-model", "content": content, "stop_reason": "end_turn", "usage": usage}


def asked(body: dict[str, Any]) -> str:
    """The text of the last user message in a request of any API."""
    last = body["prompt"] if "prompt" in body else (body.get("messages") or body["input"])[-1]["content"]
    return last if isinstance(last, str) else "".join(part.get("text", "") for part in last)


def sse(events: Iterable[tuple[str | None, Any]], *, newline: str = "\n") -> Reply:
    """A 200 with server-sent events, each a name (or None) and what is sent as JSON; a text is sent as it is."""
    lines = []
    for name, data in events:
        lines += [f"event: {name}"] if name else []
        lines += [f"data: {data if isinstance(data, str) else json.dumps(data)}", ""]
    return 200, "".join(line + newline for line in lines).encode(), {"content-type": "text/event-stream"}


class Endpoint:
    """`script(body, number)` gives the reply to each POST; `requests`, `headers` and `paths` keep what came."""

    def __init__(self, script: Callable[[dict[str, Any], int], Reply]) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.in_flight = self.peak = 0
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with outer._lock:
                    outer.requests.append(body)
                    outer.paths.append(self.path)
                    outer.headers.append({name.lower(): value for name, value in self.headers.items()})
                    number = len(outer.requests)
                    outer.in_flight += 1
                    outer.peak = max(outer.peak, outer.in_flight)
                try:
                    status, data, *headers = script(body, number)
                finally:
                    with outer._lock:
                        outer.in_flight -= 1
                payload = data if isinstance(data, bytes) else json.dumps(data).encode()
                self.send_response(status)
                sent = {"content-type": "application/json", "content-length": str(len(payload)), **(headers[0] if headers else {})}
                for name, value in sent.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 256
            daemon_threads = True

            def handle_error(self, *args: object) -> None:
                pass  # a client that hung up

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("the condition did not come about in time")
        time.sleep(0.01)
