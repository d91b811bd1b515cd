"""Answers that came gzipped or deflated."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_extract import exchange, extracted

from comparator.events import Outcome
from router.control import coded
from router.control.coded import MOST_BYTES, decoded
from router.link.messages import BODY_DEFLATE, BODY_GZIP
from router.protocols.protocol import Unreadable


def raw_deflate(body: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(body) + stream.flush()


CODINGS = [(gzip.compress, BODY_GZIP), (zlib.compress, BODY_DEFLATE), (raw_deflate, BODY_DEFLATE)]


@pytest.mark.parametrize(("code", "state"), CODINGS)
@given(body=st.binary())
def test_what_was_coded_comes_back(code, state, body):
    assert decoded(code(body), state) == body


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=4))
def test_several_members_are_one_body(pieces):
    assert decoded(b"".join(map(gzip.compress, pieces)), BODY_GZIP) == b"".join(pieces)


@pytest.mark.parametrize(("code", "state"), CODINGS)
def test_a_bomb_is_not_read_to_its_end(code, state, monkeypatch):
    bomb = code(bytes(20 * MOST_BYTES))
    asked = []
    real = zlib.decompressobj

    class Counted:
        def __init__(self, bits):
            self._stream = real(bits)

        def decompress(self, body, most):
            asked.append(most)
            return self._stream.decompress(body, most)

    monkeypatch.setattr(coded.zlib, "decompressobj", Counted)
    assert decoded(bomb, state) is None
    assert max(asked) <= MOST_BYTES + 1


def test_many_members_together_are_bounded():
    assert decoded(gzip.compress(bytes(1024)) * 2000, BODY_GZIP) is None
    assert decoded(gzip.compress(bytes(1024)), BODY_GZIP, most=1023) is None
    assert decoded(gzip.compress(bytes(1024)), BODY_GZIP, most=1024) == bytes(1024)


@given(st.binary(), st.sampled_from([BODY_GZIP, BODY_DEFLATE]))
def test_no_body_raises_anything_but_unreadable(body, state):
    try:
        assert isinstance(decoded(body, state), bytes)
    except Unreadable:
        return


@pytest.mark.parametrize(("code", "state"), CODINGS)
def test_a_body_that_is_cut_off_is_unreadable(code, state):
    whole = code(b'{"predictions": [1]}')
    for length in range(len(whole)):
        with pytest.raises(Unreadable, match="expected"):
            decoded(whole[:length], state)


def test_coded_answers_become_observations():
    body = b'{"predictions": [1, 0]}'
    found = extracted(
        exchange(gzip.compress(body), state=BODY_GZIP),
        exchange(b'{"predictions": [0]}'),
        exchange(zlib.compress(body), state=BODY_DEFLATE),
        exchange(b"\x1f\x8bnothing", state=BODY_GZIP),
        exchange(gzip.compress(bytes(MOST_BYTES + 1)), state=BODY_GZIP),
        exchange(gzip.compress(body), state=BODY_GZIP, outcome=Outcome.SERVER_ERROR),
    )
    columns = found.columns
    assert columns["row"].tolist() == [0, 1, 0, 0, 1, 0, 0, 0]
    assert columns["prediction"][:5].tolist() == [1, 0, 0, 1, 0]
    assert columns["outcome"][5:].tolist() == [Outcome.GARBAGE, Outcome.OK, Outcome.SERVER_ERROR]
    assert (found.unreadable, found.unread) == (1, 1)


def test_one_message_cannot_stand_for_gigabytes(monkeypatch):
    monkeypatch.setattr("router.control.extract.MOST_BYTES_TOGETHER", 100)
    body = gzip.compress(b'{"predictions": [1]}'.ljust(60))
    found = extracted(*(exchange(body, state=BODY_GZIP) for _ in range(3)), exchange(b'{"predictions": [1]}'))
    assert (found.unreadable, found.unread) == (0, 2)
    assert found.columns["outcome"].tolist() == [Outcome.OK] * 4
