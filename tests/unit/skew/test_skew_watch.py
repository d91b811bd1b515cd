"""The loop beside the control plane: what it takes, what it drops, and a registry that is away."""

import asyncio
import json
import time
from types import SimpleNamespace

import numpy as np
import pytest

from comparator.events import OBSERVATION, Mode, Outcome, Role
from comparator.title import Serving
from router.artifacts.profile import Profile
from router.artifacts.signature import Columns
from router.control.registry import RegistryUnavailable
from router.control.skew import watch
from router.control.skew.model import MOST_SHOWN
from router.control.skew.names import NoFigure
from router.control.skew.trained import Trained
from router.control.skew.watch import SkewWatch
from router.link.messages import Sampled, SampledRequest
from router.link.sampling import in_sample
from router.settings import ModelSettings


def trained():
    made = Profile()
    made.take({"n": list(range(100))})
    return Trained(Columns({"n": "long"}, frozenset({"n"})), profile=made.data())


class Reader:
    """A registry that is away for the first asks."""

    def __init__(self, away=0):
        self.away = away
        self.asked = []

    def read(self, model, version):
        self.asked.append((model, version))
        if len(self.asked) <= self.away:
            raise RegistryUnavailable("no answer within 4 s")
        return trained()


def settings(**skew):
    return ModelSettings.model_validate({"endpoint": "http://v{version}:8080", "skew": skew})


def looking(reader=None, models=None, serving=None):
    models = models if models is not None else {"m": settings(share=100, min_rows=5)}
    for name, each in models.items():
        each.bind(name)
    title = SimpleNamespace(serving=serving or Serving(1))
    return SkewWatch(lambda name: title if name in models else None, lambda: models, reader or Reader())


def sampled(count, first=0, size=0, model="m"):
    body = json.dumps({"inputs": [{"n": 5}]}).encode() + b" " * size
    return Sampled(
        model, [SampledRequest(0.0, 0, n, b"POST", b"/", b"", b"", b"", body) for n in range(first, first + count)]
    )


def run(skew, until, before=lambda: None):
    async def inner():
        task = asyncio.create_task(skew.run())
        before()
        try:
            async with asyncio.timeout(20):
                while not until():
                    assert not task.done()
                    await asyncio.sleep(0.01)
        finally:
            task.cancel()

    asyncio.run(inner())


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name in ("ROUND_SECONDS", "REPORT_SECONDS", "FAULT_SECONDS"):
        monkeypatch.setattr(watch, name, 0.01)


def counted(skew, name="checked"):
    report = skew.status("m")
    return report["requests"][name] if report else 0


def test_requests_of_the_share_are_looked_at():
    skew = looking(models={"m": settings(share=30), "off": ModelSettings(endpoint="http://v{version}:1")})
    assert (skew.share("m"), skew.share("off"), skew.share("unknown")) == (30, 0, 0)
    run(skew, lambda: skew.status("m") and not skew.status("m")["roles"]["champion"]["no_profile"])
    skew.requests(sampled(2000))
    skew.requests(sampled(10, model="off"))
    skew.requests(sampled(10, model="unknown"))
    expected = sum(in_sample(0, number, 30) for number in range(2000))
    run(skew, lambda: counted(skew) == expected)
    assert skew.status("off") is skew.status("unknown") is None
    assert skew.status("m")["roles"]["champion"]["rows"] == expected


def test_what_is_too_much_is_dropped_and_counted(monkeypatch):
    monkeypatch.setattr(watch, "MOST_BYTES", 10_000)
    skew = looking()
    skew.requests(sampled(5, size=1000))
    skew.requests(sampled(7, size=1000))
    skew.requests(sampled(3, size=500))
    run(skew, lambda: sum(skew.status("m")["requests"].values()) == 15 if skew.status("m") else False)
    assert counted(skew, "dropped") == 7
    skew.requests(sampled(5, size=1000))  # there is room again
    run(skew, lambda: sum(skew.status("m")["requests"].values()) == 20)
    assert counted(skew, "dropped") == 7


