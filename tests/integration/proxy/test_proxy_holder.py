"""Who holds the data port, as `titleshot doctor` finds out: asked itself, over plain HTTP and TLS."""

import asyncio
import socket
import threading
from types import SimpleNamespace

import pytest
from certificates import Authority
from proxy_wire import answer, model

from router.cli.examine import _data_holder
from router.cli.findings import Holder
from router.link.endpoint import ListenTls


def holder(port, tls=None):
    settings = SimpleNamespace(listen=SimpleNamespace(host="127.0.0.1", port=port), listen_tls=tls)
    return asyncio.run(_data_holder(settings))


def test_a_titleshot_says_so_and_no_model_server_hears_of_it(world):
    server = world.server(answer())
    assert holder(world.start(model(server)).port) is Holder.TITLESHOT
    assert server.requests == []


def test_one_without_routes_is_a_titleshot_too(world):
    assert holder(world.start().port) is Holder.TITLESHOT


@pytest.mark.parametrize("asks", [False, True])
def test_over_tls_unless_it_asks_for_a_certificate(world, tmp_path, asks):
    authority = Authority(tmp_path)
    certificate, key = authority.issue("titleshot")
    tls = ListenTls(str(certificate), str(key), str(authority.file) if asks else "")
    proxy = world.start(model(world.server()), tls=tls)
    assert holder(proxy.port, tls) is (Holder.UNTOLD if asks else Holder.TITLESHOT)
    assert holder(proxy.port) is Holder.ANOTHER  # not what settings without TLS mean


@pytest.mark.parametrize("says", [b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"])
def test_another_program(says):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def once():
            with listening.accept()[0] as connection:
                connection.recv(4096)
                connection.sendall(says)

        speaking = threading.Thread(target=once)
        speaking.start()
        assert holder(port) is Holder.ANOTHER
        speaking.join()
    assert holder(port) is Holder.NOBODY
