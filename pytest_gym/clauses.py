"""Clauses: a query of Spider's SQL taken apart, held against another one without values, and told how difficult it is.

    schema = SqlSchema([["pet", ["name", "age"]]], [])
    schema.difference(schema.parse("SELECT age FROM pet"), schema.parse("SELECT name FROM pet"))   # 'SELECT'

The rules are those of the official evaluator of Spider (taoyds/spider @ b7b5b8c, `process_sql.py` and `evaluation.py`), to the letter, with
what it cannot read or tell apart; `verifiers/spider.py` says what they amount to. Not here: running a query (`query`), and SQL in general.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pytest_gym.errors import GymError

_CLAUSES = ("select", "from", "where", "group", "order", "limit", "intersect", "union", "except")
_JOINS = ("join", "on", "as")
_COMPARISONS = ("not", "between", "=", ">", "<", ">=", "<=", "!=", "in", "like", "is", "exists")
_OPERATORS = ("none", "-", "+", "*", "/")
_AGGREGATES = ("none", "max", "min", "count", "sum", "avg")
_COMBINERS = ("intersect", "union", "except")
_MAX_CHARACTERS, _MAX_DEPTH = 20_000, 50
# How nltk's tokenizer, which upstream uses, takes apart what is left once the quoted texts are out: `=` and `/` stay with their neighbours.
_SPLITS = [
    (re.compile(pattern), by)
    for pattern, by in (
        (r"[«“‘„]|`+", r" \g<0> "),
        (r"([^.])(\.)([\])}>\"'»”’ ]*)\s*$", r"\1 \2 \3 "),
        (r"([:,])(\D)", r" \1 \2"),
        (r"([:,])$", r" \1 "),
        (r"\.{2,}|[;@#$%&?!*\[\](){}<>]|--", r" \g<0> "),
        (r"[»”’]", r" \g<0> "),
    )
]

Column = tuple[str, str, bool | None]
"""Aggregate, name (`table.column` or `*`), DISTINCT."""
Value = tuple[str, Column, Column | None]
"""Operator, and one or two columns."""


class UnparsableSql(GymError):
    """A query that Spider's parser does not take; the text says why in a few words."""

    kind = "query"


@dataclass(frozen=True)
class Condition:
    """One comparison; the values are texts, numbers, columns or queries."""

    negated: bool
    comparison: str
    left: Value
    values: tuple[Any, Any]


Conditions = tuple["Condition | str", ...]
"""Conditions with `and` and `or` between them."""


@dataclass(frozen=True)
class SqlQuery:
    """The clauses of a query. tables: names or queries. order: direction and values, or nothing. combined: by INTERSECT, UNION, EXCEPT."""

    distinct: bool
    select: tuple[tuple[str, Value], ...]
    tables: tuple[Any, ...]
    on: Conditions
    where: Conditions
    group: tuple[Column, ...]
    having: Conditions
    order: tuple[Any, ...]
    limit: int | None
    combined: tuple[SqlQuery | None, ...]

    @property
    def difficulty(self) -> str:
        """`easy`, `medium`, `hard` or `extra`, by upstream's counts of clauses, nested queries and other parts."""
        every = self.on + self.where + self.having
        conditions = [each for each in every if isinstance(each, Condition)]
        clauses = sum(map(bool, (self.where, self.group, self.order, self.limit is not None))) + max(len(self.tables) - 1, 0)
        clauses += every.count("or") + sum(each.comparison == "like" for each in conditions)
        nested = sum(isinstance(value, SqlQuery) for each in conditions for value in each.values) + sum(map(bool, self.combined))
        aggregates = [unit[0] for unit in self.select] + [column[0] for column in self.group]
        aggregates += [column[0] for value in (self.order[1] if self.order else ()) for column in value[1:] if column]
        # Upstream takes a NOT, and in HAVING each AND and OR, for an aggregate as well.
        odd = sum(isinstance(each, str) or each.negated for each in (*self.where[::2], *self.having))
        others = sum(
            (odd + sum(name != "none" for name in aggregates) > 1, *(len(part) > 1 for part in (self.select, self.where, self.group)))
        )
        if clauses <= 1 and not others and not nested:
            return "easy"
        if not nested and ((others <= 2 and clauses <= 1) or (clauses <= 2 and others < 2)):
            return "medium"
        if not nested and ((others > 2 and clauses <= 2) or (2 < clauses <= 3 and others <= 2)):
            return "hard"
        return "hard" if clauses <= 1 and not others and nested <= 1 else "extra"

    @property
    def keywords(self) -> set[str]:
        """The words that exact set match compares beside the clauses."""
        every = self.on + self.where + self.having
        conditions = [each for each in every if isinstance(each, Condition)]
        there = {"where": self.where, "group": self.group, "having": self.having, "order": self.order, "limit": self.limit is not None}
        there |= dict(zip(_COMBINERS, self.combined, strict=True)) | {"or": "or" in every, "not": any(each.negated for each in conditions)}
        return (
            {name for name, part in there.items() if part} | set(self.order[:1]) | {each.comparison for each in conditions} & {"in", "like"}
        )


