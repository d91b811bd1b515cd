"""Request ids: UUIDv7 by RFC 9562, and the same keys as the judge's."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from comparator.events import NO_EVIDENCE, Mode, Outcome, Role, request_key
from router.proxy import codes
from router.proxy.identity import Identities, client_key


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_ids_are_version_7(millisecond, random):
    ids = Identities(lambda: millisecond * 1_000_000 + 999_999, lambda count: (random * (count // 10 + 1))[:count])
    high, low, text = ids.fresh()
    parsed = uuid.UUID(text.decode())
    assert str(parsed) == text.decode()
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert parsed.int >> 80 == millisecond
    assert parsed.int == high << 64 | low == request_key(text.decode())


def test_all_74_random_bits_are_used():
    ones = Identities(lambda: 0, lambda count: b"\xff" * count).fresh()
    zeros = Identities(lambda: 0, lambda count: b"\x00" * count).fresh()
    assert ((ones[0] << 64 | ones[1]) ^ (zeros[0] << 64 | zeros[1])).bit_count() == 74


def test_ids_differ_over_many_refills():
    ids = Identities()
    assert len({ids.fresh()[2] for _ in range(5000)}) == 5000


odd = st.sampled_from(
    ["urn:uuid:" + "0" * 27, "{" + "0" * 32 + "}--", "0" * 32, "G" * 36, "0190163d-8694-739b-aea5-966c26f8ad91", ""]
)


@given(st.text(max_size=40) | st.uuids().map(str) | st.uuids().map(lambda value: value.hex.upper()) | odd)
def test_a_clients_own_id_has_the_judges_key(text):
    high, low = client_key(text.encode("utf-8", "surrogatepass")) if text.isascii() else client_key(text.encode())
    assert high << 64 | low == request_key(text)


def test_an_id_that_is_no_utf_8_has_a_key_too():
    high, low = client_key(b"\xff")
    assert high << 64 | low == request_key("\xff")


def test_the_codes_are_the_judges():
    for role in Role:
        assert getattr(codes, role.name) == role
    for mode in Mode:
        assert getattr(codes, f"MODE_{mode.name}") == mode
    for outcome in Outcome:
        assert getattr(codes, outcome.name) == outcome
    assert {outcome for outcome in Outcome if codes.FAILED[outcome] is None} == NO_EVIDENCE
    assert codes.FAILED[Outcome.CLIENT_ERROR] is False  # a client can cause it
    assert [codes.OUTCOME_OF[status] for status in (200, 302, 404, 500)] == [
        Outcome.OK,
        Outcome.OK,
        Outcome.CLIENT_ERROR,
        Outcome.SERVER_ERROR,
    ]
