"""The scorecard, the Markdown summary and the escaping of other people's text."""

import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gym import table
from pytest_gym.outcomes import Outcomes
from pytest_gym.report.layout import plain
from pytest_gym.report.markdown import escape, summary_markdown
from pytest_gym.report.terminal import scorecard
from pytest_gym.report.text import columns, excerpt, fit, printable


def entry(m=40, repeats=1, *, missing=0, subsets=(), errors=None, rates=None, **options):
    passed = (np.arange(m * repeats).reshape(m, repeats) * 7 % 10 < 6).astype(float)
    passed.ravel()[:missing] = np.nan
    answers = np.where(passed == 1, 1, 2)
    scores = options.pop("scores", {})
    rewards = options.pop("rewards", passed)
    found = table.summarise(Outcomes(rewards, passed, answers, subsets, None, scores), **options)
    tokens = {"input": 12345, "output": 67890, "reasoning": 400}
    return found | {"errors": errors or {}, "rates": rates or {"truncated": 0.0}, "tokens": tokens}


def summary(*, demo=False, gates=(), **benchmarks):
    return {"schema": 1, "demo": demo, "benchmarks": benchmarks, "wall_s": 20.0, "requests": 100, "gates": list(gates)}


def text(data, **options):
    return plain(scorecard(data, **options))


def test_the_card_of_one_benchmark():
    shown = text(summary(gsm8k=entry()), run_folder="gym-results/x", notes=["Three cases were ignored."])
    assert shown == (
        "gsm8k                                            40 tasks x 1 repeat, all scored\n"
        "  pass@1            0.600  [0.446, 0.737]  95% interval\n"
        "  standard error    0.0784 with the tasks as a sample\n"
        "  run-to-run SD     needs repeats\n"
        "  tasks passed      24 always, 0 sometimes, 16 never\n"
        "  tokens            12,345 in, 67,890 out, 400 of them reasoning\n"
        "  hint: Another model must differ by 31.1 points to be told apart, by 14.0\n"
        "  points when compared task by task if a tenth of the tasks comes out\n"
        "  differently; more tasks or more repeats would show less.\n"
        "\n"
        "Three cases were ignored.\n"
        "wall time 20.0 s, 100 requests, 5.0 requests/s\n"
        "results in gym-results/x\n"
    )


def test_repeats_bring_a_column_for_each_k_and_the_variances():
    shown = text(summary(aime=entry(30, 32)))
    assert "                      k=2    k=4    k=8   k=16   k=32\n" in shown
    for label in ("pass@k", "pass^k", "majority@k", "run-to-run SD", "variance", "tasks passed"):
        assert f"\n  {label} " in shown
    assert "best@k" not in shown
    assert "between tasks" in shown and "within a task" in shown
    graded = entry(30, 4, rewards=np.linspace(0, 1, 120).reshape(30, 4))
    assert "\n  best@k " in text(summary(b=graded)) and "\n  mean_reward " in text(summary(b=graded))


def test_missing_data_shows_scored_of_planned_the_bounds_and_the_errors():
    shown = text(summary(b=entry(40, 2, missing=3, errors={"timeout": 2, "server": 1}, rates={"truncated": 0.25, "empty": 0.0})))
    assert "77 / 80 scored" in shown
    assert "\n  bounds            [0." in shown and "all missing wrong" in shown
    assert "\n  errors            timeout 2, server 1\n" in shown
    assert "\n  answers           truncated 25.0%\n" in shown
    assert "tasks with k" in shown


def test_quiet_keeps_one_score_line_per_benchmark():
    assert text(summary(gsm8k=entry(), b=entry(10)), verbosity=-1, run_folder="x") == (
        "gsm8k  pass@1 0.600  [0.446, 0.737]  40 scored\nb  pass@1 0.600  [0.313, 0.832] few  10 scored\n"
    )
    line = text(summary(gsm8k=entry(missing=2)), verbosity=-1)
    assert "38 / 40 scored" in line and "bounds [" in line


def test_verbose_adds_a_row_for_each_subset():
    data = summary(b=entry(40, 2, subsets=["algebra" if i % 2 else "数学" for i in range(40)]))
    assert "algebra" not in text(data)
    shown = text(data, verbosity=1)
    rows = [line for line in shown.splitlines() if line.startswith(("  algebra", "  数学", "  subset"))]
    assert len(rows) == 3
    assert len({columns(line.split("[")[0]) for line in rows[1:]}) == 1


