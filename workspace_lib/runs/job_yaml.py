"""Reading YAML so that each value knows its line, and so that ``on`` and ``10:30`` stay text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

YamlPath = tuple[str | int, ...]
MAX_DEPTH = 50


class _Loader(yaml.SafeLoader):
    """YAML with the scalars of JSON: no ``yes``, no dates, no numbers to the base of sixty."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"^(?:true|false)$", "tf"),
    ("null", r"^(?:~|null|)$", ["~", "n", ""]),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
    ("float", r"^[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


@dataclass(frozen=True)
class Fault:
    """Something wrong in the text itself."""

    line: int | None
    message: str


@dataclass(frozen=True)
class Document:
    """A YAML text as plain values, the line of each, and what is wrong with the text."""

    value: Any
    lines: Mapping[YamlPath, int]
    faults: tuple[Fault, ...] = ()

    def line(self, path: YamlPath) -> int | None:
        """Return the line of the value at ``path``, or of the nearest thing that holds it."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]]
        return None


def read_yaml(text: str) -> Document:
    """Return the values of one YAML document with their lines; faults are kept, not raised."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        what = getattr(error, "problem", None) or "cannot be read"
        return Document(None, {}, (Fault(mark.line + 1 if mark else None, f"not YAML: {what}."),))
    lines: dict[YamlPath, int] = {}
    faults: list[Fault] = []
    value = None if node is None else _value(node, (), lines, faults)
    return Document(value, lines, tuple(faults))


def parse_scalar(text: str) -> Any:
    """Return the value that ``text`` has in a job file, or the text itself if it is not YAML."""
    document = read_yaml(text)
    return text if document.faults else document.value


def _value(node: yaml.Node, path: YamlPath, lines: dict[YamlPath, int], faults: list[Fault]) -> Any:
    line = node.start_mark.line + 1
    lines.setdefault(path, line)
    if len(path) > MAX_DEPTH:
        faults.append(Fault(line, "nested too deeply."))
        return None
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key_line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                faults.append(Fault(key_line, "a key must be text."))
                continue
            key = str(key_node.value)
            if key in mapping:
                faults.append(Fault(key_line, f"the key {key!r} is there twice."))
            lines[(*path, key)] = key_line
            mapping[key] = _value(value_node, (*path, key), lines, faults)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        return [
            _value(item, (*path, index), lines, faults) for index, item in enumerate(node.value)
        ]
    return _scalar(node, line, faults)


def _scalar(node: yaml.Node, line: int, faults: list[Fault]) -> Any:
    kind = node.tag.rsplit(":", 1)[-1]
    text = str(node.value)
    if kind == "null":
        return None
    if kind == "bool":
        return text == "true"
    if kind == "int":
        return int(text)
    if kind == "float":
        number = float(text)
        if not math.isfinite(number):
            faults.append(Fault(line, f"{text} is too large."))
        return number
    if kind != "str":
        faults.append(Fault(line, f"the tag {node.tag!r} is not known here."))
    return text
