"""Published scores beside a run's own."""

from __future__ import annotations

import math

import pytest

from pytest_gym.published import beside_published, same_model
from pytest_gym.report.layout import plain
from pytest_gym.report.terminal import cards
from pytest_gym.report.text import columns
from tests.conftest import Gym, adder
from tests.test_benchmark import MINIMAL, load, sentence
from tests.test_report import entry

PUBLISHED = """  published:
    - {model: Org/M-8B, score: 0.7, n: 400, examples: 5, sampling: {temperature: 0.0, max_tokens: 1024}, protocol: its card, source: a page}
    - {model: m-8b, metric: pass@16, score: 0.99, protocol: its card, source: a page}
    - {model: M-70B, score: 0.95, protocol: its card, source: a page}
"""
CONFIG = MINIMAL + "  sampling: {temperature: 0.0}\n" + PUBLISHED


def test_names_of_models():
    assert same_model("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b-instruct") and same_model("a/b/M", "m")
    assert not same_model("M-8B", "M-8B-Instruct") and not same_model("M/8B", "M/70B")


def test_scores_of_the_same_model_are_compared(tmp_path):
    benchmark, run = load(tmp_path, config=CONFIG), entry(40)
    first, second = beside_published(benchmark, run, ["M-8B"])
    se = run["metrics"]["pass@1"]["se"]
    assert (first["value"], first["difference"]) == (pytest.approx(0.6), pytest.approx(-0.1))
    assert first["tolerance"] == pytest.approx(2 * math.sqrt(se**2 + 0.7 * 0.3 / 400)) and first["within"]
    assert first["differs"] == ["max_tokens 1024 there, not set here", "worked examples 5 there, 0 here", "tasks 400 there, 40 here"]
    assert (second["value"], second["difference"], second["within"], second["differs"]) == (None, None, None, [])
    assert beside_published(benchmark, run, ["other", "x/m-70b"])[0]["within"] is None  # nobody knows over how many tasks that was
    assert beside_published(benchmark, run, ["other"]) == []
    # Of the same size as the benchmark, and far off.
    (far,) = beside_published(load(tmp_path, config=CONFIG.replace("rows.jsonl", "rows.jsonl\n      num_rows: 40")), run, ["M-70B"])
    assert far["within"] is False and far["differs"] == []
    run["missing"] = 3
    assert beside_published(benchmark, run, ["M-8B"])[0]["differs"][-1] == "3 cases missing here"


def test_they_stand_on_the_card(tmp_path):
    run = entry(40)
    run["published"] = beside_published(load(tmp_path, config=CONFIG), run, ["M-8B"])
    shown = plain(cards({"mine": run}, 80))
    text = " ".join(shown.split())
    assert "published pass@1 0.700 of Org/M-8B (a page); here 0.600, -0.100, within the tolerance of 0.163." in text
    assert "Protocol there: its card. It differs in: max_tokens 1024 there, not set here; worked examples" in text
    assert "pass@16 0.990 of m-8b (a page); this run has no pass@16" in text and max(map(columns, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("n: 400", "n: many", "config:8: n must be a whole number of at least 1, not 'many'"),
        ("examples: 5", "examples: -1", "config:8: examples must be a whole number of at least 0, not -1"),
        ("temperature: 0.0, max", "temprature: 0.0, max", "sampling has no key 'temprature'; did you mean 'temperature'?"),
        (
            "protocol: its card, source: a page}\n    - {model: m-8b",
            "source: a page}\n    - {model: m-8b",
            "lacks the key 'protocol' (a text)",
        ),
    ],
)
def test_broken_entries(tmp_path, old, new, said):
    assert said in sentence(tmp_path, CONFIG.replace(old, new, 1))


def test_a_run_shows_them(gym: Gym, endpoint):
    gym.write(rows=10, wrong=(3,))
    path = gym.path / "benchmarks/sums/config.yaml"
    path.write_text(path.read_text() + "  published: [{model: lab/M, score: 0.5, n: 10, protocol: greedy, source: a card}]\n")
    result = gym.run(url=endpoint(adder).url)
    result.stdout.fnmatch_lines(["  published * pass@1 0.500 of lab/M (a card); here 0.900, +0.400, beyond*"])
    (found,) = gym.summary()["benchmarks"]["sums"]["published"]
    assert found["within"] is False and "published: pass" in gym.texts()["summary.md"]
