"""Values that others worked out: NeMo Gym's examples where its rules are ours, and statsmodels' tests and errors on random data."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pytest_gym import intervals, metrics
from pytest_gym.derived import Corpus
from pytest_gym.outcomes import Outcomes
from pytest_gym.paired import mcnemar
from pytest_gym.table import summarise
from tests.test_metrics import THREE, rows, value

NONE = -1
UNEVEN = rows([1, 0], [0, 1, 1, 0])
GRADED = rows([0.5, 1.0, 0.0], [0.25, 0.25, 0.75])
ANSWERS = np.array([[7, 7, 9, NONE], [3, 4, 3, 4]])
ANSWERED = rows([1, 1, 0, 0], [0, 1, 0, 1])

# By the names in the table of docs/metrics.md, which says of each what NeMo Gym has and what we have.
EXAMPLES: dict[str, Callable[[], float]] = {
    "pass@1 of 1001, 0000, 1111": lambda: value(THREE, "pass@1"),
    "pass@2 of the same": lambda: value(THREE, "pass@2"),
    "pass@3 of the same": lambda: summarise(Outcomes(THREE, THREE), headline="pass@3")["metrics"]["pass@3"]["value"],
    "pass@4 of the same": lambda: value(THREE, "pass@4"),
    "pass@2 of 10000": lambda: value(rows([1, 0, 0, 0, 0]), "pass@2"),
    "pass@1 of 10, 0110": lambda: value(UNEVEN, "pass@1"),
    "pass@2 of 10, 0110": lambda: value(UNEVEN, "pass@2"),
    "pass@4 of 10, 0110": lambda: value(UNEVEN, "pass@4"),
    "pass@1[avg-of-4] of 1001, 0000, 1111": lambda: value(THREE, "pass@1"),
    "pass@1[avg-of-2] of the same": lambda: value(THREE, "pass@1"),
    "pass@3 of rewards .5 1 0, .25 .25 .75": lambda: float(np.mean(metrics.best_at_k(GRADED, 3))),
    "pass@2 of the same rewards": lambda: float(np.mean(metrics.best_at_k(GRADED, 2))),
    "majority@4 of 7 7 9 none (1100), 3 4 3 4 (0101)": lambda: value(ANSWERED, "majority@4", ANSWERS),
    "majority@3 of the same": lambda: float(np.mean(metrics.majority_at_k(ANSWERED, ANSWERS, 3))),
    "majority@2 of the same": lambda: value(ANSWERED, "majority@2", ANSWERS),
    "majority@1 of the same": lambda: float(np.mean(metrics.majority_at_k(ANSWERED, ANSWERS, 1))),
    "majority@3 of no answer at all": lambda: float(metrics.majority_at_k(rows([0, 0, 0]), np.full((1, 3), NONE), 3)[0]),
    "majority@3 of a (1), b (0), b (1)": lambda: float(metrics.majority_at_k(rows([1, 0, 1]), np.array([[0, 1, 1]]), 3)[0]),
    "no answer, as a score, in 0100, 0000, 1111": lambda: value(rows([0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]), "mean_reward"),
    "standard deviation across runs of 1001, 0000, 1111": lambda: metrics.variance_split(THREE)["run_sd"],
    "standard deviation across runs of 11, 01": lambda: metrics.variance_split(rows([1, 1], [0, 1]))["run_sd"],
    "standard deviation across runs of .5 1 0, .25 .25 .75": lambda: metrics.variance_split(GRADED)["run_sd"],
    "standard error of 1001, 0000, 1111": lambda: intervals.standard_error(metrics.task_means(THREE)) or math.nan,
}
TABLE = {
    name: (float(theirs), float(ours), same)
    for name, theirs, ours, same in re.findall(
        r"^\| (.+?) \| ([\d.]+) \| ([\d.]+) \| (yes|no)",
        (Path(__file__).parent.parent / "docs/metrics.md").read_text(encoding="utf-8"),
        re.M,
    )
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_worked_examples(name):
    theirs, ours, same = TABLE[name]
    found = EXAMPLES[name]()
    assert found == pytest.approx(ours, abs=5.1e-5) and (same == "yes") == (abs(found - theirs) < 5.1e-5)


def test_the_table_has_these_examples_alone():
    assert list(TABLE) == list(EXAMPLES)


def test_precision_recall_and_f1_are_of_the_sums():
    derived = {
        "precision": Corpus("precision", ("tp", "fp"), lambda t: t["tp"] / (t["tp"] + t["fp"])),
        "recall": Corpus("recall", ("tp", "fn"), lambda t: t["tp"] / (t["tp"] + t["fn"])),
        "f1": Corpus("f1", ("tp", "fp", "fn"), lambda t: 2 * t["tp"] / (2 * t["tp"] + t["fp"] + t["fn"])),
    }

    def found(tp, fp, fn):
        scores = {"tp": rows(*tp), "fp": rows(*fp), "fn": rows(*fn)}
        return summarise(Outcomes(scores["tp"], scores["tp"] * 1.0, scores=scores, derived=derived), headline="f1")["metrics"]

    some = found([[1], [0], [1]], [[0], [1], [0]], [[0], [0], [1]])
    assert [some[name]["value"] for name in derived] == pytest.approx([2 / 3, 2 / 3, 2 / 3])
    # Nothing predicted: there is no precision, and the F1 is 0.
    none = found([[0], [0]], [[0], [0]], [[1], [0]])
    assert (none["precision"]["value"], none["precision"]["ci95"], none["f1"]["value"]) == (None, None, 0.0)
    assert none["precision"]["reason"] == "precision is undefined on these answers"


@pytest.fixture(scope="module")
def statsmodels():
    stats = pytest.importorskip("statsmodels.stats.api")
    return stats


def test_wilson_and_mcnemar_are_statsmodels(statsmodels):
    from statsmodels.stats.contingency_tables import mcnemar as theirs

    random = np.random.default_rng(1)
    for n in (1, 7, 30, 1319):
        for successes in {0, n, *random.integers(0, n + 1, 5).tolist()}:
            low, high = statsmodels.proportion_confint(successes, n, 0.05, "wilson")
            assert intervals.wilson(successes, n) == pytest.approx((low, high), abs=1e-12)
    for gained, lost in [(0, 0), (1, 0), (5, 5), *random.integers(0, 80, (30, 2)).tolist()]:
        expected = theirs([[50, gained], [lost, 9]], exact=True).pvalue if gained + lost else 1.0
        assert mcnemar(gained, lost) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_clustered_errors_are_statsmodels(seed, statsmodels):
    from statsmodels.regression.linear_model import OLS

    random = np.random.default_rng(seed)
    tasks = int(random.integers(12, 400))
    clusters = random.integers(0, int(random.integers(5, 40)), tasks)
    values = random.random(tasks) + random.normal(size=40)[clusters]
    fit = OLS(values, np.ones(tasks)).fit(cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": True})
    assert intervals.standard_error(values, clusters) == pytest.approx(float(fit.bse[0]), rel=1e-9)
    # Without clusters it is the textbook's.
    assert intervals.standard_error(values) == pytest.approx(float(OLS(values, np.ones(tasks)).fit().bse[0]), rel=1e-9)
