"""`--gym-new`: a table of questions and answers becomes a benchmark folder: rows, config, README.

Which column is what is guessed from names and values and then said, so that it can be corrected in the config. Not here: reading tables
(tables), and whether the result holds (check).
"""

from __future__ import annotations

import hashlib
import json
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_gym.benchmark import NAME
from pytest_gym.choices import LETTERS, choice_row
from pytest_gym.discovery import Output
from pytest_gym.errors import ConfigError, DataError
from pytest_gym.tables import formats, is_table, read_rows

_ID = ("id", "uid", "uuid", "key", "task_id", "question_id", "row_id", "nr", "no")
_QUESTION = ("question", "prompt", "problem", "input", "instruction", "query", "task", "text", "frage")
_ANSWER = (
    "answer",
    "expected_answer",
    "expected",
    "correct_answer",
    "target",
    "label",
    "gold",
    "solution",
    "reference",
    "output",
    "correct",
    "antwort",
)
_OPTIONS = ("options", "choices", "answers")
_SUBSET = ("category", "subject", "topic", "subset", "domain", "type", "difficulty", "level", "language")
_NUMBER = re.compile(r"[-+]?[$€£]?\d{1,3}(,?\d{3})*(\.\d+)?%?|[-+]?\d+/\d+|[-+]?\.\d+")
_LONG = 120
_CODE = re.compile(r"\W")


@dataclass(frozen=True)
class Draft:
    """What was made of a table. `fields` maps a role (id, question, answer, options, subset) to the column it was found in."""

    name: str
    rows: list[dict[str, Any]]
    fields: dict[str, str]
    verifier: str
    why: str
    options: dict[str, Any]
    prompt: str
    domain: str


