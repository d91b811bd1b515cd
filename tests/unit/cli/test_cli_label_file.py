import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.cli.label_file import LONGEST_LINE, BadLine, Item, NotALabelFile, read_items

text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(lambda s: s.strip() == s)


def read(content, kind):
    return list(read_items(io.BytesIO(content if isinstance(content, bytes) else content.encode()), kind))


def test_csv():
    content = 'request_id,label,row\na,1,\nb,0,3\n\n"c,d",0.5,0\ne,true,\nf,late,\n'
    assert read(content, "csv") == [
        Item(2, {"request_id": "a", "label": 1}),
        Item(3, {"request_id": "b", "label": 0, "row": 3}),
        Item(5, {"request_id": "c,d", "label": 0.5, "row": 0}),
        Item(6, {"request_id": "e", "label": True}),
        Item(7, {"request_id": "f", "label": "late"}),
    ]


def test_csv_as_spreadsheets_write_it():
    assert read(b"\xef\xbb\xbflabel,request_id\r\n1,a\r\n", "csv") == [Item(2, {"request_id": "a", "label": 1})]


def test_csv_rows_of_another_length_are_bad_lines():
    assert read("request_id,label\na,1\nb\nc,1,2\n", "csv")[1:] == [
        BadLine(3, "expected 2 fields, as the header has, not 1"),
        BadLine(4, "expected 2 fields, as the header has, not 3"),
    ]


@pytest.mark.parametrize(
    "header", ["", "a,1\n", "request_id\n", "request_id,label,label\n", "request_id,label,colour\n"]
)
def test_csv_needs_its_header(header):
    with pytest.raises(NotALabelFile, match="header"):
        read(header, "csv")


@pytest.mark.parametrize("content", ['request_id,label\n"a,1\n', "request_id,label\n" + "a" * LONGEST_LINE + ",1\n"])
def test_csv_that_is_broken(content):
    with pytest.raises(NotALabelFile, match="line 2: expected"):
        read(content, "csv")


def test_ndjson():
    content = b'{"request_id": "a", "label": 1}\n\n[1]\nnot json\n\xff\n{"request_id": "b", "label": 0, "row": 2}'
    assert read(content, "ndjson") == [
        Item(1, {"request_id": "a", "label": 1}),
        BadLine(3, "expected an object with request_id and label"),
        BadLine(4, "expected JSON in UTF-8"),
        BadLine(5, "expected JSON in UTF-8"),
        Item(6, {"request_id": "b", "label": 0, "row": 2}),
    ]


def test_a_long_line_is_skipped_and_the_next_one_is_read():
    content = b'{"request_id": "' + b"a" * 3 * LONGEST_LINE + b'"}\n{"request_id": "b", "label": 1}\n' + b"[" * 60_000
    assert read(content, "ndjson") == [
        BadLine(1, f"expected a line of at most {LONGEST_LINE} bytes"),
        Item(2, {"request_id": "b", "label": 1}),
        BadLine(3, "expected JSON in UTF-8"),
    ]


@given(st.lists(st.tuples(text, st.integers(-5, 5), st.integers(0, 9)), min_size=1))
def test_csv_and_ndjson_say_the_same(rows):
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerows([("request_id", "label", "row"), *rows])
    lines = "".join(json.dumps({"request_id": name, "label": label, "row": row}) + "\n" for name, label, row in rows)
    assert [item.data for item in read(table.getvalue(), "csv")] == [item.data for item in read(lines, "ndjson")]
