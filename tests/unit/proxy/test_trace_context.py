"""traceparent is read by the standard's grammar, and whether a request is traced follows from it."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.proxy.trace_context import SAMPLED, Context, context_in, context_of, new_span_id, read_traceparent

TRACE, PARENT = b"4bf92f3577b34da6a3ce929d0e0e4736", b"00f067aa0ba902b7"
HEX = "0123456789abcdef"


def hexadecimal(digits):
    return st.text(HEX, min_size=digits, max_size=digits)


WRITTEN = st.builds(
    lambda version, trace, parent, flags, rest: f"{version}-{trace}-{parent}-{flags}{rest}",
    st.one_of(st.just("00"), hexadecimal(2)),
    st.one_of(st.just("0" * 32), hexadecimal(32)),
    st.one_of(st.just("0" * 16), hexadecimal(16)),
    hexadecimal(2),
    st.sampled_from(["", "", "-", "-00", "-what=ever", "00", " "]),
)
"""Nearly all of the grammar, and what lies right beside it."""


@st.composite
def damaged(draw):
    text = draw(WRITTEN)
    at = draw(st.integers(0, len(text)))
    return text[:at] + draw(st.text(HEX + "ABCDEFg- \t", max_size=2)) + text[at + draw(st.integers(0, 2)) :]


def by_the_standard(text):
    """Sections 3.2.2 and 4.3, place by place, without a regular expression."""
    fields, rest = (text[0:2], text[3:35], text[36:52], text[53:55]), text[55:]
    whole = [len(field) == size for field, size in zip(fields, (2, 32, 16, 2), strict=True)]
    if not all(whole) or any(digit not in HEX for field in fields for digit in field):
        return None
    if (text[2], text[35], text[52]) != ("-", "-", "-"):
        return None
    version, trace, parent, flags = fields
    if version == "ff" or (version == "00" and rest) or (rest and rest[0] != "-"):
        return None
    if set(trace) == {"0"} or set(parent) == {"0"}:
        return None
    return trace.encode(), parent.encode(), int(flags, 16)


@given(st.one_of(WRITTEN, damaged(), st.text(string.printable, max_size=60)))
def test_what_is_read_is_what_the_standard_says(text):
    assert read_traceparent(text.encode()) == by_the_standard(text)


def lines(*fields):
    return [f"{name}: {value}\r\n".encode() for name, value in fields]


def carried(flags="01", version="00", rest=""):
    return f"{version}-{TRACE.decode()}-{PARENT.decode()}-{flags}{rest}"


ALWAYS, NEVER = (1.0, lambda: 0.999), (0.0, lambda: 0.0)


@pytest.mark.parametrize("name", ["traceparent", "Traceparent", "TRACEPARENT", "TraceParent"])
def test_a_sampled_request_is_traced_whatever_the_share(name):
    found = context_of(lines(("a", "b"), (name, carried())), *NEVER)
    assert (found.trace_id, found.parent_id, found.flags) == (TRACE, PARENT, SAMPLED)
    assert len(found.span_id) == 16
    assert found.span_id != PARENT


def test_a_request_that_is_not_sampled_is_not_traced_whatever_the_share():
    assert context_of(lines(("traceparent", carried("00"))), *ALWAYS) is None
    assert context_of(lines(("traceparent", carried("02"))), *ALWAYS) is None


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (("traceparent", "00-x"),),
        (("traceparent", carried().upper()),),
        (("traceparent", carried()), ("Traceparent", carried())),
        (("tracestate", "a=b"),),
        (("x-traceparent", carried()),),
        (("note", f"traceparent: {carried()}"),),
    ],
)
def test_a_request_without_a_valid_context_is_traced_by_the_share(fields):
    assert context_of(lines(*fields), *NEVER) is None
    begun = context_of(lines(*fields), *ALWAYS)
    assert begun.parent_id == b""
    assert begun.trace_id not in (TRACE, b"0" * 32)
    assert begun.flags == SAMPLED


@given(st.integers(0, 100), st.floats(0, 1, exclude_max=True))
def test_the_share_is_a_share(percent, drawn):
    assert (context_of([], percent / 100, lambda: drawn) is not None) == (drawn < percent / 100)


def test_each_trace_and_span_is_its_own():
    begun = [context_of([], *ALWAYS) for _ in range(200)]
    assert len({each.trace_id for each in begun}) == len({each.span_id for each in begun}) == 200


def test_a_later_version_goes_on_as_version_00_with_the_flags_that_it_knows():
    found = context_of(lines(("traceparent", carried("ff", "cc", "-what=ever"))), *NEVER)
    (line,) = found.passed_on([], b"1" * 16)
    assert line == b"traceparent: 00-%b-%b-03\r\n" % (TRACE, b"1" * 16)


HEADER = st.tuples(
    st.one_of(
        st.sampled_from(["tracestate", "TraceState", "baggage", "traceparent", "Traceparent", "x-traceparent"]),
        st.text(string.ascii_letters + "-", min_size=1, max_size=12),
    ),
    st.text(string.ascii_letters + string.digits + " :=,;", max_size=20),
)


@given(st.lists(HEADER, max_size=8), st.booleans())
def test_all_other_lines_pass_as_they_came_and_in_their_order(fields, continued):
    context, span = Context(TRACE, PARENT if continued else b"", SAMPLED), new_span_id()
    *kept, last = context.passed_on(lines(*fields), span)
    ours = {"traceparent"} if continued else {"traceparent", "tracestate"}
    assert kept == [line for line, (name, _) in zip(lines(*fields), fields, strict=True) if name.lower() not in ours]
    assert last == b"traceparent: 00-%b-%b-01\r\n" % (TRACE, span)


@given(st.lists(HEADER, max_size=8), st.booleans())
def test_a_calls_metadata_passes_as_the_lines_of_a_request_do(fields, continued):
    context, span = Context(TRACE, PARENT if continued else b"", SAMPLED), new_span_id()
    metadata = [(name.lower(), value) for name, value in fields]  # as gRPC has names
    kept = context.passed_on_in([*metadata, ("x-bin", b"")], span)[:-1]
    assert lines(*kept[:-1]) == context.passed_on(lines(*metadata), span)[:-1]
    assert kept[-1] == ("x-bin", b"")
    assert context.passed_on_in(metadata, span)[-1] == ("traceparent", f"00-{TRACE.decode()}-{span.decode()}-01")


@given(st.lists(st.tuples(st.sampled_from(["traceparent", "tracestate", "a"]), WRITTEN), max_size=3), st.booleans())
def test_a_call_is_traced_as_a_request_is(metadata, always):
    share, chance = ALWAYS if always else NEVER
    found, told = context_in(metadata, share, chance), context_of(lines(*metadata), share, chance)
    assert (found is None) == (told is None)
    if found is not None and (found.parent_id or told.parent_id):
        assert (found.trace_id, found.parent_id, found.flags) == (told.trace_id, told.parent_id, told.flags)


def test_what_is_binary_under_its_name_is_no_context():
    assert context_in([("traceparent", carried().encode())], *NEVER) is None
