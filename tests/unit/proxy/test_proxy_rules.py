"""Where values of a request are found, and which rule holds."""

from urllib.parse import parse_qsl, quote, quote_plus

from hypothesis import given
from hypothesis import strategies as st

from router.link.messages import Rule
from router.proxy.request import Request
from router.proxy.rules import compiled, forced_role, look, of_cookie, of_query, segment

NAMES = st.sampled_from(["a", "b", "ab", "aa", "tenant"])
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=6)


def request(*fields: str, host: bytes | None = b"models") -> Request:
    made = Request()
    made.host = host
    made.lines = [f"{field}\r\n".encode() for field in fields]
    return made


@given(st.lists(st.tuples(NAMES, TEXTS), max_size=6), NAMES, st.sampled_from([quote, quote_plus]))
def test_a_query_is_read_as_a_forms(pairs, name, encode):
    query = "&".join(f"{key}={encode(value, safe='=/?')}" for key, value in pairs)
    expected = next((value for key, value in parse_qsl(query, keep_blank_values=True) if key == name), "")
    assert of_query(f"/invocations?{query}".encode(), name.encode()) == expected.encode()


@given(st.binary(max_size=40), st.sampled_from([b"a", b"ab"]))
def test_no_query_fails(query, name):
    found = of_query(b"/x?" + query, name)
    assert found == b"" or b"&" + name + b"=" in b"&" + query


def test_a_query_without_the_name():
    for path in (b"/x", b"/x?", b"/x?a", b"/x?ba=1", b"/a=1", b"/x?b=a=1"):
        assert of_query(path, b"a") == b""


@given(st.lists(st.tuples(NAMES, st.from_regex(r"[A-Za-z0-9=_/%-]{0,6}", fullmatch=True)), max_size=6), NAMES)
def test_a_cookie_is_the_first_of_its_name(pairs, name):
    cookies = "; ".join(f"{key}={value}" for key, value in pairs)
    expected = next((value for key, value in pairs if key == name), "")
    assert of_cookie(cookies.encode(), name.encode()) == expected.encode()


@given(st.lists(st.text("ab%", max_size=3), max_size=5), st.integers(1, 99), st.text("?a/", max_size=4))
def test_segments_count_from_one(segments, number, query):
    path = "/" + "/".join(segments) + "?" + query
    expected = segments[number - 1] if number <= len(segments) else ""
    assert segment(path.encode(), number) == expected.encode()


RULES = st.builds(
    Rule,
    st.sampled_from(["header:x-t", "header:X-Other", "query:t", "cookie:t", "path", "path:1", "header:host"]),
    st.integers(0, 1),
    st.lists(st.sampled_from(["a", "b", "/a"]), max_size=2).map(tuple),
    st.lists(st.sampled_from(["a", "/b", "m"]), max_size=2).map(tuple),
)


@given(
    st.lists(RULES, max_size=5), *[st.sampled_from(["", "a", "b", "ab"])] * 4, st.sampled_from(["/a", "/b/a", "/ab"])
)
def test_the_first_rule_that_fits_holds(rules, header, other, query, cookie, path):
    fields = [f"X-T: {header}", f"x-other: {other}", f"Cookie: s=1; t={cookie}"]
    values = {
        "header:x-t": header,
        "header:X-Other": other,
        "query:t": query,
        "cookie:t": cookie,
        "path": path,
        "path:1": path.split("/")[1],
        "header:host": "models",
    }

    def fits(rule: Rule) -> bool:
        value = values[rule.source]
        if rule.values:
            return value in rule.values
        return value != "" and (not rule.prefixes or value.startswith(rule.prefixes))

    expected = next((rule.role for rule in rules if fits(rule)), None)
    assert forced_role(compiled(rules), request(*fields), f"{path}?t={query}".encode()) == expected


def test_what_names_nothing_is_no_source():
    for source in ("", "header:", "query:", "cookie", "path:0", "path:x", "body:a", "path:\u00b2"):
        assert look(source) is None
    assert compiled([Rule("body:a", 0), Rule("header:a", 1)])[0][2] == 1


def test_the_first_of_several_fields_is_looked_at_and_a_missing_host_is_none():
    where = look("header:x-t")
    assert where is not None
    assert where(request("x-t: one", "x-t: two"), b"/") == b"one"
    host = look("header:Host")
    assert host is not None
    assert host(request(host=None), b"/") == b""
