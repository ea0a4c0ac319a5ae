r"""ether0: a chemistry answer, nearly always a molecule as SMILES, by the rule that the row's solution names.

Rule: the answer is the content of the last `<answer>…</answer>` (or ether0's own `<|answer_start|>…<|answer_end|>`), else of the last
`\boxed{…}`, else the letter of the last line `Answer: X`; a single letter stands for its text among the row's `choices`. The row's
solution is `function!:!data!:!type`. Reward 1 or 0 by the function:

- `str_eval` (choices), `should_not_answer_eval`: the same text, but for case and the ornaments of IUPAC names.
- `rxn_eval` (names of reactions): the same, or the same without hyphens and punctuation.
- `product_eval`, `caption_eval`: the largest parts of both are the same molecule, stereo included.
- `formula_eval`: the same formula, a Morgan fingerprint 0.7 alike (Tanimoto), and a plausible molecule.
- `functional_group_eval`: the formula and the functional groups that the data name, and a plausible molecule.
- `valid_mol_eval`: the answer, or the data and the answer behind them, is a plausible molecule that begins with the data.
- `should_answer_eval`: any valid molecule.

Plausible is a molecule with at most one small counter-ion, whose ring systems and fingerprint bits are all among those known: upstream's
two Bloom filters say so. They and the patterns of functional groups are upstream's files, in the folder `upstream` beside the config.

Source of truth: Future-House/ether0 @ c8cc676, `rewards.py` and `data.py`, with the extraction of NeMo Gym's server `ether0`. Out are
`sol_eval` (oracle-solubility) and `rxn_forward` (retro-synthesis), which ask a service that runs models: their rows are errors. RDKit runs
in a helper process with limits. An answer on which it fails is wrong; a row whose own molecule it cannot read is broken.
"""

from __future__ import annotations

import ast
import re
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pytest_gym import DataError, OutOfBounds, Rollout, Task, Verdict, run_bounded, verifier
from pytest_gym.extract import remove_thinking

Judged = tuple[float, str]
"""Reward, and the sentence that explains it."""
_TEXTUAL = ("str_eval", "should_not_answer_eval", "rxn_eval")
_CHEMICAL = ("product_eval", "caption_eval", "should_answer_eval")
_OPEN = ("formula_eval", "functional_group_eval", "valid_mol_eval")
"""Those with many right answers, which must be plausible."""
_REMOTE = {"sol_eval": "oracle-solubility", "rxn_forward": "retro-synthesis"}
_FILTERS = ("rings.bloom", "fingerprints.bloom")
_GROUPS = "smarts.txt"
_ALIKE = 0.7


@verifier(needs={"rdkit": "chemistry", "molbloom": "chemistry"})
def ether0(
    task: Task,
    rollout: Rollout,
    files: Path,
    *,
    filters: Literal["upstream", "none"] = "upstream",
    seconds: float = 5.0,
    memory_mb: int = 2048,
) -> Verdict:
    """Reward 1 where the answer is right by the function of the row's solution.

    Options:
        filters: whether molecules must be plausible by upstream's Bloom filters, which lie in the folder `upstream` beside the config.
            none leaves this part out, so that scores of three functions are too high.
        seconds: processor time for one answer. Beyond it the answer is wrong.
        memory_mb: address space of the helper process in MiB, likewise.

    `extracted` is the answer. Needs the field `solution`, here or in `verifier_metadata`. Raises DataError for a row without one, with an
    unknown function or one that needs a remote service, with data that cannot be read, or where a file of upstream is missing.
    """
    function, data = _solution(task)
    answer = _answer(remove_thinking(rollout.text))
    if not answer:
        return Verdict(0.0, extracted=None, explanation="no answer: neither <answer> tags, nor a box, nor a line 'Answer: X'")
    choices = _field(task, "choices") or {}
    if len(answer) == 1 and answer.isalpha():
        answer = str(choices.get(answer.upper(), answer))
    if function in _TEXTUAL:
        same = _plain_name(answer) == _plain_name(data)
        if not same and function == "rxn_eval":
            same = _bare_name(answer) == _bare_name(data)
        return _verdict(float(same), answer, f"{'is' if same else 'is not'} {_short(data)}")
    folder = str(files / "upstream")
    _check_files(task, function, filters, files / "upstream")
    try:
        done = run_bounded(
            judge, function, answer, data, folder, filters == "upstream", seconds=seconds, memory_mb=memory_mb, imports=("rdkit.Chem",)
        )
    except OutOfBounds as error:
        return _verdict(0.0, answer, f"reading this answer {error}")
    if done["broken"]:
        raise DataError(f"{task.where('solution')}: {done['broken']}")
    return _verdict(done["reward"], answer, done["says"])


