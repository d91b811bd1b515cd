"""A YAML file as plain data, and where in the file each piece of it stands.

Scalars are read by the rules of YAML 1.2 (as editors do): `off`, `yes` and `12:30` are text, `true` is a boolean.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass, field
from pathlib import Path as FilePath

import yaml

from router.settings.problems import Mark, Path, Problem

MAX_BYTES = 1024 * 1024
MAX_NODES = 50_000  # aliases of aliases grow without bound

_PLAIN = (
    (re.compile(r"~|null|Null|NULL|"), lambda _: None),
    (re.compile(r"true|True|TRUE"), lambda _: True),
    (re.compile(r"false|False|FALSE"), lambda _: False),
    (re.compile(r"[-+]?[0-9]{1,18}", re.ASCII), int),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?", re.ASCII), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)"), lambda text: -math.inf if text.startswith("-") else math.inf),
    (re.compile(r"\.(nan|NaN|NAN)"), lambda _: math.nan),
)
_STANDARD_TAGS = "tag:yaml.org,2002:"
_MERGE = "<<"


@dataclass(slots=True)
class Document:
    """One file's content.

    Args:
        data: mappings (their keys as text), lists and scalars; None where the file could not be read.
        marks: where the value at each path stands.
        keys: where the key of each path stands.
        problems: syntax errors, duplicate keys, keys without a value.
        digest: SHA-256 of the file, "" where it could not be read.
    """

    data: object = None
    marks: dict[Path, Mark] = field(default_factory=dict)
    keys: dict[Path, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    digest: str = ""

    def mark(self, path: Path) -> Mark:
        """Where the value at this path stands, or the nearest value around it."""
        while path not in self.marks and path:
            path = path[:-1]
        return self.marks[path]

    def key_mark(self, path: Path) -> Mark:
        """Where the key of this path stands."""
        return self.keys.get(path) or self.mark(path)


def read_document(path: FilePath, shown_as: str) -> Document:
    """Read one file; what is wrong with it is in `problems`."""
    document = Document(marks={(): Mark(shown_as)})
    try:
        content = path.read_bytes()
        text = content.decode()
    except OSError as error:
        document.problems.append(Problem.at(Mark(shown_as), (), f"cannot be read: {error.strerror or error}"))
        return document
    except UnicodeDecodeError as error:
        document.digest = hashlib.sha256(content).hexdigest()
        line = content[: error.start].count(b"\n") + 1
        document.problems.append(Problem.at(Mark(shown_as, line), (), "expected UTF-8 text"))
        return document
    document.digest = hashlib.sha256(content).hexdigest()
    if len(content) > MAX_BYTES:
        document.problems.append(Problem.at(Mark(shown_as), (), "expected a file of at most 1 MiB"))
        return document
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        place = error.problem_mark or error.context_mark
        mark = Mark(shown_as, place.line + 1, place.column + 1) if place is not None else Mark(shown_as)
        what = ", ".join(part for part in (error.context, error.problem) if part)
        document.problems.append(Problem.at(mark, (), f"expected YAML: {what}"))
        return document
    except (yaml.YAMLError, RecursionError) as error:
        document.problems.append(Problem.at(Mark(shown_as), (), f"expected YAML: {str(error).splitlines()[0]}"))
        return document
    if node is not None:
        try:
            document.data = _Reader(document, shown_as).value(node, ())
        except RecursionError:
            document.problems.append(Problem.at(Mark(shown_as), (), "expected values that are less deeply nested"))
        except _TooMuch as error:
            document.problems.append(Problem.at(Mark(shown_as), (), str(error)))
    return document


class _TooMuch(Exception):
    """More nodes than settings can need."""


class _Reader:
    def __init__(self, document: Document, file: str) -> None:
        self._document = document
        self._file = file
        self._count = 0
        self._open: set[int] = set()  # nodes being read: an alias to one of them would never end

    def value(self, node: yaml.Node, path: Path) -> object:
        self._count += 1
        if self._count > MAX_NODES:
            raise _TooMuch(f"expected at most {MAX_NODES} values, aliases resolved")
        if id(node) in self._open:
            raise _TooMuch("expected no alias to a value that contains it")
        self._document.marks[path] = self._mark(node)
        if not node.tag.startswith(_STANDARD_TAGS) and node.tag != "!":
            self._problem(node, path, f"expected plain YAML without tags, not {node.tag}")
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
            assert isinstance(node, yaml.ScalarNode)
            return self._scalar(node)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, object]:
        data: dict[str, object] = {}
        own: set[str] = set()
        merged: list[yaml.Node] = []
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(key_node, path, "expected a key of plain text")
                continue
            key = str(key_node.value)
            if key == _MERGE and key_node.style is None:
                merged.append(value_node)
                continue
            at = (*path, key)
            if key in own:
                first = self._document.keys[at].line
                self._problem(key_node, at, f"expected each key once; it stands in line {first} already")
                continue
            own.add(key)
            self._document.keys[at] = self._mark(key_node)
            data[key] = self.value(value_node, at)
            if data[key] is None:
                hint = "expected a value; leave the key out for its default, or write {} for an empty mapping"
                self._problem(value_node, at, hint)
        for value_node in merged:
            self._merge(value_node, path, data)
        return data

    def _merge(self, node: yaml.Node, path: Path, data: dict[str, object]) -> None:
        """Take over what `<<: *anchor` names; a key of the mapping's own wins, the earlier of several too."""
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                self._problem(source, path, "expected a mapping (or a list of mappings) after <<")
                continue
            if id(source) in self._open:
                raise _TooMuch("expected no alias to a value that contains it")
            fresh = [(key, value) for key, value in source.value if str(key.value) not in data]
            part = yaml.MappingNode(source.tag, fresh, source.start_mark, source.end_mark)
            here = self._document.marks[path]
            for key, value in self._mapping(part, path).items():
                data.setdefault(key, value)
            self._document.marks[path] = here

    def _scalar(self, node: yaml.ScalarNode) -> object:
        text = str(node.value)
        if node.style is not None or node.tag == "!":
            return text
        for pattern, make in _PLAIN:
            if pattern.fullmatch(text):
                return make(text)
        return text

    def _mark(self, node: yaml.Node) -> Mark:
        return Mark(self._file, node.start_mark.line + 1, node.start_mark.column + 1)

    def _problem(self, node: yaml.Node, path: Path, expected: str) -> None:
        self._document.problems.append(Problem.at(self._mark(node), path, expected))
