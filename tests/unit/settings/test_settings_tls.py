"""`tls:` blocks: paths, and errors that say which file is wrong."""

import pytest
from certificates import Authority

from router.link.endpoint import ListenTls, Tls, place_of
from router.settings import SettingsError, load_settings

MODEL = "registry: r\nmodels:\n  m:\n    endpoint: https://m-v{version}:1\n"


def loaded(folder, text):
    path = folder / "titleshot.yaml"
    path.write_text(text)
    return load_settings(path)


def problem(folder, text) -> str:
    with pytest.raises(SettingsError) as raised:
        loaded(folder, text)
    return "\n".join(map(str, raised.value.problems))


def test_files_are_relative_to_the_settings(tmp_path):
    authority = Authority(tmp_path)
    authority.issue("port")
    authority.issue("router")
    settings = loaded(
        tmp_path,
        "tls: {certificate: port.crt, key: port.key, client_ca: authority.pem}\n"
        + MODEL
        + "    tls: {ca: authority.pem, certificate: router.crt, key: router.key, server_name: models}\n",
    )
    at = {name: str(tmp_path / name) for name in ("port.crt", "port.key", "router.crt", "router.key", "authority.pem")}
    assert settings.listen_tls == ListenTls(at["port.crt"], at["port.key"], at["authority.pem"])
    assert settings.models["m"].tls == Tls(at["authority.pem"], at["router.crt"], at["router.key"], "models")


@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        ("{certificate: gone.crt, key: port.key}", "gone.crt: No such file"),
        ("{certificate: port.crt, key: other.key}", "expected a certificate, its key and CAs in PEM"),
        ("{certificate: titleshot.yaml, key: port.key}", "expected a certificate, its key and CAs in PEM"),
        ("{certificate: port.crt}", "key: expected a value"),
        ("{certificate: port.crt, key: port.key, ca: authority.pem}", "unknown key"),
    ],
)
def test_what_is_wrong_with_the_data_ports_files_is_said(tmp_path, tls, expected):
    authority = Authority(tmp_path)
    authority.issue("port")
    authority.issue("other")
    assert expected in problem(tmp_path, f"tls: {tls}\n{MODEL}")


@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        ("{ca: gone.pem}", "gone.pem: No such file"),
        ("{ca: titleshot.yaml}", "expected certificates and their key in PEM"),
        ("{certificate: port.crt}", "expected both certificate and key, or neither"),
        ("{verify: false}", "unknown key"),
    ],
)
def test_what_is_wrong_with_a_models_files_is_said(tmp_path, tls, expected):
    Authority(tmp_path).issue("port")
    assert expected in problem(tmp_path, f"{MODEL}    tls: {tls}\n")


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://a", ("http", "a", 80, "", "", "a")),
        ("https://a:8443/base/", ("https", "a", 8443, "", "/base", "a:8443")),
        ("http://[::1]:9", ("http", "::1", 9, "", "", "[::1]:9")),
        ("unix:///run/model-v1.sock", ("unix", "", 0, "/run/model-v1.sock", "", "localhost")),
    ],
)
def test_places(url, place):
    found = place_of(url)
    assert (found.scheme, found.host, found.port, found.socket, found.base, found.authority) == place


@pytest.mark.parametrize(
    "url",
    [
        "unix://run/x.sock",
        "unix:x.sock",
        "unix:///",
        "unix:///" + "x" * 120,
        "unix:///a b",
        "https://",
        "http://a:0",
        "x",
    ],
)
def test_what_is_no_place(url):
    with pytest.raises(ValueError, match="expected http"):
        place_of(url)