class SqlSchema:
    """The tables of a database: [[name, [columns]], …] in their order, and the pairs of columns `table.column` that foreign keys join.

    The case of letters does not count. Raises ValueError where that is not their form.
    """

    def __init__(self, tables: Sequence[Any], foreign_keys: Sequence[Any]) -> None:
        self.tables: dict[str, list[str]] = {table.lower(): [column.lower() for column in columns] for table, columns in tables}
        columns = [f"{table}.{column}" for table, names in self.tables.items() for column in names]
        self.names = frozenset(columns) | self.tables.keys()
        groups: list[set[str]] = []
        for first, second in foreign_keys:
            pair = {first.lower(), second.lower()}
            # As upstream does: a pair joins the first group that it meets, and two groups never become one.
            if not (met := next((group for group in groups if group & pair), set())):
                groups.append(met)
            met |= pair
        self.joined = {name: min(group, key=columns.index) for group in groups for name in group}

    def parse(self, sql: str) -> SqlQuery:
        """The clauses of a query. Raises UnparsableSql where upstream's parser would fail, and no other error on any text."""
        if len(sql) > _MAX_CHARACTERS:
            raise UnparsableSql("too long")
        tokens = _tokens(sql)
        try:
            aliases = {tokens[at + 1]: tokens[at - 1] for at, token in enumerate(tokens) if token == "as"}
            if taken := aliases.keys() & self.tables:
                raise UnparsableSql(f"the alias {min(taken)!r} is a table's name")
            return _Parser(tokens, aliases | {name: name for name in self.tables}, self).query()
        except IndexError:
            raise UnparsableSql("it ends too early") from None
        except KeyError as error:
            raise UnparsableSql(f"unknown name {error.args[0][:40]!r}") from None
        except ValueError:
            raise UnparsableSql("a name or a number is out of place") from None

    def difference(self, query: SqlQuery, gold: SqlQuery) -> str | None:
        """What of a query is not as in the gold query, such as `WHERE`; None where they match exactly, up to values."""
        return _difference(self._canonical(query), self._canonical(gold))

    def _canonical(self, query: SqlQuery) -> SqlQuery:
        """Without values, without DISTINCT, and with one name for all columns that foreign keys join; nested queries keep the last two."""
        scope = {table for table in query.tables if isinstance(table, str)}
        return self._renamed(_without_values(query), scope)

    def _renamed(self, query: SqlQuery, scope: set[str]) -> SqlQuery:
        def column(given: Column) -> Column:
            aggregate, name, _ = given
            return aggregate, self.joined.get(name, name) if name.partition(".")[0] in scope else name, None

        def value(given: Value) -> Value:
            operator, left, right = given
            return operator, column(left), column(right) if right else None

        def conditions(given: Conditions) -> Conditions:
            return tuple(each if isinstance(each, str) else replace(each, left=value(each.left)) for each in given)

        return replace(
            query,
            select=tuple((aggregate, value(each)) for aggregate, each in query.select),
            on=conditions(query.on),
            where=conditions(query.where),
            group=tuple(column(each) for each in query.group),
            having=conditions(query.having),
            order=(query.order[0], tuple(value(each) for each in query.order[1])) if query.order else (),
            combined=tuple(each and self._renamed(each, scope) for each in query.combined),
        )


