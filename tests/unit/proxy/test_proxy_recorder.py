"""Rows are kept within bounds, handed on in order, and counted when lost."""

from hypothesis import given
from hypothesis import strategies as st

from router.link.messages import BODY_UNREAD, BODY_WHOLE, EXCHANGE_ROW, MAX_FRAME, Exchanges, frame
from router.proxy.recorder import FRAME_BODY_BYTES, FRAME_ROWS, Recorder


class Kept:
    """A link that takes so many messages."""

    def __init__(self, most: int = 1_000_000, *, ready: bool = True) -> None:
        self.most = most
        self._ready = ready
        self.messages: list[Exchanges] = []

    @property
    def ready(self) -> bool:
        return self._ready

    def send(self, message: Exchanges) -> bool:
        if len(self.messages) >= self.most:
            return False
        self.messages.append(message)
        return True

    def rows(self, model: str = "m") -> list[tuple[int, bytes]]:
        rows = []
        for message in self.messages:
            if message.model != model:
                continue
            offset = 0
            for row in EXCHANGE_ROW.iter_unpack(message.rows):
                rows.append((row[3], message.bodies[offset : offset + row[5]]))
                offset += row[5]
            assert offset == len(message.bodies)
        return rows


def record(recorder: Recorder, low: int, body: bytes = b"", model: str = "m") -> None:
    recorder.record(model, 1.5, 9, 1, low, 3, body, 0.25, 0.5, 2, 200, 1, 2, True, 0, BODY_WHOLE)


def test_a_row_is_what_the_link_says_it_is():
    recorder, link = Recorder(10), Kept()
    record(recorder, 7, b"body")
    recorder.flush(link)
    (message,) = link.messages
    assert EXCHANGE_ROW.unpack(message.rows) == (1.5, 9, 1, 7, 3, 4, 0.25, 0.5, 2, 200, 1, 2, 1, 0, BODY_WHOLE)
    assert message.bodies == b"body"


@given(
    st.lists(st.tuples(st.sampled_from(["m", "n"]), st.integers(0, 50))),
    st.integers(1, 60),
    st.integers(0, 400),
    st.integers(0, 3),
)
def test_nothing_is_lost_within_the_bounds_and_all_else_is_counted(exchanges, most_rows, most_bytes, takes):
    recorder = Recorder(most_rows, most_bytes)
    for index, (model, size) in enumerate(exchanges):
        record(recorder, index, b"x" * size, model)
        assert recorder.rows <= most_rows
        assert recorder.body_bytes <= most_bytes
    assert recorder.rows + recorder.dropped == len(exchanges)
    recorder.flush(Kept(ready=False))
    some, rest = Kept(takes), Kept()
    recorder.flush(some)
    recorder.flush(rest)
    kept = exchanges[:most_rows]
    for name in ("m", "n"):
        got = [low for low, _ in some.rows(name) + rest.rows(name)]
        assert got == [index for index, (model, _) in enumerate(kept) if model == name]
    assert (recorder.rows, recorder.body_bytes) == (0, 0)


def test_beyond_the_bytes_a_row_goes_without_its_body():
    recorder, link = Recorder(10, most_body_bytes=5), Kept()
    record(recorder, 1, b"12345")
    record(recorder, 2, b"6")
    recorder.flush(link)
    assert link.rows() == [(1, b"12345"), (2, b"")]
    assert EXCHANGE_ROW.unpack(link.messages[0].rows[EXCHANGE_ROW.size :])[-1] == BODY_UNREAD


def test_frames_stay_far_below_the_most_that_the_link_takes():
    recorder, link = Recorder(100_000), Kept()
    for low in range(FRAME_ROWS + 1):
        record(recorder, low, b"")
    for low in range(10):
        record(recorder, low, b"x" * (FRAME_BODY_BYTES // 3))
    recorder.flush(link)
    assert len(link.rows()) == FRAME_ROWS  # and no more at once: requests wait meanwhile
    recorder.flush_all(link)
    assert len(link.rows()) == FRAME_ROWS + 11
    assert all(len(frame(message)) < MAX_FRAME // 4 for message in link.messages)
