"""RULER's generator: the same bytes everywhere, lengths as wished, and answers that are in the text and found by the verifier."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter

import pytest

from pytest_gym.catalogue import Catalogue, builtin_root
from pytest_gym.prepare import prepare
from pytest_gym.testing import judge, make_task
from pytest_gym.verify import load_module, load_verifier

FOLDER = builtin_root() / "benchmarks/ruler"
MODULE = load_module(FOLDER / "prepare.py", "prepare")
ROWS = list(MODULE.prepare({}, length=700, samples=4))


def test_the_same_bytes_everywhere():
    text = json.dumps(ROWS, ensure_ascii=False, sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == "66cd01a5e20da164b19808c9c389f6fbfdb117179e084721f9a82c192718f156"


def test_thirteen_tasks_of_the_wished_length():
    assert Counter(row["subset"] for row in ROWS) == dict.fromkeys(MODULE.TASKS, 4)
    assert len({row["id"] for row in ROWS}) == len({row["prompt"] for row in ROWS}) == len(ROWS)
    for row in ROWS:
        answer = MODULE.ANSWER_TOKENS[row["subset"].partition("_")[0]]
        assert 700 - answer - 90 < row["length"] <= 700 - answer, row["id"]
        assert row["length"] == round(len(row["prompt"].split()) * 1.33)


def test_the_text_answers_the_question():
    for row in ROWS:
        prompt, outputs, task = row["prompt"], row["outputs"], row["subset"]
        body, _, question = prompt.rpartition("\n\n" if task.startswith("qa") else "\nWhat " if "niah" in task else "\nQuestion")
        assert len(set(outputs)) == len(outputs)
        if "niah" in task:
            for value in outputs:
                (key,) = re.findall(rf"for (\S+) is: {re.escape(value)}\.", body)
                assert key in question
        elif task == "vt":
            value = re.search(r"value (\d+)", question)[1]
            known = {name for name, given in re.findall(r"VAR (\w+) = (\d+)\n", body) if given == value}
            for name, before in re.findall(r"VAR (\w+) = VAR (\w+)", body):
                known |= {name} if before in known else set()
            assert known == set(outputs)
        elif task in ("cwe", "fwe"):
            counts = Counter(word for word in body.split("\n", 1)[1].split() if word.isalpha()).most_common(len(outputs) + 1)
            assert {word for word, _ in counts[:-1]} == set(outputs)
            assert counts[-2][1] > counts[-1][1]
        else:
            (town,) = re.findall(r"(?:was|of) ([A-Z]\w+) (?:founded|came)", question)
            founded = re.search(rf"{town} was founded in (\d+) by the \w+ \w+ of (\w+)\.", body)
            found = founded[1] if task == "qa_1" else re.search(rf"{founded[2]} lies on the river (\w+)", body)[1]
            assert [found] == outputs


def test_the_verifier_finds_them():
    verifier = load_verifier("ruler", builtin_root() / "verifiers/ruler.py")
    for row in ROWS:
        assert judge(verifier, row, verifier.reference_text(make_task(**row), {})).reward == 1
        assert judge(verifier, row, "").reward == 0


def test_another_seed_and_a_length_too_short():
    assert next(MODULE.prepare({}, length=700, samples=1, seed=1))["prompt"] != ROWS[0]["prompt"]
    with pytest.raises(ValueError, match="niah_single_1 needs at least"):
        next(MODULE.prepare({}, length=50))
    with pytest.raises(ValueError, match="the tokenizer must be"):
        next(MODULE.prepare({}, length=700, tokenizer="letters"))


def test_a_variant_is_prepared_without_sources(tmp_path):
    benchmark = Catalogue([builtin_root()]).benchmark("ruler/4k")
    spec = benchmark.dataset("benchmark")
    short = type(spec)(**{**{name: getattr(spec, name) for name in spec.__dataclass_fields__}, "sha256": None, "num_rows": 26})
    short = type(short)(
        **{**{name: getattr(short, name) for name in short.__dataclass_fields__}, "prepare_options": {"length": 600, "samples": 2}}
    )
    ready = prepare(benchmark, short, cache=tmp_path, sources=None, lock=None, progress=lambda text: None)
    assert (ready.num_rows, ready.frozen) == (26, False)


def test_base_models_get_a_request_with_the_limit_of_the_task():
    benchmark = Catalogue([builtin_root()]).benchmark("ruler/config_pretrain_4k")
    assert benchmark.dataset("benchmark").prepare_options == {"length": 4096, "completion": True}
    for row, plain in zip(MODULE.prepare({}, length=700, samples=4, completion=True), ROWS, strict=True):
        request = benchmark.prompt.request(make_task(**{key: value for key, value in row.items() if key != "id"}))
        (message,) = request.messages
        assert (message.role, message.content) == ("user", plain["prompt"])
        assert request.sampling == {"max_tokens": MODULE.ANSWER_TOKENS[row["subset"].partition("_")[0]]}
        assert row["outputs"] == plain["outputs"] and row["id"] == plain["id"]
