"""Stopping when the verdicts on all gates are sure: the sequential test, and a whole run in random order."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_gym.benchmark import Metric
from pytest_gym.errors import ConfigError
from pytest_gym.gates import parse
from pytest_gym.gating import Circumstances
from pytest_gym.outcomes import Outcomes
from pytest_gym.plan import task_order
from pytest_gym.scores import Scored
from pytest_gym.sequential import confidence_of, foreseen, surely_above
from tests.conftest import Gym, adder

NAN = float("nan")


def scored(passed: np.ndarray, **more) -> Scored:
    empty = np.zeros(passed.shape, np.uint8), np.full(passed.shape, NAN, np.float32), np.full(passed.shape, NAN, np.float32)
    names = [str(task) for task in range(len(passed))]
    return Scored("sums", Metric(), names, names, Outcomes(passed, passed, **more), *empty)


def prefix_of(outcomes: np.ndarray, n: int) -> Scored:
    """A run of which the first n tasks in random order are there."""
    passed = np.full((len(outcomes), 1), NAN)
    order = task_order(len(outcomes))[:n]
    passed[order, 0] = outcomes[order]
    return scored(passed)


def test_a_sequential_test_is_sure_early_and_seldom_wrong():
    random = np.random.default_rng(5)
    early = wrong = 0
    for _ in range(150):
        values = (random.random(400) < 0.5).astype(float)
        looks = [n for n in range(20, 400, 20) if surely_above(values[:n], 400, 0.5, 0.05)]
        wrong += bool(looks) and values.mean() <= 0.5
        early += surely_above((random.random(400) < 0.9).astype(float)[:200], 400, 0.7, 0.01)
    assert wrong <= 13 and early >= 145


def test_verdicts_are_foreseen_on_tasks_in_random_order():
    outcomes = (np.arange(1000) < 900).astype(float)  # sorted by difficulty
    gate, known = parse("pass@1 >= 0.7"), Circumstances()
    found = foreseen(gate, prefix_of(outcomes, 400), known, 0.01)
    assert found is not None and found.passed and "400 of 1,000 tasks in random order" in found.message
    assert foreseen(gate, prefix_of(outcomes, 15), known, 0.01) is None
    assert foreseen(parse("pass@1 >= 0.95"), prefix_of(outcomes, 600), known, 0.01).passed is False
    assert foreseen(parse("pass@1 >= 0.7 at 95%"), prefix_of(outcomes, 400), known, 0.01).passed is True
    assert foreseen(parse("pass@1 >= 0.9"), prefix_of(outcomes, 600), known, 0.01) is None
    assert foreseen(gate, prefix_of(outcomes, 400), Circumstances(doubts=["demo"]), 0.01) is None


def test_what_may_stand_behind_the_option():
    assert (confidence_of("exact"), confidence_of("99%")) == (None, 0.99)
    for words in ("99", "50%", "100%", "soon", "nan%"):
        with pytest.raises(ConfigError, match="--gym-stop-when-decided="):
            confidence_of(words)


def test_a_run_in_random_order_stops_when_it_is_sure(gym: Gym, endpoint, how):
    gym.write(rows=200, wrong=tuple(range(20)))
    result = gym.run(*how, "--gym-gate=pass@1 >= 0.5", "--gym-stop-when-decided=99%", "--gym-concurrency=2", url=endpoint(adder).url)
    assert result.ret == 0
    stopped = gym.manifest()["stopped_when_decided"]
    assert stopped == {"rule": "99%", "order_seed": 1, "not_asked": stopped["not_asked"]}
    assert stopped["not_asked"] > 20
    assert "in random order" in gym.summary()["gates"][0]["message"]
