"""The tokens file: read, checked with the line of every error, and read again when it changes."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

import yaml

from router.control.admin.actors import Actor, ActorRole, Entry, check_name, find, rights_of

log = logging.getLogger(__name__)

_KEYS = {"name", "roles", "token"}
_SALT_BYTES = range(8, 65)
_DIGEST_BYTES = 32
_MOST_BYTES = 1024 * 1024


class TokensError(ValueError):
    """A tokens file that cannot be used: where, and what was expected. Never quotes a token."""

    def __init__(self, path: Path, line: int | None, expected: str) -> None:
        super().__init__(f"{path}{f':{line}' if line else ''}: {expected}")


class Tokens:
    """The tokens in force.

    Raises:
        TokensError: at construction, where the file cannot be read or is malformed. Later the last good entries stay
            in force; `problem` says so, and the log does, once.
    """

    def __init__(self, path: Path) -> None:
        self.problem = ""  # why the file as it is now is not in force
        self._path = path
        self._seen = _fingerprint(path)
        self._entries = read_entries(path)

    def actor(self, token: str) -> Actor | None:
        """Whose token this is, or None. Looks at the file first."""
        self._reread()
        return find(self._entries, token.encode(errors="replace"))

    def _reread(self) -> None:
        seen = _fingerprint(self._path)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._entries = read_entries(self._path)
        except TokensError as error:
            self.problem = str(error)
            log.error("tokens file not taken, the last good one stays in force: %s", error)  # noqa: TRY400
        else:
            self.problem = ""
            log.info("tokens file read again: %d entries", len(self._entries))


def read_entries(path: Path) -> tuple[Entry, ...]:
    """The entries of a tokens file; TokensError where it is malformed."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise TokensError(path, None, f"cannot be read: {error.strerror}") from error
    if mode & stat.S_IWOTH:
        raise TokensError(path, None, "anybody on this machine may write to it: chmod o-w")
    if len(data) > _MOST_BYTES:
        raise TokensError(path, None, f"expected at most {_MOST_BYTES} bytes")
    try:
        root = yaml.compose(data, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise TokensError(
            path, mark.line + 1 if mark else None, f"not YAML: {error.problem or error.context}"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise TokensError(path, None, "not YAML") from None
    if not isinstance(root, yaml.SequenceNode) or not root.value:
        line = root.start_mark.line + 1 if root is not None else None
        raise TokensError(path, line, "expected a list of entries {name, roles, token}, at least one")
    entries: list[Entry] = []
    for node in root.value:
        entry = _entry(path, node)
        if any(entry.actor.name.casefold() == other.actor.name.casefold() for other in entries):
            raise TokensError(path, _line(node), f"the name {entry.actor.name} stands here twice, capitals aside")
        entries.append(entry)
    return tuple(entries)


def _entry(path: Path, node: yaml.Node) -> Entry:
    if not isinstance(node, yaml.MappingNode):
        raise TokensError(path, _line(node), "expected an entry {name, roles, token}")
    fields: dict[str, yaml.Node] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode) or key.value not in _KEYS or key.value in fields:
            raise TokensError(path, _line(key), "expected the keys name, roles and token, each once")
        fields[key.value] = value
    if missing := sorted(_KEYS - fields.keys()):
        raise TokensError(path, _line(node), f"expected {' and '.join(missing)}, too")
    name = _text(path, fields["name"], "a name")
    try:
        check_name(name)
    except ValueError as error:
        raise TokensError(path, _line(fields["name"]), str(error)) from None
    roles = _roles(path, fields["roles"])
    salt, digest = _hash(path, fields["token"])
    return Entry(Actor(name, rights_of(roles)), salt, digest)


def _roles(path: Path, node: yaml.Node) -> list[ActorRole]:
    known = ", ".join(role.value for role in ActorRole)
    parts = node.value if isinstance(node, yaml.SequenceNode) else [node]
    roles: list[ActorRole] = []
    for part in parts:
        try:
            roles.append(ActorRole(_text(path, part, "a role")))
        except TokensError:
            raise
        except ValueError:
            raise TokensError(path, _line(part), f"expected a role of {known}") from None
    if not roles:
        raise TokensError(path, _line(node), f"expected at least one role of {known}")
    return roles


def _hash(path: Path, node: yaml.Node) -> tuple[bytes, bytes]:
    expected = 'expected "sha256:SALT:HASH" in hex, as `titleshot token` prints it'
    parts = _text(path, node, "a hash").split(":")
    try:
        scheme, salt, digest = parts[0], bytes.fromhex(parts[1]), bytes.fromhex(parts[2])
    except (IndexError, ValueError):
        raise TokensError(path, _line(node), expected) from None
    if len(parts) != 3 or scheme != "sha256" or len(salt) not in _SALT_BYTES or len(digest) != _DIGEST_BYTES:
        raise TokensError(path, _line(node), expected)
    return salt, digest


def _text(path: Path, node: yaml.Node, what: str) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise TokensError(path, _line(node), f"expected {what}")
    return str(node.value)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _fingerprint(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
