"""The grammar of gates: what parses, and where the caret stands under what does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_gym.errors import ConfigError
from pytest_gym.gates import WAIVABLE, parse, parse_all, tolerated

BOTH = st.sampled_from((">=", ">", "<=", "<"))
KEYS = st.sampled_from(("pass@1", "pass@16", "pass^4", "g-pass@4:0.5", "majority@8", "best@2", "mean_reward", "strict_prompt", "f1"))


@st.composite
def lines(draw: st.DrawFn) -> str:
    blank = st.sampled_from(("", " ", "  "))
    scope = draw(st.sampled_from(("", "gsm8k:", "mmlu_*: ", "ruler/4k : ", "mmlu[subject=high school]: ")))
    metric = draw(KEYS)
    metric = f"min_subset( {metric} )" if draw(st.booleans()) else metric
    number = draw(st.sampled_from(("0.85", "85%", "1e-3", ".5", "baseline", "baseline - 0.01", "baseline-1%", "baseline + 2%")))
    text = f"{scope}{draw(blank)}{metric}{draw(blank)}{draw(BOTH)}{draw(blank)}{number}"
    text += draw(st.sampled_from(("", " at 95%", " at 99.5 %")))
    if "baseline" in number:
        text += draw(st.sampled_from(("", " waive prompt", " waive sampling, verifier")))
    return text


@given(lines())
def test_what_is_written_is_understood(text):
    gate = parse(text)
    assert gate.text == text.strip() and gate.operator in text
    assert gate.baseline == ("baseline" in text) and gate.least_subset == ("min_subset" in text)
    assert (gate.level is not None) == (" at " in text) and bool(gate.waived) == ("waive" in text)
    again = parse(gate.title("x") if gate.subset is None else text)
    assert (again.metric, again.value, again.level, again.waived) == (gate.metric, gate.value, gate.level, gate.waived)


@given(st.text(max_size=40) | lines().flatmap(lambda line: st.integers(0, len(line)).map(lambda cut: line[:cut] + "~" + line[cut:])))
def test_anything_else_is_a_sentence_with_a_caret(text):
    try:
        parse(text, "here")
    except ConfigError as error:
        said, shown, caret = str(error).split("\n")
        assert said.startswith("here: ") and caret.strip() == "^" and len(caret) <= len(shown) + 1


def test_the_parts_of_a_gate():
    gate = parse("mmlu[subject=high school]: pass@4 >= baseline - 2% at 95% waive prompt, sampling")
    assert (gate.benchmark, gate.subset, gate.metric, gate.attempts) == ("mmlu", ("subject", "high school"), "pass@4", 4)
    assert (gate.operator, gate.value, gate.baseline, gate.level, gate.waived) == (">=", -0.02, True, 0.95, ("prompt", "sampling"))
    assert gate.title("mmlu") == "mmlu[subject=high school]: pass@4 >= baseline - 2% at 95% waive prompt, sampling"
    assert parse("g-pass@4:0.5 > 0.1").benchmark is None and parse("truncated <= 1%").value == 0.01
    assert set(gate.waived) < set(WAIVABLE)


@pytest.mark.parametrize(
    ("text", "said", "place"),
    [
        ("gsm8k: pas@1 >= 0.5", "no metric 'pas@1'; did you mean 'pass@K'", 7),
        ("gsm8k: >= 0.5", "a metric is missing", 7),
        ("gsm8k: pass@1 = 0.5", "expected >=, >, <= or <", 14),
        ("gsm8k: pass@1 >= much", "expected a number", 17),
        ("gsm8k: pass@1 >= 0.5 at 95", "confidence", 24),
        ("gsm8k: pass@1 >= 0.5 at 100%", "confidence", 24),
        ("gsm8k: pass@1 >= 0.5 please", "the gate should end", 21),
        ("pass@1 >= baseline waive colour", "expected a part of the protocol: prompt, verifier", 25),
        ("pass@1 >= 0.5 waive prompt", "only a gate with a baseline", 26),
        ("errors <= 1 at 95%", "errors is counted", 18),
        ("flips >= 3", "flips are tasks that got worse", 10),
        ("min_subset(pass@1 >= 3", "parenthesis", 18),
        ("min_subset(errors) >= 3", "min_subset( takes a score", 18),
        ("pass@0 >= 0.1", "no metric 'pass@0'", 0),
        ("", "a metric is missing", 0),
    ],
)
def test_where_it_stops_making_sense(text, said, place):
    with pytest.raises(ConfigError) as caught:
        parse(text)
    first, shown, caret = str(caught.value).split("\n")
    assert said in first and shown == "  " + text and caret == "  " + " " * place + "^"


def test_gates_of_a_run():
    lines = [("pass@1 > 0", "a"), ("ruler/*: pass@4 > 0", "b"), ("pass@1 > 0", "a")]
    gates = parse_all(lines, ["gsm8k", "ruler/4k"], [1, 4])
    assert len(gates) == 2 and gates[1].matches("ruler/4k") and not gates[1].matches("gsm8k")
    with pytest.raises(ConfigError, match=r"names no benchmark of this run; did you mean 'gsm8k'"):
        parse_all([("gsm8: pass@1 > 0", "x")], ["gsm8k"], [1])
    with pytest.raises(ConfigError, match=r"pass@8 needs 8 repeats, gsm8k has 4; --gym-repeats=8"):
        parse_all([("pass@8 > 0", "x")], ["gsm8k"], [4])


@pytest.mark.parametrize(("tolerance", "cases", "number"), [("0", 10, 0), ("3", 10, 3), ("1%", 250, 2), ("0.5%", 1_000, 5), ("100%", 7, 7)])
def test_what_is_tolerated(tolerance, cases, number):
    assert tolerated(tolerance, cases) == number


@pytest.mark.parametrize("tolerance", ["", "-1", "1.5", "101%", "few", "nan%", "%"])
def test_what_cannot_be_tolerated(tolerance):
    with pytest.raises(ConfigError, match="--gym-max-errors"):
        tolerated(tolerance, 10)
