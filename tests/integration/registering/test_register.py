"""`titleshot register` and `annotate` on a real MLflow store, with a model that was really logged."""

import json
import logging
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
from checkouts import committed, git
from click.testing import CliRunner
from world import free_port

from router.artifacts.profile import read_profile
from router.cli.main import main
from router.registering.hashing import data_hash
from router.registering.source import SourceError, commit_of


@pytest.fixture
def checkout(tmp_path):
    return committed(tmp_path / "code")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A registry with one run that logged a model well, and one that logged a bare one without metrics."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's, of its own code
        yield filled(tmp_path_factory.mktemp("store"))


def filled(folder):
    import mlflow
    import numpy as np
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    experiment = mlflow.create_experiment("training", artifact_location=(folder / "artifacts").as_uri())
    x = np.arange(8.0).reshape(4, 2)
    model = LogisticRegression().fit(x, [0, 0, 1, 1])
    made = {"serialization_format": "cloudpickle", "pip_requirements": ["scikit-learn"]}
    with mlflow.start_run(experiment_id=experiment) as whole:
        info = mlflow.sklearn.log_model(model, name="model", signature=infer_signature(x, model.predict(x)), **made)
        mlflow.log_metrics({"precision": 0.8}, model_id=info.model_id)
    with mlflow.start_run(experiment_id=experiment) as bare:
        mlflow.sklearn.log_model(model, name="model", **made)
    with mlflow.start_run(experiment_id=experiment) as empty:
        pass
    data = folder / "train.csv"
    data.write_text("a,b\n1,x\n2,y\n3,x\n")
    return SimpleNamespace(
        uri=uri,
        client=mlflow.MlflowClient(uri, uri),
        run=whole.info.run_id,
        model=f"models:/{info.model_id}",
        bare=bare.info.run_id,
        empty=empty.info.run_id,
        data=data,
    )


def titleshot(*arguments, store, expect=0):
    done = CliRunner().invoke(main, [*map(str, arguments), "--registry", store.uri])
    assert done.exit_code == expect, done.output
    return done


def versions(store, model):
    return store.client.search_model_versions(f"name='{model}'")


def test_a_version_is_made_with_all_of_its_lineage_and_only_once(store, checkout):
    def register():
        asked = (
            "register",
            "full",
            "--run",
            store.run,
            "--source",
            checkout,
            "--data",
            store.data,
            "--by",
            "ada",
            "--json",
        )
        return json.loads(titleshot(*asked, store=store).stdout)

    first = register()
    assert (first["version"], first["new"], first["metrics"]) == (1, True, {"precision": 0.8})
    (made,) = versions(store, "full")
    assert (made.source, made.run_id) == (store.model, store.run)
    assert made.tags["git_sha"] == commit_of(checkout, allow_dirty=False)
    assert made.tags["data_hash"] == first["data_hash"]
    assert made.tags["data_hash"].startswith("sha256:")
    assert made.tags["titleshot.registered_by"] == "ada"
    assert profile_of(store, made)["columns"]["b"]["top"] == [["x", 2 / 3], ["y", 1 / 3]]
    assert register() == {**first, "new": False}
    assert len(versions(store, "full")) == 1
    Path(store.data).write_text("a,b\n1,z\n2,z\n")
    register()  # of the same run, with other data: the first version's profile stays as it was
    assert [profile_of(store, each)["columns"]["b"]["top"] for each in versions(store, "full")[::-1]] == [
        [["x", 2 / 3], ["y", 1 / 3]],
        [["z", 1.0]],
    ]


def test_a_figure_that_would_count_for_nothing_is_refused(store, checkout, tmp_path):
    data = tmp_path / "data.csv"
    data.write_text("a\n1\n")
    asked = ("register", "figures", "--run", store.run, "--source", checkout, "--data", data, "--metric")
    done = titleshot(*asked, "Precision=0.9", store=store, expect=1)
    assert "has precision 0.8 as it was logged, not 0.9" in done.output
    assert not store.client.search_registered_models("name='figures'")
    titleshot(*asked, "recall=0.5", store=store)
    titleshot(*asked, "recall=0.5", store=store)
    done = titleshot(*asked, "recall=0.6", store=store, expect=1)
    assert "`titleshot annotate` adds it" in done.output
    assert len(versions(store, "figures")) == 1
    incomplete = ("register", "figures", "--run", store.run, "--source", checkout)
    assert "a hash of the training data" in titleshot(*incomplete, store=store, expect=1).output


def test_a_version_of_another_tool_is_known_by_its_commit(store, checkout):
    sha = commit_of(checkout, allow_dirty=False)
    store.client.create_registered_model("known")
    tags = {"mlflow.source.git.commit": sha, "data_hash": data_hash(Path(store.data))}
    store.client.create_model_version("known", store.model, run_id=store.run, tags=tags)
    asked = ("register", "known", "--run", store.run, "--source", checkout, "--data", store.data, "--json")
    told = json.loads(titleshot(*asked, store=store).stdout)
    assert (told["version"], told["new"]) == (1, False)


