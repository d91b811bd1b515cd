"""`challengers`: further aliases, their names, and the alpha that they share."""

import pytest

from comparator.policy import StepKind
from router.settings import SettingsError, load_settings
from router.settings.lanes import alias_of, lane_name, model_of


def settings(folder, more=""):
    path = folder / "titleshot.yaml"
    path.write_text(
        f"registry: sqlite:///{folder / 'mlflow.db'}\nmodels:\n  eta:\n    protocol: mlflow\n"
        f"    endpoint: http://{{name}}-v{{version}}:8080\n{more}"
    )
    return load_settings(path)


def refused(folder, more) -> str:
    with pytest.raises(SettingsError) as found:
        settings(folder, more)
    return str(found.value)


def test_without_further_aliases_a_policy_is_what_it_was(tmp_path):
    alone = settings(tmp_path)
    assert (
        alone.models["eta"].policy().digest == settings(tmp_path, "    challengers: []\n").models["eta"].policy().digest
    )
    assert alone.models["eta"].policy().alpha == 0.05
    assert alone.names == ["eta"]


@pytest.mark.parametrize("count", [1, 2, 8])
def test_alpha_is_shared_by_the_list(tmp_path, count):
    aliases = [f"challenger-{letter}" for letter in "bcdefghi"[:count]]
    model = settings(tmp_path, f"    alpha: 0.1\n    challengers: {aliases}\n".replace("'", "")).models["eta"]
    assert model.policy().alpha == model.lane_policy().alpha == pytest.approx(0.1 / (count + 1))
    assert (1 + count) * model.policy().alpha <= 0.1 + 1e-12


def test_a_lane_is_one_shadow_step_by_the_models_own_numbers(tmp_path):
    text = """
    challengers: [challenger-b]
    rollout: [{shadow: 40, for: 2h}, {canary: 10}, {promote: {}}]
    judge: {min_answers: 77}
    guardrails: {error_rate: {margin: 1 points}}
"""
    model = settings(tmp_path, text).models["eta"]
    policy = model.lane_policy()
    assert [(step.kind, step.percent, step.min_seconds) for step in policy.steps] == [(StepKind.SHADOW, 40, 0.0)]
    assert not policy.promotes
    assert (policy.guardrails, policy.min_answers) == (model.policy().guardrails, 77)
    assert policy.gate is model.policy().gate
    only = settings(tmp_path, "    challengers: [b]\n    rollout: [{canary: 10}, {promote: {}}]\n").models["eta"]
    assert only.lane_policy().steps[0].percent == 100


def test_names(tmp_path):
    found = settings(tmp_path, "    challengers: [challenger-b, Later_2]\n")
    assert found.names == ["eta", "eta@challenger-b", "eta@Later_2"]
    assert all(found.find(name) is found.models["eta"] for name in found.names)
    assert [found.find(name) for name in ("eta@", "eta@other", "other", "other@challenger-b", "@challenger-b", "")] == [
        None
    ] * 6
    assert (model_of("eta@b"), alias_of("eta@b"), alias_of("eta")) == ("eta", "b", None)
    assert lane_name("eta", "b") == "eta@b"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("[champion]", "a meaning of its own"),
        ("[Challenger]", "a meaning of its own"),
        ("[previous]", "a meaning of its own"),
        ("[latest]", "a meaning of its own"),
        ("[v12]", "a meaning of its own"),
        ("['@b']", "without the @"),
        ("['a b']", "without the @"),
        ("['']", "without the @"),
        ("[7]", "without the @"),
        ("[b, c, B]", "b is there twice"),
        (f"[{', '.join('bcdefghij')}]", "at most 8, not 9"),
        ("[b]\n    split: {challenger: 20}", "none beside a split"),
    ],
)
def test_what_is_no_list_of_aliases_is_refused(tmp_path, written, said):
    assert said in refused(tmp_path, f"    challengers: {written}\n")
