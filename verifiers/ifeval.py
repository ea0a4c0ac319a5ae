"""ifeval: every instruction of the prompt is followed, by IFEval's 25 kinds of checks.

Source: Zhou et al. 2023, "Instruction-Following Evaluation for Large Language Models", and the authors' evaluation code
(google-research/instruction_following_eval). A row has `instruction_id_list` and `kwargs`, one entry for each instruction, at the top or in
`verifier_metadata`, as NeMo Gym has them; null arguments count as absent.

Strict: the answer as it is. Loose: any of eight readings of it passes, with the first line, the last line or both left out, and each also
without asterisks. `passed` and the reward are strict and want all instructions; the reward is NeMo Gym's share by `reward="fraction"`, or
by a row's `grading_mode`.
Named scores: `strict_prompt`, `loose_prompt`, `strict_fraction`, `loose_fraction`, and the counts behind the aggregates
`strict_instruction` and `loose_instruction` (sums over all instructions of all tasks).

An empty answer follows nothing. A long answer is checked in a process with a time limit. The checks, and their edges, are in
`pytest_gym.ifeval`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pytest_gym import Rollout, Task, Verdict, verifier
from pytest_gym.ifeval import CHECKS, NEEDS, followed
from pytest_gym.instructions import by_fraction, instructions_of, loose_share, strict_share, verdict


@verifier(needs={"langdetect": "instructions", "punkt": "instructions", "nltk": "instructions"})
def ifeval(task: Task, rollout: Rollout, *, reward: Literal["row", "all", "fraction"] = "row") -> Verdict:
    """Reward 1 where all instructions are followed in the strict reading; with `fraction`, or a row that says so, the share of them."""
    return verdict(rollout, instructions_of(task, CHECKS, NEEDS), followed, fraction=by_fraction(task, reward))


@ifeval.aggregate(statistics=("strict_followed", "instructions"))
def strict_instruction(totals: Mapping[str, Any]) -> Any:
    """The share of all instructions that are followed, strict."""
    return strict_share(totals)


@ifeval.aggregate(statistics=("loose_followed", "instructions"))
def loose_instruction(totals: Mapping[str, Any]) -> Any:
    """The share of all instructions that are followed in one of the eight readings."""
    return loose_share(totals)