def test_a_registry_that_is_away_is_asked_again(monkeypatch):
    monkeypatch.setattr(watch, "LEAST_WAIT_SECONDS", 0.01)
    reader = Reader(away=3)
    skew = looking(reader)
    skew.requests(sampled(1))
    run(skew, lambda: counted(skew, "unsigned") == 1)
    run(skew, lambda: skew.status("m")["roles"]["champion"]["no_profile"].startswith("no answer"))
    run(skew, lambda: skew.status("m")["roles"]["champion"]["no_profile"] == "")
    assert reader.asked == [("m", 1)] * 4  # and not again, once all is known
    skew.requests(sampled(9))
    run(skew, lambda: counted(skew) == 9)


def test_a_registry_that_hangs_keeps_nothing_from_being_counted():
    class Hanging:
        def read(self, model, version):
            time.sleep(3)
            return trained()

    skew = looking(Hanging())
    skew.requests(sampled(4))
    began = time.monotonic()
    run(skew, lambda: counted(skew, "unsigned") == 4)
    assert time.monotonic() - began < 2.5


def test_both_versions_are_looked_at():
    skew = looking(serving=Serving(1, 2, Role.CHALLENGER, Mode.SHADOW, mirror=100))
    run(skew, lambda: {each["no_profile"] for each in (skew.status("m") or {"roles": {}})["roles"].values()} == {""})
    assert {role: each["version"] for role, each in skew.status("m")["roles"].items()} == {
        "champion": 1,
        "challenger": 2,
    }


def why_not(skew, version, model="m"):
    try:
        return skew.skewed_features(model, version)
    except NoFigure as error:
        return str(error)


def test_how_many_features_are_skewed_is_known_of_enough_rows_only(monkeypatch):
    skew = looking(Reader(away=1), serving=Serving(1, 2, Role.CHALLENGER, Mode.SHADOW, mirror=100))
    monkeypatch.setattr(watch, "LEAST_WAIT_SECONDS", 0.01)
    assert why_not(skew, 1) == "requests are not looked at now"
    run(skew, lambda: why_not(skew, 1).startswith("no answer"))
    run(skew, lambda: why_not(skew, 1) == "no request had a feature of its training yet")
    assert why_not(skew, 3) == "version 3 is not looked at yet"
    skew.requests(sampled(4))
    run(skew, lambda: why_not(skew, 2) == "4 of the 5 rows that it takes")
    skew.requests(sampled(2000, first=4))  # all of one value, where training had a hundred
    run(skew, lambda: why_not(skew, 1) == why_not(skew, 2) == 1)
    monkeypatch.setattr(watch, "STALE_SECONDS", 0.0)
    assert why_not(skew, 1) == "requests are not looked at now"


def test_what_a_version_was_trained_on_stays_with_it_when_it_changes_its_role():
    title = SimpleNamespace(serving=Serving(1, 2, Role.CHALLENGER, Mode.SHADOW, mirror=100))
    model = settings(share=100, min_rows=5)
    model.bind("m")
    skew = SkewWatch(lambda _: title, lambda: {"m": model}, Reader())
    run(skew, lambda: why_not(skew, 2) == "no request had a feature of its training yet")
    title.serving = Serving(2, 1, Role.PREVIOUS, Mode.WATCH, mirror=100)  # promoted
    run(skew, lambda: {role: each["version"] for role, each in skew.status("m")["roles"].items()} == {
        "champion": 2, "previous": 1,
    })  # fmt: skip
    skew.requests(sampled(2000))
    run(skew, lambda: why_not(skew, 2) == why_not(skew, 1) == 1)


def test_a_fault_over_one_model_leaves_the_others_and_no_figure_of_it(monkeypatch, caplog):
    models = {name: settings(share=100, min_rows=5) for name in ("m", "n")}
    skew = looking(models=models)
    run(skew, lambda: {why_not(skew, 1, name) for name in models} == {"no request had a feature of its training yet"})
    for name in models:
        skew.requests(sampled(2000, model=name))
    run(skew, lambda: why_not(skew, 1) == why_not(skew, 1, "n") == 1)
    monkeypatch.setattr(skew._models["m"], "report", lambda _: 1 / 0)
    run(skew, lambda: why_not(skew, 1) == "requests are not looked at now")
    skew.requests(sampled(10, model="n"))
    run(skew, lambda: skew.status("n")["requests"]["checked"] == 2010)
    assert why_not(skew, 1, "n") == 1
    assert "ZeroDivisionError" in caplog.text


