"""Majority voting: what the most frequent answer of k attempts scores, in expectation over all k-subsets of a task's verdicts.

Pure functions on arrays. By symmetry a subset's winner depends only on how many votes each answer has, so the expectation is counted and
not sampled wherever that is affordable: exact for up to 64 verdicts a task, for k ≤ 32 and for up to 1,000 subsets, else 1,000 seeded
subsets.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

NO_ANSWER = -1
SAMPLED_SUBSETS = 1_000
SEED = 20_240_502
_EXACT_VERDICTS = 64
_EXACT_VOTES = 32
_CHUNK = 2_048


@dataclass(frozen=True)
class Votes:
    """The answers of every task, counted: what every majority@k is computed from.

    One entry per different answer, sorted by task and falling count: `task`, `count`, `score` (mean `passed` of its votes), `code`.
    `verdicts` and `unanswered` are int[m] per task, `counts` int[m, c] the counts of each task in falling order, padded with 0.
    """

    task: Codes
    rank: Codes
    count: Codes
    score: Floats
    code: Codes
    verdicts: Codes
    unanswered: Codes
    counts: Codes


def count_votes(passed: Floats, answers: Codes) -> Votes:
    """Count the answers. passed: float[m, K], NaN missing; answers: int[m, K] codes ≥ 0, negative where the verdict has no answer."""
    m, repeats = passed.shape
    judged = ~np.isnan(passed)
    answered = judged & (answers >= 0)
    tasks = np.repeat(np.arange(m, dtype=np.int64), repeats)[answered.ravel()]
    codes, right = answers[answered], passed[answered]
    order = np.lexsort((codes, tasks))
    tasks, codes, right = tasks[order], codes[order], right[order]
    first = np.ones(len(tasks), dtype=bool)
    first[1:] = (tasks[1:] != tasks[:-1]) | (codes[1:] != codes[:-1])
    group = np.cumsum(first) - 1
    count = np.bincount(group, minlength=0).astype(np.int64)
    score = np.bincount(group, weights=right) / count if len(count) else np.zeros(0)
    task, code = tasks[first], codes[first]
    order = np.lexsort((-score, -count, task))
    task, code, count, score = task[order], code[order], count[order], score[order]
    begin = np.searchsorted(task, np.arange(m))
    rank = np.arange(len(task), dtype=np.int64) - begin[task]
    counts = np.zeros((m, int(rank.max()) + 1 if len(rank) else 1), dtype=np.int64)
    counts[task, rank] = count
    verdicts = judged.sum(axis=1)
    return Votes(task, rank, count, score, code, verdicts, verdicts - answered.sum(axis=1), counts)


def majority(votes: Votes, k: int) -> Floats:
    """majority@k per task: float[m], NaN where a task has fewer than k verdicts.

    The answer with most votes wins and scores the mean `passed` of its votes; tied answers share evenly; "no answer" is a class of
    score 0 that loses every tie.
    """
    enough = votes.verdicts >= k
    result = np.where(enough, 0.0, np.nan)
    # Only answers that score anything need their chance of winning, and equal patterns of counts have equal chances.
    scoring = (votes.score > 0) & enough[votes.task]
    task, rank = votes.task[scoring], votes.rank[scoring]
    if not len(task):
        return result
    counts = votes.counts[task]
    places = np.arange(counts.shape[1] - 1)
    others = np.where(places < rank[:, None], counts[:, :-1], counts[:, 1:])
    # Sorted by the marked answer's count, so that a chunk below looks at no more winning counts than it needs.
    patterns = np.column_stack((votes.count[scoring], votes.unanswered[task], others)).astype(np.int32)
    unique, inverse = _unique_rows(patterns)
    shares = _winning_shares(unique, k)
    return result + np.bincount(task, weights=shares[inverse] * votes.score[scoring], minlength=len(result))


def fill_votes(passed: Floats, answers: Codes, *, right: bool, unanswered: bool = False) -> tuple[Floats, Codes]:
    """The two arrays with every missing verdict filled in as right or wrong, in the way that moves majorities most.

    Right ones join the task's most frequent right answer; wrong ones its most frequent wrong answer, or with `unanswered` have none.
    """
    votes = count_votes(passed, answers)
    missing = np.isnan(passed)
    joins = np.full(len(passed), int(answers.max(initial=0)) + 1, dtype=np.int64)
    if unanswered:
        joins[:] = NO_ANSWER
    else:
        fitting = np.flatnonzero(votes.score > 0 if right else votes.score == 0)[::-1]
        # Written from rare to frequent, so that the most frequent answer of a task stays.
        joins[votes.task[fitting]] = votes.code[fitting]
    return np.where(missing, 1.0 if right else 0.0, passed), np.where(missing, joins[:, None], answers)


def _unique_rows(rows: NDArray[np.int32]) -> tuple[NDArray[np.int64], Codes]:
    """Distinct rows in lexicographic order, and for each row the place of its like (np.unique(axis=0) at a fraction of its time)."""
    packed = np.ascontiguousarray(rows.astype(">i4")).view(np.dtype((np.void, 4 * rows.shape[1])))
    _, first, inverse = np.unique(packed.ravel(), return_index=True, return_inverse=True)
    return rows[first].astype(np.int64), inverse.ravel()


def _winning_shares(patterns: Codes, k: int) -> Floats:
    """For rows (votes of an answer, votes of no answer, votes of the other answers…): the answer's expected share of the win."""
    shares = np.empty(len(patterns))
    total = patterns.sum(axis=1)
    whole = total == k
    own, none, most = patterns[:, 0], patterns[:, 1], patterns[:, 2:].max(axis=1, initial=0)
    tied = (patterns[:, 2:] == own[:, None]).sum(axis=1)
    shares[whole] = np.where((own >= most) & (own >= none), 1.0 / (1 + tied), 0.0)[whole]
    rest = np.flatnonzero(~whole)
    countable = np.array([k <= _EXACT_VOTES or n <= _EXACT_VERDICTS or math.comb(int(n), k) <= SAMPLED_SUBSETS for n in total[rest]], bool)
    for row in rest[~countable]:
        shares[row] = _sampled_share(patterns[row], k)
    exact = rest[countable]
    for start in range(0, len(exact), _CHUNK):
        rows = exact[start : start + _CHUNK]
        shares[rows] = _counted_shares(patterns[rows], total[rows], k)
    return shares


