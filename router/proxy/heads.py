"""Message heads of the usual form, read line by line against lines seen before.

Most lines of a head stood in the head before it too, so a dictionary says what becomes of them. A line is learnt only
when it is beyond doubt. A head with any other line, or of which only a part is there, is left to llhttp (parsing.py,
upstream.py), where every refusal is decided; a test holds the two readings equal.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from router.proxy import fields
from router.proxy.answer import BODILESS, AnswerHead, NotHttp
from router.proxy.fields import CONNECTION, HOST, LENGTH, PASS, REQUEST_FIELDS, RESPONSE_FIELDS
from router.proxy.request import KEEP_ALIVE, Request, take_field

if TYPE_CHECKING:
    from router.link.messages import Limits

END: Final = b"\r\n\r\n"

_MOST_KNOWN: Final = 4096
_MOST_VALUES: Final = 64
_LONGEST_KNOWN: Final = 512
"""Bytes; longer lines are read anew each time."""

_REQUEST_LINE: Final = re.compile(rb"(POST|GET|PUT|DELETE|PATCH) (/[\x21\x22\x24-\x7e]*) HTTP/1\.1")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9])(?: [\t\x20-\x7e]*)?")
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE_BYTES: Final = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
"""RFC 9110, section 5: tokens; visible characters, spaces, tabs and obs-text."""

_MOST_LINES: Final = 64
"""Of an answer's head; limits are llhttp's side's to enforce."""

_UNKNOWN: Final = -1
_LENGTH: Final = re.compile(rb"[0-9]{1,15}")

_KEEP_ALIVE: Final = frozenset((b"keep-alive",))
_LEFT_TO_LLHTTP: Final = frozenset({fields.TRANSFER_ENCODING, fields.UPGRADE, fields.EXPECT})

Field = tuple[int, bytes, bytes, bytes, int]
"""What becomes of it (fields.PASS, ...), its line as it is passed on, its name, its value, its value as a number."""

_targets: dict[bytes, tuple[bytes, bytes]] = {}
_request_fields: dict[bytes, Field] = {}
_values: dict[bytes, int] = {}  # of each field name: how many were learnt
_answers: dict[bytes, AnswerHead] = {}
_answer_fields: dict[bytes, tuple[bytes, bytes]] = {}


def usual_request(data: bytes, end: int, limits: Limits) -> Request | None:
    """The request whose head is `data[:end]`, END left out; its body is not looked at.

    Returns:
        None: the head is not of the usual form, or breaks a limit; nothing more is known of it.
    """
    lines = data[:end].split(b"\r\n")
    target = _targets.get(lines[0]) or _learn_target(lines[0])
    if target is None or len(lines) > limits.max_header_count:
        return None
    request = Request()
    request.method, request.url = target
    passed = request.lines
    known = _request_fields
    del lines[0]
    for line in lines:
        field = known.get(line) or _learn_field(line)
        if field is None:
            return None
        action = field[0]
        if action == PASS:
            passed.append(field[1])
        elif action == HOST:
            if request.host is not None:
                return None
            request.host = field[3]
        elif action == LENGTH:
            if request.length >= 0:
                return None
            request.length = field[4]
            passed.append(field[1])
        elif action == CONNECTION:
            request.connection = KEEP_ALIVE
        else:
            take_field(request, action, field[2], field[3])
    if request.host is None or request.length > limits.max_body_bytes:
        return None
    request.head_done = True
    return request


def usual_answer(head: bytes) -> AnswerHead | None:
    """The answer whose head this is, END left out: one with a Content-Length, and no transfer coding.

    Returns:
        None: it is not of the usual form.
    """
    return _answers.get(head) or _learn_answer(head)


def _learn_target(line: bytes) -> tuple[bytes, bytes] | None:
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        return None
    target = match[1], match[2]
    if len(line) <= _LONGEST_KNOWN:
        if len(_targets) >= _MOST_KNOWN:
            _targets.clear()
        _targets[line] = target
    return target


def _learn_field(line: bytes) -> Field | None:
    name, colon, value = line.partition(b":")
    if not colon or value.translate(None, _VALUE_BYTES):
        return None
    action = REQUEST_FIELDS.get(name, _UNKNOWN)
    if action == _UNKNOWN:
        if _NAME.fullmatch(name) is None:
            return None
        action = REQUEST_FIELDS[name]
    value = value.strip(b" \t")
    if action == PASS:
        field: Field = PASS, b"%b: %b\r\n" % (name, value), name, value, -1
    elif action == LENGTH:
        if _LENGTH.fullmatch(value) is None:
            return None
        field = LENGTH, b"content-length: %d\r\n" % int(value), name, value, int(value)
    elif (
        action in _LEFT_TO_LLHTTP
        or (action == HOST and fields.HOST_VALUE.fullmatch(value) is None)
        or (action == CONNECTION and value.lower() != b"keep-alive")
    ):
        return None
    else:
        field = action, b"", name, value, -1
    if len(line) <= _LONGEST_KNOWN and action != fields.SECRET:  # no credential stays here
        values = _values[name] = _values.get(name, 0) + 1
        if values <= _MOST_VALUES:  # ids of users and traces are new each time: keeping them helps nobody
            _request_fields[line] = field
        if len(_values) > _MOST_KNOWN or len(_request_fields) > _MOST_KNOWN:
            _values.clear()
            _request_fields.clear()
    return field


def _learn_answer_field(line: bytes) -> tuple[bytes, bytes] | None:
    name, colon, value = line.partition(b":")
    if not colon or _NAME.fullmatch(name) is None or value.translate(None, _VALUE_BYTES):
        return None
    if len(_answer_fields) >= _MOST_KNOWN:
        _answer_fields.clear()
    field = _answer_fields[line] = name, value.strip(b" \t")
    return field


def _learn_answer(text: bytes) -> AnswerHead | None:
    first, *lines = text.split(b"\r\n")
    status = _STATUS_LINE.fullmatch(first)
    if status is None or len(lines) > _MOST_LINES:
        return None
    head = AnswerHead()
    for line in lines:
        field = _answer_fields.get(line) or _learn_answer_field(line)
        if field is None:
            return None
        name, value = field
        if RESPONSE_FIELDS[name] == LENGTH and (head.length >= 0 or _LENGTH.fullmatch(value) is None):
            return None
        try:
            head.take(name, value)
        except NotHttp:
            return None
    if head.length < 0 or head.chunked or not head.nominated <= _KEEP_ALIVE:
        return None
    head.finish(int(status[1]), keep=True)
    if head.status in BODILESS:
        return None
    if len(text) <= 2 * _LONGEST_KNOWN:
        if len(_answers) >= _MOST_KNOWN:
            _answers.clear()
        _answers[text] = head
    return head