def profile_of(store, version):
    path = f"titleshot/profile-{version.tags['titleshot.profile_sha256']}.json"
    return read_profile(Path(store.client.download_artifacts(store.run, path)).read_text())


def test_all_that_is_missing_is_said_and_nothing_is_made(store, checkout):
    done = titleshot("register", "bare", "--run", store.bare, "--source", checkout, store=store, expect=1)
    for wanted in ("a signature", "evaluation metrics", "a hash of the training data"):
        assert wanted in done.output
    assert not store.client.search_registered_models("name='bare'")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--run", "no-such-run"), "the registry says"),
        (("--uri", "runs:/x/model"), "expected models:/m-"),
        (("--uri", "models:/m-0123"), "the registry says"),
    ],
)
def test_what_is_not_there_cannot_be_registered(store, checkout, arguments, said):
    done = titleshot("register", "none", *arguments, "--source", checkout, "--data", store.data, store=store, expect=1)
    assert said in done.output
    assert not store.client.search_registered_models("name='none'")


def test_a_run_without_a_model_is_refused(store, checkout):
    done = titleshot("register", "none", "--run", store.empty, "--source", checkout, store=store, expect=1)
    assert "has logged 0 models" in done.output


def test_a_changed_checkout_is_refused_unless_that_is_said(store, checkout):
    (checkout / "train.py").write_text("print(1)\n")
    (checkout / "new.py").write_text("")
    asked = ("register", "dirty", "--uri", store.model, "--source", checkout, "--data", store.data)
    done = titleshot(*asked, store=store, expect=1)
    assert "2 files are not as in commit" in done.output
    titleshot(*asked, "--allow-dirty", store=store)
    (made,) = versions(store, "dirty")
    assert made.tags["git_sha"].endswith("-dirty")


def test_no_checkout_and_an_empty_one_have_no_commit(tmp_path):
    with pytest.raises(SourceError, match="not a git repository"):
        commit_of(tmp_path, allow_dirty=True)
    git(tmp_path, "init", "-q")
    with pytest.raises(SourceError, match="--git-sha"):
        commit_of(tmp_path, allow_dirty=True)


def test_a_detached_head_is_a_commit(checkout):
    git(checkout, "checkout", "-q", "--detach")
    assert len(commit_of(checkout, allow_dirty=False)) == 40


def test_a_version_of_another_tool_is_completed_and_what_stands_stays(store):
    store.client.create_registered_model("foreign")
    store.client.create_model_version("foreign", store.model, run_id=store.run, tags={"git_sha": "1" * 40})
    titleshot("annotate", "foreign", 1, "--data", store.data, "--metric", "recall=0.5", store=store)
    (made,) = versions(store, "foreign")
    assert made.tags["metric.recall"] == "0.5"
    assert made.tags["titleshot.profile_sha256"]
    done = titleshot("annotate", "foreign", 1, "--git-sha", "2" * 40, store=store, expect=1)
    assert "says something else" in done.output
    assert versions(store, "foreign")[0].tags["git_sha"] == "1" * 40
    titleshot("annotate", "foreign", 1, "--git-sha", "2" * 40, "--replace", "a typo", "--by", "ada", store=store)
    tags = versions(store, "foreign")[0].tags
    assert tags["git_sha"] == "2" * 40
    assert tags["titleshot.replaced.git_sha"].startswith("1" * 40 + " (ada, ")
    assert "a typo" in tags["titleshot.replaced.git_sha"]
    titleshot("annotate", "foreign", 1, "--git-sha", "3" * 40, "--replace", " ", store=store, expect=1)
    titleshot("annotate", "foreign", 1, "--git-sha", "3" * 40, "--replace", "once more", store=store)
    tags = versions(store, "foreign")[0].tags
    assert tags["titleshot.replaced.git_sha"].startswith("1" * 40)
    assert tags["titleshot.replaced.git_sha.2"].startswith("2" * 40)
    done = titleshot("annotate", "foreign", 1, "--metric", "precision=0.9", store=store, expect=1)
    assert "has precision 0.8 as it was logged, not 0.9" in done.output
    titleshot("annotate", "foreign", 9, "--git-sha", "2" * 40, store=store, expect=1)
    titleshot("annotate", "foreign", 1, store=store, expect=2)


def test_a_name_that_is_none_is_refused(store, checkout):
    asked = ("register", "a' or name='b", "--uri", store.model, "--source", checkout, "--data", store.data)
    assert "expected a model name" in titleshot(*asked, store=store, expect=1).output


def test_a_registry_that_is_away_is_said_soon_and_without_its_password(checkout, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    away = SimpleNamespace(uri=f"http://someone:hush@127.0.0.1:{free_port()}")
    done = titleshot("register", "away", "--run", "abc", "--source", checkout, store=away, expect=1)
    assert "the registry says" in done.output
    assert "hush" not in done.output