def test_several_benchmarks_have_a_table_on_top():
    shown = text(summary(gsm8k=entry(), ifeval=entry(headline="strict", scores={"strict": np.ones((40, 1))})))
    lines = shown.splitlines()
    assert lines[0].split() == ["benchmark", "metric", "score", "95%", "interval", "scored"]
    assert lines[1].startswith("gsm8k") and lines[2].startswith("ifeval") and "strict" in lines[2]
    assert lines[3] == ""
    assert lines[1].index("[") == lines[2].index("[") == lines[0].index("95%")


def test_several_benchmarks_have_a_macro_mean():
    entries = {"a": entry(40), "b": entry(160), "c": entry(40, rewards=np.full((40, 1), 0.25), headline="mean_reward")}
    data = summary(**entries)
    data["mean"] = mean = table.macro_mean(entries)
    heads = [entries[name]["metrics"][entries[name]["headline"]] for name in "abc"]
    assert mean["value"] == pytest.approx(np.mean([head["value"] for head in heads])) and mean["benchmarks"] == 3
    assert mean["se"] == pytest.approx(np.sqrt(sum(head["se"] ** 2 for head in heads)) / 3) and mean["reason"] is None
    line = next(line for line in text(data).splitlines() if line.startswith("macro mean"))
    assert line.split()[2] == "0.483" and f"[{mean['ci95'][0]:.3f}, {mean['ci95'][1]:.3f}]" in line
    assert "| macro mean |" in summary_markdown(data, {})
    # What is missing widens the bounds of the whole.
    part = {"a": entry(40, missing=10), "b": entries["b"]}
    bounds = part["a"]["metrics"]["pass@1"]["bounds"]
    assert table.macro_mean(part)["bounds"] == [pytest.approx((end + 0.6) / 2) for end in bounds]
    # No mean of what is not alike.
    assert table.macro_mean({"a": entry()}) is None
    for other, why in (
        (entry(direction="lower"), "the headlines differ in range or direction"),
        (entry(high=5.0, headline="mean_reward"), "the headlines differ in range or direction"),
        (entry(3, missing=3), "b has no pass@1"),
    ):
        data = summary(a=entry(), b=other)
        data["mean"] = table.macro_mean(data["benchmarks"])
        assert data["mean"]["value"] is None and f"no macro mean: {why}" in text(data)


def test_a_hundred_benchmarks_are_shown_at_once():
    one = entry(200, 4, missing=3)
    data = summary(**{f"benchmark/number_{i:03}": one for i in range(100)})
    began = time.perf_counter()
    data["mean"] = table.macro_mean(data["benchmarks"])
    shown = text(data).splitlines()
    assert time.perf_counter() - began < 0.5
    # The table and no cards, which would leave it out of sight.
    assert len(shown) == 106 and shown[101].startswith("macro mean") and max(map(columns, shown)) <= 80


def test_a_demo_says_so_everywhere():
    data = summary(demo=True, b=entry())
    assert text(data).startswith("DEMO: ")
    assert "DEMO" in text(data, verbosity=-1)
    assert summary_markdown(data, {"model": {"name": "demo"}}).startswith("## DEMO: demo")
    told = summary_markdown(data, {"options": {"settings": {"sampling.stop": "a|b", "sampling.max_tokens": 9}}})
    assert 'Set for this run: sampling.max\\_tokens=9, sampling.stop="a\\|b"' in told


@pytest.mark.parametrize(
    ("gate", "word"),
    [
        ({"decided": True, "passed": True}, "passed"),
        ({"decided": True, "passed": False}, "failed"),
        ({"decided": False, "passed": False}, "not decided"),
    ],
)
def test_gates_have_three_verdicts(gate, word):
    data = summary(b=entry(), gates=[{"gate": "b: pass@1 >= 0.5", "message": "0.600 >= 0.5", **gate}])
    assert f"gate {word:<11}  b: pass@1 >= 0.5\n  0.600 >= 0.5\n" in text(data)
    assert word in summary_markdown(data, {})


