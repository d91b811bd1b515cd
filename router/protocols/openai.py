"""The OpenAI API, as vLLM and others serve it: chat completions, completions, responses and embeddings.

An answer is JSON, or a stream of server-sent events. Either holds choices, each of which is a text: one row. What a
text predicts is the model's setting (`answer.compare`); without one, and of embeddings, nothing is predicted, and only
failures and latency are compared. A failure can come as an event in an answer whose status is 200.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import msgspec

from router.protocols.protocol import Failed, Metered, Prediction, Protocol, Reader, Reading, Unreadable, Usage

if TYPE_CHECKING:
    from router.protocols.comparing import Comparison

_PREDICTIONS: Final = (b"/chat/completions", b"/completions", b"/embeddings", b"/responses")
_EXPECTED: Final = "expected an answer of the OpenAI API: choices, output or data in JSON, or a stream of such chunks"
_DONE: Final = b"[DONE]"
_NOTHING: Final = msgspec.Raw()
_BLANK: Final = b"\xef\xbb\xbf \t\r\n"
_STREAM: Final = (b"data:", b"event:", b"id:", b"retry:", b":")


class OpenAi(Protocol):
    """The protocol `openai`."""

    name: str = "openai"
    ready_path: str = "/health"
    bodies_name_models: bool = True
    listing_path: bytes = b"/v1/models"
    last_event: re.Pattern[bytes] | None = re.compile(rb"(?:\A|[\r\n])data: ?\[DONE\]\s*\Z")

    def calls_for_prediction(self, method: bytes, path: bytes) -> bool:
        """POST .../chat/completions, .../completions, .../responses and .../embeddings; GET /v1/models does not."""
        return method == b"POST" and path.endswith(_PREDICTIONS)

    def listing(self, names: Iterable[str]) -> bytes:
        """As the API's `list` object."""
        told = [{"id": name, "object": "model", "created": 0, "owned_by": "titleshot"} for name in names]
        return msgspec.json.encode({"object": "list", "data": told})

    def model_in_path(self, path: bytes) -> bytes | None:  # noqa: ARG002 - the interface's
        """Never: a body names it, which is not looked into for that (see `route_by`)."""
        return None

    def reader(self, reading: Reading) -> Reader:
        """`score` is a JSON pointer into a text that is JSON."""
        if reading.prediction or reading.rows:
            raise ValueError("expected no answer.prediction and answer.rows, but answer.compare: predictions are texts")
        if not reading.compare:
            if reading.score:
                raise ValueError("expected no answer.score, or answer.compare: field:/POINTER or number:/POINTER")
            return _Answers(None)
        from router.protocols.comparing import Comparison  # noqa: PLC0415 - a proxy never compares

        return _Answers(Comparison(reading.compare, reading.score))


# ---- what is read of an answer; what is not named here is skipped


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _ToolCall(msgspec.Struct, gc=False):
    index: int = 0
    function: _Function | None = None


class _Part(msgspec.Struct, gc=False):
    text: str | None = None
    refusal: str | None = None


class _Message(msgspec.Struct, gc=False):
    content: str | list[_Part] | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None


class _Choice(msgspec.Struct, gc=False):
    index: int = 0
    message: _Message | None = None
    delta: _Message | None = None
    text: str | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class _Item(msgspec.Struct, gc=False):
    """Of the output of a response."""

    type: str = ""
    content: str | list[_Part] | None = None
    name: str | None = None
    arguments: str | None = None


class _Body(msgspec.Struct, gc=False):
    """A whole answer, a chunk of a streamed one, or an event of a streamed response."""

    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: object = None
    kind: object = msgspec.field(default=None, name="object")
    data: msgspec.Raw = _NOTHING
    output: list[_Item] | None = None
    status: object = None
    type: str | None = None
    response: msgspec.Raw = _NOTHING
    code: object = None


_decode: Final = msgspec.json.Decoder(_Body).decode
_decode_arguments: Final = msgspec.json.Decoder().decode


