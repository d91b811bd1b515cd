"""TLS on both sides, Unix sockets and IPv6: the same HTTP over other connections."""

import socket
import ssl
import struct

import pytest
from certificates import Authority
from proxy_wire import ANSWER, answer, model, until

from comparator.events import Outcome
from router.link.endpoint import ListenTls, Tls
from router.link.messages import Limits


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def serving(authority, name="model-server", clients=None) -> ssl.SSLContext:
    """What a model server speaks TLS with."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(name))
    if clients is not None:
        context.load_verify_locations(clients.file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def trusting(authority) -> ssl.SSLContext:
    """What a client speaks TLS with."""
    return ssl.create_default_context(cafile=str(authority.file))


def listening(authority, name="titleshot", **rest) -> ListenTls:
    certificate, key = authority.issue(name)
    return ListenTls(str(certificate), str(key), **rest)


# ---- towards model servers


def test_a_model_server_with_tls_is_verified_and_its_connection_kept(world, authority):
    server = world.server(tls=serving(authority))
    world.start(model(server, tls=Tls(ca=str(authority.file))))
    client = world.client()
    for _ in range(5):
        assert client.ask().body == ANSWER
        # longer than a connection is taken as alive without a look: tickets of TLS 1.3 must not make it seem dead
        assert not server.lost.wait(0.03)
    assert server.connections == 1
    assert server.requests[0]["host"] == f"127.0.0.1:{server.port}"


@pytest.mark.parametrize(
    ("trust", "why"),
    [
        (lambda authority: Tls(), "the system does not know who signed it"),
        (lambda authority: Tls(ca=str(authority.file), server_name="another"), "its name is another"),
    ],
)
def test_a_model_server_that_cannot_be_trusted_gets_nothing(world, authority, trust, why):
    server = world.server(tls=serving(authority))
    world.start(model(server, tls=trust(authority)))
    got = world.client().ask()
    assert (got.status, b"connect_failed" in got.body) == (502, True), why
    assert server.requests == []
    assert world.control.wait_rows(1)[0]["outcome"] == Outcome.CONNECT


def test_a_name_of_its_own_is_asked_for_and_verified(world, authority):
    server = world.server(tls=serving(authority, "models.internal"))
    world.start(model(server, tls=Tls(ca=str(authority.file), server_name="models.internal")))
    assert world.client().ask().status == 200


def test_a_client_certificate_is_shown(world, authority):
    server = world.server(tls=serving(authority, clients=authority))
    certificate, key = authority.issue("router")
    shown = Tls(ca=str(authority.file), certificate=str(certificate), key=str(key))
    world.start(model(server, tls=shown))
    assert world.client().ask().status == 200
    world.control.set_routes(world.routes(model(server, tls=Tls(ca=str(authority.file)))))
    assert world.client().ask().status == 502  # without one the model server does not talk to us
    assert len(server.requests) == 1


def test_a_new_authority_in_the_file_is_trusted(world, authority, tmp_path):
    other = Authority(tmp_path, "other")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(authority.file.read_bytes())
    server = world.server(tls=serving(other))
    world.start(model(server, tls=Tls(ca=str(trusted))))
    client = world.client()
    assert client.ask().status == 502
    trusted.write_bytes(other.file.read_bytes())
    until(lambda: client.ask().status == 200, "the new file to be read")


def test_an_answer_that_breaks_off_over_tls_reaches_the_client_as_broken(world, authority):
    def half(wire, request):
        wire.raw.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
        wire.raw.unwrap()  # a clean end of TLS is no end of the answer

    server = world.server(half, tls=serving(authority))
    world.start(model(server, tls=Tls(ca=str(authority.file))))
    client = world.client().send(b"POST /invocations HTTP/1.1\r\nHost: m\r\nContent-Length: 0\r\n\r\n")
    assert client.head().status == 200
    assert client.exactly(4) == b"half"
    assert client.ended()
    assert world.control.wait_rows(1)[0]["outcome"] == Outcome.BROKEN


def test_files_that_are_not_there_take_only_their_model_down(world, authority):
    good, bad = world.server(), world.server(tls=serving(authority))
    world.start(model(good, name="good"), model(bad, name="bad", tls=Tls(ca="/nowhere.pem")))
    assert world.client().ask(path="/models/good/invocations").status == 200
    assert world.client().ask(path="/models/bad/invocations").status == 503


# ---- on the data port


def test_the_data_port_speaks_tls_and_says_so_to_the_model_server(world, authority):
    server = world.server()
    world.start(model(server), tls=listening(authority))
    client = world.client(trusting(authority))
    assert client.raw.version() in ("TLSv1.2", "TLSv1.3")
    for _ in range(2):
        assert client.ask().body == ANSWER
    assert server.requests[0]["x-forwarded-proto"] == "https"


def test_a_tls_port_never_speaks_plain_http(world, authority):
    world.start(model(world.server()), tls=listening(authority))
    plain = world.client().send(b"POST /invocations HTTP/1.1\r\nHost: m\r\nContent-Length: 0\r\n\r\n")
    try:
        got = plain.raw.recv(100)
    except ConnectionError:
        got = b""
    assert not got.startswith(b"HTTP")


def test_clients_need_a_certificate_where_the_settings_say_so(world, authority):
    world.start(model(world.server()), tls=listening(authority, client_ca=str(authority.file)))
    with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
        world.client(trusting(authority)).ask()
    known = trusting(authority)
    known.load_cert_chain(*authority.issue("client"))
    assert world.client(known).ask().status == 200


def test_a_renewed_certificate_is_shown_without_a_restart(world, authority):
    tls = listening(authority)
    world.start(model(world.server()), tls=tls)

    def serial() -> str:
        return world.client(trusting(authority)).raw.getpeercert()["serialNumber"]

    before, open_one = serial(), world.client(trusting(authority))
    authority.issue("titleshot")
    until(lambda: serial() != before, "the new certificate")
    assert open_one.ask().status == 200


def test_a_bad_new_certificate_leaves_the_former_one(world, authority, tmp_path):
    tls = listening(authority)
    server = world.server()
    proxy = world.start(model(server), tls=tls)
    (tmp_path / "titleshot.crt").write_text("no certificate")
    until(lambda: b"the former certificates stay" in (tmp_path / "stderr").read_bytes(), "the complaint")
    assert world.client(trusting(authority)).ask().status == 200
    assert proxy.process.poll() is None


def test_an_answer_that_breaks_off_reaches_a_tls_client_as_broken(world, authority):
    def half(wire, request):
        wire.raw.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        wire.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.raw.close()

    world.start(model(world.server(half)), tls=listening(authority))
    client = world.client(trusting(authority))
    client.send(b"POST /invocations HTTP/1.1\r\nHost: m\r\nContent-Length: 0\r\n\r\n")
    assert client.head().status == 200
    assert client.chunk() == b"half"
    with pytest.raises((ConnectionError, ssl.SSLError, EOFError)):
        client.chunk()  # no last chunk, and the connection is reset


def test_a_refusal_reaches_a_tls_client_in_mid_upload(world, authority):
    world.limits = Limits(max_body_bytes=1000)
    world.start(model(world.server()), tls=listening(authority))
    client = world.client(trusting(authority))
    client.send(b"POST /invocations HTTP/1.1\r\nHost: m\r\nContent-Length: 100000\r\n\r\n" + b"x" * 50_000)
    got = client.message()
    assert (got.status, got["connection"]) == (413, "close")


def test_a_client_that_never_shakes_hands_is_let_go(world, authority):
    world.limits = Limits(client_header_seconds=0.3)
    world.start(model(world.server()), tls=listening(authority))
    assert world.client().ended()


# ---- other addresses


def test_a_model_server_on_a_unix_socket(world, tmp_path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "model.sock"))
    listener.listen()
    server = world.server(listener=listener)
    world.start(model(server))
    client = world.client()
    assert [client.ask().body for _ in range(2)] == [ANSWER] * 2
    assert server.requests[0]["host"] == "localhost"
    assert server.connections == 1
    (tmp_path / "model.sock").unlink()
    server.close()
    assert client.ask().status == 502


def test_a_model_server_on_ipv6(world):
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    server = world.server(lambda wire, _: wire.raw.sendall(answer()), listener=listener)
    world.start(model(server))
    assert world.client().ask().body == ANSWER
    assert server.requests[0]["host"] == f"[::1]:{server.port}"
