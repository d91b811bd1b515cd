"""TLS of gRPC on both sides, and files that are renewed."""

from pathlib import Path

import pytest
from certificates import Authority

pytest.importorskip("tritonclient.grpc", reason="needs grpcio and tritonclient (the extra dev)")

import grpc
from grpc_wire import SERVICE, call_on, refused, request
from infer_server import answer
from proxy_wire import until

from comparator.events import Outcome
from router.link.endpoint import ListenTls, Tls
from router.link.messages import Backend, ModelRoutes


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


def serving(authority, clients=None) -> grpc.ServerCredentials:
    certificate, key = authority.issue("model-server")
    return grpc.ssl_server_credentials(
        [(key.read_bytes(), certificate.read_bytes())],
        clients.file.read_bytes() if clients else None,
        require_client_auth=clients is not None,
    )


def model(server, tls: Tls, name="m") -> ModelRoutes:
    return ModelRoutes(name, "mlflow", Backend(1, "", tls, server.url))


def trusting(file: Path) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(file.read_bytes())


def test_a_model_server_with_tls_is_verified_and_our_certificate_shown(grpc_world, authority):
    server = grpc_world.infer_server(credentials=serving(authority, clients=authority))
    certificate, key = authority.issue("router")
    shown = Tls(ca=str(authority.file), certificate=str(certificate), key=str(key))
    named = Tls(ca=str(authority.file), certificate=str(certificate), key=str(key), server_name="model-server")
    silent = Tls(ca=str(authority.file))
    grpc_world.serve(
        model(server, shown, "shown"),
        model(server, named, "named"),
        model(server, silent, "silent"),
        model(server, Tls(), "unknown"),
        model(server, Tls(ca="/nowhere.pem"), "nowhere"),
    )
    for name in ("shown", "named"):
        grpc_world.call(request(name))
    for name in ("silent", "unknown"):
        error = refused(lambda name=name: grpc_world.call(request(name)))
        assert (error.code(), error.details()) == (
            grpc.StatusCode.UNAVAILABLE,
            "The model server could not be reached.",
        )
    assert "no gRPC endpoint" in refused(lambda: grpc_world.call(request("nowhere"))).details()
    assert len(server.calls) == 2
    assert [row["outcome"] for row in grpc_world.control.wait_rows(4)] == [Outcome.OK] * 2 + [Outcome.CONNECT] * 2


def test_a_new_authority_in_the_file_is_trusted_and_a_bad_file_changes_nothing(grpc_world, authority, tmp_path):
    other = Authority(tmp_path, "other")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(authority.file.read_bytes())
    server = grpc_world.infer_server(credentials=serving(other))
    grpc_world.serve(model(server, Tls(ca=str(trusted))))
    refused(lambda: grpc_world.call(request()))
    trusted.write_bytes(other.file.read_bytes())
    until(lambda: answers(grpc_world), "the new file to be read")
    trusted.write_text("not PEM")
    until(lambda: "former certificates" in grpc_world.complaints(), "the bad file to be looked at")
    grpc_world.call(request())


def answers(world) -> bool:
    try:
        world.call(request())
    except grpc.RpcError:
        return False
    return True


def test_the_port_speaks_tls_and_takes_renewed_certificates(grpc_world, authority, tmp_path):
    certificate, key = authority.issue("titleshot")
    grpc_world.serve(
        ModelRoutes("m", "mlflow", Backend(1, "", grpc=grpc_world.infer_server().url)),
        tls=ListenTls(str(certificate), str(key)),
        credentials=trusting(authority.file),
    )
    grpc_world.call(request())
    with grpc.insecure_channel(grpc_world.listen.address) as plain:
        assert refused(lambda: call_on(plain, request())).code() is grpc.StatusCode.UNAVAILABLE

    other = Authority(tmp_path, "other")
    fresh, secret = other.issue("titleshot", "fresh")
    certificate.write_bytes(fresh.read_bytes())
    key.write_bytes(secret.read_bytes())
    with grpc_world.connect(trusting(other.file)) as channel:
        assert call_on(channel, request()).model_name == "m"
    certificate.write_text("not PEM")
    with grpc_world.connect(trusting(other.file)) as channel:  # the former ones stay
        assert call_on(channel, request()).model_name == "m"


def test_clients_have_to_show_a_certificate_where_the_port_asks_for_one(grpc_world, authority):
    certificate, key = authority.issue("titleshot")
    mine, secret = authority.issue("client")
    shown = grpc.ssl_channel_credentials(authority.file.read_bytes(), secret.read_bytes(), mine.read_bytes())
    server = grpc_world.infer_server(lambda request, context: answer(request))
    grpc_world.serve(
        ModelRoutes("m", "mlflow", Backend(1, "", grpc=server.url)),
        tls=ListenTls(str(certificate), str(key), str(authority.file)),
        credentials=shown,
    )
    grpc_world.call(request())
    with grpc.secure_channel(grpc_world.listen.address, trusting(authority.file)) as channel:
        live = channel.unary_unary(f"{SERVICE}ServerLive")
        assert refused(lambda: live(b"", timeout=5)).code() is grpc.StatusCode.UNAVAILABLE
    assert len(server.calls) == 1