@pytest.mark.parametrize("verbosity", [-1, 0, 1])
@pytest.mark.parametrize("width", [80, 60])
def test_lines_keep_to_the_width(verbosity, width):
    names = {f"benchmark/with_a_rather_long_name_{i}": entry(30, 64, missing=5 * i, errors={"timeout": 5 * i}) for i in range(3)}
    for line in text(summary(**names), verbosity=verbosity, width=width).splitlines():
        assert columns(line) <= width, line


@pytest.mark.parametrize("verbosity", [-1, 0, 1])
@pytest.mark.parametrize("tasks", [0, 1, 3])
def test_nothing_scored_is_shown_with_its_reason(verbosity, tasks):
    data = summary(b=entry(tasks, 2, missing=2 * tasks, subsets=["s"] * tasks))
    shown = text(data, verbosity=verbosity)
    assert "none" in shown
    assert verbosity < 0 or "no task has enough verdicts" in shown
    assert "| none |" in summary_markdown(data, {})


def test_pieces_carry_markup_and_only_text_that_is_safe():
    hostile = "evil\x1b[31m\u202e|name"
    lines = scorecard(summary(**{hostile: entry(missing=1, errors={hostile: 1}, subsets=[hostile] * 40)}), verbosity=1)
    shown = plain(lines)
    assert "\x1b" not in shown and "\u202e" not in shown
    assert any(markup.get("red") for line in lines for text, markup in line if hostile[:4] in text)
    assert all(set(markup) <= {"bold", "red", "green", "yellow"} for line in lines for _, markup in line)


def test_a_hundred_benchmarks_are_instant():
    import time

    one = entry(30, 4)
    data = summary(**{f"b{i}": one for i in range(100)})
    started = time.perf_counter()
    assert len(scorecard(data, verbosity=1)) > 1000
    assert time.perf_counter() - started < 1


def test_importing_the_report_imports_neither_pytest_nor_numpy():
    code = "import sys, pytest_gym.report.terminal, pytest_gym.report.markdown; print({'pytest', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_markdown_table_and_errors():
    data = summary(gsm8k=entry(missing=1, errors={"timeout": 1}), mmlu_pro=entry())
    shown = summary_markdown(data, {"model": {"name": "llama[3](http://x)|<b>"}})
    assert shown.startswith("## llama\\[3\\]\\(http\\://x\\)\\|&lt;b&gt;\n")
    rows = [line for line in shown.splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert all(row.replace("\\|", "").count("|") == 8 for row in rows)
    assert "mmlu\\_pro" in rows[3] and "39 / 40" in rows[2]
    assert "- errors: timeout 1\n" in shown


@given(st.text())
def test_escaped_text_is_one_line_without_free_markup(raw):
    shown = escape(raw)
    assert "\n" not in shown and "<" not in shown
    shown.encode()


# Text


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain\n\ttext é 数 👩\u200d👧", "plain\n\ttext é 数 👩\u200d👧"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\x00b\r\nc\x9b", "a\\0b\\r\nc\\x9b"),
        ("\u202eevil\u2066\ufeff\u200b", "\\u202eevil\\u2066\\ufeff\\u200b"),
        ("\ud83d lone", "\\ud83d lone"),
        ("\u2028\U000e0041", "\\u2028\\U000e0041"),
    ],
)
def test_printable(raw, shown):
    assert printable(raw) == shown


@given(st.text(st.characters(codec=None)))
def test_printable_text_is_harmless_and_stays_so(raw):
    shown = printable(raw)
    shown.encode()
    assert all(character >= " " or character in "\n\t" for character in shown)
    assert printable(shown) == shown


def test_excerpt_keeps_a_start_or_an_end_and_says_what_is_left_out():
    assert excerpt("short", 10) == "short"
    assert excerpt("a" * 1500, 3) == "aaa… [1,497 more characters]"
    assert excerpt("x" * 5 + "end", 3, end=True) == "[5 more characters] …end"
    assert excerpt("", 0) == ""


@given(st.text(st.characters(categories=["L", "N", "P"])), st.integers(3, 30))
def test_fit_takes_exactly_its_columns(raw, width):
    assert columns(fit(raw, width)) == width
    assert columns(fit(raw, width, right=True)) == width
