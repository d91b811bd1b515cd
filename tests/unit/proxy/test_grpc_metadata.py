"""What becomes of gRPC's metadata and statuses on their way through."""

import pytest

from router.proxy.grpc_metadata import address_of, as_copy, back, onward, value_of

grpc = pytest.importorskip("grpc")

GIVEN = (
    ("user-agent", "grpc-python"),
    ("authorization", "Bearer a"),
    ("x-api-key", "b"),
    ("x-user", "u"),
    ("x-user", "v"),
    ("grpc-trace-bin", b"t"),
    ("x-forwarded-for", "10.0.0.9"),
    ("x-titleshot-id", "theirs"),
    ("x-titleshot-shadow", "1"),
    ("traceparent", "00-1"),
    ("te", "trailers"),
)


def test_onward_goes_all_but_what_belongs_to_the_hop():
    assert onward(GIVEN, "ours", "10.0.0.1") == [
        ("authorization", "Bearer a"),
        ("x-api-key", "b"),
        ("x-user", "u"),
        ("x-user", "v"),
        ("traceparent", "00-1"),
        ("x-forwarded-for", "10.0.0.9, 10.0.0.1"),
        ("x-titleshot-id", "ours"),
        ("x-request-id", "ours"),
    ]
    assert onward([("x-request-id", "theirs")], "ours", "::1") == [
        ("x-request-id", "theirs"),
        ("x-forwarded-for", "::1"),
        ("x-titleshot-id", "ours"),
    ]


def test_a_copy_has_no_credentials_and_says_what_it_is():
    passed = onward(GIVEN, "ours", "10.0.0.1")
    secrets = {"authorization", "x-api-key"}
    assert as_copy(passed, credentials=True) == (*passed, ("x-titleshot-shadow", "1"))
    assert as_copy(passed, credentials=False) == (
        *[(key, value) for key, value in passed if key not in secrets],
        ("x-titleshot-shadow", "1"),
    )


def test_back_come_the_servers_own_and_the_id():
    given = [("x-late", "1"), ("grpc-status-details-bin", b"d"), ("grpc-message", "no"), ("x-titleshot-id", "other")]
    assert back(given, "ours") == (("x-late", "1"), ("grpc-status-details-bin", b"d"), ("x-titleshot-id", "ours"))
    assert back(None, "ours") == (("x-titleshot-id", "ours"),)


def test_a_value_is_the_first_text_of_its_name():
    assert value_of([("a", "1"), ("b", b"2"), ("b", "3"), ("a", "4")], "a") == b"1"
    assert value_of([("b-bin", b"2")], "b-bin") == b""


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:10.0.0.1:4711", "10.0.0.1"),
        ("ipv6:%5B::1%5D:80", "::1"),
        ("ipv6:[fe80::1]:80", "fe80::1"),
        ("x", "unknown"),
    ],
)
def test_the_peers_address(peer, address):
    assert address_of(peer) == address


def test_every_status_has_its_place():
    from comparator.events import Outcome
    from router.proxy.grpc_codes import HTTP_STATUS, outcome_of

    assert HTTP_STATUS.keys() == set(grpc.StatusCode)
    found = {code.name: Outcome(outcome_of(code, connected=True)).name for code in grpc.StatusCode}
    of_the_client = (
        "INVALID_ARGUMENT NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED UNAUTHENTICATED RESOURCE_EXHAUSTED "
        "FAILED_PRECONDITION ABORTED OUT_OF_RANGE"
    )
    assert found == {
        "OK": "OK",
        "CANCELLED": "BROKEN",
        "DEADLINE_EXCEEDED": "TIMEOUT",
        **dict.fromkeys(of_the_client.split(), "CLIENT_ERROR"),
        **dict.fromkeys(("UNKNOWN", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"), "SERVER_ERROR"),
    }
    assert outcome_of(grpc.StatusCode.UNAVAILABLE, connected=False) == Outcome.CONNECT
