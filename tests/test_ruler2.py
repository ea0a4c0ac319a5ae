"""RULER 2's generator: the same bytes everywhere, lengths as wished, answers that are in the text and found; the average of the suite."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter

import numpy as np
import pytest

from pytest_gym.catalogue import Catalogue, builtin_root
from pytest_gym.derived import SubsetMean
from pytest_gym.outcomes import Outcomes
from pytest_gym.table import summarise, task_values
from pytest_gym.testing import judge, make_task
from pytest_gym.verify import load_module, load_verifier

MODULE = load_module(builtin_root() / "benchmarks/ruler2/prepare.py", "prepare")
ROWS = list(MODULE.prepare({}, length=1200, samples=3))


def test_the_same_bytes_everywhere():
    text = json.dumps(ROWS, ensure_ascii=False, sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == "9a6437089b6dfa297af81bf6572ed39bdee5d466008374bb96367681e86557b7"


def test_twelve_tasks_of_the_wished_length():
    assert Counter(row["task"] for row in ROWS) == dict.fromkeys(MODULE.TASKS, 3) and len(MODULE.TASKS) == 12
    assert len({row["id"] for row in ROWS}) == len({row["question"] for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert 950 < row["length"] <= 1200 and row["length"] == round(len(row["question"].split()) * 1.33), row["id"]
        assert row["stratum"] == f"1200/{row['task']}"


def solved(question):
    """The right letter of one of the five kinds of questions."""
    text, options = re.fullmatch(r"(.*?) A\. (.*)", question).groups()
    options = re.split(r" [BCD]\. ", options)
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    if "buys" in text:
        right = str(numbers[2] - numbers[0] * numbers[1])
    elif "steps" in text:
        right = str(numbers[0] * numbers[1])
    elif "beads" in text:
        right = str(numbers[0] % numbers[1])
    else:
        right = min(options) if "alphabet" in text else max(options, key=int)
    assert options.count(right) == 1
    return "ABCD"[options.index(right)]


def test_the_text_answers_the_question():
    for row in ROWS:
        task, (body, _, ask), expected = row["task"], row["question"].rpartition("\n\n"), row["expected_answer"]
        if task.endswith("niah_basic"):
            (name,) = re.findall(r"of (\S+)\?", ask)
            assert re.findall(rf"numbers of {name} is (\d{{10}})\.", body) == expected
            assert len(expected) == (1 if task.startswith("mk") else 4)
        elif "niah" in task:
            listed = re.findall(r"^Question (\d+): (.*)$", row["question"].partition("Some worked")[0], re.M)
            number = re.search(r"Question (\d+)", ask)[1]
            texts = [text for other, text in listed if other == number]
            place = re.search(r"the (first|second|third|fourth) Question", ask)
            if task.startswith("mk"):
                assert [solved(texts[0])] == [expected] if row["eval_type"] == "multichoice" else texts == expected
            else:
                assert (texts if place is None else [texts[MODULE.ORDER.index(place[1])]]) == expected
            for _, text in listed:
                solved(text)
        else:
            found = re.findall(r"^Document (\d+):\n(\w+)\n(.*)$", row["question"], re.M)
            (town,) = re.findall(r"^(?:Text: (?=\w+$)|Question: .* )(\w+)(?: came\?)?$", row["question"], re.M)
            other = next(re.search(r"of (\w+)\.", text)[1] for _, name, text in found if name == town)
            numbers = {name: number for number, name, _ in found}
            river = next(re.search(r"river (\w+)\.", text)[1] for _, name, text in found if name == other)
            assert expected == {"basic": [numbers[town]], "easy": [numbers[town], numbers[other]]}.get(task.removeprefix("qa_"), [river])


def test_the_verifier_finds_them():
    verifier = load_verifier("ruler2", builtin_root() / "verifiers/ruler2.py")
    for row in ROWS:
        assert judge(verifier, row, verifier.reference_text(make_task(**row), {})).reward == 1
        assert judge(verifier, row, "").reward == 0


def test_a_length_that_is_too_short_and_a_tokenizer_that_is_none():
    with pytest.raises(ValueError, match="mk_niah_basic needs at least"):
        next(iter(MODULE.prepare({}, length=50)))
    with pytest.raises(ValueError, match="the tokenizer must be"):
        next(iter(MODULE.prepare({}, length=700, tokenizer="letters")))


def test_the_average_of_the_suite_is_none_without_one_of_its_tasks():
    mean = SubsetMean.from_json("suite_average", Catalogue([builtin_root()]).benchmark("ruler2").metric.aggregate["suite_average"])
    assert len(mean.only) == 12
    rewards = np.repeat(np.linspace(0, 1, 12), 2)[:, None]
    subsets = [f"16384/{task}" for task in MODULE.TASKS for _ in range(2)]

    def average(rows):
        data = Outcomes(rewards[:rows], (rewards[:rows] == 1).astype(float), subsets=subsets[:rows], derived={"suite_average": mean})
        return summarise(data, headline="mean_reward")["metrics"]["suite_average"], task_values(data, "suite_average")

    whole, values = average(24)
    assert whole["value"] == pytest.approx(0.5) and np.mean(values) == pytest.approx(0.5)
    part, values = average(22)
    assert part["value"] is None and part["reason"] == "no subset is '*/qa_hard'" and np.all(np.isnan(values))
