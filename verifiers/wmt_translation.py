"""wmt_translation: a translation against a reference, by chrF of the whole set and of each sentence.

Rule: both texts are put into Unicode's composed form (NFC). The reward is the sentence's chrF / 100. The corpus metric `chrf` (0 to 100)
is made of the n-gram counts of all sentences together (character n-grams up to 6, no word n-grams, beta 2), which is what papers report;
with a `subset` of language pairs and `aggregate: {macro: {of: chrf}}` it is the mean over pairs. An answer that is empty has chrF 0.

Option `bleu` adds the corpus metric `bleu` (0 to 100) with one of sacrebleu's tokenizers; `flores200` is spBLEU and needs the package
sentencepiece and its model in sacrebleu's own folder. Nothing is fetched: where the model is not there, that is an error.

Source of truth: the package sacrebleu, as NeMo Gym's server `wmt_translation` calls it. Not here: COMET, which needs a GPU, and the share
of the answer that is in the wished language.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pytest_gym import DataError, OutOfBounds, Rollout, Task, Verdict, run_bounded, verifier
from pytest_gym.extract import remove_thinking

Tokenizer = Literal["none", "13a", "intl", "char", "zh", "flores200"]
ORDER, WORD_ORDER, BETA = 6, 4, 2
CHRF = tuple(f"{kind}_{n}" for n in range(1, ORDER + 1) for kind in ("found", "wanted", "common"))
BLEU = ("length", "wanted_length", *(f"right_{n}" for n in range(1, WORD_ORDER + 1)), *(f"total_{n}" for n in range(1, WORD_ORDER + 1)))
_QUICK = 20_000
"""Answers up to so many characters are judged in place; longer ones in the helper process, which has a limit."""


@verifier(needs={"sacrebleu": "translation"})
def wmt_translation(
    task: Task, rollout: Rollout, *, field: str = "translation", bleu: Tokenizer = "none", seconds: float = 20.0
) -> Verdict:
    """Reward between 0 and 1: the chrF of the sentence over 100.

    Options:
        field: the row's field with the reference translation.
        bleu: the tokenizer for the further metric BLEU; none leaves it out.
        seconds: processor time for one long answer.

    Raises DataError for a row without a reference.
    """
    wanted = _wanted(task, field)
    answer = unicodedata.normalize("NFC", remove_thinking(rollout.text).strip())
    if bleu == "flores200" and not (_folder() / "models/flores200sacrebleuspm").is_file():
        raise DataError(
            f"spBLEU needs the file {_folder() / 'models/flores200sacrebleuspm'}; fetch it with sacrebleu, or choose another bleu"
        )
    try:
        quick = len(answer) <= _QUICK
        found = (
            measure(answer, wanted, bleu) if quick else run_bounded(measure, answer, wanted, bleu, seconds=seconds, imports=("sacrebleu",))
        )
    except OutOfBounds as error:
        letters = [len("".join(text.split())) for text in (answer, wanted)]
        counts = [max(0, length + 1 - n) for n in range(1, ORDER + 1) for length in letters]
        nothing = dict(zip((name for name in CHRF if not name.startswith("common")), map(float, counts), strict=True))
        return Verdict(0.0, explanation=f"comparing the answer {error}", scores={name: nothing.get(name, 0.0) for name in CHRF})
    reward = found.pop("sentence_chrf") / 100
    return Verdict(min(1.0, reward), explanation=f"chrF {100 * reward:.1f}" if answer else "the answer is empty", scores=found)


@wmt_translation.aggregate(statistics=CHRF, range=(0.0, 100.0))
def chrf(totals: Mapping[str, Any]) -> Any:
    """Corpus chrF: the F score (beta 2) of precision and recall, each the mean over the orders that both sides have."""
    import numpy as np

    precision: Any = 0.0
    recall: Any = 0.0
    orders: Any = 0
    for n in range(1, ORDER + 1):
        found, wanted, common = (np.asarray(totals[f"{kind}_{n}"], float) for kind in ("found", "wanted", "common"))
        both = (found > 0) & (wanted > 0)
        precision = precision + np.where(both, common / np.where(both, found, 1), 0)
        recall = recall + np.where(both, common / np.where(both, wanted, 1), 0)
        orders = orders + both
    precision, recall = precision / np.maximum(orders, 1), recall / np.maximum(orders, 1)
    below = BETA**2 * precision + recall
    return 100 * np.where(below > 0, (1 + BETA**2) * precision * recall / np.where(below > 0, below, 1), 0)


@wmt_translation.aggregate(statistics=BLEU, range=(0.0, 100.0))
def bleu(totals: Mapping[str, Any]) -> Any:
    """Corpus BLEU with sacrebleu's exponential smoothing of orders without a match (0 where nothing matches at all)."""
    import numpy as np

    halving: Any = 1.0
    logarithms: Any = 0.0
    for n in range(1, WORD_ORDER + 1):
        right, total = (np.asarray(totals[f"{kind}_{n}"], float) for kind in ("right", "total"))
        halving = np.where((right == 0) & (total > 0), 2 * halving, halving)
        share = np.where(right > 0, right, 1 / halving) / np.where(total > 0, total, 1)
        logarithms = logarithms + np.where(total > 0, np.log(share), -np.inf)
    length, wanted = np.asarray(totals["length"], float), np.asarray(totals["wanted_length"], float)
    brevity = np.where(length < wanted, np.exp(1 - wanted / np.where(length > 0, length, 1)), 1.0)
    any_right = np.asarray(totals["right_1"]) > 0
    return np.where(any_right & (length > 0), 100 * brevity * np.exp(logarithms / WORD_ORDER), 0.0)


@wmt_translation.reference
def reference(task: Task, *, field: str = "translation") -> str:
    """The reference translation itself."""
    return _wanted(task, field)


def measure(answer: str, wanted: str, tokenizer: str) -> dict[str, float]:
    """The statistics of one sentence, and its chrF."""
    chrf_metric, bleu_metric = _metrics(tokenizer)
    # What sacrebleu sums over a corpus; it gives the counts of one sentence by this method alone.
    counts = chrf_metric._extract_corpus_statistics([answer], [[wanted]])[0]
    scores = {name: float(value) for name, value in zip(CHRF, counts, strict=True)}
    if bleu_metric is not None:
        scores |= {
            name: float(value) for name, value in zip(BLEU, bleu_metric._extract_corpus_statistics([answer], [[wanted]])[0], strict=True)
        }
    return {**scores, "sentence_chrf": float(chrf_metric.sentence_score(answer, [wanted]).score)}


@cache
def _metrics(tokenizer: str) -> tuple[Any, Any]:
    from sacrebleu.metrics.bleu import BLEU as Bleu
    from sacrebleu.metrics.chrf import CHRF as Chrf

    return Chrf(), None if tokenizer == "none" else Bleu(tokenize=tokenizer)


def _folder() -> Path:
    return Path(os.environ.get("SACREBLEU") or Path.home() / ".sacrebleu")


def _wanted(task: Task, field: str) -> str:
    value = task.get(field)
    if not isinstance(value, str) or not value.strip():
        where = task.where(field)
        raise DataError(f"{where}: must be the reference translation, not {value!r}")
    return unicodedata.normalize("NFC", value)
