"""The registry, against real MLflow: a sqlite database, and a tracking server where full MLflow is installed."""

import asyncio
import logging
import shutil
import socket
import sqlite3
import time
import uuid

import pytest
from mlflow import MlflowClient
from mlflow_server import executable, mlflow_server
from world import MODEL, free_port

from comparator.events import AliasMove, Decision, DecisionKind
from comparator.title import Effect
from router.control import registry as registry_module
from router.control.registry import (
    STATE_AT_TAG,
    STATE_TAG,
    Aliases,
    ForeignMove,
    MlflowRegistry,
    RegistryUnavailable,
    UnknownModel,
    UnknownVersion,
)
from router.control.version_tags import ending_tags

BOUND_SECONDS = 30  # of a wait in a test; generous, the machine is shared


class Place:
    """A registry with versions 1, 2, 3 of one model, @champion on 1, as people and other tools see it."""

    def __init__(self, uri: str, model: str) -> None:
        self.uri = uri
        self.model = model
        self.client = MlflowClient(uri, uri)
        self.registry = MlflowRegistry(uri, timeout_seconds=BOUND_SECONDS)

    def do(self, method: str, *args):
        return asyncio.run(getattr(self.registry, method)(self.model, *args))

    def alias(self, name: str, version: int) -> None:
        self.client.set_registered_model_alias(self.model, name, str(version))

    def tags(self, version: int) -> dict[str, str]:
        return self.client.get_model_version(self.model, str(version)).tags


@pytest.fixture(scope="session")
def tracking_server(tmp_path_factory):
    """The URL of `mlflow server`."""
    with mlflow_server(executable(), tmp_path_factory.mktemp("tracking")) as url:
        yield url


def populate(client: MlflowClient, model: str) -> None:
    experiment = client.create_experiment(model)
    client.create_registered_model(model)
    for version, precision in ((1, 0.60), (2, 0.85), (3, 1.0)):
        run = client.create_run(experiment, tags={"mlflow.source.git.commit": f"{version:040x}"})
        client.log_metric(run.info.run_id, "precision", precision)
        tags = {"data_hash": f"sha256:{version:064x}"}
        client.create_model_version(model, f"{run.info.artifact_uri}/model", run.info.run_id, tags=tags)
    client.set_registered_model_alias(model, "champion", "1")


@pytest.fixture(params=["sqlite", "http"])
def place(request, tmp_path):
    if request.param == "http":
        url = request.getfixturevalue("tracking_server")
        found = Place(url, f"late-{uuid.uuid4().hex}")
        populate(found.client, found.model)
    else:
        shutil.copy(request.getfixturevalue("registry_template"), tmp_path / "mlflow.db")
        found = Place(f"sqlite:///{tmp_path / 'mlflow.db'}", MODEL)
    yield found
    found.registry.close()


@pytest.fixture
def sqlite_place(registry_template, tmp_path):
    shutil.copy(registry_template, tmp_path / "mlflow.db")
    found = Place(f"sqlite:///{tmp_path / 'mlflow.db'}", MODEL)
    yield found
    found.registry.close()


# ---- reading


def test_aliases_are_read_as_numbers(place):
    assert place.do("read") == Aliases(champion=1, challenger=None, previous=None)
    place.alias("challenger", 3)
    place.alias("previous", 2)
    assert place.do("read") == Aliases(champion=1, challenger=3, previous=2)


def test_what_is_not_there_is_unknown_not_unavailable(place):
    with pytest.raises(UnknownModel, match="no model other"):
        asyncio.run(place.registry.read("other"))
    with pytest.raises(UnknownVersion, match="no version 9"):
        place.do("version", 9)


def test_facts_come_from_run_and_version(place):
    facts = place.do("version", 2)
    assert facts.version == 2
    assert facts.offline == {"precision": 0.85}
    assert facts.git_sha == f"{2:040x}"
    assert facts.data_hash == f"sha256:{2:064x}"


def test_the_logged_model_behind_a_version_speaks_first(place, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place.uri)  # where a sqlite registry looks a logged model up
    run = a_run(place)
    logged = place.client.create_logged_model(run.experiment_id, source_run_id=run.run_id)
    place.client.log_metric(run.run_id, "recall", 0.5)
    place.client.log_metric(run.run_id, "precision", 0.9, model_id=logged.model_id)
    place.client.log_metric(run.run_id, "precision", 0.2)  # of another model of the same run
    source = f"models:/{logged.model_id}"  # as log_model registers it
    made = place.client.create_model_version(place.model, source, run.run_id, model_id=logged.model_id)
    assert place.do("version", int(made.version)).offline == {"precision": 0.9, "recall": 0.5}