def with_training(columns, profile=None):
    made = Profile()
    made.take(columns)
    data = made.data()
    if profile is not None:
        profile(data)
    return Trained(Columns(dict.fromkeys(columns, "long"), frozenset(columns)), profile=data)


class Fixed:
    def __init__(self, trained):
        self.trained = trained

    def read(self, model, version):
        return self.trained


def test_what_cannot_be_said_of_every_feature_is_no_figure():
    both = {"n": list(range(100)), "late": list(range(100))}
    unsigned = Trained(None, "no signature", profile=with_training(both).profile)
    skew = looking(Fixed(unsigned))
    run(skew, lambda: why_not(skew, 1) == "no request had a feature of its training yet")
    skew.requests(sampled(300))
    run(skew, lambda: why_not(skew, 1) == "requests had 1 of the 2 features of its training")
    body = json.dumps({"inputs": [{"n": 5, "late": 5}]}).encode()
    skew.requests(Sampled("m", [SampledRequest(0.0, 1, n, b"POST", b"/", b"", b"", b"", body) for n in range(3)]))
    run(skew, lambda: why_not(skew, 1) == "3 of the 5 rows that it takes")

    earlier = with_training(both, lambda data: data["columns"]["late"].pop("reached"))
    skew = looking(Fixed(earlier))
    run(skew, lambda: why_not(skew, 1) == "late cannot be compared with its training, and is not ignored")
    ignoring = looking(Fixed(earlier), {"m": settings(share=100, min_rows=5, ignore=["late"])})
    run(ignoring, lambda: why_not(ignoring, 1) == "no request had a feature of its training yet")
    ignoring.requests(sampled(300))
    run(ignoring, lambda: why_not(ignoring, 1) == 1)


def test_a_feature_that_is_not_among_those_shown_counts_as_well():
    names = [f"f{number}" for number in range(MOST_SHOWN + 1)]
    columns = {name: list(range(100)) for name in ["late", *names]}
    skew = looking(Fixed(Trained(None, "no signature", profile=with_training(columns).profile)))
    run(skew, lambda: why_not(skew, 1) == "no request had a feature of its training yet")
    row = dict.fromkeys(names, 5)  # as training never had them: all of these are skewed, and shown first
    for count, inputs in ((40, row), (3, {**row, "late": 50})):
        body = json.dumps({"inputs": [inputs]}).encode()
        skew.requests(
            Sampled("m", [SampledRequest(0.0, 1, n, b"POST", b"/", b"", b"", b"", body) for n in range(count)])
        )
    run(skew, lambda: why_not(skew, 1) == "3 of the 5 rows that it takes")


def test_a_lane_is_looked_at_by_the_requests_of_its_model():
    model = ModelSettings.model_validate(
        {"endpoint": "http://v{version}:8080", "skew": {"share": 100, "min_rows": 5}, "challengers": ["second"]}
    )
    model.bind("m")
    serving = {
        "m": Serving(1, 2, Role.CHALLENGER, Mode.SHADOW, mirror=100),
        "m@second": Serving(1, 3, Role.CHALLENGER, Mode.SHADOW, mirror=100),
    }
    skew = SkewWatch(lambda name: SimpleNamespace(serving=serving[name]), lambda: {"m": model}, Reader())
    assert skew.share("m@second") == 100
    run(skew, lambda: not why_not(skew, 3, "m@second").startswith(("requests", "version", "not")))
    skew.requests(sampled(2000))
    columns = np.zeros(1, OBSERVATION)
    columns["outcome"], columns["role"] = Outcome.GARBAGE, Role.CHALLENGER
    skew.observed("m@second", columns)
    run(skew, lambda: why_not(skew, 3, "m@second") == why_not(skew, 2) == 1)
    assert set(skew.status("m@second")["roles"]) == {"challenger"}  # its champion is the model's
    run(skew, lambda: [each["answers"] for each in skew.told("m@second")["answers"]] == [1])
    assert skew.told("m")["answers"] == []


