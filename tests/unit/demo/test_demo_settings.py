"""What the demo writes is what a user would write, and valid."""

from comparator.policy import Gate, StepKind
from router.demo.acts import WAY
from router.demo.servers import free_addresses, policy_text, write_settings
from router.demo.traffic import read_replay
from router.demo.workspace import MODEL, Workspace
from router.settings import load_settings


def test_the_settings_are_valid_and_the_policy_is_the_declared_one(tmp_path):
    workspace = Workspace(tmp_path)
    addresses = free_addresses(3)
    write_settings(workspace, addresses)
    settings = load_settings(workspace.settings)
    model = settings.models[MODEL]
    policy = model.policy()
    assert policy.alpha == 0.05
    assert policy.gate is Gate.OFF
    steps = [f"{step.kind.value} {step.percent} %" for step in policy.steps if step.kind is not StepKind.PROMOTE]
    assert (*steps, "promoted") == WAY
    assert [model.endpoint_of(version) for version in (1, 2, 3)] == [
        f"http://127.0.0.1:{port}" for port in addresses.models.values()
    ]
    assert settings.listen.port == addresses.data
    assert (tmp_path / "policy.yaml").read_text() == policy_text()


def test_the_ports_are_all_different():
    addresses = free_addresses(3)
    assert len({addresses.data, addresses.admin, *addresses.models.values()}) == 5


def test_one_request_is_one_flight(tmp_path):
    import json

    import numpy as np

    np.savez(
        tmp_path / "replay.npz",
        columns=("hour", "dep_delay"),
        features=np.array([[5.0, -2.0], [6.0, 40.0]]),
        late=np.array([False, True]),
    )
    requests, late = read_replay(tmp_path / "replay.npz")
    assert json.loads(requests[1]) == {"dataframe_split": {"columns": ["hour", "dep_delay"], "data": [[6.0, 40.0]]}}
    assert late.tolist() == [False, True]
