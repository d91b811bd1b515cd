"""A registry whose server asks who is there: `mlflow server --app-name basic-auth`; by default nobody may anything."""

import asyncio
import contextlib
import json
import logging
import subprocess
import warnings
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from click.testing import CliRunner
from desk import PROMOTE, SHADOW, policy
from mlflow import MlflowClient
from mlflow_server import absent, executable, mlflow_server
from with_ledger import with_ledger_at

from comparator.events import AliasMove, Command, CommandKind, DecisionKind
from comparator.phases import Phase
from comparator.policy import Gate
from comparator.title import Effect, Title
from router.artifacts.profile import read_profile
from router.cli.main import main
from router.control.controller import ModelController
from router.control.follow import Follower
from router.control.journal import Journal
from router.control.metrics import Metrics
from router.control.registry import Aliases, Denied, MlflowRegistry, RegistryUnavailable, UnknownVersion
from router.control.skew.trained import TrainedReader
from router.control.spool import Spool
from router.link.endpoint import Tls

ADMIN, SECRET = "admin", "correct horse battery"
WRONG = "wrong horse battery"
BOUND_SECONDS = 60  # generous, the machine is shared
USER_VARIABLES = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


class Accounts:
    """The server and its users; whoever `as_user` names is the one that MLflow's client asks as."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.names = 0

    def admin(self, path: str, **what: str) -> httpx.Response:
        return httpx.post(f"{self.url}/api{path}", json=what, auth=(ADMIN, SECRET), timeout=30, trust_env=False)

    def user(self, **permissions: str) -> str:
        """A new user; permissions by resource: model="EDIT" and the like, of `self.model`, `self.experiment`."""
        self.names += 1
        name = f"user-{self.names}"
        self.admin("/2.0/mlflow/users/create", username=name, password=SECRET).raise_for_status()
        self.grant(name, **permissions)
        return name

    def grant(self, name: str, **permissions: str) -> None:
        for resource, permission in permissions.items():
            kind, key = {
                "model": ("registered_model", self.model),
                "experiment": ("experiment", self.experiment),
            }[resource]
            what = {"username": name, "resource_type": kind, "resource_id": key}
            self.admin("/3.0/mlflow/users/permissions/revoke", **what)
            self.admin("/3.0/mlflow/users/permissions/grant", **what, permission=permission).raise_for_status()

    model, experiment = "late", ""


@pytest.fixture(scope="module")
def accounts(tmp_path_factory):
    command = executable()
    imported = [Path(command).with_name("python"), "-c", "import flask_wtf"]
    if subprocess.run(imported, check=False, capture_output=True).returncode:
        absent("needs MLflow's extra auth: pip install 'mlflow[auth]' where mlflow is")
    folder = tmp_path_factory.mktemp("accounts")
    (folder / "auth.ini").write_text(
        "[mlflow]\ndefault_permission = NO_PERMISSIONS\n"
        f"database_uri = sqlite:///{folder / 'auth.db'}\nadmin_username = {ADMIN}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        "auth_cache_ttl_seconds = 60\n"  # or every call takes a third of a second, to hash the password
    )
    environment = {
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": SECRET,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "of a test",
    }
    with mlflow_server(command, folder, "--app-name", "basic-auth", **environment) as url:
        yield Accounts(url)


@pytest.fixture
def as_user(monkeypatch):
    def become(name, password=SECRET):
        for variable in USER_VARIABLES:
            monkeypatch.delenv(variable, raising=False)
        if name is not None:
            monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", name)
            monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)

    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_LOGGING", "false")
    return become


@pytest.fixture
def place(accounts, as_user):
    """A model with versions 1, 2, 3 of runs in an experiment, @champion on 1, made by the admin."""
    as_user(ADMIN)
    accounts.names += 1
    accounts.model = f"late-{accounts.names}"
    client = MlflowClient(accounts.url, accounts.url)
    accounts.experiment = client.create_experiment(accounts.model)
    client.create_registered_model(accounts.model)
    for version in (1, 2, 3):
        run = client.create_run(accounts.experiment)
        client.log_metric(run.info.run_id, "precision", 0.8)
        tags = {"data_hash": "sha256:1", "git_sha": "1" * 40}
        client.create_model_version(accounts.model, f"{run.info.artifact_uri}/{version}", run.info.run_id, tags=tags)
    client.set_registered_model_alias(accounts.model, "champion", "1")
    return accounts


@contextlib.contextmanager
def asked(place):
    registry = MlflowRegistry(place.url, timeout_seconds=BOUND_SECONDS)
    try:
        yield lambda method, *args: asyncio.run(getattr(registry, method)(place.model, *args))
    finally:
        registry.close()


PROMOTION = Effect(move=AliasMove(1, 2), previous=1, confirms=True, proof="4:" + "ab" * 32)
AFTER = Effect(marks=((2, "promoted"),), clear_challenger=2, proof="5:" + "ab" * 32)
BACK = Effect(move=AliasMove(2, 1), previous=2, marks=((2, "rejected"),), clear_challenger=2, confirms=True)


# ---- titleshot serve


def test_manage_on_the_model_and_read_on_the_experiment_are_enough(place, as_user):
    as_user(place.user(model="MANAGE", experiment="READ"))
    with asked(place) as ask:
        ask("carry_out", Effect(set_challenger=2))
        assert ask("version", 2).offline == {"precision": 0.8}
        ask("carry_out", PROMOTION)
        ask("carry_out", AFTER)
        ask("annotate", 2, {"titleshot.promoted_by": "ann"})
        assert ask("read") == Aliases(champion=2, challenger=None, previous=1)
        assert ask("chain_tags") == {2: AFTER.proof}
        with pytest.raises(UnknownVersion, match="no version 9"):
            ask("version", 9)
        place.model, model = "no-such-model", place.model
        with pytest.raises(Denied, match="READ on the registered model no-such-model"):  # the server says no more
            ask("read")
        place.model = model


@pytest.mark.parametrize(
    ("permissions", "method", "argument", "needed"),
    [
        ({}, "read", None, "READ on the registered model late-"),
        ({"model": "READ"}, "version", 2, "READ on the experiment of run "),
        ({"model": "READ"}, "carry_out", PROMOTION, "EDIT on the registered model late-"),
        ({"model": "READ"}, "annotate", 2, "EDIT on the registered model late-"),
        ({"model": "EDIT"}, "carry_out", AFTER, "MANAGE on the registered model late-"),
    ],
)
def test_what_is_missing_is_named(place, as_user, permissions, method, argument, needed):
    MlflowClient(place.url, place.url).set_registered_model_alias(place.model, "challenger", "2")
    as_user(place.user(**permissions))
    arguments = () if argument is None else (argument, {"a": "b"}) if method == "annotate" else (argument,)
    with asked(place) as ask, pytest.raises(Denied) as caught:
        ask(method, *arguments)
    assert needed in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_challenger_that_may_not_be_cleared_holds_no_rollback_up(place, as_user):
    client = MlflowClient(place.url, place.url)
    client.set_registered_model_alias(place.model, "champion", "2")
    client.set_registered_model_alias(place.model, "challenger", "2")
    as_user(place.user(model="EDIT", experiment="READ"))
    with asked(place) as ask:
        ask("carry_out", BACK)
        assert ask("read") == Aliases(champion=1, challenger=2, previous=2)


@pytest.mark.parametrize(("name", "password"), [(ADMIN, WRONG), ("nobody", SECRET), (None, "")])
def test_who_is_not_known_is_told_what_is_expected(place, as_user, caplog, name, password):
    as_user(name, password)
    with asked(place) as ask, caplog.at_level(logging.DEBUG), pytest.raises(RegistryUnavailable) as caught:
        ask("read")
    assert "expected MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD" in str(caught.value)
    for secret in (SECRET, WRONG):
        assert secret not in str(caught.value) + caplog.text


@pytest.mark.parametrize("to", [3, None])
def test_somebody_else_who_moves_or_deletes_the_title_amid_a_promotion_wins(place, as_user, tmp_path, to):
    rig = Rig(place, tmp_path)
    as_user(place.user(model="MANAGE", experiment="READ"))
    moved = []

    class Contended(MlflowClient):
        """As soon as titleshot has moved the title, another user moves it on, once."""

        def set_registered_model_alias(self, name, alias, version):
            super().set_registered_model_alias(name, alias, version)
            if alias == "champion" and not moved:
                moved.append(version)
                rig.others("champion", to)

    async def story(follower):
        follower._registry._client = Contended(place.url, place.url)
        await rig.until(lambda: rig.title.champion == 1)
        rig.others("challenger", 2)
        await rig.until(lambda: rig.title.on_trial == 2)
        await rig.controller.command(Command(1.0, CommandKind.PROMOTE, "ann", "by hand"))
        if to is None:  # nobody has the title: the last good routes stay, and that is said
            await rig.until(lambda: "names no version" in follower.error)
            assert rig.title.champion == 1
            rig.others("champion", 3)
        await rig.until(lambda: rig.title.champion == 3)

    rig.run(story)
    assert moved == ["2"]
    assert DecisionKind.MOVED not in [each.kind for each in rig.decided]
    (foreign,) = [each for each in rig.decided if each.kind is DecisionKind.FOREIGN_MOVE]
    assert (foreign.actor, foreign.move) == ("registry", AliasMove(1, 3))
    assert rig.title.rollout.phase is Phase.ABORTED
    assert MlflowClient(place.url, place.url).get_registered_model(place.model).aliases["champion"] == "3"


def test_a_challenger_whose_run_may_not_be_read_is_said_and_the_champion_is_followed(place, as_user, tmp_path):
    rig = Rig(place, tmp_path, gate=Gate.OFFLINE)
    as_user(place.user(model="MANAGE"))

    async def story(follower):
        rig.others("challenger", 2)
        await rig.until(lambda: rig.title.rollout is not None and rig.title.rollout.phase is Phase.HELD)
        await rig.until(lambda: "READ on the experiment of run" in follower.error)
        rig.others("champion", 3)
        await rig.until(lambda: rig.title.champion == 3)

    rig.run(story)


class Rig:
    """What follows one model, with the real ledger; every endpoint is ready."""

    def __init__(self, place, folder, gate=Gate.OFF):
        self.place, self.folder = place, folder
        self.title = Title(policy(SHADOW, PROMOTE, gate=gate))
        self.ready = frozenset({1, 2, 3})

    def others(self, alias, version):
        """Somebody else's hand."""
        path = f"{self.place.url}/api/2.0/mlflow/registered-models/alias"
        body = {"name": self.place.model, "alias": alias}
        with httpx.Client(auth=(ADMIN, SECRET), timeout=30, trust_env=False) as client:
            if version is None:
                client.request("DELETE", path, json=body).raise_for_status()
            else:
                client.post(path, json={**body, "version": str(version)}).raise_for_status()

    async def until(self, condition):
        async with asyncio.timeout(BOUND_SECONDS):
            while not condition():  # noqa: ASYNC110 - another thread, or the server, makes it true
                await asyncio.sleep(0.01)

    def run(self, story):
        """The story beside the follower's loop; what was recorded meanwhile is in `decided`, the newest first."""

        async def work(ledger, term):
            journal = Journal(ledger, Spool(self.folder / "spool.jsonl"), term, lambda _up: None)
            name = self.place.model
            self.controller = ModelController(name, self.title, journal, lambda: None, lambda _m, _d: None)
            settings = SimpleNamespace(
                registered_model=name, ready_path="/ping", tls=Tls(), probed_at=lambda _v: "http://127.0.0.1:9"
            )
            prober = SimpleNamespace(set_targets=lambda *_: None, ready=lambda _m: self.ready)
            registry = MlflowRegistry(self.place.url, timeout_seconds=BOUND_SECONDS)
            follower = Follower(self.controller, settings, registry, prober, Metrics(), 0.05)
            task = asyncio.create_task(follower.run())
            try:
                await story(follower)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                registry.close()
            self.decided = await ledger.decisions(name)

        with_ledger_at(f"sqlite:///{self.folder / 'ledger.db'}")(work)


