"""Others are reached over TLS that is verified, and whatever they do ends in an answer or in a reason."""

import asyncio
import contextlib
import socketserver
import ssl
import threading
import time

import pytest
from certificates import Authority
from world import free_port

from router.control.outgoing import Failed, Outgoing
from router.link.endpoint import Tls

PLAIN = Tls()


@contextlib.contextmanager
def answering(pieces, context=None):
    """A server that writes these bytes whatever it is sent, and hangs at None: its port, and what it was sent."""
    asked, over = [], threading.Event()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            with contextlib.ExitStack() as open_, contextlib.suppress(OSError):  # or the handshake failed
                line = self.connection
                if context is not None:
                    line = open_.enter_context(context.wrap_socket(line, server_side=True))
                sent = b""
                while not sent.endswith(b"\r\n\r\n{}"):
                    if not (piece := line.recv(4096)):
                        return
                    sent += piece
                asked.append(sent)
                for piece in pieces:
                    over.wait(20) if piece is None else line.sendall(piece)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1], asked
        finally:
            over.set()
            server.shutdown()
            thread.join(20)


def post(url, tls=PLAIN, seconds=2.0):
    asked = Outgoing().post(url, b"{}", {"x": "y"}, tls=tls, deadline_seconds=seconds, most_bytes=1000)
    return asyncio.run(asked)


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@pytest.mark.parametrize(
    ("pieces", "why"),
    [
        ([None], "no answer within 0.5 s"),
        ([b"HTTP/1.1 200 OK\r\n", None], "no answer within 0.5 s"),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx", None], "no answer within 0.5 s"),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx"], "the connection broke"),
        ([b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000], "expected an answer of at most 1000 bytes"),
        ([b"SSH-2.0-OpenSSH_9\r\n"], "the connection broke"),
        ([], "the connection broke"),
    ],
)
def test_what_is_no_answer(pieces, why):
    with answering(pieces) as (port, _):
        began = time.monotonic()
        with pytest.raises(Failed, match=why):
            post(f"http://127.0.0.1:{port}/secret", seconds=0.5)
        assert time.monotonic() - began < 5


def test_an_answer():
    with answering([OK[:20], OK[20:]]) as (port, asked):
        answer = post(f"http://127.0.0.1:{port}/path?q=1")
        assert (answer.status_code, answer.body) == (200, b"ok")
        (sent,) = asked
        assert sent.startswith(b"POST /path?q=1 HTTP/1.1\r\n")
        assert b"accept-encoding: identity" in sent.lower()


def test_nobody_there_and_the_reason_has_no_address():
    with pytest.raises(Failed) as error:
        post(f"http://127.0.0.1:{free_port()}/secret")
    assert "no connection" in str(error.value)
    assert "secret" not in str(error.value)


def test_certificates_are_verified(tmp_path):
    ours, other = Authority(tmp_path, "ours"), Authority(tmp_path, "other")
    certificate, key = ours.issue("desk.internal")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    trusted, named = Tls(ca=str(ours.file)), Tls(ca=str(ours.file), server_name="desk.internal")
    with answering([OK], context) as (port, asked):
        url = f"https://127.0.0.1:{port}/"
        assert post(url, trusted).body == b"ok"
        assert post(url, named).body == b"ok"
        for wrong in (Tls(ca=str(other.file)), PLAIN, Tls(ca=str(ours.file), server_name="another.internal")):
            with pytest.raises(Failed, match="no connection"):
                post(url, wrong)
        with pytest.raises(Failed, match="No such file"):
            post(url, Tls(ca=str(tmp_path / "gone.pem")))
        assert len(asked) == 2