def _counted_shares(patterns: Codes, total: Codes, k: int) -> Floats:
    """The shares counted out: over v, the winner's votes, all ways in which the others get the remaining k − v and none more than v.

    `ways[row, t, d]` is the number of ways to give d votes to the answers looked at so far with t of them tied at v.
    """
    choose = _binomials(int(patterns.max()), k)
    shares = np.zeros(len(patterns))
    own, none = patterns[:, 0], patterns[:, 1]
    columns = [column for column in patterns[:, 2:].T if column.any()]
    for v in range(1, min(k, int(own.max())) + 1):
        rest = k - v
        ties = min(rest // v, sum(int(column.max()) >= v for column in columns))
        ways = np.zeros((len(patterns), ties + 1, rest + 1))
        top = min(v, rest)
        ways[:, 0, : top + 1] = choose[none, : top + 1]
        for column in columns:
            grown = ways.copy()
            largest = int(column.max())
            for u in range(1, min(v - 1, rest, largest) + 1):
                grown[:, :, u:] += choose[column, u][:, None, None] * ways[:, :, : rest + 1 - u]
            if v <= min(rest, largest) and ties:
                grown[:, 1:, v:] += choose[column, v][:, None, None] * ways[:, :-1, : rest + 1 - v]
            ways = grown
        shares += choose[own, v] * (ways[:, :, rest] @ (1.0 / np.arange(1, ties + 2)))
    subsets: Floats = np.array([float(math.comb(int(n), k)) for n in total])
    return np.asarray(shares / subsets)


def _sampled_share(pattern: Codes, k: int) -> float:
    """The share over 1,000 seeded subsets; the seed is the pattern's own, so that neither order nor neighbours matter."""
    random = np.random.default_rng([SEED, k, *pattern.tolist()])
    drawn = random.multivariate_hypergeometric(pattern, k, size=SAMPLED_SUBSETS, method="marginals")
    own, none, others = drawn[:, 0], drawn[:, 1], drawn[:, 2:]
    wins = (own > 0) & (own >= others.max(axis=1, initial=0)) & (own >= none)
    return float(np.mean(np.where(wins, 1.0 / (1 + (others == own[:, None]).sum(axis=1)), 0.0)))


def _binomials(n: int, k: int) -> Floats:
    """C(i, j) for i ≤ n and j ≤ k."""
    table = np.zeros((n + 1, k + 1))
    table[:, 0] = 1.0
    for i in range(1, n + 1):
        table[i, 1:] = table[i - 1, 1:] + table[i - 1, :-1]
    return table
