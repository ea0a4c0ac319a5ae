"""NeMo Gym's YAML resolved as NeMo Gym does it: `config_paths` chained, `_inherit_from`, `_copy` and `_delete_key` carried out.

Only what is asked for is resolved, and values that are given at run time (`???`, `${policy_model_name}`) stay as they are written: this
reads what a benchmark is, it starts no servers. Differences from our own configs (`config`): files are looked for from the gym root first,
a file that is named twice is read once, and mappings always merge. Not here: what the blocks mean (nemo).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_gym.config import INCLUDE, INHERIT, Block, ConfigFiles, Place
from pytest_gym.errors import ConfigError, did_you_mean

COPY = "_copy"
DELETE = "_delete_key"
UNSET = "???"
# The model under test: NeMo Gym is given it at run time, as we are.
POLICY = "policy_model"

_INNER = re.compile(r"\$\{([^${}]*)\}")
_DEPTH = 20


class NemoConfig:
    """One config file with everything that it includes, merged: later files over earlier ones, a file over those that it includes."""

    def __init__(self, files: ConfigFiles, path: Path, root: Path) -> None:
        self.path, self.root = path, root
        self._files = files
        self._seen: set[Path] = set()
        self._resolved: dict[str, tuple[Block, set[str]]] = {}
        self.tree = Block(Place(path, 1))
        self._add(path)
        # The names of the blocks that the file itself has.
        self.own = [name for name, value in files.parse(path).items() if isinstance(value, Block)]

    def find(self, name: str, place: Place, key: str) -> Path:
        """The file that `name` means: from this gym root, then from the others, then beside the file. Raises ConfigError where none is."""
        for folder in (self.root, *self._files.roots):
            if (folder / name).is_file():
                return folder / name
        return self._files.find(name, place, key)

    def resolved(self, name: str) -> tuple[Block, set[str]]:
        """The block `name` with what it inherits, and the names of the blocks that it takes the place of.

        Raises ConfigError where a base does not exist, a circle is closed, or a key to delete is not there.
        """
        if name not in self._resolved:
            replaced: set[str] = set()
            value = self._resolve(self.tree[name], (name,), replaced)
            if not isinstance(value, Block):
                raise ConfigError(f"{self.tree.where(name)}: {name!r} must be a block of a server")
            self._resolved[name] = value, replaced
        return self._resolved[name]

    def text(self, value: Any) -> Any:
        """A value with its interpolations carried out, as far as they can be here; others and `???` stay as they are written.

        `${oc.env:NAME,default}` reads the environment, `${key.of.the.config}` and `${oc.select:key,default}` the config.
        """
        for _ in range(_DEPTH):
            if not isinstance(value, str) or "${" not in value:
                return value
            whole = _INNER.fullmatch(value)
            # One that is the whole value gives what it means, whatever its type; a part of a text becomes text.
            new = self._interpolated(whole) if whole else _INNER.sub(lambda match: str(self._interpolated(match)), value)
            if new == value:
                return value
            value = new
        return value

    def _add(self, path: Path) -> None:
        if path in self._seen:
            return
        self._seen.add(path)
        content = self._files.parse(path)
        paths, place = content.get(INCLUDE) or [], content.where(INCLUDE)
        if not isinstance(paths, list) or not all(isinstance(item, str) for item in paths):
            raise ConfigError(f"{place}: {INCLUDE} must be a list of file names")
        for item in paths:
            self._add(self.find(item, place, INCLUDE).resolve())
        for name, value in content.items():
            if name != INCLUDE:
                _lay(self.tree, name, value, content.where(name))

    def _interpolated(self, match: re.Match[str]) -> Any:
        said = match[1].strip()
        resolver, colon, rest = said.partition(":")
        if not colon:
            found = self._at(said)
            return match[0] if found is None or isinstance(found, Mapping) else found
        name, comma, default = rest.partition(",")
        if resolver == "oc.env":
            value = os.environ.get(name.strip())
        elif resolver == "oc.select":
            value = self._at(name.strip())
        else:
            return match[0]
        if value is not None:
            return value
        return (None if default.strip() == "null" else default.strip()) if comma else match[0]

    def _at(self, path: str) -> Any:
        value: Any = self.tree
        for part in path.split("."):
            if not isinstance(value, Mapping) or part not in value:
                return None
            value = value[part]
        return value

    def _resolve(self, value: Any, chain: tuple[str, ...], replaced: set[str]) -> Any:
        if not _says_more(value):
            return value
        if isinstance(value, list):
            return [self._resolve(item, chain, replaced) for item in value]
        source_key = INHERIT if INHERIT in value else COPY if COPY in value else None
        result = Block(value.place)
        deleted = [key.strip() for key in str(value.get(DELETE) or "").split(",") if key.strip()]
        inherited = set(deleted) - set(value)
        if source_key is not None:
            base = self._base(value, source_key, chain, replaced)
            result.update(base)
            result.places.update(base.places)
        for key, item in value.items():
            if key in (INHERIT, COPY, DELETE) or key in deleted:
                continue
            _lay(result, key, self._resolve(item, chain, replaced), value.where(key))
        for key in inherited:
            if key not in result:
                raise ConfigError(f"{value.where(DELETE)}: {DELETE} names {key!r}, which is not there{did_you_mean(key, result)}")
            del result[key]
        return result

    def _base(self, value: Block, key: str, chain: tuple[str, ...], replaced: set[str]) -> Block:
        place, name = value.where(key), value[key]
        if not isinstance(name, str):
            raise ConfigError(f"{place}: {key} must be the path of one block")
        if name in chain:
            raise ConfigError(f"{place}: {key} goes round in a circle: {' -> '.join((*chain, name))}")
        found = self._at(name)
        if found is None and name == POLICY:
            return Block(place)
        if not isinstance(found, Block):
            hint = did_you_mean(name, self.tree, otherwise=f" (there are: {', '.join(self.tree) or 'none'})")
            raise ConfigError(f"{place}: {key} names {name!r}, and there is no such block in this file or its {INCLUDE}{hint}")
        if key == INHERIT:
            replaced.add(name)
        base: Block = self._resolve(found, (*chain, name), replaced)
        return base


def _says_more(value: Any) -> bool:
    """Whether a directive stands anywhere in the value: without one it is taken as it is."""
    if isinstance(value, Block):
        return INHERIT in value or COPY in value or DELETE in value or any(map(_says_more, value.values()))
    return isinstance(value, list) and any(map(_says_more, value))


def _lay(below: Block, name: str, value: Any, place: Place) -> None:
    """Put `value` at `name`: mappings merge key by key, all else is replaced."""
    old = below.get(name)
    if isinstance(old, Block) and isinstance(value, Block):
        merged = Block(value.place)
        merged.update(old)
        merged.places.update(old.places)
        for key, item in value.items():
            _lay(merged, key, item, value.where(key))
        value = merged
    below[name] = value
    below.places[name] = place
