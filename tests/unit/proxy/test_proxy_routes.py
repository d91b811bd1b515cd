"""Which model a request target names."""

import json

import pytest

from router.link.messages import Backend, Limits, ModelRoutes, Routes, routes_to_file
from router.proxy import refusal
from router.proxy.pool import Endpoint, Endpoints
from router.proxy.refusal import Refusal
from router.proxy.routes import Table, read_routes


def table(*names: str, former: Table | None = None, **fields) -> Table:
    models = tuple(
        ModelRoutes(name, "mlflow", Backend(1, "http://a:1"), Backend(2, "http://b:2"), **fields) for name in names
    )
    return Table(Routes(1, "g", models), Endpoints(Limits()), former)


@pytest.mark.parametrize(
    ("names", "url", "name", "path", "predicts"),
    [
        (["m"], b"/invocations", "m", b"/invocations", True),
        (["m"], b"/invocations?a=/models/x", "m", b"/invocations?a=/models/x", True),
        (["m"], b"/ping", "m", b"/ping", False),
        (["m"], b"/models/m/invocations", "m", b"/invocations", True),
        (["m", "n"], b"/models/n/invocations?q", "n", b"/invocations?q", True),
        (["m", "n"], b"/models/n", "n", b"/", False),
        (["m", "n"], b"/models/n?q", "n", b"/?q", False),
        (["a b", "n"], b"/models/a%20b/x", "a b", b"/x", False),
        (["m"], b"http://host/invocations", "m", b"/invocations", True),
        (["m"], b"http://host", "m", b"/", False),
        (["m"], b"HTTP://host?q", "m", b"/?q", False),
        (["m"], b"/x#fragment", "m", b"/x", False),
    ],
)
def test_a_target_names_a_model(names, url, name, path, predicts):
    tables = table(*names)
    for _ in range(2):  # found, then remembered
        match = tables.match(b"POST", url)
        assert (match.target.name, match.path, match.predicts) == (name, path, predicts)


@pytest.mark.parametrize(
    ("names", "url", "why"),
    [
        (["m", "n"], b"/invocations", refusal.UNKNOWN_MODEL),
        (["m"], b"/models/x/invocations", refusal.UNKNOWN_MODEL),
        (["m"], b"/models/", refusal.UNKNOWN_MODEL),
        ([], b"/invocations", refusal.NO_ROUTES),
        (["m"], b"*", refusal.BAD_TARGET),
        (["m"], b"ftp://a/b", refusal.BAD_TARGET),
    ],
)
def test_a_target_that_names_none(names, url, why):
    with pytest.raises(Refusal) as caught:
        table(*names).match(b"POST", url)
    assert caught.value is why


def spoken(**models) -> Table:
    """Models by protocol and the name that they are served as."""
    routes = [
        ModelRoutes(
            name, protocol, Backend(1, "http://a:1"), Backend(2, "http://b:2"), mode=2, share=50, served_as=known
        )
        for name, (protocol, known) in models.items()
    ]
    return Table(Routes(1, "g", tuple(routes)), Endpoints(Limits()))


SEVERAL = {"a": ("open_inference", ""), "b": ("open_inference", "two b"), "c": ("kserve_v1", "a"), "d": ("mlflow", "")}


@pytest.mark.parametrize(
    ("url", "name", "path", "predicts", "mode"),
    [
        (b"/v2/models/a/infer", "a", b"/v2/models/a/infer", True, 2),
        (b"/v2/models/two%20b/infer?q", "b", b"/v2/models/two%20b/infer?q", True, 2),
        (b"/v2/models/two%20b/versions/1/infer", "b", b"/v2/models/two%20b/versions/1/infer", True, 0),
        (b"/v2/models/a/ready", "a", b"/v2/models/a/ready", False, 2),
        (b"/v1/models/a:predict", "c", b"/v1/models/a:predict", True, 2),
        (b"/v1/models/a/versions/3:predict", "c", b"/v1/models/a/versions/3:predict", True, 0),
        (b"/models/b/v2/health/ready", "b", b"/v2/health/ready", False, 2),
        (b"/models/b/v2/models/two%20b/infer", "b", b"/v2/models/two%20b/infer", True, 2),
        (b"/models/d/invocations", "d", b"/invocations", True, 2),
    ],
)
def test_paths_of_protocols_name_models(url, name, path, predicts, mode):
    match = spoken(**SEVERAL).match(b"POST", url)
    assert (match.target.name, match.path, match.predicts, match.mode) == (name, path, predicts, mode)


