"""What a webhook is sent, and what its answer is taken for."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comparator.asking import Question
from comparator.confirming import Ask
from router.control.outgoing import Failed, plain
from router.control.signing import signed
from router.control.webhooks import _said, question_body


@pytest.mark.parametrize("verdict", ["pass", "fail", "inconclusive"])
def test_three_verdicts(verdict):
    said = _said(200, json.dumps({"verdict": verdict, "reason": "why", "more": 1}).encode())
    assert (said.verdict, said.reason) == (verdict, "why")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (201, b'{"verdict": "pass"}'),
        (204, b""),
        (302, b'{"verdict": "pass"}'),
        (500, b'{"verdict": "fail"}'),
        (200, b'{"verdict": "PASS"}'),
        (200, b'{"verdict": true}'),
        (200, b'{"reason": "why"}'),
        (200, b'{"verdict": "pass", "reason": 7}'),
        (200, b'{"verdict": "pass"} {"verdict": "fail"}'),
        (200, b'"pass"'),
        (200, b"pass"),
        (200, b"\xff\xfe"),
        (200, b'{"more": ' + b"[" * 30_000 + b"]" * 30_000 + b', "verdict": "pass"}'),
        (200, b""),
    ],
)
def test_anything_else_is_neither_a_pass_nor_a_failure(status, body):
    with pytest.raises(Failed):
        _said(status, body)


@given(st.text())
def test_reasons_stay_on_one_line_and_have_a_bound(text):
    said = plain(text)
    assert len(said) <= 200
    assert said.isprintable()


def test_a_server_that_sends_back_what_it_is_sent_confirms_nothing():
    question = Question(Ask.PROMOTE, "desk", 1, 0, 2, 1, "canary", "ab", verdict="pass", evidence_digest="cd")
    with pytest.raises(Failed):
        _said(200, json.dumps(question_body("m", question)).encode())


def test_a_signature_that_anybody_can_compute():
    # printf '1700000000.{}' | openssl dgst -sha256 -hmac 0123456789abcdef
    expected = "v1=e4f8e2ecae2295b2ddb2f0b5584c8275e226c0ebe9b3b819e70156bb67122e3e"
    assert signed(b"0123456789abcdef", "1700000000", b"{}") == expected
    assert signed(b"0123456789abcdef", "1700000001", b"{}") != expected
