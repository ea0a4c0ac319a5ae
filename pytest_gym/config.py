"""Config files: YAML with line marks, `config_paths` followed, blocks merged and `_inherit_from` resolved.

A config file is a mapping of blocks. What the keys of a block mean is not known here (benchmark); this module only says which block a file
gives, and from which file and line each of its values came, so that every error can point there.
`${env:NAME}` or `${env:NAME,otherwise}` in a value stands for a variable of the environment; what it is becomes part of manifests, so one
whose name looks like a secret's is refused.
Scalars follow YAML 1.2's core schema: `true` and `false` are the only booleans, so that `no` stays a language.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pytest_gym.errors import ConfigError, did_you_mean

INHERIT = "_inherit_from"
INCLUDE = "config_paths"

_Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_MAX_DEPTH = 40
_MAX_NODES = 200_000
_INT = re.compile(r"[-+]?[0-9]{1,4000}|0o[0-7]{1,4000}|0x[0-9a-fA-F]{1,4000}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_VARIABLE = re.compile(r"\$\{env:([^{},]*)(?:,([^{}]*))?\}")
_SECRET = re.compile(r"(?i)(key|keys|token|secrets?|password|passwd|passphrase|pwd|credentials?|auth|cookie)(_|$)")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, 1-based; as text `path:line`."""

    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


class Block(dict[str, Any]):
    """A mapping of a config file. `place` is where it begins, `places` where each of its keys was written."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self.places: dict[str, Place] = {}

    def where(self, key: str) -> Place:
        """The place of `key`, or of the whole block where the key is not in it."""
        return self.places.get(key, self.place)

    def merged(self, over: Block) -> Block:
        """This block with `over` laid upon it: mappings merge, all else (lists too) is replaced.

        Two mappings that each say another `name` are different things (`verifier: {name: …}`): the later one replaces the earlier.
        """
        result = Block(over.place)
        result.update(self)
        result.places.update(self.places)
        for key, value in over.items():
            old = self.get(key)
            if isinstance(old, Block) and isinstance(value, Block) and ("name" not in value or old.get("name") == value["name"]):
                value = old.merged(value)
            result[key] = value
            result.places[key] = over.where(key)
        return result


def parse(path: Path) -> Block:
    """The mapping in the YAML file `path`, an empty one for an empty file.

    Raises ConfigError with file and line for what is no YAML, a key given twice, or anything but one mapping.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: is not UTF-8 text (byte 0x{error.object[error.start]:02x})") from error
    try:
        return _Builder(path, text).build()
    except yaml.MarkedYAMLError as error:
        mark, begun = error.problem_mark or error.context_mark, error.context_mark
        # What is never closed is missed behind the last line.
        line = min(mark.line, text.rstrip().count("\n")) + 1 if mark else 1
        context = f"{error.context} that begins at line {begun.line + 1}" if error.context and begun else error.context
        said = ", ".join(part for part in (context, error.problem) if part)
        raise ConfigError(f"{path}:{line}: is not valid YAML: {said}") from error
    except yaml.YAMLError as error:
        position = getattr(error, "position", None)
        line = text.count("\n", 0, position) + 1 if isinstance(position, int) else 1
        raise ConfigError(f"{path}:{line}: is not valid YAML: {getattr(error, 'reason', None) or error}") from error