class _Answers:
    """Reads the answers of one model.

    Args:
        comparison: what a text predicts; None: nothing is predicted.
    """

    __slots__ = ("_comparison",)

    def __init__(self, comparison: Comparison | None) -> None:
        self._comparison = comparison

    def __call__(self, body: bytes) -> list[Prediction]:
        """One prediction per choice, in the order of their indices."""
        body = body.lstrip(_BLANK)
        if body.startswith(b"{"):
            return self._whole(_read(body))
        if body.startswith(_STREAM):
            return self._streamed(body)
        raise Unreadable(_EXPECTED)

    def _whole(self, answer: _Body) -> list[Prediction]:
        _check(answer)
        if answer.choices:
            texts = [_Text.of(choice) for choice in sorted(answer.choices, key=_index)]
        elif answer.output is not None:
            texts = [_Text.of_output(answer.output)]
        elif bytes(answer.data).startswith(b"["):
            texts = []  # embeddings, which are no classes
        else:
            raise Unreadable(_EXPECTED)
        return self._predicted(texts, answer.usage, streamed=False)

    def _streamed(self, body: bytes) -> list[Prediction]:
        """Chunks joined to what they are parts of.

        Raises:
            Failed: an error stands among them, or their end does not.
        """
        texts: dict[int, _Text] = {}
        usage: _Usage | None = None
        pieces = 0
        done = False
        for event in _events(body):
            if event == _DONE:
                done = True
                break
            chunk = _read_event(event)
            _check(chunk)
            if chunk.usage is not None:
                usage = chunk.usage  # the last one: some tell it with every chunk
            if chunk.type is not None and chunk.type.startswith("response."):
                if chunk.type in ("response.completed", "response.incomplete") and bytes(chunk.response):
                    return self._response(chunk.response, pieces)
                if chunk.type == "response.failed":
                    raise _failure(_read(chunk.response).error if bytes(chunk.response) else None)
                pieces += chunk.type.endswith(".delta")
            for choice in chunk.choices or ():
                text = texts.get(choice.index)
                if text is None:
                    text = texts[choice.index] = _Text()
                pieces += text.take(choice)
        if not done:
            raise Failed("expected the stream's last event to be [DONE]")
        if not texts:
            raise Unreadable(_EXPECTED)
        return self._predicted([texts[index] for index in sorted(texts)], usage, streamed=True, pieces=pieces)

    def _response(self, raw: msgspec.Raw, pieces: int) -> list[Prediction]:
        """The last event of a streamed response has all of it."""
        response = _read(raw)
        _check(response)
        if response.output is None:
            raise Unreadable(_EXPECTED)
        return self._predicted([_Text.of_output(response.output)], response.usage, streamed=True, pieces=pieces)

    def _predicted(
        self, texts: list[_Text], written: _Usage | None, *, streamed: bool, pieces: int = 0
    ) -> list[Prediction]:
        comparison = self._comparison
        if comparison is None:
            predictions = []
        else:
            predictions = [_refused() if text.refuses else comparison.predicted(text.whole()) for text in texts]
        usage = _usage(written, streamed=streamed, pieces=pieces)
        return predictions if usage is None else Metered(predictions, usage)