@ether0.reference
def reference(task: Task) -> str:
    """The right answer itself where there is one, else the row's `ideal`; DataError where it has none."""
    function, data = _solution(task)
    ideal = _field(task, "ideal")
    if function in (*_OPEN, "should_answer_eval") and ideal:
        data = str(ideal)
    elif function in ("functional_group_eval", "valid_mol_eval", "should_answer_eval"):
        raise DataError(f"{task.where('ideal')}: {function} has no single right answer, and the row has none as an example")
    return f"<answer>{data}</answer>"


# ------------------------------------------------------------------------------------------------------------- within the helper process


def judge(function: str, answer: str, data: str, folder: str, filtered: bool) -> dict[str, Any]:
    """Judge by a function that needs RDKit. Runs in the helper process.

    Gives `reward`, `says` (why) and `broken` (why the row cannot be judged at all).
    """
    from rdkit.rdBase import DisableLog

    DisableLog("rdApp.*")
    verdict: dict[str, Any] = {"reward": 0.0, "says": "", "broken": None}
    try:
        if function in ("product_eval", "caption_eval", "formula_eval"):
            read, compare = (_read, _same_formula) if function == "formula_eval" else (_largest, _same_molecule)
            if (known := read(data)) is None:
                return {**verdict, "broken": f"RDKit reads no molecule of more than three characters in {_short(data)!r}"}
            found = compare(read(answer), known, folder, filtered)
        elif function == "functional_group_eval":
            found = _has_groups(_read(answer), data, folder, filtered)
        elif function == "valid_mol_eval":
            found = _completes(answer, data, folder, filtered)
        else:
            found = (0.0, _INVALID) if _read(answer) is None else (1.0, "is a valid molecule")
    except (MemoryError, RecursionError):
        raise
    except Exception as error:
        found = 0.0, f"makes RDKit fail: {type(error).__name__}: {_short(str(error))}"
    return {**verdict, "reward": found[0], "says": found[1]}


_INVALID = "is no molecule that RDKit can read"


def _read(smiles: str) -> Any:
    from rdkit import Chem

    return Chem.MolFromSmiles(smiles)


def _largest(smiles: str) -> Any:
    """The largest part, the first of equal ones; those of three characters or fewer do not count."""
    parts = [mol for part in smiles.split(".") if len(part) > 3 and (mol := _read(part)) is not None]
    return max(parts, key=lambda mol: mol.GetNumAtoms(), default=None)


def _same_molecule(found: Any, known: Any, *_: Any) -> Judged:
    from rdkit import Chem

    if found is None:
        return 0.0, _INVALID
    same = Chem.MolToSmiles(found) == Chem.MolToSmiles(known)
    return float(same), "is the same molecule" if same else "is another molecule"


def _same_formula(found: Any, known: Any, folder: str, filtered: bool) -> Judged:
    from rdkit import DataStructs
    from rdkit.Chem.rdMolDescriptors import CalcMolFormula

    if found is None:
        return 0.0, _INVALID
    if CalcMolFormula(found) != CalcMolFormula(known):
        return 0.0, f"has the formula {CalcMolFormula(found)}, not {CalcMolFormula(known)}"
    if why := _implausible(found, folder, filtered, known):
        return 0.0, why
    alike = DataStructs.TanimotoSimilarity(_morgan().GetFingerprint(found), _morgan().GetFingerprint(known))
    return float(alike >= _ALIKE), f"has the right formula, and a fingerprint {alike:.2f} alike"


def _has_groups(found: Any, data: str, folder: str, filtered: bool) -> Judged:
    from rdkit.Chem.rdMolDescriptors import CalcMolFormula

    if found is None:
        return 0.0, _INVALID
    formula, groups = _wanted_groups(data)
    if CalcMolFormula(found) != formula:
        return 0.0, f"has the formula {CalcMolFormula(found)}, not {formula}"
    has = {name for name, pattern in _groups(f"{folder}/{_GROUPS}").items() if found.HasSubstructMatch(pattern)}
    if why := _implausible(found, folder, filtered):
        return 0.0, why
    missing = sorted(groups - has)
    return float(not missing), f"lacks the group {missing[0]}" if missing else "has the formula and all groups"


