"""structeval: where the document stands, the paths, and the reward."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import DataError
from pytest_gym.testing import judge, make_rollout, make_task, verifier_cases
from pytest_gym.verify import load_module, load_verifier
from tests.conftest import sources

pytest.importorskip("toml", reason="needs the extra 'structured'")
pytest.importorskip("xmltodict", reason="needs the extra 'structured'")
PATH = Path(__file__).parents[2] / "verifiers/structeval.py"
VERIFIER = load_verifier("structeval", PATH)
MODULE = load_module(PATH, "verifier")


def row(kind, *paths):
    return {"output_type": kind, "raw_output_metric": list(paths)}


BOAT = ("boat.name", "boat.crew[0].role")
test_standard = verifier_cases(
    "verifiers/structeval.py",
    full=[
        (row("JSON", *BOAT), '<|BEGIN_CODE|>\n{"boat": {"name": "A", "crew": [{"role": "mate"}]}}\n<|END_CODE|>'),
        (row("JSON", *BOAT), 'Here:\n```json\n{"boat": {"name": "A", "crew": [{"role": "mate"}]}}'),
        (row("YAML", *BOAT), "boat:\n  name: A\n  crew:\n  - role: mate"),
        (row("TOML", *BOAT), '[boat]\nname = "A"\n[[boat.crew]]\nrole = "mate"'),
        (row("XML", *BOAT), "<boat><name>A</name><crew><role>m</role></crew><crew><role>n</role></crew></boat>"),
        (row("CSV", "csv::id", "csv::price in €"), "id,price in €\n1,2"),
    ],
    zero=[
        (row("JSON", *BOAT), "{}"),
        (row("JSON", *BOAT), '{"boat": '),
        (row("TOML", *BOAT), "boat"),
        (row("XML", *BOAT), "<boat>"),
    ],
    malformed=[(row(kind, "a.b"), text) for kind in ("YAML", "TOML", "XML") for text in ("[" * 1000, "<a>" * 1000)],
    may_score=True,  # YAML and CSV take nearly any text as a document, and a readable document has a fifth of the reward
)


@pytest.mark.parametrize(
    ("kind", "text", "reward", "scores"),
    [
        ("JSON", '{"boat": {"name": 1}}', 0.6, (1, 0.5)),
        ("JSON", '{"ship": 1}', 0.2, (1, 0)),
        ("JSON", "[]", 0, (0, 0)),
        ("JSON", r'{\n\t"boat": {\"name\": 1}}', 0.6, (1, 0.5)),
        ("CSV", "a,b", 0.2, (1, 0)),
        ("YAML", "just words", 0.2, (1, 0)),
    ],
)
def test_reward(kind, text, reward, scores):
    verdict = judge(VERIFIER, row(kind, *BOAT), text)
    assert (verdict.reward, (verdict.scores["render_score"], verdict.scores["key_validation_score"])) == (reward, scores)


def test_a_string_with_a_quote_is_right_undecoded():
    verdict = judge(VERIFIER, row("JSON", "a"), r'{"a": "so-called \"truth\""}')
    assert (verdict.reward, verdict.scores["undecoded"]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("a.b", ["a", "b"]),
        ("a[0].b", ["a", "[0]", "b"]),
        ("`a.b`.c", ["a.b", "c"]),
        ("a.*.b", ["a", "*", "b"]),
        ("csv::a.b", ["csv::a.b"]),
        ("a..b", ["a", "b"]),
        ("", []),
    ],
)
def test_steps(path, steps):
    assert MODULE._steps(path) == steps


@pytest.mark.parametrize(
    ("value", "path", "there"),
    [
        ({"a": [{"b": 1}, {"c": None}]}, "a.*.c", True),
        ({"a": [{"b": 1}]}, "a.*.c", False),
        ({"a": {"b": 1}}, "a.*.b", False),
        ({"a": [1]}, "a[-1]", False),
        ({"a": [1]}, "a[x]", False),
        ({"a": {"@id": 1}}, "a.@id", True),
        ({"a": {"id": 1}}, "a.@id", True),
        ({"a": "text"}, "a.b", False),
    ],
)
def test_paths(value, path, there):
    assert MODULE._has(value, MODULE._steps(path)) is there


@pytest.mark.parametrize(
    ("fields", "field"),
    [(row("HTML"), "output_type"), (row("JSON", "a[0"), "raw_output_metric"), ({"output_type": "JSON"}, "raw_output_metric")],
)
def test_a_broken_row_is_named(fields, field):
    with pytest.raises(DataError, match=rf"boats: row 3 \(task '7'\), field '{field}'"):
        VERIFIER(make_task(task_id="7", index=2, benchmark="boats", **fields), make_rollout("{}"))


@given(st.text(), st.sampled_from(MODULE.FORMATS))
@settings(max_examples=40, deadline=None)
def test_any_text_gets_a_verdict(text, kind):
    assert judge(VERIFIER, row(kind, "captain.name"), text).reward <= 0.2


def test_nemo_gym_rows():
    path = sources() / "nemo_gym_checkout/resources_servers/structeval/data/example.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        assert judge(VERIFIER, fields, VERIFIER.reference_text(make_task(**fields), {})).reward == 1
        assert judge(VERIFIER, fields, "").reward == 0
