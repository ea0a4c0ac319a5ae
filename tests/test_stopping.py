"""A run that is stopped when its gates are decided has the verdict that the whole run would have had."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_gym.gates import parse
from pytest_gym.gating import Circumstances, judge
from pytest_gym.stopping import settled
from tests.test_compare import scored

KNOWN = Circumstances()
GATES = (
    "pass@1 >= 0.6",
    "pass@1 < 0.5",
    "pass@2 >= 0.7",
    "pass^2 >= 0.4",
    "best@2 >= 0.8",
    "mean_reward >= 0.5",
    "missing <= 0",
    "errors <= 1",
)


def whole(random: np.random.Generator, tasks: int, repeats: int) -> dict[str, list[str]]:
    chance = random.uniform(0, 1, tasks)
    return {f"{n:02}": ["right" if random.random() < chance[n] else "wrong" for _ in range(repeats)] for n in range(tasks)}


@pytest.mark.parametrize("repeats", [1, 2])
def test_no_verdict_changes_after_a_stop(repeats):
    random, stops = np.random.default_rng(repeats), 0
    gates = [*GATES, "pass@1 >= 0.4 at 95%"]
    for text in (text for text in gates if repeats == 2 or "2" not in text.partition(" ")[0]):
        for _ in range(3):
            run, gate = whole(random, 24, repeats), parse(text)
            final = judge(gate, scored(run), KNOWN)
            cells = [(task, repeat) for task in run for repeat in range(repeats)]
            so_far = {task: ["-"] * repeats for task in run}
            for place in random.permutation(len(cells)):
                task, repeat = cells[place]
                so_far[task][repeat] = run[task][repeat]
                found = settled([gate], [scored(so_far)], KNOWN)
                if found is not None:
                    stops += any("-" in column for column in so_far.values())
                    assert found[0].verdict == final.verdict, (text, so_far)
                    break
            else:
                raise AssertionError(f"{text} was never settled")
    assert stops > 8


def test_what_the_extremes_do_not_bound_is_asked_to_the_end():
    run = scored({f"{n}": ["right"] if n < 29 else ["-"] for n in range(30)})
    for text in ("tokens <= 9000", "not_extracted <= 50%", "majority@1 >= 0.1", "errors <= 0"):
        assert settled([parse(text)], [run], KNOWN) is None, text
    assert settled([parse("pass@1 >= 0.5")], [run], Circumstances(doubts=["a demo"])) is None