def test_facts_are_kept_but_what_was_missing_is_looked_for_again(place, monkeypatch):
    run = a_run(place)
    version = int(place.client.create_model_version(place.model, f"{run.artifact_uri}/model", run.run_id).version)
    assert place.do("version", version).data_hash is None
    place.client.set_model_version_tag(place.model, str(version), "data_hash", "sha256:1")
    place.client.set_model_version_tag(place.model, str(version), "metric.precision", "0.5")
    place.client.set_model_version_tag(place.model, str(version), "git_sha", "abc")

    async def look():
        while True:
            facts = await place.registry.version(place.model, version)
            if facts.data_hash is not None:
                return facts
            await asyncio.sleep(0.05)

    facts = asyncio.run(asyncio.wait_for(look(), BOUND_SECONDS))
    assert (facts.offline, facts.git_sha, facts.data_hash) == ({"precision": 0.5}, "abc", "sha256:1")
    place.client.delete_model_version(place.model, str(version))
    assert place.do("version", version) == facts  # complete: not asked for again so soon
    monkeypatch.setattr(registry_module, "MOST_FACTS", 1)
    place.do("version", 1)  # takes the only place
    with pytest.raises(UnknownVersion):
        place.do("version", version)


def test_a_version_whose_run_was_deleted_still_has_its_tags(place):
    run = a_run(place)
    source, tags = f"{run.artifact_uri}/model", {"data_hash": "h", "metric.precision": "0.25"}
    made = place.client.create_model_version(place.model, source, run.run_id, tags=tags)
    place.client.delete_run(run.run_id)
    facts = place.do("version", int(made.version))
    assert (facts.offline, facts.data_hash) == ({"precision": 0.25}, "h")


def a_run(place):
    return place.client.create_run(place.client.create_experiment(uuid.uuid4().hex)).info


# ---- writing

PROMOTION = Effect(move=AliasMove(1, 2), previous=1, marks=((2, "promoted"),), clear_challenger=2, confirms=True)


def test_an_effect_is_carried_out_whole_and_may_be_repeated(place):
    place.alias("challenger", 2)
    place.do("carry_out", PROMOTION)
    after = place.do("read")
    assert after == Aliases(champion=2, challenger=None, previous=1)
    tags = place.tags(2)
    assert tags[STATE_TAG] == "promoted"
    assert tags[STATE_AT_TAG].endswith("+00:00")
    place.do("carry_out", PROMOTION)
    assert place.do("read") == after
    assert place.tags(2) == tags


def test_it_goes_on_where_it_broke_off(place):
    place.alias("challenger", 2)
    place.alias("champion", 2)  # the move was made, nothing else
    place.do("carry_out", PROMOTION)
    assert place.do("read") == Aliases(champion=2, challenger=None, previous=1)
    assert place.tags(2)[STATE_TAG] == "promoted"


def test_a_later_state_takes_the_place_of_an_earlier_one(place):
    place.do("carry_out", Effect(marks=((2, "promoted"),)))
    place.do("carry_out", Effect(marks=((2, "rejected"), (3, "aborted"))))
    assert [place.tags(version).get(STATE_TAG) for version in (1, 2, 3)] == [None, "rejected", "aborted"]


HEADS = {version: f"{version}:" + f"{version:x}" * 64 for version in (4, 7)}


def test_the_chain_is_tagged_on_who_is_promoted_and_on_who_is_marked(place):
    assert place.do("chain_tags") == {}
    place.do("carry_out", Effect(move=AliasMove(1, 2), previous=1, confirms=True, proof=HEADS[4]))
    assert place.do("chain_tags") == {2: HEADS[4]}
    place.do("carry_out", Effect(move=AliasMove(2, 1), previous=2, marks=((2, "rejected"),), proof=HEADS[7]))
    assert place.do("chain_tags") == {2: HEADS[7]}


def test_a_version_that_cannot_have_the_title_is_not_tagged(place):
    with pytest.raises(ForeignMove):
        place.do("carry_out", Effect(move=AliasMove(3, 2), proof=HEADS[4]))
    assert place.do("chain_tags") == {}


def test_tags_tell_how_a_shot_ended_whole_and_again_where_somebody_changed_them(place):
    decision = Decision(DecisionKind.PROMOTE, 1.0, 7, 2, "holds " * 1000, "ann", policy_digest="f" * 64)
    tags = ending_tags((2, "promoted"), decision)
    for _ in range(2):
        place.do("annotate", 2, tags)
        assert place.tags(2).items() >= tags.items()
        place.client.set_model_version_tag(place.model, "2", "titleshot.promoted_by", "mallory")
    with pytest.raises(UnknownVersion, match="no version 9"):
        place.do("annotate", 9, tags)


def test_a_foreign_champion_is_left_alone_and_nothing_else_is_done(place):
    place.alias("challenger", 2)
    place.alias("champion", 3)
    with pytest.raises(ForeignMove, match="names version 3") as caught:
        place.do("carry_out", PROMOTION)
    assert (caught.value.found, caught.value.move) == (3, PROMOTION.move)
    assert place.do("read") == Aliases(champion=3, challenger=2, previous=None)
    assert STATE_TAG not in place.tags(2)


def test_a_champion_that_is_gone_is_a_foreign_move_too(place):
    place.client.delete_registered_model_alias(place.model, "champion")
    with pytest.raises(ForeignMove, match="names no version") as caught:
        place.do("carry_out", PROMOTION)
    assert caught.value.found is None


