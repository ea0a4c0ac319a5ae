"""Progress as numbers and as text: the running score against the metrics of record, the pace, and lines that keep to their width."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_gym import table
from pytest_gym.benchmark import Metric
from pytest_gym.outcomes import Outcomes
from pytest_gym.records import CaseError, Rollout, Usage
from pytest_gym.report.status import duration, log_line, stall_line, status_line
from pytest_gym.report.text import columns
from pytest_gym.standing import Pace, RunningScore, Score, Standing, Waiting
from pytest_gym.traffic import Traffic

FULL = Standing(
    done=412,
    total=1319,
    to_judge=100,
    benchmark="gsm8k",
    score=Score("pass@1", 0.9117, 0.881, 0.935),
    in_flight=12,
    limit=16,
    most=64,
    errors=3,
    tokens_per_s=1240.4,
    left=189.2,
    others=(3, 40),
)


# -- texts --------------------------------------------------------------------------------------------------------------------------------


def test_everything_where_there_is_room():
    assert status_line(FULL, 200) == (
        "412/1,319 | 100 to judge | gsm8k pass@1 0.91 ±0.03 | 12 in flight (limit 16 of 64) | 3 errors | 1,240 tokens/s | tests 3/40"
        " | 3:10 left"
    )


def test_what_matters_least_is_left_out_first():
    shown = [status_line(FULL, width) for width in range(200, 0, -1)]
    parts = [set(line.split(" | ")) for line in shown]
    for wider, narrower in itertools.pairwise(parts):
        assert narrower <= wider or len(narrower) == 1
    assert status_line(FULL, 80) == "412/1,319 | gsm8k pass@1 0.91 ±0.03 | 3 errors | 3:10 left"
    assert status_line(FULL, 40) == "412/1,319 | gsm8k pass@1 0.91 ±0.03"
    assert status_line(FULL, 9) == "412/1,319"
    assert columns(status_line(FULL, 5)) == 5


def test_what_is_waited_for_stays_longest():
    waiting = Standing(412, 1319, score=FULL.score, waiting=Waiting("gsm8k::0007-r0", 45.2, 3, "answered 503: 'overloaded'"), in_flight=4)
    assert status_line(waiting, 120) == (
        "412/1,319 | pass@1 0.91 ±0.03 | waiting 45 s for gsm8k::0007-r0 and 3 more | last try: answered 503: 'overloaded'"
    )
    assert status_line(waiting, 60) == "412/1,319 | waiting 45 s for gsm8k::0007-r0 and 3 more"
    assert stall_line(waiting) == (
        "waiting 45 s for gsm8k::0007-r0 and 3 more, last try: answered 503: 'overloaded', 412 of 1,319 answered"
    )
    paused = Standing(412, 1319, paused=11.2, waiting=waiting.waiting)
    assert status_line(paused, 80) == "412/1,319 | rate limited: next try in 12 s"
    assert stall_line(paused) == "rate limited: next try in 12 s, 412 of 1,319 answered"
    assert stall_line(FULL) is None


@pytest.mark.parametrize(
    "standing, line",
    [
        (
            Standing(132, 1319, score=Score("pass@1", 0.91, 0.84, 0.95), errors=2, left=190),
            "132 of 1,319, 0.91 [0.84, 0.95], 2 errors, 3:10 left",
        ),
        (Standing(132, 1319, benchmark="mmlu", score=Score("pass@1", 0.5), errors=1), "132 of 1,319, mmlu pass@1 0.500, 1 error"),
        (Standing(5, 5, score=Score("wer", 12.25, 11.0, 13.5), left=0.0), "5 of 5, wer 12.2 [11.0, 13.5]"),
        (Standing(0, 5), "0 of 5"),
    ],
)
def test_lines_of_a_log(standing, line):
    assert log_line(standing) == line


@pytest.mark.parametrize(
    "seconds, text",
    [
        (0, "0:00"),
        (0.2, "0:01"),
        (59.5, "1:00"),
        (190, "3:10"),
        (7500, "2:05:00"),
        (86400 * 3 + 4 * 3600, "3 d 4 h"),
        (math.inf, "very long"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_other_people_s_text_cannot_act_on_the_terminal():
    waiting = Waiting("a\x1b[2J::1-r0", 40, 0, "500: \x1b]0;title\x07 two\nlines\r" + "x" * 500)
    line = status_line(Standing(1, 2, benchmark="b\x07", score=Score("s\x1b", 0.5), waiting=waiting), 200)
    assert line.isprintable() and len(line) <= 200 and "two lin" in line


NUMBERS = st.integers(0, 10**9)
FLOATS = st.floats(allow_nan=False)
OPTIONAL = st.none() | st.floats(0, allow_nan=False)
SCORES = st.builds(Score, st.text(max_size=30), FLOATS, st.none() | FLOATS, st.none() | FLOATS)
WAITS = st.builds(Waiting, st.text(max_size=60), st.floats(0, 1e9), NUMBERS, st.none() | st.text(max_size=300))
STANDINGS = st.builds(
    Standing,
    NUMBERS,
    NUMBERS,
    to_judge=NUMBERS,
    benchmark=st.none() | st.text(max_size=40),
    score=st.none() | SCORES,
    in_flight=NUMBERS,
    limit=st.none() | NUMBERS,
    most=st.none() | NUMBERS,
    errors=NUMBERS,
    tokens_per_s=OPTIONAL,
    left=OPTIONAL,
    paused=st.none() | st.floats(0, 1e9),
    waiting=st.none() | WAITS,
    others=st.tuples(NUMBERS, NUMBERS),
)


@given(STANDINGS, st.integers(0, 200))
def test_a_line_keeps_to_its_width_whatever_the_numbers(standing, width):
    line = status_line(standing, width)
    assert columns(line) <= width
    for text in (line, log_line(standing), stall_line(standing) or ""):
        assert "\n" not in text and "\x1b" not in text and "\r" not in text
        text.encode()


# -- the running score --------------------------------------------------------------------------------------------------------------------


def running(
    tasks: int, repeats: int, headline: str = "pass@1", low: float = 0.0, high: float = 1.0, clusters: list[Any] | None = None
) -> RunningScore:
    metric = Metric(headline, "higher", low, high)
    planned = SimpleNamespace(
        benchmark=SimpleNamespace(metric=metric),
        rows=range(tasks),
        repeats=repeats,
        dataset=SimpleNamespace(clusters=clusters or [None] * tasks),
    )
    return RunningScore(planned)  # type: ignore[arg-type]


def verdict(reward: float, **scores: float) -> dict[str, Any]:
    return {"reward": reward, "passed": reward >= 1, "scores": scores}


@settings(max_examples=60)
@given(st.data(), st.integers(1, 12), st.integers(1, 4), st.sampled_from(["pass@1", "pass@2", "pass^2", "mean_reward", "style"]))
def test_it_is_the_score_of_record(data, tasks, repeats, headline):
    """Verdicts in any order, some again, some taken back: the value is that of `metrics`, and Wilson's interval is, too."""
    kept = running(tasks, repeats, headline)
    rewards = np.full((tasks, repeats), np.nan)
    moves = data.draw(
        st.lists(st.tuples(st.integers(0, tasks - 1), st.integers(0, repeats - 1), st.sampled_from([None, 0.0, 0.5, 1.0])), max_size=60)
    )
    for position, repeat, reward in moves:
        kept.judged(position, repeat, None if reward is None else verdict(reward, style=reward))
        rewards[position, repeat] = np.nan if reward is None else reward
    passed = np.where(np.isnan(rewards), np.nan, rewards >= 1)
    entry = table.summarise(Outcomes(rewards, passed, scores={"style": rewards}), headline=headline)["metrics"][headline]
    score = kept.score()
    if entry["value"] is None:
        assert score is None
        return
    assert score.metric == headline and score.value == pytest.approx(entry["value"], abs=1e-9)
    if score.low is not None:
        assert 0 <= score.low <= score.value + 1e-9 and score.value - 1e-9 <= score.high <= 1
    if headline == "pass@1" and entry["method"] == "wilson":
        assert [score.low, score.high] == pytest.approx(entry["ci95"], abs=1e-9)


