"""Holds exact set match and difficulty (`pytest_gym.clauses`) against Spider's official evaluator, run side by side.

    python tests/fidelity_sql.py SPIDER [PAIRS]

SPIDER is a checkout of taoyds/spider (measured at b7b5b8c), whose `process_sql.py` and `evaluation.py` are imported from there, with nltk's
tokenizer as they use it. PAIRS (5,000) gold queries are bent at random, with a fixed seed. Not a test: the numbers stand in
docs/verifiers.md.
"""

from __future__ import annotations

import copy
import json
import random
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from pytest_gym import SqlSchema, UnparsableSql  # noqa: E402
from pytest_gym.verify import load_module  # noqa: E402

NOTHING = {
    "select": [False, []], "from": {"table_units": [], "conds": []}, "where": [], "groupBy": [], "having": [], "orderBy": [], "limit": None,
    "intersect": None, "union": None, "except": None,
}  # fmt: skip
TOKEN = re.compile(r"\"[^\"]*\"|'[^']*'|\w+(?:\.\w+)?|[<>!]=|\S")
WORDS = (
    "max min count sum avg distinct and or not = > < != >= like in between desc asc ( ) , * union intersect except limit order by "
    "group having where from select as on join is null exists ; 1 'x' T1 T2 + - / none -- ."
).split()
OPPOSITE = {"and": "or", "or": "and", "desc": "asc", "asc": "desc", "max": "min", "min": "max", ">": "<", "count": "sum"}


class Sides:
    """The official evaluator and ours on the same pairs."""

    def __init__(self, folder: Path) -> None:
        import nltk
        import punkt
        from nltk.tokenize import NLTKWordTokenizer

        tokenizer = NLTKWordTokenizer()
        # nltk's own function asks for a download; these are its two steps.
        nltk.word_tokenize = lambda text: [word for sentence in punkt.sent_tokenize(text) for word in tokenizer.tokenize(sentence)]
        sys.path.insert(0, str(folder))
        import evaluation
        import process_sql

        self.evaluation, self.process = evaluation, process_sql
        examples = folder / "evaluation_examples/examples"
        self.rows = json.loads((examples / "dev.json").read_text(encoding="utf-8"))
        self.joined = evaluation.build_foreign_key_map_from_json(examples / "tables.json")
        describe = load_module(ROOT / "benchmarks/spider/prepare.py", "prepare").describe
        schemas = {each["db_id"]: describe(each) for each in json.loads((examples / "tables.json").read_text(encoding="utf-8"))}
        self.ours = {name: SqlSchema(each["tables"], each["foreign_keys"]) for name, each in schemas.items()}
        self.theirs = {
            name: process_sql.Schema({table.lower(): [column.lower() for column in columns] for table, columns in each["tables"]})
            for name, each in schemas.items()
        }

    def official(self, name: str, sql: str, gold: str) -> tuple[bool, bool, str]:
        """Whether the pair matches, whether the query can be parsed, and the difficulty of the gold query."""
        schema, evaluation = self.theirs[name], self.evaluation
        wanted = self.process.get_sql(schema, gold)
        difficulty, parsed = evaluation.Evaluator().eval_hardness(wanted), True
        try:
            found = self.process.get_sql(schema, sql)
        except Exception:  # whatever upstream's parser raises: its own evaluation takes the same query that is none then
            found, parsed = copy.deepcopy(NOTHING), False
        rebuilt = []
        for query in (found, wanted):
            columns = evaluation.build_valid_col_units(query["from"]["table_units"], schema)
            rebuilt.append(evaluation.rebuild_sql_col(columns, evaluation.rebuild_sql_val(query), self.joined[name]))
        return bool(evaluation.Evaluator().eval_exact_match(*rebuilt)), parsed, difficulty

    def own(self, name: str, sql: str, gold: str) -> tuple[bool, bool, str]:
        """The same, by our code."""
        schema = self.ours[name]
        wanted = schema.parse(gold)
        try:
            return schema.difference(schema.parse(sql), wanted) is None, True, wanted.difficulty
        except UnparsableSql:
            return False, False, wanted.difficulty

    def measure(self, title: str, pairs: list[tuple[str, str, str]]) -> None:
        """Print on how many pairs (database, query, gold query) all three agree."""
        count: Counter[str] = Counter()
        for pair in pairs:
            theirs = self.official(*pair)
            count["same"] += self.own(*pair) == theirs
            count["match"] += theirs[0]
            count["parsed"] += theirs[1]
        print(f"{title}: {count['same']:,} of {len(pairs):,}; {count['match']:,} match, {len(pairs) - count['parsed']:,} cannot be parsed")


def bent(row: dict[str, Any], names: list[str], others: list[str], chance: random.Random) -> str:
    """A gold query with some words exchanged, lost, added or turned into their opposite, and perhaps without blanks."""
    tokens = TOKEN.findall(row["query"])
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        at, kind = chance.randrange(len(tokens)), chance.randrange(8)
        if kind in (0, 1):
            tokens[at] = chance.choice(WORDS if kind else names)
        elif kind == 2 and len(tokens) > 1:
            del tokens[at]
        elif kind == 3:
            tokens.insert(at, chance.choice(WORDS + names))
        elif kind == 4:
            tokens = [OPPOSITE.get(token.lower(), token) for token in tokens]
        elif kind == 5:
            tokens = ["7" if token.isdigit() else "'new'" if token[0] in "'\"" else token.upper() for token in tokens]
        elif kind == 6:
            tokens += chance.choice([["limit", "3"], [";"], [chance.choice(["union", "except"]), *TOKEN.findall(chance.choice(others))]])
        else:
            other = chance.randrange(len(tokens))
            tokens[at], tokens[other] = tokens[other], tokens[at]
    blank = chance.choice([" ", " ", " ", ""])
    return "".join(token + (blank or (" " if re.fullmatch(r"[\w.]+", token) else chance.choice(["", " "]))) for token in tokens)


def main(folder: Path, pairs: int) -> None:
    """Print one line for each comparison."""
    sides, chance = Sides(folder), random.Random(1)
    gold: dict[str, list[str]] = {}
    for row in sides.rows:
        gold.setdefault(row["db_id"], []).append(row["query"])
    names = {
        name: [*schema.tables, *(column for columns in schema.tables.values() for column in columns)] for name, schema in sides.ours.items()
    }
    sides.measure("gold queries against themselves", [(row["db_id"], row["query"], row["query"]) for row in sides.rows])
    others = [
        (row["db_id"], other, row["query"])
        for row in sides.rows
        for other in chance.sample(gold[row["db_id"]], min(8, len(gold[row["db_id"]])))
    ]
    sides.measure("against others of the same database", others)
    chosen = [chance.choice(sides.rows) for _ in range(pairs)]
    sides.measure(
        "bent at random", [(row["db_id"], bent(row, names[row["db_id"]], gold[row["db_id"]], chance), row["query"]) for row in chosen]
    )
    files = [
        (folder / "evaluation_examples" / name).read_text(encoding="utf-8").splitlines()
        for name in ("gold_example.txt", "pred_example.txt")
    ]
    lines = [(*line.rsplit("\t", 1), sql.split("\t")[0]) for line, sql in zip(*files, strict=True) if line.strip()]
    sides.measure("upstream's example predictions", [(name.strip(), sql, query) for query, name, sql in lines])


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5000)
