"""What a model's page shows of its skew, from what was really looked at."""

import asyncio
import json

import httpx
from small_plane import SmallPlane

from comparator.events import Role
from router.artifacts.profile import Profile
from router.artifacts.signature import Columns
from router.control.admin import Access, admin_app
from router.control.console import Console
from router.control.console.skew import skew
from router.control.skew.model import ModelSkew
from router.control.skew.trained import Trained
from router.link.messages import SampledRequest
from router.protocols.protocol import Asking
from router.protocols.select import protocol
from router.settings.skew import SkewSettings

EVIL = '"><script>alert(1)</script>'


def looked_at(*requests, category=EVIL, column=EVIL):
    made = Profile()
    made.take({column: [category] * 50 + ["b"] * 50, "n": list(range(100))})
    types = Columns({column: "string", "n": "long"}, frozenset({column, "n"}))
    model = ModelSkew(SkewSettings(min_rows=20), protocol("mlflow").tables(Asking()))
    model.serve(
        {Role.CHAMPION: (1, Trained(types, profile=made.data())), Role.CHALLENGER: (2, Trained(no_profile=EVIL))}
    )
    for number, row in enumerate(requests):
        body = json.dumps({"inputs": [row]}).encode()
        model.request(SampledRequest(0.0, 0, number, b"POST", b"/invocations", b"", b"", b"", body), 1.0)
    return model.report(1.0)


def page(report):
    plane = SmallPlane()
    plane.extra = {"skew": report}
    access = Access("127.0.0.1")
    app = admin_app(plane, access, pages=Console(plane, access).routes())

    async def run():
        transport = httpx.ASGITransport(app, client=("127.0.0.1", 50_000), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:9901") as client:
            return await client.get("/console/models/late")

    answer = asyncio.run(run())
    assert answer.status_code == 200
    return answer.text


def test_features_breaks_and_reasons_are_shown_and_escaped():
    rows = [{EVIL: EVIL, "n": 5000 + number, f"{EVIL}extra": 1} for number in range(30)]
    told = page(looked_at(*rows, {EVIL: "b", "n": 1.5}))
    assert "<script>alert" not in told
    for text in (
        "Traffic and training",
        "champion, version 1: 2 of 2 features skewed, on 31 rows",
        "above 99: 96.8% live, 0.0% in training",
        "✗ skewed",
        "a value that the server takes as another one",
        "&lt;script&gt;alert(1)&lt;/script&gt;extra",
        "31 checked",
    ):
        assert text in told, text


def test_few_rows_are_said():
    told = page(looked_at({EVIL: "b", "n": 1}))
    assert "too few rows: 1 of 20" in told


def test_nothing_is_shown_where_nobody_looks():
    assert skew({}) is None
    assert skew({"skew": None}) is None
    assert "Traffic and training" not in page(None)