def test_a_foreign_move_right_after_ours_is_seen_when_it_is_read_back(place):
    class Contended(MlflowClient):
        """Somebody else moves @champion as soon as we have."""

        def set_registered_model_alias(self, name, alias, version):
            super().set_registered_model_alias(name, alias, version)
            place.alias("champion", 3)

    place.registry._client = Contended(place.uri, place.uri)
    with pytest.raises(ForeignMove) as caught:
        place.do("carry_out", PROMOTION)
    assert caught.value.found == 3
    assert place.do("read") == Aliases(champion=3, challenger=None, previous=None)


def test_the_challenger_is_only_cleared_while_it_names_that_version(place):
    place.do("carry_out", Effect(set_challenger=2))
    assert place.do("read").challenger == 2
    place.alias("challenger", 3)
    place.do("carry_out", Effect(clear_challenger=2))
    assert place.do("read").challenger == 3
    place.do("carry_out", Effect(clear_challenger=3))
    place.do("carry_out", Effect(clear_challenger=3))
    assert place.do("read").challenger is None


def test_deleted_versions_hold_nothing_up_but_no_alias_can_name_them(place, caplog):
    place.client.delete_model_version(place.model, "3")
    with caplog.at_level(logging.WARNING):
        place.do("carry_out", Effect(move=AliasMove(1, 2), previous=3, marks=((3, "rejected"), (2, "promoted"))))
    assert "version 3 was deleted" in caplog.text
    assert place.do("read") == Aliases(champion=2, challenger=None, previous=None)
    assert place.tags(2)[STATE_TAG] == "promoted"
    for effect in (Effect(move=AliasMove(2, 3)), Effect(set_challenger=3)):
        with pytest.raises(UnknownVersion, match="no version 3"):
            place.do("carry_out", effect)


# ---- away, and back again


def unavailable(registry: MlflowRegistry, model: str = MODEL) -> str:
    began = time.monotonic()
    with pytest.raises(RegistryUnavailable) as caught:
        asyncio.run(registry.read(model))
    with pytest.raises(RegistryUnavailable):
        asyncio.run(registry.carry_out(model, PROMOTION))
    assert time.monotonic() - began < BOUND_SECONDS
    return str(caught.value)


def test_a_database_that_is_away_comes_back(sqlite_place, tmp_path):
    file, aside = tmp_path / "mlflow.db", tmp_path / "aside"
    assert sqlite_place.do("read").champion == 1
    file.rename(aside)
    assert "no file mlflow.db" in unavailable(sqlite_place.registry)
    assert not file.exists()  # no new, empty registry in its place
    file.mkdir()
    unavailable(sqlite_place.registry)
    file.rmdir()
    file.write_bytes(b"no database")
    unavailable(sqlite_place.registry)
    aside.rename(file)
    assert sqlite_place.do("read").champion == 1


def test_a_registry_that_is_away_from_the_beginning_is_found_later(registry_template, tmp_path):
    registry = MlflowRegistry(f"sqlite:///{tmp_path / 'mlflow.db'}", timeout_seconds=BOUND_SECONDS)
    unavailable(registry)
    shutil.copy(registry_template, tmp_path / "mlflow.db")
    assert asyncio.run(registry.read(MODEL)).champion == 1
    registry.close()


def test_a_database_that_was_replaced_is_read_anew(sqlite_place, registry_template, tmp_path):
    shutil.copy(registry_template, tmp_path / "fresh.db")
    assert sqlite_place.do("read").champion == 1
    fresh = Place(f"sqlite:///{tmp_path / 'fresh.db'}", MODEL)
    fresh.alias("champion", 3)
    (tmp_path / "fresh.db").replace(tmp_path / "mlflow.db")
    assert sqlite_place.do("read").champion == 3


def test_an_operation_that_was_given_up_writes_nothing_later(sqlite_place, tmp_path):
    assert sqlite_place.do("read").champion == 1
    hasty = MlflowRegistry(sqlite_place.uri, timeout_seconds=0.3)
    hasty._client = sqlite_place.registry._client
    lock = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    with pytest.raises(RegistryUnavailable, match="no answer within"):
        asyncio.run(hasty.carry_out(MODEL, PROMOTION))
    lock.execute("ROLLBACK")
    lock.close()
    hasty._writes.submit(lambda: None).result(BOUND_SECONDS)  # one thread: what was given up is over
    assert sqlite_place.do("read") == Aliases(champion=1, challenger=None, previous=None)
    hasty.close()


def test_nothing_listens_there_or_it_never_answers():
    registry = MlflowRegistry(f"http://someone:hush@127.0.0.1:{free_port()}", timeout_seconds=BOUND_SECONDS)
    assert "hush" not in unavailable(registry)
    registry.close()
    with socket.create_server(("127.0.0.1", 0)) as mute:
        registry = MlflowRegistry(f"http://127.0.0.1:{mute.getsockname()[1]}", timeout_seconds=0.3)
        assert "no answer within 0.3 s" in unavailable(registry)
        registry.close()


def test_a_name_that_no_model_can_have_is_no_crash(sqlite_place):
    with pytest.raises((RegistryUnavailable, UnknownModel)):
        asyncio.run(sqlite_place.registry.read("../late"))