def _completes(answer: str, data: str, folder: str, filtered: bool) -> Judged:
    for smiles in (answer, data + answer):
        if smiles.startswith(data) and (found := _read(smiles)) is not None:
            why = _implausible(found, folder, filtered)
            return float(not why), why or "completes the molecule"
    return 0.0, "does not complete a molecule that RDKit can read"


def _implausible(mol: Any, folder: str, filtered: bool, known: Any = None) -> str:
    """Why upstream would not take a molecule for a reasonable one, or ''. What is in `known` is reasonable."""
    from rdkit import Chem

    Chem.SanitizeMol(mol)
    parts = sorted(Chem.GetMolFrags(mol, asMols=True), key=lambda part: part.GetNumAtoms(), reverse=True)
    if len(parts) > 2 or (len(parts) == 2 and parts[1].GetNumHeavyAtoms() > 5):
        return "is more than one molecule with a small counter-ion"
    if not filtered:
        return ""
    for name, parts_of in zip(_FILTERS, (_ring_systems, _bits), strict=True):
        strange = parts_of(parts[0]) - (parts_of(known) if known is not None else set())
        if any(part not in _filter(f"{folder}/{name}") for part in strange):
            return f"is not plausible by {name}"
    return ""


def _ring_systems(mol: Any) -> set[str]:
    """The ring systems as SMILES: what is left when all single bonds outside of rings are cut, exocyclic double bonds kept."""
    from rdkit import Chem

    mol = Chem.Mol(mol)
    kept = {mol.GetBondBetweenAtoms(*pair).GetIdx() for pair in mol.GetSubstructMatches(Chem.MolFromSmarts("[#6R,#16R]=[OR0,SR0,CR0,NR0]"))}
    cut = [
        bond.GetIdx()
        for bond in mol.GetBonds()
        if not bond.IsInRing() and bond.GetIdx() not in kept and bond.GetBondType() == Chem.BondType.SINGLE
    ]
    pieces = Chem.FragmentOnBonds(mol, cut) if cut else mol
    if cut:
        Chem.SanitizeMol(pieces)
    found = set()
    for piece in Chem.GetMolFrags(pieces, asMols=True):
        if not piece.HasSubstructMatch(Chem.MolFromSmarts("[R]")):
            continue
        for atom in piece.GetAtoms():
            if atom.GetAtomicNum() == 0:
                # Where a bond was cut there is a hydrogen now.
                atom.SetAtomicNum(1)
                atom.SetIsotope(0)
        piece = Chem.RemoveAllHs(piece)
        for bond in piece.GetBonds():
            if bond.GetBondType() == Chem.BondType.DOUBLE and 1 in (bond.GetBeginAtom().GetDegree(), bond.GetEndAtom().GetDegree()):
                bond.SetStereo(Chem.BondStereo.STEREONONE)
        again = _read(Chem.MolToSmiles(piece))
        if again is None:
            raise ValueError(f"the ring system {Chem.MolToSmiles(piece)} cannot be read")
        found.add(Chem.MolToSmiles(again, kekuleSmiles=True))
    return found


def _bits(mol: Any) -> set[str]:
    return {str(bit) for bit in _morgan().GetSparseCountFingerprint(mol).GetNonzeroElements()}


@cache
def _morgan() -> Any:
    from rdkit.Chem import rdFingerprintGenerator

    return rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)


@cache
def _filter(path: str) -> Any:
    from molbloom.bloom import BloomFilter

    return BloomFilter(path)


