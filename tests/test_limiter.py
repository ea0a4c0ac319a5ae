"""The limiter: never above its most, never below one, first come first served, and back where it was once the server answers again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym.model.limiter import Limiter


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 5))


def now() -> float:
    return asyncio.get_running_loop().time()


@settings(max_examples=100, deadline=None)
@given(
    most=st.integers(1, 40),
    steps=st.lists(st.sampled_from(["come", "come", "leave", "answered", "push", "old push", "end"]), max_size=120),
)
def test_no_more_than_the_limit_begin_and_nobody_is_forgotten(most, steps):
    async def main() -> None:
        limiter = Limiter(most)
        inside: dict[asyncio.Task[None], asyncio.Event] = {}
        tasks: list[asyncio.Task[None]] = []

        async def one() -> None:
            me = asyncio.current_task()
            assert me is not None
            async with limiter.slot():
                assert limiter.active <= limiter.limit or pushed
                inside[me] = asyncio.Event()
                try:
                    await inside[me].wait()
                finally:
                    del inside[me]

        pushed = 0
        for step in steps:
            before = limiter.limit
            if step == "come":
                tasks.append(asyncio.ensure_future(one()))
            elif step == "leave" and inside:
                next(iter(inside.values())).set()
            elif step == "end" and tasks:
                tasks[len(tasks) // 2].cancel()
            elif step == "answered":
                limiter.succeeded()
                assert before <= limiter.limit <= min(most, before + max(1, most // 16))
            elif step == "push":
                limiter.pushed_back(now())
                pushed += 1
                assert limiter.limit == max(1, before // 2)
            elif step == "old push" and pushed:
                limiter.pushed_back(0.0)
                assert limiter.limit == before
            for _ in range(4):
                await asyncio.sleep(0)
            assert 1 <= limiter.limit <= most and limiter.active == len(inside) <= most
            waiting = sum(not task.done() for task in tasks) - len(inside)
            assert limiter.waiting == waiting
            assert not waiting or limiter.active >= limiter.limit, "somebody waits beside a free place"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert limiter.active == limiter.waiting == 0

    run(main())


@pytest.mark.parametrize("most", [1, 2, 15, 64, 1024])
def test_it_goes_down_to_one_and_comes_back(most):
    async def main() -> None:
        limiter = Limiter(most)
        seen = [limiter.limit]
        while limiter.limit > 1:
            limiter.pushed_back(now())
            seen.append(limiter.limit)
        assert seen == [most >> shift for shift in range(len(seen))]
        rounds = 0
        while limiter.limit < most:
            rounds += 1
            for _ in range(limiter.limit):
                limiter.succeeded()
        # Without the larger step of larger limits it would be as many rounds as connections.
        assert rounds <= min(most, 32)
        for _ in range(10):
            limiter.succeeded()
        assert limiter.limit == most

    run(main())


def test_what_was_sent_before_the_last_decrease_says_nothing_new():
    async def main() -> None:
        limiter = Limiter(64)
        sent = now()
        await asyncio.sleep(0.01)
        for _ in range(64):
            limiter.pushed_back(sent)
        assert limiter.limit == 32
        await asyncio.sleep(0.001)
        limiter.pushed_back(now())
        assert limiter.limit == 16

    run(main())


def test_first_come_first_served():
    async def main() -> None:
        limiter, order = Limiter(1), []

        async def one(number: int) -> None:
            async with limiter.slot():
                order.append(number)
                await asyncio.sleep(0)

        await asyncio.gather(*(one(number) for number in range(20)))
        assert order == list(range(20))

    run(main())


def test_a_place_is_given_on_if_its_holder_is_ended_in_the_same_moment():
    async def main() -> None:
        limiter = Limiter(1)

        async def one() -> None:
            async with limiter.slot():
                await asyncio.sleep(60)

        holder, unlucky, next_ = (asyncio.ensure_future(one()) for _ in range(3))
        await asyncio.sleep(0)
        holder.cancel()
        # Until the holder is gone; then the place is the unlucky one's, who does not know it yet.
        while limiter.waiting == 2:
            await asyncio.sleep(0)
        unlucky.cancel()
        await asyncio.sleep(0.01)
        assert unlucky.cancelled() and not next_.done() and (limiter.active, limiter.waiting) == (1, 0)
        next_.cancel()
        await asyncio.gather(next_, return_exceptions=True)
        assert limiter.active == 0

    run(main())


def test_a_pause_holds_for_everybody_and_a_longer_one_wins():
    async def main() -> None:
        limiter = Limiter(8)
        began = time.monotonic()
        limiter.pause(0.2)
        limiter.pause(0.05)
        limiter.pause(-1.0)
        assert limiter.pause_until == pytest.approx(began + 0.2, abs=0.05)

        async def one() -> float:
            async with limiter.slot():
                return time.monotonic() - began

        waits = await asyncio.gather(*(one() for _ in range(20)))
        assert 0.19 <= min(waits) and max(waits) < 1
        assert limiter.pause_until == 0.0 and limiter.active == 0

    run(main())


def test_closing_ends_a_pause():
    async def main() -> None:
        limiter = Limiter(1)
        limiter.close()
        limiter.pause(60)
        limiter.close()
        async with limiter.slot():
            assert limiter.active == 1

    run(main())