class _Builder:
    """Builds values from parser events: cheaper than PyYAML's node tree, whose C composer dies of deep nesting."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.events: Iterator[Any] = iter(yaml.parse(text, Loader=_Loader))
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.nodes = 0

    def build(self) -> Block:
        found: Block | None = None
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                node = next(self.events)
                if found is not None:
                    raise self.error(event, "holds a second document; a config is one mapping")
                value = self.value(node, 0)
                if value is None:
                    value = Block(self.place(node))
                if not isinstance(value, Block):
                    raise self.error(node, f"must be a mapping of keys, not {_kind(value)}")
                found = value
        return Block(Place(self.path, 1)) if found is None else found

    def place(self, event: Any) -> Place:
        return Place(self.path, event.start_mark.line + 1)

    def error(self, event: Any, sentence: str) -> ConfigError:
        return ConfigError(f"{self.place(event)}: {sentence}")

    def value(self, event: Any, depth: int) -> Any:
        before = self.nodes
        self.nodes += 1
        if depth > _MAX_DEPTH:
            raise self.error(event, f"is nested more than {_MAX_DEPTH} deep")
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise self.error(event, f"the alias '*{event.anchor}' stands before its anchor, or within it")
            value, size = self.anchors[event.anchor]
            self.nodes += size
        elif isinstance(event, yaml.ScalarEvent):
            value = self.scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = [self.value(item, depth + 1) for item in self.until(yaml.SequenceEndEvent)]
        else:
            value = self.mapping(event, depth)
        # Aliases of aliases grow without bound in a few lines; what they expand to counts.
        if self.nodes > _MAX_NODES:
            raise self.error(event, f"expands to more than {_MAX_NODES:,} values")
        if getattr(event, "anchor", None) and not isinstance(event, yaml.AliasEvent):
            self.anchors[event.anchor] = (value, self.nodes - before)
        return value

    def until(self, end: type) -> Iterator[Any]:
        for event in self.events:
            if isinstance(event, end):
                return
            yield event

    def mapping(self, event: Any, depth: int) -> Block:
        block = Block(self.place(event))
        below: list[Block] = []
        for key_event in self.until(yaml.MappingEndEvent):
            if not isinstance(key_event, yaml.ScalarEvent):
                raise self.error(key_event, "a key must be plain text")
            key, place = key_event.value, self.place(key_event)
            value = self.value(next(self.events), depth + 1)
            if key == "<<" and not key_event.style:
                below += value if isinstance(value, list) else [value]
                if not all(isinstance(item, Block) for item in below):
                    raise ConfigError(f"{place}: '<<' merges mappings, not {_kind(value)}")
                continue
            if key in block:
                raise ConfigError(f"{place}: key {key!r} stands here a second time (first at line {block.places[key].line})")
            block[key] = value
            block.places[key] = place
        for other in below:
            for key in other.keys() - block.keys():
                block[key] = other[key]
                block.places[key] = other.where(key)
        return block

    def scalar(self, event: Any) -> Any:
        text, tag = event.value, event.tag
        if tag not in (None, "!") and not tag.startswith("tag:yaml.org,2002:"):
            raise self.error(event, f"the tag {tag!r} is not supported; write plain values")
        if "${env:" in text:
            text = _VARIABLE.sub(lambda match: self.variable(event, match), text)
        if event.style or tag == "tag:yaml.org,2002:str":
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INT.fullmatch(text):
            return int(text, 0 if text[:2] in ("0o", "0x") else 10)
        if _FLOAT.fullmatch(text):
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        return text

    def variable(self, event: Any, match: re.Match[str]) -> str:
        name, otherwise = match[1], match[2]
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise self.error(event, f"{match[0]!r} names no variable; write ${{env:NAME}} or ${{env:NAME,otherwise}}")
        if _SECRET.search(name):
            raise self.error(
                event, f"the variable {name!r} looks like a secret, and a config's values are written to run.json; use no secret here"
            )
        value = os.environ.get(name, otherwise)
        if value is None:
            hint = did_you_mean(name, sorted(other for other in os.environ if not _SECRET.search(other)))
            raise self.error(event, f"the environment has no variable {name!r}{hint}; set it, or write ${{env:{name},otherwise}}")
        return value


class ConfigFiles:
    """Config files as they resolve along the gym roots; each file is read once, however many others name it."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = tuple(roots)
        self._parsed: dict[Path, Block | ConfigError] = {}
        self._merged: dict[Path, Block] = {}
        self._there: dict[Path, bool] = {}

    def parse(self, path: Path) -> Block:
        """What `parse(path)` gives, remembered (its error too)."""
        if path not in self._parsed:
            try:
                self._parsed[path] = parse(path)
            except ConfigError as error:
                self._parsed[path] = error
        found = self._parsed[path]
        if isinstance(found, ConfigError):
            raise found
        return found

    def find(self, name: str, place: Place, key: str, *, also: Iterable[str] = ()) -> Path:
        """The file that `name` means at `place`: relative to the file it is written in, then to each gym root (and its folders `also`).

        Raises ConfigError naming the key and where was looked.
        """
        folders = [place.path.parent, *(root / sub for sub in ("", *also) for root in self.roots)]
        for folder in folders:
            if self._is_file(candidate := folder / name):
                return candidate
        wanted = Path(name).name
        parents = dict.fromkeys((folder / name).parent for folder in folders)
        near = [item.name for parent in parents if parent.is_dir() for item in parent.iterdir() if item.is_file()]
        looked = ", ".join(dict.fromkeys(str(folder) for folder in folders))
        raise ConfigError(f"{place}: {key} names {name!r}, which is not a file{did_you_mean(wanted, sorted(near))} (looked in {looked})")

    def blocks(self, path: Path) -> Block:
        """All blocks that `path` sees: those of its `config_paths`, later files upon earlier ones, and its own upon them."""
        return self._blocks(path, ())

    def own(self, path: Path) -> list[str]:
        """The names of the blocks that are written in `path` itself, in their order."""
        return [name for name in self.parse(path) if name != INCLUDE]

    def resolved(self, path: Path, name: str) -> Block:
        """The block `name` as `path` sees it, with everything that it inherits. Raises ConfigError on a missing base or a cycle."""
        return self._inherit(self.blocks(path), name, ())

    def _is_file(self, path: Path) -> bool:
        if path not in self._there:
            self._there[path] = path.is_file()
        return self._there[path]

    def _blocks(self, path: Path, chain: tuple[Path, ...]) -> Block:
        if path in self._merged:
            return self._merged[path]
        content = self.parse(path)
        paths = content.get(INCLUDE) or []
        place = content.where(INCLUDE)
        if not isinstance(paths, list) or not all(isinstance(item, str) for item in paths):
            raise ConfigError(f"{place}: {INCLUDE} must be a list of file names, not {_kind(paths)}")
        merged = Block(content.place)
        for item in paths:
            included = self.find(item, place, INCLUDE)
            if _identity(included) in map(_identity, (*chain, path)):
                whole = " -> ".join(str(p) for p in (*chain, path, included))
                raise ConfigError(f"{place}: {INCLUDE} goes round in a circle: {whole}")
            merged = merged.merged(self._blocks(included, (*chain, path)))
        own = Block(content.place)
        for name, block in content.items():
            if name == INCLUDE:
                continue
            own[name] = _named_verifier(block) if isinstance(block, Block) else block
            own.places[name] = content.where(name)
            # A block may extend an included one of its own name: the two are merged below, which is all that inheriting it would do.
            if isinstance(block, Block) and block.get(INHERIT) == name and name in merged:
                del own[name][INHERIT]
        self._merged[path] = merged.merged(own)
        return self._merged[path]

    def _inherit(self, blocks: Block, name: str, chain: tuple[str, ...]) -> Block:
        block = blocks[name]
        if not isinstance(block, Block):
            raise ConfigError(f"{blocks.where(name)}: {name!r} must be a block (a mapping of keys), not {_kind(block)}")
        base = block.get(INHERIT)
        if base is None:
            return block
        place, path = block.where(INHERIT), (*chain, name)
        if not isinstance(base, str):
            raise ConfigError(f"{place}: {INHERIT} must be the name of one block, not {_kind(base)}")
        if base in path:
            raise ConfigError(f"{place}: {INHERIT} goes round in a circle: {' -> '.join((*path, base))}")
        if base not in blocks:
            others = [other for other in blocks if other != name]
            hint = did_you_mean(base, others, otherwise=f" (there are: {', '.join(others) or 'none'})")
            raise ConfigError(f"{place}: {' -> '.join((*path, base))}: there is no block {base!r} in this file or its {INCLUDE}{hint}")
        result = self._inherit(blocks, base, path).merged(block)
        del result[INHERIT]
        return result


def _identity(path: Path) -> tuple[int, int]:
    """What is the same for one file under all its names."""
    status = path.stat()
    return status.st_dev, status.st_ino


def _named_verifier(block: Block) -> Block:
    """A copy of the block in which a bare `verifier: name` is `{name: name}`, so that options of another file merge with it."""
    copy = Block(block.place).merged(block)
    if isinstance(copy.get("verifier"), str):
        named = Block(block.where("verifier"))
        named["name"] = copy["verifier"]
        copy["verifier"] = named
    return copy


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list) else "nothing" if value is None else repr(value)
