"""Tokens, roles, and the addresses that need them."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.control.admin.actors import (
    RIGHTS,
    ActorRole,
    Right,
    new_token,
    rights_of,
)
from router.control.admin.tokens import Tokens, TokensError, read_entries


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "tokens.yaml"


def test_who_may_do_what():
    assert RIGHTS[ActorRole.VIEWER] == {Right.READ}
    assert RIGHTS[ActorRole.LABELLER] == {Right.READ, Right.LABEL}
    assert RIGHTS[ActorRole.OPERATOR] == {Right.READ, Right.OPERATE}
    assert RIGHTS[ActorRole.APPROVER] == {Right.READ, Right.OPERATE, Right.APPROVE}
    assert RIGHTS[ActorRole.ADMIN] == set(Right)
    assert rights_of([ActorRole.LABELLER, ActorRole.OPERATOR]) == {Right.READ, Right.LABEL, Right.OPERATE}


def test_a_new_token_works_and_its_line_does_not_give_it_away(path):
    made = new_token("alice@example.com", [ActorRole.APPROVER, ActorRole.LABELLER])
    assert made.token not in made.line
    assert made.token not in repr(made)
    tokens = Tokens(write(path, made.line))
    actor = tokens.actor(made.token)
    assert actor.name == "alice@example.com"
    assert actor.rights == {Right.READ, Right.LABEL, Right.OPERATE, Right.APPROVE}
    assert tokens.actor(made.token + "x") is None
    assert tokens.actor("") is None
    assert tokens.actor("\ud800") is None


def test_two_tokens_never_look_alike():
    first, second = new_token("a", [ActorRole.VIEWER]), new_token("a", [ActorRole.VIEWER])
    assert first.token != second.token
    assert first.line != second.line


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", 'a"', "a\nb", "é", "titleshot", "registry", "local:loopback"])
def test_names_that_are_refused(name):
    with pytest.raises(ValueError, match="expected"):
        new_token(name, [ActorRole.VIEWER])


def test_a_token_needs_a_role():
    with pytest.raises(ValueError, match="role"):
        new_token("a", [])


def test_the_file_is_read_again_when_it_changes(path):
    alice, bob = new_token("alice", [ActorRole.VIEWER]), new_token("bob", [ActorRole.ADMIN])
    tokens = Tokens(write(path, alice.line))
    assert tokens.actor(bob.token) is None
    write(path, bob.line)
    assert tokens.actor(bob.token).name == "bob"
    assert tokens.actor(alice.token) is None


def test_a_file_that_breaks_while_running_leaves_the_last_good_one(path, caplog):
    alice = new_token("alice", [ActorRole.VIEWER])
    tokens = Tokens(write(path, alice.line))
    write(path, "- {name: alice}")
    with caplog.at_level(logging.ERROR):
        assert tokens.actor(alice.token).name == "alice"
        assert tokens.actor(alice.token).name == "alice"
    assert len(caplog.records) == 1
    assert ":1: expected roles and token, too" in tokens.problem
    path.unlink()
    assert tokens.actor(alice.token).name == "alice"
    write(path, alice.line)
    assert tokens.actor(alice.token).name == "alice"
    assert tokens.problem == ""


GOOD = new_token("alice", [ActorRole.VIEWER]).line


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([""], "expected a list of entries"),
        (["name: alice"], ":1: expected a list"),
        ([GOOD, "- 7"], ":2: expected an entry"),
        ([GOOD, "- {name: bob, roles: [viewer]}"], ":2: expected token, too"),
        ([GOOD, "- {name: bob, role: viewer, token: x}"], ":2: expected the keys"),
        ([GOOD, "- {name: bob, name: bob, roles: [viewer], token: x}"], ":2: expected the keys"),
        ([GOOD, "- {[a]: bob}"], ":2: expected the keys"),
        ([GOOD, GOOD], ":2: the name alice stands here twice"),
        ([GOOD, GOOD.replace("alice", "Alice")], ":2: the name Alice stands here twice"),
        (["# a comment", GOOD.replace("viewer", "king")], ":2: expected a role of viewer, labeller"),
        ([GOOD.replace("[viewer]", "[]")], ":1: expected at least one role"),
        ([GOOD.replace("[viewer]", "[[viewer]]")], ":1: expected a role"),
        ([GOOD.replace("sha256:", "md5:")], ':1: expected "sha256:SALT:HASH"'),
        ([GOOD[:-10] + '"}'], ':1: expected "sha256:SALT:HASH"'),
        ([GOOD.replace('"alice"', '"a b"')], ":1: expected a name"),
        ([GOOD.replace('"alice"', '"registry"')], ":1: expected another name"),
        ([GOOD, "- {name: bob"], "not YAML"),
        (["- !!python/object/apply:os.system [id]"], ":1: expected an entry"),
        (["\x00"], "not YAML"),
    ],
)
def test_what_is_wrong_in_a_file_and_where(path, lines, said):
    with pytest.raises(TokensError) as told:
        read_entries(write(path, *lines))
    assert said in str(told.value)
    assert str(path) in str(told.value)


def test_one_role_needs_no_list(path):
    (entry,) = read_entries(write(path, GOOD.replace("[viewer]", "viewer")))
    assert entry.actor.rights == {Right.READ}


def test_no_file(path):
    with pytest.raises(TokensError, match="cannot be read"):
        Tokens(path)


def test_a_file_that_anybody_may_write_to(path):
    write(path, GOOD)
    path.chmod(0o666)
    with pytest.raises(TokensError, match="chmod"):
        Tokens(path)


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode(errors="replace"))
    with pytest.raises(TokensError):
        read_entries(path)
