"""A run of GSM8K beside the same requests by others: `GYM_SOURCES=DIR python tests/performance/rivals.py [CONNECTIONS …]`.

Beside it stand a bare aiohttp loop, which only sends and forgets, and Inspect AI where `INSPECT_PYTHON` names the interpreter of an
environment that has it (`python -m venv DIR && DIR/bin/pip install inspect-ai openai`). All ask the same 1,319 questions of the same
endpoint with one second's latency, each in a process of its own, one after the other: figures are whole-process, to be read as ratios.
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
import tempfile
import time
from pathlib import Path

from measure import Figures, endpoint, pytest, run

CASES, LATENCY = 1319, 1.0

INSPECT = """
import json
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import match
from inspect_ai.solver import generate

@task
def gsm8k():
    rows = [json.loads(line) for line in open({source!r}, encoding="utf-8")]
    samples = [Sample(input=row["question"], target=row["answer"].rsplit("####", 1)[-1].strip()) for row in rows]
    return Task(dataset=samples, solver=generate(), scorer=match(numeric=True))
"""


def main() -> None:
    source = Path(os.environ["GYM_SOURCES"]).resolve() / "gsm8k" / "test.jsonl"
    inspect = os.environ.get("INSPECT_PYTHON")
    folder = Path(tempfile.mkdtemp())
    (folder / "task.py").write_text(INSPECT.format(source=str(source)))
    with endpoint(LATENCY, source) as url:

        def ours(number: int, *words: str) -> Figures:
            given = ["--gym-benchmark=gsm8k", "--gym-model=m", f"--gym-base-url={url}", f"--gym-concurrency={number}", "-q", *words]
            return run(pytest(*given), folder)

        def bare(number: int) -> Figures:
            return run([sys.executable, __file__, "--bare", url, str(source), str(number)], folder)

        def rival(number: int) -> Figures:
            assert inspect is not None
            words = [
                "--model=openai/m",
                f"--model-base-url={url}",
                f"--max-connections={number}",
                f"--max-samples={number}",
                "-M",
                "responses_api=false",
            ]
            tool = [inspect, "-m", "inspect_ai", "eval", "task.py", *words, "--display=none", "--no-log-realtime"]
            return run(["env", "OPENAI_API_KEY=none", *tool], folder)

        ours(1024, "--gym-limit=20")  # prepares the data, writes the byte code
        for number in [int(word) for word in sys.argv[1:]] or [64, 256, 1024]:
            ideal = math.ceil(CASES / number) * LATENCY
            contestants = [("bare aiohttp", bare), ("pytest-gym", ours)] + ([("Inspect AI", rival)] if inspect else [])
            for name, contestant in contestants:
                done = contestant(number)
                assert done.code == 0, done.out[-2000:]
                print(
                    f"{number:>5} connections  {name:<13} {done.wall:6.2f} s = {done.wall / ideal:5.2f} x ideal ({ideal:.0f} s), "
                    f"{done.cpu / CASES * 1000:5.2f} ms of CPU a case, {done.memory:.0f} MiB",
                    flush=True,
                )


async def bare_loop(url: str, source: str, number: int) -> None:
    """Send the questions, `number` at a time, and read the answers; nothing is kept."""
    import json

    import aiohttp

    questions = iter([json.loads(line)["question"] for line in Path(source).read_text(encoding="utf-8").splitlines()])
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=number)) as session:

        async def slot() -> None:
            for question in questions:
                body = {"model": "m", "messages": [{"role": "user", "content": question}], "temperature": 0.0, "max_tokens": 2048}
                async with session.post(f"{url}/chat/completions", json=body) as reply:
                    (await reply.json())["choices"][0]["message"]["content"]

        await asyncio.gather(*(slot() for _ in range(number)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bare"]:
        began = time.perf_counter()
        asyncio.run(bare_loop(sys.argv[2], sys.argv[3], int(sys.argv[4])))
        print(f"{time.perf_counter() - began:.2f} s in the loop")
    else:
        main()
