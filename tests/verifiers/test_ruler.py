"""ruler: all references, or any of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import DataError
from pytest_gym.testing import judge, make_rollout, make_task, verifier_cases
from pytest_gym.verify import load_verifier
from tests.conftest import sources

VERIFIER = load_verifier("ruler", Path(__file__).parents[2] / "verifiers/ruler.py")

ROW = {"outputs": ["3141", "Oslo"], "subset": "niah_multivalue"}
QUESTION = {**ROW, "subset": "qa_2"}
test_standard = verifier_cases(
    "verifiers/ruler.py",
    full=[(ROW, "The numbers are 3141 and oslo."), (QUESTION, "In OSLO."), (QUESTION, "3141")],
    zero=[(ROW, "31 41, Os lo"), (QUESTION, "In Rome.")],
)


def test_a_share_and_the_option():
    assert judge(VERIFIER, ROW, "3141").reward == 0.5
    assert judge(VERIFIER, ROW, "3141", match="part").reward == 1
    assert judge(VERIFIER, QUESTION, "3141", match="all").reward == 0.5


@given(st.text("0123456789 \n"))
@settings(max_examples=50, deadline=None)
def test_any_text_gets_a_verdict(text):
    assert judge(VERIFIER, {"outputs": ["x", "314"], "subset": "vt"}, text).reward == ("314" in text) / 2


@pytest.mark.parametrize(
    ("fields", "field"), [({}, "outputs"), ({"outputs": []}, "outputs"), ({"outputs": [""]}, "outputs"), ({"outputs": "x"}, "outputs")]
)
def test_a_broken_row_is_named(fields, field):
    with pytest.raises(DataError, match=rf"texts: row 3 \(task '7'\), field '{field}'"):
        VERIFIER(make_task(task_id="7", index=2, benchmark="texts", **fields), make_rollout("a"))


def test_nemo_gym_rows():
    path = sources() / "nemo_gym_checkout/resources_servers/ruler/data/example.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        assert judge(VERIFIER, fields, VERIFIER.reference_text(make_task(**fields), {})).reward == 1
        assert judge(VERIFIER, fields, "").reward == 0
