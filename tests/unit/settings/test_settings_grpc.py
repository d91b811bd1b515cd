"""gRPC in the settings."""

import importlib.util

import pytest

from router.link.grpc_place import GrpcListen, grpc_place
from router.link.messages import Backend
from router.settings import SettingsError, load_settings

BOTH = """
registry: sqlite:///mlflow.db
grpc: 127.0.0.1:8081
limits: {max_body: 2MiB, max_header: 16KiB, max_connections: 9}
models:
  late:
    endpoint: http://{name}-v{version}:8080
    grpc_endpoint: grpc://{name}-v{version}:9000
    grpc_endpoints: {2: "grpcs://two:9"}
    answer: {prediction: y}
"""


def load(tmp_path, text):
    path = tmp_path / "titleshot.yaml"
    path.write_text(text)
    return load_settings(path)


def problems(tmp_path, text):
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)
    return [str(problem).replace(f"{tmp_path}/titleshot.yaml:", "") for problem in caught.value.problems]


def test_a_version_has_two_places(tmp_path):
    settings = load(tmp_path, BOTH)
    assert settings.grpc_listen == GrpcListen("127.0.0.1", 8081, 2 * 1024**2, 16 * 1024, 9)
    late = settings.models["late"]
    assert [late.endpoint_of(1), late.grpc_of(1), late.grpc_of(2)] == [
        "http://late-v1:8080",
        "grpc://late-v1:9000",
        "grpcs://two:9",
    ]
    assert late.probed_at(1) == "http://late-v1:8080"
    assert not late.by_grpc_only
    assert late.grpc_reader is not None


def test_without_any_of_it_there_is_no_port_and_nothing_reads_protobuf(tmp_path):
    settings = load(tmp_path, "registry: sqlite:///m.db\nmodels: {m: {endpoint: 'http://v{version}:1'}}\n")
    assert settings.grpc_listen is None
    assert settings.models["m"].grpc_of(1) is None
    assert settings.models["m"].grpc_reader is None


def test_a_model_may_have_grpc_only(tmp_path):
    from comparator.title import Serving
    from router.control.routing import model_routes

    settings = load(
        tmp_path, "registry: sqlite:///m.db\ngrpc: '[::1]:0'\nmodels: {m: {grpc_endpoints: {1: 'grpc://[::1]:5'}}}\n"
    )
    model = settings.models["m"]
    assert model.by_grpc_only
    assert (model.endpoint_of(1), model.probed_at(1), model.probed_at(2)) == (None, "grpc://[::1]:5", None)
    assert settings.grpc_listen.address == "[::1]:0"
    assert model_routes("m", model, Serving(champion=1)).champion == Backend(1, "", grpc="grpc://[::1]:5")


def test_what_makes_no_sense_is_said(tmp_path):
    text = BOTH.replace("grpc: 127.0.0.1:8081\n", "").replace("    endpoint: http://{name}-v{version}:8080\n", "")
    unheard = "expected endpoint or endpoints, or grpc: host:port beside models: this model has gRPC endpoints only"
    assert problems(tmp_path, text) == [f"6:5: models.late: {unheard}"]
    assert problems(tmp_path, BOTH.replace("127.0.0.1:8081", "8081")) == [
        "3:7: grpc: expected host:port, such as 127.0.0.1:9901, not 8081"
    ]
    assert problems(tmp_path, BOTH.replace("grpcs://two:9", "http://two:9")) == [
        "9:25: models.late.grpc_endpoints.2: expected grpc://host:port, or grpcs://host:port for TLS"
    ]
    assert problems(tmp_path, BOTH.replace("-v{version}:9000", ":9000")) == [
        "8:20: models.late.grpc_endpoint: expected {version} in it: every version has a model server of its own"
    ]
    assert problems(tmp_path, BOTH.replace("prediction: y", "rows: y")) == [
        "10:13: models.late.answer: expected no answer.rows: MLflow's rows stand in predictions"
    ]


def test_a_model_is_called_as_its_servers_know_it_and_no_two_alike(tmp_path):
    two = BOTH.replace(
        "    answer: {prediction: y}\n", "    served_as: {}\n  other:\n    grpc_endpoint: grpc://v{version}:1\n"
    )
    assert load(tmp_path, two.replace("{}", "theirs")).models["late"].served_as == "theirs"
    assert problems(tmp_path, two.replace("{}", "other")) == [
        "11:3: models.other.served_as: expected another name: late is served as other, too"
    ]


def test_without_the_extra_it_is_said_how_to_have_it(tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "grpc" else found(name))
    assert problems(tmp_path, BOTH) == ["3:7: grpc: expected the extra grpc for it: pip install 'titleshot[grpc]'"]


@pytest.mark.parametrize(
    "url",
    ["grpc://host", "grpc://host:9/path", "grpc://user@host:9", "host:9", "grpc://:9", "grpc://host:0", "grpc://h:9?x"],
)
def test_an_address_has_host_and_port_and_nothing_else(url):
    with pytest.raises(ValueError, match="expected grpc://host:port"):
        grpc_place(url)
