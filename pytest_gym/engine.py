"""The engine: one asyncio loop in a thread of the process that the user started, which rolls the cases out.

It takes the cases in the order in which they will be asked for, as many at a time as `concurrency` says, whatever the number of pytest
workers is, and puts every rollout into the journal before anything else happens to it. Whoever runs a case waits here for its rollout:
the same process by calling `rollout`, workers through `socket`. Async verifiers run here, too, as soon as their rollout lands.
Not here: pytest, HTTP, and what a rollout is worth.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from pytest_gym.errors import DECIDED, DataError, ModelError, RunError, Stopped
from pytest_gym.harnesses import Harness
from pytest_gym.journal import Journal
from pytest_gym.judging import Judge, Judging, is_ending
from pytest_gym.model import Wire
from pytest_gym.model.client import Client, ClientOptions
from pytest_gym.model.handle import CaseModel
from pytest_gym.plan import Plan
from pytest_gym.records import CaseError, FinishReason, Landed, Rollout, Usage, Verdict
from pytest_gym.request import merged_sampling
from pytest_gym.traffic import Traffic
from pytest_gym.verify import clean

_FRESH, _FRESH_SIZE = 2000, 8192

Service = Callable[["Engine"], Coroutine[Any, Any, asyncio.AbstractServer]]
"""Starts a server on the engine's loop."""


@dataclass(frozen=True)
class EngineOptions:
    """What the engine must know of the run: the model, how many requests at once, and when to give up.

    `client` None means that nobody is asked: all rollouts stand in the journal already. `judging` limits the async verifiers at work.
    `forced` names the keys of `sampling` that the user has set, over what a row says of itself.
    `judges` maps a benchmark to its async verifier with all options bound; `outcomes` says for `context_length` and `content_filter`
    whether such a case is `missing` or `wrong`. In a resumed run `kept` names the fixtures that were overridden before.
    """

    model: str
    client: ClientOptions | None
    wire: Wire
    key: str | None
    harnesses: Mapping[str, Harness]
    sampling: Mapping[str, Mapping[str, Any]]
    forced: Mapping[str, Sequence[str]]
    judges: Mapping[str, Judge]
    judging: int
    kept: tuple[str, ...] | None
    stop_after_errors: int
    outcomes: Mapping[str, str]


