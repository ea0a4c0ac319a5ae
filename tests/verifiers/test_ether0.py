"""ether0: which answer counts, each function of upstream, and what happens without its files."""

from __future__ import annotations

import importlib.util
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_gym import DataError
from pytest_gym.catalogue import builtin_root
from pytest_gym.testing import judge, make_rollout, make_task, verifier_cases
from pytest_gym.verify import load_module, load_verifier
from tests.conftest import sources

if importlib.util.find_spec("rdkit") is None or importlib.util.find_spec("molbloom") is None:
    pytest.skip("needs the extra 'chemistry'", allow_module_level=True)
PATH = builtin_root() / "verifiers/ether0.py"
VERIFIER = load_verifier("ether0", PATH)
MODULE = load_module(PATH, "verifier")


def row(function, data, **fields):
    return {"solution": f"{function}!:!{data}!:!kind", **fields}


def tag(text):
    return f"<answer>{text}</answer>"


ALANINE = row("product_eval", "C[C@H](N)C(=O)O")
ESTER = row("caption_eval", "CCOC(=O)c1ccccc1")
CHOICE = row("str_eval", "OC(=O)C(F)(F)F", choices={"A": "CC(=O)O", "B": "OC(=O)C(F)(F)F"})
NAME = row("str_eval", "4-(ethylcarbamoyl)-1H-indole-6^{2,3}-yl")
REACTION = row("rxn_eval", "Diels-Alder reaction")
FORMULA = row("formula_eval", "COc1cc(C=O)ccc1O")
GROUPS = row("functional_group_eval", "('C4H9NO2', ['carboxylic acid', 'Primary amine'])", ideal="NCCCC(=O)O")
START = row("valid_mol_eval", "CC(=O)Oc1ccc", ideal="CC(=O)Oc1ccccc1")

test_standard = verifier_cases(
    "verifiers/ether0.py",
    files=PATH.parent,
    full=[
        (ALANINE, tag("N[C@@H](C)C(O)=O")),
        (ALANINE, tag("[Na+].N[C@@H](C)C(O)=O")),
        (ESTER, r"so \boxed{O=C(OCC)c1ccccc1}"),
        (CHOICE, "Answer: B"),
        (CHOICE, tag("b")),
        (CHOICE, tag("OC(=O)C(F)(F)F")),
        (NAME, tag("4-(Ethylcarbamoyl)-1(H)-INDOLE-6^(2,3)-yl")),
        (REACTION, tag("Diels–Alder Reaction")),
        (REACTION, tag("dielsalderreaction")),
        (row("should_answer_eval", "", ideal="CCO"), tag("c1ccccc1")),
        (row("should_not_answer_eval", "no"), tag("No")),
    ],
    zero=[
        (ALANINE, tag("C[C@@H](N)C(=O)O")),
        (ALANINE, "C[C@H](N)C(=O)O"),
        (ESTER, tag("OCC")),
        (ESTER, tag("O=C(OCC)c1cccc1")),
        (CHOICE, "Answer: A"),
        (CHOICE, tag("FC(F)(F)C(=O)O")),
        (NAME, tag("4-(methylcarbamoyl)-1H-indole-6^{2,3}-yl")),
        (REACTION, tag("Diels-Adler reaction")),
        (row("should_answer_eval", "", ideal="CCO"), tag("maybe")),
    ],
    malformed=[(ESTER, tag(text)) for text in ("C(" * 20_000, "[" * 9999, "C1" * 5000, "\0", "CC>>CC")] + [(CHOICE, tag("é"))],
)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<answer> a </answer> <answer>b\n</answer>", "b"),
        ("<|answer_start|>c<|answer_end|>", "c"),
        ("<answer></answer>d", ""),
        (r"<answer></answer> <answer>e</answer> \boxed{f}", "f"),
        (r"\boxed{g} \boxed{h^{i^{j}}}", "h^{i^{j}}"),
        (r"\boxed{k} \boxed{l", "k"),
        (r"\boxed{} Answer: M", ""),
        ("Answer: N\nAnswer : o  \n", "o"),
        ("Answer: P.", ""),
    ],
)
def test_answer(text, answer):
    assert MODULE._answer(text) == answer


PIECES = ["<answer>", "</answer>", "\\boxed{", "}", "{", "a", " ", "\n", "Answer:", "B"]


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
@settings(max_examples=200, deadline=None)
def test_the_answer_is_what_the_servers_expressions_find(text):
    tags = re.findall(r"<answer>\s*(\S[\s\S]*?)\s*</answer>", text)
    boxes = re.findall(r"\\boxed\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}", text)
    letters = re.findall(r"Answer\s*:\s*([A-Za-z])\s*$", text, re.MULTILINE)
    tagged = tags[-1].strip() if tags and "<answer>" not in tags[-1] else ""
    assert MODULE._answer(text) == (tagged or (boxes[-1].strip() if boxes else letters[-1] if letters else ""))


