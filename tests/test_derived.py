"""Corpus metrics and means over subsets: values, intervals, pairs, and a whole run with each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym.derived import Corpus, SubsetMean, strata_interval
from pytest_gym.errors import ConfigError, VerifierError
from pytest_gym.outcomes import Outcomes
from pytest_gym.table import metric_at, summarise, task_values
from pytest_gym.verify import Verifier
from tests.conftest import Gym, adder

NAN = float("nan")


def rate(totals):
    return totals["edits"] / totals["words"]


WER = Corpus("wer", ("edits", "words"), rate, "lower", 0.0, float("inf"))


def edits(m: int, repeats: int = 1, seed: int = 1) -> Outcomes:
    random = np.random.default_rng(seed)
    words = random.integers(1, 40, (m, repeats)).astype(float)
    wrong = random.binomial(words.astype(int), 0.1).astype(float)
    passed = (wrong == 0).astype(float)
    return Outcomes(passed, passed, scores={"edits": wrong, "words": words}, derived={"wer": WER})


def test_a_corpus_metric_is_the_ratio_of_sums_and_not_the_mean_of_ratios():
    data = edits(50, 3)
    found = summarise(data, headline="wer", direction="lower")
    wanted = np.mean(data.scores["edits"].sum(0) / data.scores["words"].sum(0))
    assert found["metrics"]["wer"]["value"] == pytest.approx(wanted)
    assert found["range"] == [0.0, None] and found["direction"] == "lower"
    assert np.nanmean(task_values(data, "wer")) == pytest.approx(wanted), "the tasks' values must average to the metric"
    low, high = found["metrics"]["wer"]["ci95"]
    assert low < wanted < high and found["metrics"]["wer"]["method"] == "bca"


def test_its_standard_error_is_that_of_a_ratio_estimator():
    data = edits(400)
    x, y = data.scores["words"][:, 0], data.scores["edits"][:, 0]
    ratio = y.sum() / x.sum()
    cochran = np.sqrt(np.var(y - ratio * x, ddof=1) / 400) / x.mean()  # Cochran 1977, Sampling Techniques, section 6.3
    assert summarise(data, headline="wer")["metrics"]["wer"]["se"] == pytest.approx(cochran, rel=0.02)


def test_what_is_undefined_or_missing_is_said():
    nothing = Outcomes(
        np.zeros((3, 1)), np.zeros((3, 1)), scores={"edits": np.zeros((3, 1)), "words": np.zeros((3, 1))}, derived={"wer": WER}
    )
    assert "undefined" in summarise(nothing, headline="wer")["metrics"]["wer"]["reason"]
    without = Outcomes(np.ones((3, 1)), np.ones((3, 1)), derived={"wer": WER})
    assert "no verdict has the score 'edits'" in summarise(without, headline="wer")["metrics"]["wer"]["reason"]
    gaps = edits(30)
    gaps.passed[:5] = NAN
    found = summarise(Outcomes(gaps.passed, gaps.passed, scores=gaps.scores, derived=gaps.derived), headline="wer")
    assert found["metrics"]["wer"]["tasks"] == 25 and found["metrics"]["wer"]["bounds"] is None


def test_an_aggregate_is_declared_on_the_verifier():
    def words(task, rollout): ...

    made = Verifier(words)
    made.aggregate(statistics=("edits", "words"), direction="lower", range=(0, float("inf")))(rate)
    assert made.aggregates["rate"].statistics == ("edits", "words")
    with pytest.raises(VerifierError, match="two aggregates"):
        made.aggregate(statistics=("edits",))(rate)
    with pytest.raises(VerifierError, match="names of the scores"):
        made.aggregate(statistics=())
    with pytest.raises(VerifierError, match="higher"):
        made.aggregate(statistics=("a",), direction="up")


names = st.lists(st.sampled_from(["a", "b", "c", "en/low", "en/high", "de/low"]), min_size=1, max_size=30)


@given(names, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_shares_add_up_and_the_tasks_average_to_the_mean_over_subsets(subsets, random):
    passed = np.array([[float(random.random() < 0.5)] for _ in subsets])
    for mean in (SubsetMean("m"), SubsetMean("m", by_tasks=True)):
        shares = mean.shares(subsets)
        assert sum(shares.values()) == pytest.approx(1.0)
        data = Outcomes(passed, passed, subsets=subsets, derived={"m": mean})
        wanted = sum(share * passed[[name == other for other in subsets]].mean() for name, share in shares.items())
        assert task_values(data, "m").mean() == pytest.approx(wanted)
        assert metric_at(data, "m", low=0, high=1, level=0.95)["value"] == pytest.approx(wanted)


def test_weights_go_by_the_last_part_and_levels_are_averaged_from_below():
    mean = SubsetMean("dw", weights={"low": 1, "high": 3})
    assert mean.shares(["en/low", "en/high", "de/low", "de/high"]) == pytest.approx(
        {"en/low": 0.125, "en/high": 0.375, "de/low": 0.125, "de/high": 0.375}
    )
    assert SubsetMean("x", only=("live/*",)).shares(["live/a", "live/b", "old/a"]) == {"live/a": 0.5, "live/b": 0.5}
    assert mean.unknown_weights(["en/low", "en/top"]) == ["top"]


def test_the_error_of_strata_is_that_of_fixed_strata():
    found = strata_interval([(0.5, 0.2, 0.03, 50), (0.5, 0.8, 0.04, 50)], low=0, high=1)
    assert found.se == pytest.approx(0.025) and found.low == pytest.approx(0.45, abs=0.002)
    assert strata_interval([(1.0, 0.5, None, 1)], low=0, high=1).reason == "a subset has only one task"
    assert strata_interval([(1.0, 1.0, 0.0, 30)], low=0, high=1).low == pytest.approx(1 - 3.69 / 30, abs=0.001)


VERIFIER = '''
"""words: how many words are wrong."""
from pytest_gym import Rollout, Task, Verdict, verifier

@verifier
def words(task: Task, rollout: Rollout) -> Verdict:
    wrong = float(rollout.text.split()[-1] != task["answer"])
    return Verdict(1 - wrong, scores={"edits": wrong, "words": 3.0})

@words.aggregate(statistics=("edits", "words"), direction="lower", range=(0, float("inf")))
def wer(totals):
    return totals["edits"] / totals["words"]
'''


def write(gym: Gym, more: str = "metric: {headline: wer, direction: lower}") -> None:
    gym.write(rows=10, wrong=(1, 2), verifier="words")
    (gym.path / "verifiers" / "words.py").write_text(VERIFIER)
    config = gym.path / "benchmarks" / "sums" / "config.yaml"
    config.write_text(config.read_text() + f"  {more}\n")


def test_a_run_is_scored_profiled_compared_and_gated_by_a_corpus_metric(gym: Gym, endpoint, how):
    write(gym)
    url = endpoint(adder).url
    result = gym.run(*how, "--gym-gate=wer <= 0.07", "--gym-gate=sums: wer <= 0.01", url=url)
    result.assert_outcomes(passed=9, failed=1, xfailed=2)
    assert gym.summary()["benchmarks"]["sums"]["metrics"]["wer"]["value"] == pytest.approx(2 / 30)
    gym.run("--gym-profile=run", benchmark=None).stdout.fnmatch_lines(["*wer *0.067*"])
    gym.run("--gym-compare=run,run", benchmark=None).stdout.fnmatch_lines(["*wer *0.067*0.067*"])
    (gym.path / "verifiers" / "words.py").unlink()
    assert "corpus metrics of verifier 'words'" in gym.run("--gym-profile=run", benchmark=None).stderr.str()


def test_a_run_is_scored_by_a_mean_over_subsets(gym: Gym, endpoint):
    write(gym, "aggregate: {macro: , mine: {of: mean_reward, weights: {odd: 3, even: 1}}}")
    assert gym.run("--gym-gate=macro >= 0.7", url=endpoint(adder).url).ret == 0
    found = gym.summary()["benchmarks"]["sums"]["metrics"]
    assert found["macro"]["value"] == pytest.approx(0.8) and found["macro"]["method"] == "strata"
    assert found["mine"]["value"] == pytest.approx(0.8)
    assert gym.manifest()["benchmarks"]["sums"]["metric"]["aggregate"]["mine"]["weights"] == {"odd": 3, "even": 1}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("aggregate: {macro: {fo: pass@1}}", "'fo'"),
        ("aggregate: {macro: {weights: equal}}", "weights of aggregate 'macro' must be 'tasks' or a mapping"),
        ("aggregate: {macro: {weights: {odd: -1}}}", "the weight of 'odd'"),
        ("aggregate: {a: , b: {of: a}}", "which is an aggregate itself"),
        ("aggregate: {macro: 3}", "must be a mapping"),
    ],
)
def test_what_a_config_may_say_of_it(gym: Gym, more, said):
    write(gym, more)
    result = gym.run("--co", url="http://127.0.0.1:1")
    assert result.ret == 4
    assert said in result.stderr.str()
    assert ConfigError.__name__ not in result.stderr.str()


def test_edits_in_no_words_are_undefined_and_not_infinite():
    values = {"edits": np.array([[2.0], [1.0]]), "words": np.array([[0.0], [0.0]])}
    data = Outcomes(np.zeros((2, 1)), np.zeros((2, 1)), scores=values, derived={"wer": WER})
    assert summarise(data, headline="wer", direction="lower")["metrics"]["wer"]["value"] is None


def test_a_range_without_an_end_makes_no_warning():
    rewards = np.array([[1.0, NAN], [3.0, 2.0]])
    found = summarise(Outcomes(rewards, np.where(np.isnan(rewards), NAN, 0.0)), headline="mean_reward", high=float("inf"))
    assert found["metrics"]["mean_reward"]["value"] == pytest.approx(1.75)
