"""What is remembered of heads: a bounded number of lines, and no credentials."""

from router.link.messages import Limits
from router.proxy import heads


def read(fields: str):
    head = f"POST /invocations HTTP/1.1\r\nHost: m\r\n{fields}Content-Length: 0".encode()
    return heads.usual_request(head, len(head), Limits())


def test_what_is_remembered_is_bounded_whatever_clients_send():
    for name in range(300):
        for value in range(80):
            assert read(f"X-Name-{name}: {value}\r\n") is not None
    assert len(heads._request_fields) <= heads._MOST_KNOWN + 1
    assert len(heads._values) <= heads._MOST_KNOWN + 1


def test_values_that_keep_changing_are_not_remembered():
    for value in range(1000):
        assert read(f"X-Ever-New: {value}\r\n").field(b"x-ever-new") == b"%d" % value
    kept = [line for line in heads._request_fields if line.startswith(b"X-Ever-New")]
    assert len(kept) <= heads._MOST_VALUES


def test_credentials_are_not_remembered():
    assert read("Authorization: Bearer secret\r\nCookie: secret\r\nX-Api-Key: secret\r\n").secrets is not None
    assert not [line for line in heads._request_fields if b"secret" in line]


def test_answers_with_the_same_head_share_it():
    text = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\nX-A: b"
    head = heads.usual_answer(text)
    assert head is heads.usual_answer(text)
    assert head.text == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nX-A: b\r\n"
    assert heads.usual_answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked") is None
    assert heads.usual_answer(b"HTTP/1.1 204 No Content\r\nContent-Length: 0") is None