def test_answers_are_joined_to_their_requests():
    skew = looking()
    columns = np.zeros(3, OBSERVATION)
    columns["request_lo"], columns["row"] = [1, 1, 2], [0, 1, 0]
    columns["outcome"], columns["prediction"], columns["score"] = Outcome.OK, 1.0, np.nan
    skew.observed("m", columns)
    skew.requests(sampled(3))

    def rows():
        answers = (skew.status("m") or {"answers": ()})["answers"]
        return [each["answers"] for each in answers if (each["role"], each["difference"]) == ("champion", "rows")]

    run(skew, lambda: rows() == [1])


def test_a_fault_is_logged_and_the_rest_goes_on(caplog):
    skew = looking()
    broken = sampled(1).requests[0]
    skew.requests(Sampled("m", [SampledRequest(0.0, 0, 1, b"", b"", None, b"", b"", broken.body)]))  # type: ignore[arg-type]
    skew.requests(sampled(2))
    run(skew, lambda: sum(skew.status("m")["requests"].values()) >= 2 if skew.status("m") else False)
    assert "could not be looked at" in caplog.text


def test_a_fault_in_reading_is_told_and_read_again_later(caplog):
    class Faulty(Reader):
        def read(self, model, version):
            self.asked.append((model, version))
            raise ZeroDivisionError

    reader = Faulty()
    skew = looking(reader)
    run(skew, lambda: "a fault" in str(skew.status("m")))
    assert len(reader.asked) == 1
    assert "ZeroDivisionError" in caplog.text


def test_settings_that_change_take_effect():
    models = {"m": settings(share=100)}
    skew = looking(models=models)
    run(skew, lambda: skew.status("m"))
    models["m"] = settings(share=50, psi=0.3)
    models["m"].bind("m")
    run(skew, lambda: skew.status("m")["share"] == 50)
    models["m"] = ModelSettings(endpoint="http://v{version}:1")
    models["m"].bind("m")
    assert skew.status("m") is None
    run(skew, lambda: not skew._models)


@pytest.mark.parametrize(
    ("protocol", "more", "expected"),
    [
        ("openai", {}, "requests of the protocol openai are not read"),
        ("json", {}, "expected request: {rows: /rows} beside it"),
        ("json", {"request": {"rows": "rows"}}, "expected request.rows to be a JSON pointer"),
        ("mlflow", {"request": {"rows": "/rows"}}, "the protocol mlflow says itself what requests look like"),
    ],
)
def test_requests_that_are_not_read_have_no_skew(protocol, more, expected):
    with pytest.raises(ValueError, match=expected):
        ModelSettings.model_validate({"endpoint": "http://v{version}:1", "protocol": protocol, "skew": {}, **more})


def test_requests_over_grpc_are_read_whatever_those_over_http_are():
    over_grpc = {"grpc_endpoint": "grpc://v{version}:2", "protocol": "json", "skew": {}}
    assert ModelSettings.model_validate(over_grpc).skew is not None


def test_rows_where_a_pointer_points_are_looked_at_and_another_pointer_begins_anew():
    def pointing(rows):
        given = {"protocol": "json", "request": {"rows": rows}, "skew": {"share": 100, "min_rows": 5}}
        made = ModelSettings.model_validate({"endpoint": "http://v{version}:1", **given})
        made.bind("m")
        return made

    models = {"m": pointing("/inputs")}
    skew = looking(models=models)
    run(skew, lambda: skew.status("m") and not skew.status("m")["roles"]["champion"]["no_profile"])
    skew.requests(sampled(7))
    run(skew, lambda: counted(skew) == 7)
    models["m"] = pointing("/inputs")  # reloaded, and the same
    run(skew, lambda: counted(skew) == 7)
    models["m"] = pointing("/rows")
    run(skew, lambda: counted(skew) == 0)
    skew.requests(sampled(3))
    run(skew, lambda: counted(skew, "unreadable") == 3)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"window": "30s"}, "1m to 7d"),
        ({"psi": 0}, "more than 0"),
        ({"share": 0}, "1"),
        ({"min_rows": 0}, "at least 1"),
        ({"rows": 1}, "rows"),
    ],
)
def test_settings_that_make_no_sense_are_refused(written, expected):
    with pytest.raises(ValueError, match=expected):
        settings(**written)
