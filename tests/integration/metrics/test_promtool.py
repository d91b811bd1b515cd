import subprocess
from pathlib import Path

import numpy as np
from judged_model import JudgedModel
from prometheus_server import need_prometheus

from router.control.metrics import Metrics
from router.link.messages import Counters

DEPLOY = Path(__file__).parents[3] / "deploy"


def promtool(*arguments, page=b""):
    done = subprocess.run(
        [need_prometheus("promtool"), *arguments], input=page, capture_output=True, timeout=30, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_promtool_has_nothing_to_say_about_the_page():
    metrics = Metrics()
    model = JudgedModel(metrics)
    metrics.watch(
        {model.name: model.controlled}, ready=lambda _: frozenset({1}), proxies=lambda: [0], revision=lambda: 1
    )
    metrics.add_model(model.name)
    metrics.counters(0, Counters({}, {}, 0, 0, 1, 1, 1))
    for page, _ in (metrics.expose(""), _in_a_rollout(model)):
        assert promtool("check", "metrics", page=page) == (0, b"")


def _in_a_rollout(model):
    model.aliases()
    model.aliases(challenger=2)
    model.requests_of_step(50, np.random.default_rng(1))
    model.tick(model.at + 1)
    return model.metrics.expose("")


def test_promtool_takes_the_configuration():
    code, said = promtool("check", "config", str(DEPLOY / "prometheus" / "prometheus.yml"))
    assert code == 0, said.decode()