# ---------------------------------------------------------------------------------------------------------- molecules that are plausible


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with filters that know the parts of a few molecules, and three functional groups."""
    from molbloom import CustomFilter

    folder = tmp_path_factory.mktemp("ether0")
    (folder / "upstream").mkdir()
    for name, parts in (("rings.bloom", MODULE._ring_systems), ("fingerprints.bloom", MODULE._bits)):
        known = CustomFilter(100_000, 1000, name)
        for smiles in ("COc1cc(C=O)ccc1O", "NCCCC(=O)O", "CC(=O)Oc1ccccc1", "CC(=O)Oc1ccccc1C(=O)O", "O=Cc1ccc(O)c(CO)c1"):
            for part in parts(MODULE._read(smiles)):
                known.add(part)
        known.save(str(folder / "upstream" / name))
    groups = "# names, ranks, patterns\nCarboxylic_acid:10: [CX3](=O)[OX2H]\nPrimary_amine:20: [NX3H2][CX4]\nAtom:900: *\n"
    (folder / "upstream" / "smarts.txt").write_text(groups)
    return folder


@pytest.mark.parametrize(
    ("fields", "answer", "reward", "says"),
    [
        (FORMULA, "O=Cc1ccc(O)c(OC)c1", 1, "1.00 alike"),
        (FORMULA, "COc1cc(C=O)ccc1", 0, "has the formula C8H8O2"),
        (FORMULA, "O=Cc1ccc(O)c(CO)c1", 0, "0.48 alike"),
        (FORMULA, "O=CC1=COC=CC(OC)=C1", 0, "is not plausible by rings.bloom"),
        (GROUPS, "NCCCC(=O)O", 1, "all groups"),
        (GROUPS, "CCCC(=O)ON", 0, "plausible|lacks"),
        (GROUPS, "NCCCC(=O)OC", 0, "has the formula"),
        (row("functional_group_eval", "('C4H9NO2', ['atom'])"), "NCCCC(=O)O", 0, "lacks the group atom"),
        (START, "CC(=O)Oc1ccccc1C(=O)O", 1, "completes"),
        (START, "cc1C(=O)O", 1, "completes"),
        (START, "cc1C(=O)O.Cl", 1, "completes"),
        (START, "cc1.CCCCCC", 0, "more than one molecule"),
        (START, "cc1.Cl.Cl", 0, "more than one molecule"),
        (START, "cc1C#C", 0, "is not plausible by fingerprints.bloom"),
        (START, "c", 0, "does not complete"),
        (START, "Oc1ccccc1", 0, "does not complete"),
    ],
)
def test_plausible_molecules(files, fields, answer, reward, says):
    verdict = judge(VERIFIER, fields, tag(answer), files=files)
    assert verdict.reward == reward and re.search(says, verdict.explanation), verdict.explanation


def test_without_the_filters_they_need_not_be_plausible(tmp_path):
    assert judge(VERIFIER, START, tag("cc1C#C"), files=tmp_path, filters="none").reward == 1
    assert judge(VERIFIER, START, tag("cc1.Cl.Cl"), files=tmp_path, filters="none").reward == 0
    for fields, name in ((START, "rings.bloom"), (FORMULA, "rings.bloom"), (GROUPS, "rings.bloom")):
        with pytest.raises(DataError, match=rf"needs upstream's file .*{name}; README.md of ether0 says where it is"):
            judge(VERIFIER, fields, tag("C"), files=tmp_path)
    with pytest.raises(DataError, match=r"needs upstream's file .*smarts\.txt"):
        judge(VERIFIER, GROUPS, tag("C"), files=tmp_path, filters="none")
    assert judge(VERIFIER, GROUPS, "no idea", files=tmp_path).reward == 0


def test_ring_systems_keep_what_is_part_of_the_ring():
    assert MODULE._ring_systems(MODULE._read("CCC1CCCCC1")) == {"C1CCCCC1"}
    assert MODULE._ring_systems(MODULE._read("O=C1CCCCC1CCc1ccccc1")) == {"O=C1CCCCC1", "C1=CC=CC=C1"}
    assert MODULE._ring_systems(MODULE._read("CCO")) == set()


def test_every_example_of_the_design_questions_passes(files):
    lines = (builtin_root() / "benchmarks/ether0/data/design.jsonl").read_text().splitlines()
    patterns = files / "upstream" / "smarts.txt"
    before = patterns.read_text()
    for fields in map(json.loads, lines):
        fields["solution"] = fields["solution"].replace("primary aliphatic amine", "primary amine")
        text = VERIFIER.reference_text(make_task(**fields), {})
        assert judge(VERIFIER, fields, text, files=files, filters="none").reward == 1, fields["id"]
    assert patterns.read_text() == before and len(lines) == 5


# --------------------------------------------------------------------------------------------------------------------------- broken rows


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({}, "solution", "must be a text function!:!data!:!type"),
        ({"solution": "str_eval!:!C"}, "solution", "must be a text"),
        (row("eval", "C"), "solution", "there is no function 'eval'; there are str_eval"),
        (row("sol_eval", "C"), "solution", r"sol_eval \(oracle-solubility\) asks upstream's service"),
        (row("rxn_forward", "C"), "solution", r"rxn_forward \(retro-synthesis\) asks upstream's service"),
        (row("product_eval", "C#N"), "solution", "no molecule of more than three characters in 'C#N'"),
        (row("product_eval", "C1CCCC"), "solution", "reads no molecule"),
        (row("functional_group_eval", "open('x')"), "solution", "is not"),
        (row("functional_group_eval", "('C', 3)"), "solution", "is not"),
    ],
)
def test_a_broken_row_is_named(fields, field, says):
    with pytest.raises(DataError, match=rf"flasks: row 3 \(task '7'\), field '{field}': .*{says}"):
        VERIFIER(make_task(task_id="7", index=2, benchmark="flasks", **fields), make_rollout(tag("CCCC")), PATH.parent)
    with pytest.raises(DataError, match="the row has none as an example"):
        VERIFIER.reference_text(make_task(**row("valid_mol_eval", "CC")), {})


@given(st.text(), st.sampled_from([ALANINE, CHOICE, REACTION, NAME]))
@settings(max_examples=80, deadline=None)
def test_any_text_gets_a_verdict(text, fields):
    assert judge(VERIFIER, fields, tag(text), files=PATH.parent).reward == 0


def test_a_crash_of_rdkit_is_no_crash_of_ours():
    verdict = judge(VERIFIER, ESTER, tag("C" * 3_000_000), files=PATH.parent, seconds=0.2)
    assert verdict.reward == 0 and "reading this answer" in verdict.explanation


def test_rows_are_prepared_by_what_can_be_judged(tmp_path):
    parquet, arrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    choice = "Which is sour?\nCCO\nCC(=O)O"
    made = [
        ("1", "Name CCO.", "str_eval!:!ethanol!:!molecule-name"),
        ("2", choice, "str_eval!:!CC(=O)O!:!property-pka/one"),
        ("3", "Make C2H6O.", "functional_group_eval!:!('C2H6O', [])!:!simple-formula"),
        ("4", "Dissolve it.", "sol_eval!:!('scaffold', 'C', 1, 'up')!:!oracle-solubility"),
    ]
    rows = [
        {"id": name, "problem": problem, "solution": solution, "ideal": None, "problem_type": solution.split("!:!")[2], "unformatted": "?"}
        for name, problem, solution in made
    ]
    parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "test.parquet")
    prepare, files = (
        load_module(builtin_root() / "benchmarks/ether0/prepare.py", "prepare").prepare,
        {"test.parquet": tmp_path / "test.parquet"},
    )
    assert [(row["id"], row["kind"]) for row in prepare(files, answers="one")] == [("1", "molecule-name"), ("2", "property-pka")]
    assert [row["id"] for row in prepare(files, answers="many")] == ["3"]
    boxed, lettered = prepare(files, answers="one", letters=True)
    assert boxed["choices"] == {} and "Name CCO." in boxed["question"] and "\\boxed{}" in boxed["question"]
    assert lettered["question"].startswith("Which is sour?\n\nA. CCO\nB. CC(=O)O\n\n") and lettered["question"].endswith("from A to B.")
    assert judge(VERIFIER, lettered, "Answer: B", files=tmp_path).reward == 1


def test_nemo_gym_rows():
    path = sources() / "nemo_gym_checkout/resources_servers/ether0/data/example.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for each in rows:
        function = each["verifier_metadata"]["solution"].partition("!:!")[0]
        text = VERIFIER.reference_text(make_task(**each), {})
        if function == "str_eval":
            assert judge(VERIFIER, each, text, files=PATH.parent).reward == 1
        else:
            with pytest.raises(DataError, match="needs upstream's file"):
                judge(VERIFIER, each, text, files=PATH.parent)
        assert judge(VERIFIER, each, "", files=PATH.parent).reward == 0
    assert len(rows) == 5
