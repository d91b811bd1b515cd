"""A reload says of every setting that it does not take over."""

import asyncio
import logging

import pytest

from router.control.ledger import LedgerUnavailable
from router.control.metrics import Metrics
from router.control.plane import ControlPlane
from router.control.probe import Prober
from router.settings import load_settings


class Routes:
    """What the plane uses of a publisher."""

    def publish(self, *_routes, traced=None, by_body=False):
        """Nothing is under control here."""


async def _no_records(_plane, _model):
    raise LedgerUnavailable("away")


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("tokens: b.yaml", "tokens"),
        ("admin_hosts: [titleshot.example]", "admin_hosts"),
        ("poll: 9s", "poll"),
        ("workers: 2", "workers"),
    ],
)
def test_what_takes_effect_at_the_next_start_is_named(tmp_path, caplog, line, named):
    def settings(more):
        path = tmp_path / "titleshot.yaml"
        path.write_text(f"registry: http://h\n{more}\nmodels: {{m: {{endpoint: 'http://h-v{{version}}:1'}}}}\n")
        return load_settings(path)

    async def reload():
        plane = ControlPlane(settings(""), None, Routes(), Prober(), Metrics(), _no_records)
        await plane.adopt(settings(line))

    with caplog.at_level(logging.WARNING, "router.control.plane"):
        asyncio.run(reload())
    said = [record.getMessage() for record in caplog.records if "settings:" in record.getMessage()]
    assert said == [f"settings: {named} changed; it takes effect at the next start"]