def _tokens(sql: str) -> list[str]:
    sql = " ".join(sql.split()).replace("'", '"')
    parts = sql.split('"')
    if not len(parts) % 2:
        raise UnparsableSql("a quote does not close")
    texts = {f"__text_{number}__": f'"{part}"' for number, part in enumerate(parts) if number % 2}
    sql = "".join(f"__text_{number}__" if number % 2 else part for number, part in enumerate(parts))
    for pattern, by in _SPLITS:
        sql = pattern.sub(by, sql)
    tokens = [texts.get(word.lower(), word.lower()) for word in sql.split()]
    for at in reversed([at for at, token in enumerate(tokens) if token == "="]):
        if tokens[at - 1] in ("!", "<", ">"):
            tokens[at - 1 : at + 1] = [f"{tokens[at - 1]}="]
    return tokens


class _Parser:
    """Reads tokens from `at` on. aliases: the tables by all their names."""

    def __init__(self, tokens: Sequence[str], aliases: dict[str, str], schema: SqlSchema, depth: int = 0) -> None:
        self.tokens, self.aliases, self.schema, self.depth, self.at = tokens, aliases, schema, depth, 0

    def has(self, *wanted: str) -> bool:
        return self.at < len(self.tokens) and self.tokens[self.at] in wanted

    def skip(self, *wanted: str) -> bool:
        found = self.has(*wanted)
        self.at += found
        return found

    def take(self, *wanted: str) -> str:
        token = self.tokens[self.at]
        if wanted and token not in wanted:
            raise UnparsableSql(f"{token[:40]!r} where {wanted[0]!r} is expected")
        self.at += 1
        return token

    def query(self) -> SqlQuery:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise UnparsableSql("nested too deep")
        block = self.skip("(")
        select_at = self.at
        # FROM goes first, since the columns of SELECT are looked for in its tables.
        self.at = self.tokens.index("from", self.at) + 1
        tables, on, scope = self.sources()
        after, self.at = self.at, select_at
        distinct, select = self.select(scope)
        self.at = after
        where = self.conditions(scope) if self.skip("where") else ()
        group = tuple(self.listed(scope, self.column)) if self.by("group") else ()
        having = self.conditions(scope) if self.skip("having") else ()
        order = self.order(scope) if self.by("order") else ()
        limit = int(self.take()) if self.skip("limit") else None
        self.semicolons()
        if block:
            self.take(")")
        self.semicolons()
        combined: list[SqlQuery | None] = [None, None, None]
        if self.has(*_COMBINERS):
            combiner = _COMBINERS.index(self.take())
            combined[combiner] = self.query()
        self.depth -= 1
        return SqlQuery(distinct, select, tables, on, where, group, having, order, limit, tuple(combined))

    def semicolons(self) -> None:
        while self.skip(";"):
            pass

    def by(self, clause: str) -> bool:
        return self.skip(clause) and bool(self.take("by"))

    def sources(self) -> tuple[tuple[Any, ...], Conditions, list[str]]:
        tables: list[Any] = []
        on: list[Any] = []
        scope: list[str] = []
        while self.at < len(self.tokens):
            block = self.skip("(")
            if self.tokens[self.at] == "select":
                tables.append(self.query())
            else:
                self.skip("join")
                name = self.aliases[self.take()]
                if self.skip("as"):
                    self.at += 1
                if name not in self.schema.names:
                    raise KeyError(name)
                tables.append(name)
                scope.append(name)
            if self.skip("on"):
                on += (["and"] if on else []) + list(self.conditions(scope))
            if block:
                self.take(")")
            if self.has(*_CLAUSES, ")", ";"):
                break
        return tuple(tables), tuple(on), scope

    def select(self, scope: list[str]) -> tuple[bool, tuple[tuple[str, Value], ...]]:
        self.take("select")
        distinct, units = self.skip("distinct"), []
        while self.at < len(self.tokens) and not self.has(*_CLAUSES):
            aggregate = self.take() if self.has(*_AGGREGATES) else "none"
            units.append((aggregate, self.value(scope)))
            self.skip(",")
        return distinct, tuple(units)

    def conditions(self, scope: list[str]) -> Conditions:
        found: list[Condition | str] = []
        while self.at < len(self.tokens):
            left = self.value(scope)
            negated = self.tokens[self.at] == "not"
            self.at += negated
            comparison = self.take(*_COMPARISONS)
            values = [self.operand(scope), None]
            if comparison == "between":
                self.take("and")
                values[1] = self.operand(scope)
            found.append(Condition(negated, comparison, left, (values[0], values[1])))
            if self.has(*_CLAUSES, *_JOINS, ")", ";"):
                break
            if self.has("and", "or"):
                found.append(self.take())
        return tuple(found)

    def listed(self, scope: list[str], read: Any) -> Iterator[Any]:
        while self.at < len(self.tokens) and not self.has(*_CLAUSES, ")", ";"):
            yield read(scope)
            if not self.skip(","):
                break

    def order(self, scope: list[str]) -> tuple[str, tuple[Value, ...]]:
        direction = "asc"

        def read(scope: list[str]) -> Value:
            nonlocal direction
            value = self.value(scope)
            direction = self.take() if self.has("desc", "asc") else direction
            return value

        values = tuple(self.listed(scope, read))
        return direction, values

    def operand(self, scope: list[str]) -> Any:
        start = self.at
        block = self.skip("(")
        token = self.tokens[self.at]
        value: Any
        if token == "select":
            value = self.query()
        elif '"' in token:
            value = self.take()
        else:
            try:
                value = float(token)
                self.at += 1
            except ValueError:
                while self.at < len(self.tokens) and not self.has(",", ")", "and", *_CLAUSES, *_JOINS):
                    self.at += 1
                value = _Parser(self.tokens[start : self.at], self.aliases, self.schema, self.depth).column(scope)
        if block:
            self.take(")")
        return value

    def value(self, scope: list[str]) -> Value:
        block = self.skip("(")
        left = self.column(scope)
        operator, right = (self.take(), self.column(scope)) if self.has(*_OPERATORS) else ("none", None)
        if block:
            self.take(")")
        return operator, left, right

    def column(self, scope: list[str]) -> Column:
        block = self.skip("(")
        if self.tokens[self.at] in _AGGREGATES:
            # Upstream forgets the bracket before an aggregate, so that the one behind it is out of place.
            aggregate = self.take()
            self.take("(")
            distinct = self.skip("distinct")
            name = self.name(scope)
            self.take(")")
            return aggregate, name, distinct
        distinct = self.skip("distinct")
        name = self.name(scope)
        if block:
            self.take(")")
        return "none", name, distinct

    def name(self, scope: list[str]) -> str:
        token = self.take()
        if token == "*":
            return token
        if "." in token:
            alias, column = token.split(".")
            name = f"{self.aliases[alias]}.{column}"
            if name not in self.schema.names:
                raise KeyError(name)
            return name
        for table in scope:
            if token in self.schema.tables[self.aliases[table]]:
                return f"{table}.{token}"
        raise KeyError(token)