def new_command(word: str, base: Path, root: Path, *, as_json: bool) -> Output:
    """`--gym-new=NAME=FILE`: FILE relative to `base`, the folder below `root`/benchmarks. Raises GymError for what cannot be made."""
    name, equals, file = word.partition("=")
    if not equals or not NAME.fullmatch(name) or not file:
        raise ConfigError(f"--gym-new={word}: give NAME=FILE, as --gym-new=capitals=questions.csv; NAME of letters, digits, '_', '.', '-'")
    source, folder = base / file, root / "benchmarks" / name
    if folder.exists():
        raise ConfigError(f"--gym-new={name}: {folder} exists already; choose another name, or change what is there")
    if not is_table(source.name):
        raise ConfigError(f"--gym-new: {source} is none of the tables that can be read: {formats()}")
    drafted = draft(name, list(read_rows(source, source.name)), str(source))
    texts = _files(drafted, source)
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text.encode())
    shown = folder.relative_to(root)
    commands = [
        f"pytest --gym-check={name}",
        f"pytest --gym-benchmark={name} --gym-demo",
        f"pytest --gym-benchmark={name} --gym-model=NAME --gym-base-url=URL",
    ]
    if as_json:
        data = {"name": name, "folder": str(folder), "files": list(texts), "rows": len(drafted.rows), "fields": drafted.fields,
                "verifier": drafted.verifier, "why": drafted.why, "next": commands}  # fmt: skip
        return Output(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
    lines = [
        f"{shown}: {', '.join(texts)} ({len(drafted.rows):,} rows)",
        *(f"  {role:<10}{column}" for role, column in drafted.fields.items()),
        f"  {'verifier':<10}{drafted.verifier}: {drafted.why}",
        "",
        f"Look at {shown}/config.yaml and README.md (the licence is for you to say), then:",
        *(f"  {command}" for command in commands),
    ]
    return Output("\n".join(lines) + "\n")


def draft(name: str, table: Sequence[Any], where: str) -> Draft:
    """Fields, rows and verifier for a table. Raises DataError naming `where`, row and column for what cannot be used."""
    if not table:
        raise DataError(f"{where}: has no rows")
    for number, row in enumerate(table, 1):
        if not isinstance(row, dict):
            raise DataError(f"{where}: row {number} is no object but {row!r:.60}")
    columns = list(dict.fromkeys(column for row in table for column in row))
    names = {column: _field(str(column)) for column in columns}
    if len(set(names.values())) < len(names):
        raise DataError(f"{where}: two columns have the same name but for blanks and signs: {', '.join(map(str, columns))}")
    rows = [{names[column]: value for column, value in row.items()} for row in table]
    columns = list(dict.fromkeys(names.values()))
    options = _option_columns(columns, rows)
    answer = _named(columns, _ANSWER)
    if answer is None:
        raise DataError(f"{where}: which column is the right answer? Call it 'answer' (it has: {', '.join(columns)})")
    question = _named(columns, _QUESTION) or _longest(rows, [column for column in columns if column not in (answer, *options)])
    if question is None:
        raise DataError(f"{where}: which column is the question? Call it 'question' (it has: {', '.join(columns)})")
    for number, row in enumerate(rows, 1):
        for column in (question, answer):
            if row.get(column) is None or not str(row[column]).strip():
                raise DataError(f"{where}: row {number} has no {column!r}")
    fields = {"question": question, "answer": answer}
    identifier = _named(columns, _ID)
    if identifier and _distinct(rows, identifier) == len(rows) and all(str(row.get(identifier) or "").strip() for row in rows):
        fields = {"id": identifier, **fields}
        rows = [{"id": str(row[identifier]), **{key: value for key, value in row.items() if key != identifier}} for row in rows]
    else:
        width = max(4, len(str(len(rows) - 1)))
        rows = [{**row, "id": f"{number:0{width}d}"} for number, row in enumerate(rows)]
        fields = {"id": "none is unique, so the row's number", **fields}
    subset = _named(columns, _SUBSET)
    if subset and subset not in fields.values() and 1 < _distinct(rows, subset) <= min(60, len(rows) // 2):
        fields["subset"] = subset
    if options:
        return _multiple_choice(name, rows, {**fields, "options": ", ".join(options)}, options, where)
    return _open(name, rows, fields)


def _multiple_choice(name: str, rows: list[dict[str, Any]], fields: dict[str, str], options: list[str], where: str) -> Draft:
    made = []
    for number, row in enumerate(rows, 1):
        texts = (
            _texts(row[options[0]]) if len(options) == 1 else [str(row[column]) for column in options if row.get(column) not in (None, "")]
        )
        right = _right(str(row[fields["answer"]]).strip(), texts)
        if right is None:
            raise DataError(
                f"{where}: row {number}: {fields['answer']!r} is {row[fields['answer']]!r}, which is none of its options: {texts!r:.200}"
            )
        kept = {key: value for key, value in row.items() if key not in options}
        made.append({**kept, **choice_row(str(row[fields["question"]]), texts, right)})
    most = max(len(row["options"]) for row in made)
    prompt = (
        f"Answer the question below by choosing one of the options, lettered from A to {LETTERS[most - 1]} at most. "
        "Put the letter of your choice, and only the letter, inside \\boxed{{}}.\n\n{problem}"
    )
    why = f"every row has options, up to {most}, and the right one is among them"
    return Draft(name, made, fields, "mcqa", why, {"mode": "strict_single_letter_boxed"}, prompt, "knowledge")


def _open(name: str, rows: list[dict[str, Any]], fields: dict[str, str]) -> Draft:
    question, answer = fields["question"], fields["answer"]
    texts = [str(row[answer]).strip() for row in rows]
    rows = [
        row if isinstance(row[answer], str | int) and not isinstance(row[answer], bool) else {**row, answer: str(row[answer])}
        for row in rows
    ]
    numbers = sum(bool(_NUMBER.fullmatch(text)) for text in texts)
    latex = sum("\\" in text or text.startswith("$") for text in texts)
    if numbers + latex == len(texts):
        prompt = (
            f"Work out the answer to this problem. Put your final answer, and only the answer, inside \\boxed{{{{}}}}.\n\n{{{question}}}"
        )
        kind = "numbers" if not latex else "numbers or formulas"
        return Draft(
            name,
            rows,
            fields,
            "math",
            f"all {len(texts):,} answers are {kind}, which it compares by value",
            {"field": answer},
            prompt,
            "math",
        )
    prompt = f"Answer with the answer alone, without a sentence around it.\n\n{{{question}}}"
    typical = int(statistics.median(map(len, texts)))
    why = f"the answers are short texts (typically {typical} characters); case, punctuation and blanks do not count"
    if max(map(len, texts)) > _LONG:
        why = (
            f"no rule compares free texts, and answers have up to {max(map(len, texts)):,} characters: only the very text passes; "
            "write a verifier of your own (docs/write-a-verifier.md)"
        )
    return Draft(name, rows, fields, "exact_match", why, {"field": answer, "ignore_punctuation": _survives(texts)}, prompt, "other")


def _survives(texts: Sequence[str]) -> bool:
    """Whether something is left of every answer without its punctuation."""
    return all(re.sub(r"[\W_]", "", text) for text in texts)


def _files(drafted: Draft, source: Path) -> dict[str, str]:
    last = drafted.name.rpartition("/")[2]
    lines = "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in drafted.rows)
    digest = hashlib.sha256(lines.encode()).hexdigest()
    prompt = "".join(f"      {line}".rstrip() + "\n" for line in drafted.prompt.splitlines())
    options = "".join(f", {name}: {json.dumps(value)}" for name, value in drafted.options.items())
    subset = f"  subset: {json.dumps(drafted.fields['subset'])}\n" if "subset" in drafted.fields else ""
    config = f"""{json.dumps(drafted.name)}:
  description: {json.dumps(f"Questions and answers of {source.name}")}
  domain: {drafted.domain}
  version: 1
  prompt_config:
    user: |-
{prompt}  verifier: {{name: {drafted.verifier}{options}}}
{subset}  sampling: {{temperature: 0.0, max_tokens: 4096}}
  datasets:
    - name: {json.dumps(last)}
      type: benchmark
      path: {json.dumps(f"{last}.jsonl")}
      # The freeze: a changed row is an error until this says so, and version is raised.
      sha256: "{digest}"
      num_rows: {len(drafted.rows)}
"""
    readme = f"""# {drafted.name}

Questions and answers, made from a table by `pytest --gym-new`.

| | |
|---|---|
| source | `{source.name}`, {len(drafted.rows):,} rows, sha256 `{hashlib.sha256(source.read_bytes()).hexdigest()}` |
| licence | not stated: write here who may use it |

## Reward

1 if the verifier `{drafted.verifier}` finds the expected answer, else 0. It was chosen because {drafted.why}.
"""
    return {"config.yaml": config, f"{last}.jsonl": lines, "README.md": readme}


# ----------------------------------------------------------------------------------------------------------------------------- guessing


def _field(column: str) -> str:
    """The column's name as a placeholder of a prompt can have it."""
    name = _CODE.sub("_", column.strip())
    return name if name and not name[0].isdigit() else f"_{name}"


def _named(columns: Sequence[str], names: Sequence[str]) -> str | None:
    low = {column.lower(): column for column in reversed(columns)}
    return next((low[name] for name in names if name in low), None)


def _longest(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str | None:
    texts = {column: [row[column] for row in rows if isinstance(row.get(column), str)] for column in columns}
    lengths = {column: statistics.fmean(map(len, found)) for column, found in texts.items() if len(found) == len(rows)}
    return max(lengths, key=lengths.__getitem__, default=None)


def _distinct(rows: Sequence[Mapping[str, Any]], column: str) -> int:
    return len({str(row.get(column)) for row in rows})


def _option_columns(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The columns A, B, …, or option_a, choice1, …, in order; or the one column that holds a list of options."""
    for pattern in (r"([A-Z])", r"(?:option|choice|answer)_?([a-z])", r"(?:option|choice|answer)_?(\d{1,2})"):
        found = [
            (match[1], column) for column in columns if (match := re.fullmatch(pattern, column, re.IGNORECASE if "_" in pattern else 0))
        ]
        ordered = [column for _, column in sorted(found, key=lambda pair: (len(pair[0]), pair[0].lower()))]
        if len(ordered) >= 2:
            return ordered
    column = _named(columns, _OPTIONS)
    return [column] if column and all(len(_texts(row.get(column))) >= 2 for row in rows) else []


def _texts(value: Any) -> list[str]:
    """A list of options, or the same as JSON text, or {letter: text}."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return []
    if isinstance(value, dict):
        value = list(value.values())
    return (
        [str(next(iter(item.values()), "")) if isinstance(item, dict) else str(item) for item in value] if isinstance(value, list) else []
    )


def _right(answer: str, texts: Sequence[str]) -> int | None:
    """The position that an answer means: the text of one option, else its letter, else its number (from 0)."""
    same = [place for place, text in enumerate(texts) if text.strip() == answer]
    if len(same) == 1:
        return same[0]
    letter = LETTERS.find(answer.strip("().").upper()) if len(answer.strip("().")) == 1 else -1
    place = letter if letter >= 0 else int(answer) if answer.isascii() and answer.isdigit() else -1
    return place if 0 <= place < len(texts) else None