# ---- titleshot register, annotate


@pytest.fixture
def logged(place, as_user, tmp_path):
    """A model that a user has logged over HTTP, artifacts and all, in an experiment of their own."""
    import mlflow
    import numpy as np
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression

    trainer = place.user(model="EDIT")
    as_user(trainer)
    mlflow.set_tracking_uri(place.url)
    x = np.arange(8.0).reshape(4, 2)
    model = LogisticRegression().fit(x, [0, 0, 1, 1])
    made = {"serialization_format": "cloudpickle", "pip_requirements": ["scikit-learn"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's, of its own code
        experiment = mlflow.create_experiment(f"of {trainer}")
        with mlflow.start_run(experiment_id=experiment) as run:
            info = mlflow.sklearn.log_model(model, name="model", signature=infer_signature(x, model.predict(x)), **made)
            mlflow.log_metrics({"precision": 0.8}, model_id=info.model_id)
    mlflow.set_tracking_uri(None)  # one for the whole process
    data = tmp_path / "train.csv"
    data.write_text("a,b\n1,x\n2,y\n3,x\n")
    yield SimpleNamespace(trainer=trainer, experiment=experiment, run=run.info.run_id, data=data)
    mlflow.set_tracking_uri(None)


def titleshot(place, *arguments, expect=0):
    done = CliRunner().invoke(main, [*map(str, arguments), "--registry", place.url])
    assert done.exit_code == expect, done.output
    for secret in (SECRET, WRONG):
        assert secret not in done.output
    return done


def register(place, logged, *more, expect=0, model=None):
    asked = ["register", model or place.model, "--run", logged.run, "--git-sha", "1" * 40, "--data", logged.data]
    return titleshot(place, *asked, "--by", "ada", *more, expect=expect)


def test_a_version_is_registered_with_edit_on_model_and_experiment(place, as_user, logged):
    as_user(logged.trainer)
    assert json.loads(register(place, logged, "--json").stdout)["version"] == 4
    assert json.loads(register(place, logged, "--json").stdout)["new"] is False
    assert json.loads(register(place, logged, "--json", model=f"{place.model}-new").stdout)["version"] == 1
    client = MlflowClient(place.url, place.url)
    made = client.get_model_version(place.model, "4")
    assert made.tags["titleshot.registered_by"] == "ada"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = f"titleshot/profile-{made.tags['titleshot.profile_sha256']}.json"
        text = client.download_artifacts(logged.run, path)
    profile = read_profile(Path(text).read_text())
    assert profile["columns"]["b"]["top"] == [["x", 2 / 3], ["y", 1 / 3]]
    found = TrainedReader(place.url).read(place.model, 4)
    assert (found.profile, found.no_profile) == (profile, "")
    assert found.columns is not None or "inputs without names" in found.no_columns


def test_without_a_profile_the_experiment_need_only_be_read(place, as_user, logged):
    mine, place.experiment = place.experiment, logged.experiment
    name = place.user(model="EDIT", experiment="READ")
    place.experiment = mine
    as_user(name)
    text = logged.data.with_suffix(".txt")
    text.write_text("no table")
    asked = ["register", place.model, "--run", logged.run, "--git-sha", "1" * 40, "--data", text]
    assert f"{place.model}: version 4" in titleshot(place, *asked).output


def test_a_version_of_another_tool_is_completed_over_http(place, as_user, logged):
    as_user(logged.trainer)
    client = MlflowClient(place.url, place.url)
    client.create_model_version(place.model, client.get_run(logged.run).info.artifact_uri, logged.run)
    titleshot(place, "annotate", place.model, 4, "--data", logged.data, "--git-sha", "1" * 40)
    tags = client.get_model_version(place.model, "4").tags
    assert tags["git_sha"] == "1" * 40
    assert tags["titleshot.profile_sha256"]


@pytest.mark.parametrize(
    ("permissions", "needed"),
    [
        ({}, "READ on the experiment of run "),
        ({"experiment": "READ", "model": "EDIT"}, "EDIT on the experiment of run "),
        ({"experiment": "EDIT"}, "EDIT on the registered model late-"),
        ({"experiment": "EDIT", "model": "READ"}, "EDIT on the registered model late-"),
    ],
)
def test_what_is_missing_to_register_is_named_and_nothing_is_made(place, as_user, logged, permissions, needed):
    mine, place.experiment = place.experiment, logged.experiment
    name = place.user(**permissions)
    place.experiment = mine
    as_user(name)
    done = register(place, logged, expect=1)
    assert needed in done.output.replace("\n", " ")
    as_user(ADMIN)
    assert len(MlflowClient(place.url, place.url).search_model_versions(f"name='{place.model}'")) == 3


def test_annotate_says_what_is_missing(place, as_user):
    as_user(place.user(model="READ"))
    done = titleshot(place, "annotate", place.model, 1, "--metric", "recall=0.5", expect=1)
    assert "READ on the experiment of run " in done.output  # what was logged counts, so it has to be seen
    as_user(place.user(model="READ", experiment="READ"))
    done = titleshot(place, "annotate", place.model, 1, "--metric", "recall=0.5", expect=1)
    assert "EDIT on the registered model late-" in done.output
    as_user(place.user())
    done = titleshot(place, "annotate", place.model, 1, "--metric", "recall=0.5", expect=1)
    assert "READ on the registered model late-" in done.output


def test_a_wrong_password_is_said_by_the_commands_too(place, as_user, logged):
    as_user(logged.trainer, WRONG)
    assert "expected MLFLOW_TRACKING_USERNAME" in register(place, logged, expect=1).output