def _without_values(query: SqlQuery) -> SqlQuery:
    def stripped(conditions: Conditions) -> Conditions:
        return tuple(each if isinstance(each, str) else replace(each, values=tuple(map(value, each.values))) for each in conditions)

    def value(given: Any) -> Any:
        return _without_values(given) if isinstance(given, SqlQuery) else None

    combined = tuple(each and _without_values(each) for each in query.combined)
    return replace(query, on=stripped(query.on), where=stripped(query.where), having=stripped(query.having), combined=combined)


def _difference(query: SqlQuery, gold: SqlQuery) -> str | None:
    """Compare canonical queries."""
    if Counter(query.select) != Counter(gold.select):
        return "SELECT"
    if Counter(query.where[::2]) != Counter(gold.where[::2]) or set(query.where[1::2]) != set(gold.where[1::2]):
        return "WHERE"
    names, wanted = ([column[1] for column in each.group] for each in (query, gold))
    if Counter(map(_bare, names)) != Counter(map(_bare, wanted)) or (names and (names != wanted or query.having != gold.having)):
        return "GROUP BY or HAVING"
    if query.order != gold.order or (gold.order and (query.limit is None) != (gold.limit is None)):
        return "ORDER BY or LIMIT"
    for name, each, other in zip(_COMBINERS, query.combined, gold.combined, strict=True):
        if (each is None) != (other is None) or (each and other and _difference(each, other)):
            return name.upper()
    if query.keywords != gold.keywords:
        return f"the use of {', '.join(sorted(query.keywords ^ gold.keywords)).upper()}"
    return "FROM" if gold.tables and Counter(query.tables) != Counter(gold.tables) else None


def _bare(name: str) -> str:
    return name.split(".")[1] if "." in name else name