class Engine:
    """Rolls out the cases of a plan. `start` opens the loop, `begin` says which cases, `close` ends it, at any time."""

    def __init__(self, plan: Plan, journal: Journal, options: EngineOptions, *, landed: Callable[[Landed], None]) -> None:
        self.plan = plan
        self.journal = journal
        self.options = options
        self.in_flight = 0
        self.traffic = Traffic()
        self._landed = landed
        self._queue: deque[int] = deque()
        self._known = bytearray(plan.cases)
        self._waiters: dict[int, list[Future[None]]] = {}
        self._judging = Judging(plan, journal, options.judges, options.judging, self.stop)
        self._kept = journal.judgements()
        self._fresh: dict[int, Rollout] = {}
        self.overridden: tuple[str, ...] = ()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._wake: asyncio.Event | None = None
        self._services: Sequence[Service] = ()
        self._errors_in_a_row = 0
        self._answered = False
        self._stop: tuple[str, str] | None = None
        self._told = False
        self._begun = False
        self.begun: Sequence[int] = ()

    # -- the process that owns the engine -------------------------------------------------------------------------------------------

    def start(self, *services: Service) -> None:
        """Open the loop in its thread, with `services` (the socket for workers) listening on it; returns when all are ready."""
        self._services = services
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="gym-engine", daemon=True)
        self._thread.start()
        ready.result()

    def begin(self, cases: Sequence[int], *, overridden: Sequence[str] = ()) -> None:
        """Start rolling out `cases`, in this order. Only the first call counts: all workers have the same list.

        `overridden` names the fixtures that a conftest defines anew; where there are any nothing is judged ahead.
        """
        with self._lock:
            if self._begun:
                return
            self._begun = True
            self.overridden, self.begun = tuple(overridden), array("q", cases)
            for case in cases:
                if not self._known[case] and not self.journal.has(case):
                    self._known[case] = True
                    self._queue.append(case)
        before = self.options.kept
        if before is not None and ("rollout" in before) != ("rollout" in overridden):
            other = "then, and is not now" if "rollout" in before else "now, and was not then"
            self.stop(f"the run cannot be resumed: the fixture 'rollout' is overridden by a conftest {other}", "config")
        if before is not None and set(before) != set(overridden):
            # Other code judged, or will: what it said does not count for this one.
            self._kept = bytes(len(self._kept))
        try:
            self.journal.write_selection(cases, self.overridden)
        except RunError as error:
            self.stop(str(error), error.kind)
        self._call(self._awake)
        if self.options.judges and not overridden:
            self._call(partial(self._judging.stored, tuple(cases)))

    def future(self, case: int) -> Future[None]:
        """A future that ends when the rollout of `case` is in the journal, or with Stopped. A case not yet known is put in front."""
        future: Future[None] = Future()
        wake = False
        with self._lock:
            if self.journal.has(case):
                future.set_result(None)
            elif self._stop is not None:
                future.set_exception(self._stopped())
            else:
                self._waiters.setdefault(case, []).append(future)
                if not self._known[case]:
                    self._known[case] = True
                    self._queue.appendleft(case)
                    wake = True
        if wake:
            self._call(self._awake)
        return future

    def take(self, case: int) -> Rollout:
        """The rollout of a case that has landed: the object itself if it is still there, else from the journal."""
        rollout = self._fresh.pop(case, None) or self.journal.rollout(case)
        assert rollout is not None
        return rollout

    def kept(self, case: int) -> Verdict | None:
        """The verdict that an earlier process of this run gave, or None."""
        return self.journal.verdict(case) if self._kept[case] else None

    def judges(self, case: int) -> bool:
        """Whether the case's verifier is async, and so runs here."""
        return self.plan.locate(case)[0].benchmark.name in self.options.judges

    def judge(self, case: int, rollout: Rollout | None) -> Future[Verdict | CaseError]:
        """Have the benchmark's async verifier judge a rollout; None means the stored one, which is judged once. Raises Stopped."""
        coroutine = self._verdict(case, rollout)
        try:
            if self._loop is None:
                raise RuntimeError("the engine has not started")
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        except RuntimeError:
            coroutine.close()
            raise Stopped(self.stopped or "the engine has ended", first=False, kind="stopped") from None

    def stop(self, message: str, kind: str) -> None:
        """Ask nothing more: whoever waits, or will, hears Stopped with `message`."""
        with self._lock:
            if self._stop is not None:
                return
            self._stop = (message, kind)
            self._queue.clear()
            waiters = [future for futures in self._waiters.values() for future in futures]
            self._waiters.clear()
            errors = [self._stopped() for _ in waiters]
        for future, error in zip(waiters, errors, strict=True):
            future.set_exception(error)

    @property
    def queued(self) -> int:
        """How many cases have still to be asked."""
        return len(self._queue)

    @property
    def stopped(self) -> str | None:
        """Why the engine has stopped though there was more to do, or None."""
        return self._stop[0] if self._stop and not self.decided else None

    @property
    def decided(self) -> bool:
        """Whether the engine has stopped because nothing more needs to be known."""
        return self._stop is not None and self._stop[1] == DECIDED

    def close(self, patience: float = 0.0) -> None:
        """Stop asking, wait up to `patience` seconds for what is in flight, and end the thread. May be called again."""
        thread, loop = self._thread, self._loop
        if thread is None or loop is None:
            return
        with self._lock:
            self._queue.clear()
        deadline = time.monotonic() + patience
        while self.in_flight and self._stop is None and time.monotonic() < deadline:
            time.sleep(0.02)
        self.stop("the run is over", "stopped")
        self._call(self._end)
        thread.join(10)
        self._thread = None

    # -- the loop's thread ----------------------------------------------------------------------------------------------------------

    def _call(self, function: Callable[[], None]) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            try:
                loop.call_soon_threadsafe(function)
            except RuntimeError:
                # The loop was closed between the look and the call: nobody is left to be woken.
                return

    def _awake(self) -> None:
        if self._wake is not None:
            self._wake.set()

    def _end(self) -> None:
        self._main.cancel()

    def _run(self, ready: Future[None]) -> None:
        try:
            asyncio.run(self._serve(ready))
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            # Whatever happens here must reach those who wait: an exception of a thread would be lost.
            if not ready.done():
                ready.set_exception(error)
            self.stop(f"the engine failed: {type(error).__name__}: {clean(str(error))}", "internal")

    async def _serve(self, ready: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        main = asyncio.current_task()
        assert main is not None
        self._main = main
        wire, key = self.options.wire, self.options.key
        async with contextlib.AsyncExitStack() as stack:
            client: Client | None = None
            if self.options.client is not None:
                client = await stack.enter_async_context(Client(self.options.client, path=wire.path, headers=wire.headers(key), key=key))
                self.traffic.client = client
            servers = [await service(self) for service in self._services]
            slots: set[asyncio.Task[None]] = set()
            ready.set_result(None)
            try:
                while True:
                    await self._wake.wait()
                    self._wake.clear()
                    # A slot ends when the queue is empty; new cases open new ones, up to the limit.
                    slots = {slot for slot in slots if not slot.done()}
                    if self.options.client is not None and client is not None:
                        wanted = min(self.options.client.concurrency - len(slots), len(self._queue))
                        slots.update(asyncio.ensure_future(self._slot(client)) for _ in range(wanted))
            finally:
                for server in servers:
                    server.close()
                ending = (*slots, *self._judging.tasks)
                for task in ending:
                    task.cancel()
                await asyncio.gather(*ending, return_exceptions=True)

    async def _slot(self, client: Client) -> None:
        while self._queue:
            case = self._queue.popleft()
            self.in_flight += 1
            self.traffic.ask(case)
            try:
                await self._case(client, case)
            except asyncio.CancelledError:
                raise
            except RunError as error:
                self.stop(str(error), error.kind)
            except Exception as error:
                self.stop(f"the engine failed on {self.plan.node_id(case)}: {type(error).__name__}: {clean(str(error))}", "internal")
            finally:
                self.in_flight -= 1
                self.traffic.end(case)

    async def _case(self, client: Client, case: int) -> None:
        planned, position, _ = self.plan.locate(case)
        name = planned.benchmark.name
        model: CaseModel | None = None
        fatal = False
        try:
            task = planned.task(position)
            request = planned.benchmark.prompt.request(task)
            sampling = merged_sampling(self.options.sampling[name], request.sampling, self.options.forced.get(name, ()))
            model = CaseModel(client, self.options.wire, self.options.model, request, sampling)
            made = await self.options.harnesses[name](task, model)
            if not isinstance(made, Rollout):
                raise TypeError(f"it returned {type(made).__name__}, not a Rollout")
            rollout = self._outcome(made)
        except ModelError as error:
            # Gateways also refuse single prompts with 403 (moderation). Where cases have been answered it is the case's own error.
            fatal = error.fatal and not (self._answered and error.status == 403)
            if self.options.outcomes.get(error.kind) == "wrong":
                # An empty answer, which is judged as any other: the run says that this is what the model's limits are worth.
                finish: FinishReason = "content_filter" if error.kind == "content_filter" else "length"
                rollout = Rollout(messages=model.prompt if model else (), finish_reason=finish, attempts=model.attempts if model else 0)
            else:
                rollout = _failed(error.kind, str(error), model)
        except DataError as error:
            rollout = _failed(error.kind, str(error), model)
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            if is_ending(error):
                raise
            text = f"harness {planned.benchmark.harness!r} raised {type(error).__name__}: {error} on task {self.plan.key(case).task_id!r}"
            rollout = _failed("harness", clean(text), model)
        self._land(case, rollout, model)
        if fatal and rollout.error is not None:
            self.stop(rollout.error.message, rollout.error.kind)
        elif self._errors_in_a_row >= self.options.stop_after_errors > 0 and rollout.error is not None:
            self.stop(
                f"{self._errors_in_a_row} cases in a row ended in an error without an answer between (client.stop_after_errors); "
                f"the last: {rollout.error.message}",
                rollout.error.kind,
            )
        elif rollout.error is None and not self.overridden:
            self._judging.once(case)

    def _outcome(self, rollout: Rollout) -> Rollout:
        """An answer that the API's content filter took away is missing unless the setting says that it is wrong."""
        if rollout.finish_reason == "content_filter" and self.options.outcomes.get("content_filter") != "wrong":
            error = CaseError("content_filter", "the API's content filter withheld the answer (outcomes.content_filter=wrong counts it)")
            return replace(rollout, error=error)
        return rollout

    def _land(self, case: int, rollout: Rollout, model: CaseModel | None) -> None:
        size = self.journal.add_rollout(case, rollout)
        # What is asked for at once need not be read back. Few and small ones only: memory must not grow with the run.
        if size < _FRESH_SIZE and len(self._fresh) < _FRESH:
            self._fresh[case] = rollout
        self._landed(Landed.of(case, rollout, model.reported if model else None))
        self.traffic.land(case, rollout)
        with self._lock:
            if rollout.error is None:
                self._errors_in_a_row = 0
                self._answered = True
            else:
                self._errors_in_a_row += 1
            waiters = self._waiters.pop(case, ())
        for future in waiters:
            future.set_result(None)

    async def _verdict(self, case: int, rollout: Rollout | None) -> Verdict | CaseError:
        outcome = await self._judging.verdict(case, rollout)
        if outcome is None:
            raise self._stopped()
        return outcome

    def _stopped(self) -> Stopped:
        assert self._stop is not None
        first, self._told = not self._told, True
        return Stopped(self._stop[0], first=first, kind=self._stop[1])


def _failed(kind: str, message: str, model: CaseModel | None) -> Rollout:
    return Rollout(
        messages=model.prompt if model else (),
        usage=model.usage if model else Usage(),
        latency_s=model.latency_s if model else 0.0,
        attempts=model.attempts if model else 0,
        error=CaseError(kind, clean(message)),
    )