@pytest.mark.parametrize("url", [b"/v2/models/b/infer", b"/v1/models/c:predict", b"/v2/health/ready", b"/invocations"])
def test_paths_of_protocols_that_name_none(url):
    with pytest.raises(Refusal) as caught:
        spoken(**SEVERAL).match(b"POST", url)
    assert caught.value is refusal.UNKNOWN_MODEL


def test_one_path_of_predictions():
    routes = ModelRoutes("m", "json", Backend(1, "http://a:1"), predict_path="/score")
    for url, predicts in ((b"/score", True), (b"/score?q", True), (b"/score/", False), (b"/x", False)):
        assert Table(Routes(1, "g", (routes,)), Endpoints(Limits())).match(b"POST", url).predicts is predicts
    routes = ModelRoutes("m", "json", Backend(1, "http://a:1"))
    assert Table(Routes(1, "g", (routes,)), Endpoints(Limits())).match(b"POST", b"/x").predicts


def test_remembering_is_bounded():
    tables = table("m")
    for number in range(10_000):
        tables.match(b"POST", b"/%d" % number)
    assert len(tables._remembered) <= 4096


def test_a_rollout_that_goes_on_keeps_its_breaker():
    first = table("m", mode=2, share=10, rollout_id=1)
    grown = table("m", mode=2, share=50, rollout_id=1, former=first)
    assert grown.target("m").shadows is first.target("m").shadows
    fresh = table("m", mode=1, mirror=100, rollout_id=2, former=grown)
    assert fresh.target("m").shadows is not first.target("m").shadows
    assert fresh.target("m").shadows.mirroring
    assert not first.target("m").shadows.mirroring


def test_a_version_with_an_endpoint_that_is_none_gets_no_traffic():
    routes = Routes(1, "g", (ModelRoutes("m", "mlflow", Backend(1, "http://a:1"), Backend(2, "file:///etc"), mode=1),))
    target = Table(routes, Endpoints(Limits())).target("m")
    assert target.other is None
    assert (target.mode, target.mirrors, target.splits) == (0, False, False)


@pytest.mark.parametrize("url", ["http://a b", "http://", "ftp://a", "http://u:p@a", "http://a?q", "http://a\r\nx: y"])
def test_what_is_no_endpoint(url):
    with pytest.raises(ValueError, match="expected http"):
        Endpoint(url, Limits())


@pytest.mark.parametrize(
    ("url", "host", "port", "line"),
    [
        ("http://a:80/base/", "a", 80, b" HTTP/1.1\r\nhost: a:80\r\n"),
        ("https://a", "a", 443, b" HTTP/1.1\r\nhost: a\r\n"),
        ("http://[::1]:9", "::1", 9, b" HTTP/1.1\r\nhost: [::1]:9\r\n"),
    ],
)
def test_endpoints(url, host, port, line):
    endpoint = Endpoint(url, Limits())
    assert (endpoint.place.host, endpoint.place.port, endpoint.head_line) == (host, port, line)


def test_the_routes_file(tmp_path):
    path = tmp_path / "routes.json"
    assert read_routes(path) is None
    path.write_bytes(b"{half")
    assert read_routes(path) is None
    routes = Routes(3, "g", (ModelRoutes("m", "mlflow"),))
    path.write_bytes(routes_to_file(routes))
    assert read_routes(path) == routes


def test_every_refusal_is_json_that_says_what_and_why():
    refusals = [value for value in vars(refusal).values() if isinstance(value, Refusal)]
    assert len(refusals) > 15
    for each in refusals:
        error = json.loads(each.body)["error"]
        assert error == {"code": each.code, "message": str(each)}
        answer = each.answer(b"id", close=True)
        assert answer.endswith(each.body)
        assert b"\r\nx-titleshot-id: id\r\n" in answer
        assert not each.answer(b"id", close=True, head_only=True).endswith(each.body)
