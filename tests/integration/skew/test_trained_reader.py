"""Signature and profile of versions in a real MLflow on sqlite, whole and damaged."""

import shutil
from pathlib import Path

import pytest
from mlflow import MlflowClient
from training_profiles import profile_text
from world import MODEL

from router.artifacts.profile import PROFILE_TAG, artifact_name
from router.control.registry import RegistryUnavailable
from router.control.skew.trained import TrainedReader
from router.registering.versions import Lineage, Versions


@pytest.fixture
def place(tmp_path, registry_template):
    """A copy of the registry; its artifacts are those of the template."""
    return f"sqlite:///{shutil.copy(registry_template, tmp_path / 'mlflow.db')}"


@pytest.fixture
def client(place):
    return MlflowClient(place, place)


def version_at(client, source, **tags):
    return int(client.create_model_version(MODEL, source, tags=tags).version)


def profiled(place, client):
    """Version 1 with a profile, and its file."""
    text = profile_text(1, lambda draw: draw.random())
    tags = Versions(place).annotate(MODEL, 1, Lineage(profile=text), by="ann", replace=None)
    run = client.get_run(client.get_model_version(MODEL, "1").run_id)
    return Path(run.info.artifact_uri.removeprefix("file://")) / "titleshot" / artifact_name(tags[PROFILE_TAG])


def test_a_version_that_titleshot_registered_has_both(place, client):
    profiled(place, client)
    found = TrainedReader(place).read(MODEL, 1)
    assert found.complete
    assert found.columns.names == ["truth", "noise"]
    assert set(found.profile["columns"]) == {"truth", "noise", "label"}


def test_a_version_without_profile_says_so(place):
    found = TrainedReader(place).read(MODEL, 2)
    assert found.columns is not None
    assert "titleshot register" in found.no_profile


def test_a_profile_that_is_another_one_or_gone_does_not_count(place, client):
    file = profiled(place, client)
    whole = file.read_text()
    file.write_text(whole.replace('"rows": 2000', '"rows": 2001'))
    try:
        assert "SHA-256" in TrainedReader(place).read(MODEL, 1).no_profile
        file.write_text(whole + " " * (5 << 20))
        assert "expected at most" in TrainedReader(place).read(MODEL, 1).no_profile
    finally:
        file.unlink()  # the template is shared
    assert "not there" in TrainedReader(place).read(MODEL, 1).no_profile


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "0" * 63])
def test_a_tag_that_is_no_digest_names_no_file(place, client, digest):
    client.set_model_version_tag(MODEL, "3", PROFILE_TAG, digest)
    assert "expected a SHA-256" in TrainedReader(place).read(MODEL, 3).no_profile


@pytest.mark.parametrize("source", ["http://169.254.169.254/latest", "ftp://evil/x", "hdfs://evil/x"])
def test_another_host_is_not_asked(place, client, source):
    number = version_at(client, source, **{PROFILE_TAG: "0" * 64})
    found = TrainedReader(place).read(MODEL, number)
    assert "not asked" in found.no_columns
    assert "neither a run nor a logged model" in found.no_profile


def test_an_mlmodel_file_that_is_none_or_huge_is_said(place, client, tmp_path):
    file = tmp_path / "model" / "MLmodel"
    file.parent.mkdir()
    number = version_at(client, file.parent.as_uri())
    for text, said in (
        (None, "not there"),
        ("signature: [", "cannot be read"),
        ("a: b", "no signature"),
        ("#" * (2 << 20), "expected at most"),
    ):
        if text is not None:
            file.write_text(text)
        found = TrainedReader(place).read(MODEL, number)
        assert found.columns is None
        assert said in found.no_columns


def test_a_registry_without_the_version_or_without_a_file_gives_no_answer(place, tmp_path):
    with pytest.raises(RegistryUnavailable):
        TrainedReader(place).read(MODEL, 99)
    gone = tmp_path / "gone.db"
    with pytest.raises(RegistryUnavailable, match="no file"):
        TrainedReader(f"sqlite:///{gone}").read(MODEL, 1)
    assert not gone.exists()