def test_intervals_with_repeats_and_graded_rewards_are_close_to_those_of_record():
    random = np.random.default_rng(1)
    chances = random.beta(2, 1, 200)
    rewards = (random.random((200, 4)) < chances[:, None]).astype(float)
    graded = random.random((200, 1)) * 10
    for values, headline, high in ((rewards, "pass@1", 1.0), (graded, "mean_reward", 10.0)):
        kept = running(*values.shape, headline, 0.0, high)
        for position, repeat in np.ndindex(values.shape):
            kept.judged(position, repeat, verdict(values[position, repeat]))
        entry = table.summarise(Outcomes(values, (values >= 1).astype(float)), headline=headline, high=high)["metrics"][headline]
        score = kept.score()
        assert [score.low, score.high] == pytest.approx(entry["ci95"], rel=0.01)


def test_no_interval_where_tasks_were_drawn_together_and_none_from_a_single_task():
    clustered = running(4, 1, clusters=["a", "a", "b", "b"])
    single = running(1, 3)
    for number in range(3):
        clustered.judged(number, 0, verdict(1.0))
        single.judged(0, number, verdict(number % 2))
    assert clustered.score() == Score("pass@1", 1.0)
    assert (single.score().value, single.score().low) == (pytest.approx(1 / 3), None)


def test_votes_are_left_to_the_end():
    kept = running(2, 4, "majority@4")
    kept.judged(0, 0, verdict(1.0))
    assert kept.score().metric == "pass@1"
    named = running(2, 1, "style")
    named.judged(0, 0, verdict(1.0))
    assert named.score() is None


# -- pace and traffic ---------------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0, 1e4), st.integers(0, 10**6)), max_size=50))
@example([(0.0, 5)])
def test_pace_never_fails(steps):
    pace, now, count = Pace(100.0), 100.0, 0
    for seconds, more in steps:
        now, count = now + seconds, count + more
        pace.note(now, count)
    assert pace.rate is None or pace.rate > 0
    assert pace.seconds_for(0) == 0


def test_pace_follows_a_change():
    pace = Pace(0.0)
    assert pace.rate is None and pace.seconds_for(3) is None
    for second in range(1, 101):
        pace.note(float(second), second * 10)
    assert pace.rate == pytest.approx(10) and pace.seconds_for(100) == pytest.approx(10)
    for second in range(1, 101):
        pace.note(100.0 + second, 1000 + second)
    assert 1 < pace.rate < 2


def test_traffic_knows_the_oldest_case_under_way():
    traffic = Traffic()
    assert traffic.oldest() is None
    for case in (7, 3, 9):
        traffic.ask(case)
    case, since, count = traffic.oldest()
    assert (case, count) == (7, 3) and since <= traffic.oldest()[1]
    traffic.land(7, Rollout(usage=Usage(10, 5)))
    traffic.end(7)
    traffic.land(3, Rollout(error=CaseError("timeout", "gave no answer")))
    traffic.end(3)
    assert traffic.oldest()[0] == 9
    assert (traffic.landed, traffic.output_tokens, traffic.failed) == (2, 5, {3})
    traffic.land(3, Rollout())
    assert not traffic.failed and traffic.last_landed_at >= since