@cache
def _groups(path: str) -> dict[str, Any]:
    """Names and patterns of functional groups: lines `Name:rank:SMARTS`. Those that match nearly everything have a rank above 500."""
    from rdkit import Chem

    lines = [line.split(":", 2) for line in Path(path).read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    return {name.replace("_", " ").lower(): Chem.MolFromSmarts(smarts.strip()) for name, rank, smarts in lines if int(rank) <= 500}


# --------------------------------------------------------------------------------------------------------------------------- names


def _plain_name(text: str) -> str:
    """A name without what IUPAC writes for the eye: superscripts, italics, and brackets around one word."""
    text = text.strip().casefold()
    text = re.sub(r"\^\{([\d,]+)\}", r"^(\1)", text)
    text = re.sub(r"\{([a-zA-Z])\}", r"\1", text)
    text = text.replace("$", "").replace("~", "")
    text = re.sub(r"([-\d])[(\[{]([A-Za-z0-9]+)[\])}]-", r"\1\2-", text)
    return text.replace("^", "").replace(" ", "-")


def _bare_name(text: str) -> str:
    """A plain name without dashes and punctuation of any script."""
    text = unicodedata.normalize("NFKC", _plain_name(text))
    return "".join(letter for letter in text if letter != "-" and unicodedata.category(letter) not in ("Pd", "Po"))


# ------------------------------------------------------------------------------------------------------------------------ text and row

_INK = re.compile(r"\S")
_BRACE = re.compile(r"[{}]")
_BOX = "\\boxed{"
_LETTER = re.compile(r"Answer\s*:\s*([A-Za-z])\s*$", re.MULTILINE)


def _answer(text: str) -> str:
    """The answer without blanks around it; '' where there is none."""
    text = text.replace("<|answer_start|>", "<answer>").replace("<|answer_end|>", "</answer>")
    if answer := _last_tagged(text):
        return answer
    boxed = _last_boxed(text)
    if boxed is not None:
        return boxed
    letters = _LETTER.findall(text)
    return str(letters[-1]) if letters else ""


def _last_tagged(text: str) -> str:
    """The last content, which has at least one character that is no blank; '' where an opening tag is within it."""
    last, start = "", text.find("<answer>")
    while start >= 0:
        ink = _INK.search(text, start + len("<answer>"))
        end = text.find("</answer>", ink.end()) if ink else -1
        if ink is None or end < 0:
            break
        start = ink.start()
        last, start = text[start:end].strip(), text.find("<answer>", end)
    return "" if "<answer>" in last else last


def _last_boxed(text: str) -> str | None:
    """The last box whose braces close and are nested at most twice within it."""
    last, start = None, text.find(_BOX)
    while start >= 0:
        depth, end = 1, -1
        for brace in _BRACE.finditer(text, start + len(_BOX)):
            depth += 1 if brace[0] == "{" else -1
            if depth in (0, 4):
                end = brace.start() if depth == 0 else -1
                break
        if end >= 0:
            last = text[start + len(_BOX) : end].strip()
        start = text.find(_BOX, end if end >= 0 else start + 1)
    return last


def _solution(task: Task) -> tuple[str, str]:
    """The function and its data."""
    solution = _field(task, "solution")
    if not isinstance(solution, str) or solution.count("!:!") < 2:
        raise DataError(f"{task.where('solution')}: must be a text function!:!data!:!type, not {_short(repr(solution))}")
    function, data, _ = solution.split("!:!", 2)
    if function in _REMOTE:
        raise DataError(
            f"{task.where('solution')}: {function} ({_REMOTE[function]}) asks upstream's service ether0-serve, which is not supported; "
            "leave these rows out"
        )
    if function not in (*_TEXTUAL, *_CHEMICAL, *_OPEN):
        raise DataError(
            f"{task.where('solution')}: there is no function {_short(function)!r}; there are {', '.join((*_TEXTUAL, *_CHEMICAL, *_OPEN))}"
        )
    if function == "functional_group_eval":
        try:
            _wanted_groups(data)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise DataError(f"{task.where('solution')}: {_short(data)!r} is not ('formula', ['group', ...])") from None
    return function, data


def _wanted_groups(data: str) -> tuple[str, set[str]]:
    formula, groups = ast.literal_eval(data)
    if not isinstance(formula, str) or not isinstance(groups, list | tuple) or not all(isinstance(group, str) for group in groups):
        raise ValueError
    return formula, {group.lower() for group in groups}


def _check_files(task: Task, function: str, filters: str, folder: Path) -> None:
    wanted = [
        *(_FILTERS if function in _OPEN and filters == "upstream" else ()),
        *((_GROUPS,) if function == "functional_group_eval" else ()),
    ]
    for name in wanted:
        if not (folder / name).is_file():
            raise DataError(
                f"{task.where('solution')}: {function} needs upstream's file {folder / name}; README.md of ether0 says where it is"
            )


def _field(task: Task, name: str) -> Any:
    metadata = task.get("verifier_metadata")
    return task.get(name) if task.get(name) is not None or not isinstance(metadata, dict) else metadata.get(name)


def _verdict(reward: float, answer: str, says: str) -> Verdict:
    return Verdict(reward, extracted=answer if len(answer) <= 2000 else answer[:1999] + "…", explanation=f"{_short(answer)} {says}")


def _short(text: str) -> str:
    text = " ".join(text[:1000].split())
    return text if len(text) <= 200 else text[:199] + "…"