class _Text:
    """What one choice says: a text, calls of tools, or that it refuses."""

    __slots__ = ("_calls", "_parts", "refuses")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._calls: dict[int, tuple[list[str], list[str]]] = {}  # names and arguments
        self.refuses = False

    @classmethod
    def of(cls, choice: _Choice) -> _Text:
        made = cls()
        made.take(choice)
        return made

    @classmethod
    def of_output(cls, items: list[_Item]) -> _Text:
        made = cls()
        for item in items:
            if item.type == "message":
                made._take_content(item.content)
            elif item.type == "function_call":
                made._calls[len(made._calls)] = ([item.name or ""], [item.arguments or ""])
        return made

    def take(self, choice: _Choice) -> bool:
        """The choice, or a piece of it; whether anything was said with it."""
        if choice.text is not None:  # completions
            self._parts.append(choice.text)
            return bool(choice.text)
        message = choice.delta or choice.message
        if message is None:
            return False
        if message.refusal is not None:
            self.refuses = self.refuses or bool(message.refusal)
        for call in message.tool_calls or ():
            self._take_call(call.index if choice.delta is not None else len(self._calls), call.function)
        if message.function_call is not None:
            self._take_call(0, message.function_call)
        self._take_content(message.content)
        return bool(message.content or message.tool_calls or message.refusal or message.function_call)

    def whole(self) -> str:
        """The text; of calls, a JSON list of {"arguments", "name"}, since the ids of calls say nothing."""
        if not self._calls:
            return "".join(self._parts)
        calls = [
            {"arguments": _arguments("".join(arguments)), "name": "".join(names)}
            for _, (names, arguments) in sorted(self._calls.items())
        ]
        return msgspec.json.encode(calls, order="deterministic").decode()

    def _take_content(self, content: str | list[_Part] | None) -> None:
        if isinstance(content, str):
            self._parts.append(content)
            return
        for part in content or ():
            self._parts.append(part.text or "")
            self.refuses = self.refuses or bool(part.refusal)

    def _take_call(self, index: int, function: _Function | None) -> None:
        names, arguments = self._calls.setdefault(index, ([], []))
        if function is not None:
            names.append(function.name or "")
            arguments.append(function.arguments or "")


def _refused() -> Prediction:
    from router.protocols.comparing import REFUSED  # noqa: PLC0415 - a proxy never compares

    return REFUSED


def _index(choice: _Choice) -> int:
    return choice.index


def _arguments(text: str) -> object:
    """Arguments of a call are JSON in a text; where they are not, they stay a text."""
    try:
        return _decode_arguments(text)
    except (msgspec.DecodeError, RecursionError):
        return text


def _read(body: bytes | msgspec.Raw) -> _Body:
    try:
        return _decode(body)
    except RecursionError:
        raise Unreadable("expected JSON that is not nested so deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreadable(f"{_EXPECTED}: {error}") from None


def _read_event(data: bytes) -> _Body:
    """An event's data. A piece of JSON is where the stream broke off."""
    try:
        return _read(data)
    except Unreadable as error:
        if "truncated" in str(error):
            raise Failed("expected the stream's events to be whole") from None
        raise


def _events(body: bytes) -> list[bytes]:
    """The data of the events of a stream (WHATWG HTML, section 9.2); where it has several lines, they are joined."""
    found: list[bytes] = []
    begun = False
    for line in body.splitlines():
        if line.startswith(b"data:"):
            data = line[5:].strip()
            if begun:
                found[-1] += b"\n" + data
            else:
                found.append(data)
                begun = True
        elif not line:
            begun = False
    return found


def _check(answer: _Body) -> None:
    """Raises Failed: it is an error, by any of the forms in which servers write one."""
    if answer.error is not None:
        raise _failure(answer.error)
    if answer.kind == "error" or answer.type == "error":
        raise _failure({"code": answer.code})
    if answer.status == "failed":
        raise _failure(None)


def _failure(error: object) -> Failed:
    """The error with the status that it should have had: 500, unless it says which."""
    status = 500
    for key in ("code", "status") if isinstance(error, dict) else ():
        code = error.get(key)  # type: ignore[attr-defined]
        if isinstance(code, str) and len(code) == 3 and code.isdecimal():
            code = int(code)
        if isinstance(code, int) and 400 <= code <= 599:
            status = code
            break
    return Failed("the answer is an error", status)


def _usage(written: _Usage | None, *, streamed: bool, pieces: int) -> Usage | None:
    """What the answer says it took; of a stream that does not say, a token for each of its pieces."""
    prompt = completion = 0
    if written is not None:
        prompt = written.prompt_tokens or written.input_tokens or 0
        completion = written.completion_tokens or written.output_tokens or 0
    completion = completion or pieces
    if prompt <= 0 and completion <= 0:
        return None
    return Usage(max(prompt, 0), max(completion, 0), streamed)
