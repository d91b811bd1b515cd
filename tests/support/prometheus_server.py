"""A real Prometheus (Debian's package) that scrapes a real address, and the dashboards' expressions to ask it for."""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import httpx
import pytest
import yaml

ROOT = Path(__file__).parents[2]
DASHBOARDS = ROOT / "deploy" / "grafana" / "dashboards"
SCRAPE_SECONDS = 0.25
RATE_INTERVAL = "5s"


def need_prometheus(program: str = "prometheus") -> str:
    """The path of the program; without it the test is skipped, or fails where CI has to have it."""
    found = shutil.which(program)
    if found is None:
        package = "prometheus-alertmanager" if program in ("prometheus-alertmanager", "amtool") else "prometheus"
        text = f"needs Debian's package {package}: apt-get install {package}"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    return found


def panel_expressions(model: str) -> list[tuple[str, str]]:
    """(panel and legend, PromQL) of every panel and annotation of every dashboard, its variables filled in."""
    found = []
    for path in sorted(DASHBOARDS.glob("*.json")):
        dashboard = json.loads(path.read_text())
        found += [
            (f"{path.stem}: {panel['title']}: {target['legendFormat']}", target["expr"])
            for panel in dashboard["panels"]
            for target in panel.get("targets", [])
        ]
        found += [
            (f"{path.stem}: annotation {each['name']}", each["expr"]) for each in dashboard["annotations"]["list"]
        ]
    return [(title, _filled_in(expr, model)) for title, expr in found]


def _filled_in(expr: str, model: str) -> str:
    expr = expr.replace("$__rate_interval", RATE_INTERVAL).replace("$model", model)
    assert not re.search(r"\$", expr), f"a variable that the test does not know: {expr}"
    return expr


class Prometheus:
    """A running Prometheus."""

    def __init__(self, process: subprocess.Popen, url: str, log: Path) -> None:
        self._process = process
        self._url = url
        self._log = log

    def query(self, expr: str) -> list[dict]:
        """The samples of an instant query, now."""
        answer = httpx.get(f"{self._url}/api/v1/query", params={"query": expr}, timeout=10, trust_env=False)
        assert answer.status_code not in (400, 422), f"{expr}: {answer.text}"
        return answer.raise_for_status().json()["data"]["result"]

    def exemplars(self, expr: str) -> list[dict]:
        """The exemplars of the last minute, each with the labels of its series."""
        now = time.time()
        asked = {"query": expr, "start": now - 60, "end": now + 60}
        answer = httpx.get(f"{self._url}/api/v1/query_exemplars", params=asked, timeout=10, trust_env=False)
        found = answer.raise_for_status().json()["data"]
        return [{**each, "series": series["seriesLabels"]} for series in found for each in series["exemplars"]]

    def wait_for(self, condition, what: str, within_seconds: float = 60.0):
        """Poll until the condition gives something true."""
        deadline = time.monotonic() + within_seconds
        while time.monotonic() < deadline:
            assert self._process.poll() is None, self._log.read_text()
            try:
                if found := condition():
                    return found
            except httpx.HTTPError:
                pass  # not up yet
            time.sleep(0.1)  # polling, bounded above
        raise AssertionError(f"not within {within_seconds:.0f} s: {what}\n{self._log.read_text()[-3000:]}")

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)


def start_prometheus(
    target: str,
    folder: Path,
    port: int,
    *,
    token: str = "",
    rules: str = "",
    alertmanager: str = "",
    features: str = "",
) -> Prometheus:
    """Prometheus with deploy/prometheus/prometheus.yml, but for the target (host:port) and shorter intervals.

    Args:
        token: shown to the target.
        rules: the rules instead of those of deploy/prometheus, as YAML.
        alertmanager: host:port; "": alerts go nowhere.
        features: of Prometheus, to be enabled.
    """
    program = need_prometheus()
    config = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
    config["global"] = {name: f"{int(SCRAPE_SECONDS * 1000)}ms" for name in ("scrape_interval", "evaluation_interval")}
    config["global"]["scrape_timeout"] = config["global"]["scrape_interval"]
    (job,) = config["scrape_configs"]
    job["static_configs"] = [{"targets": [target]}]
    if token:
        job["authorization"] = {"credentials": token}
    (folder / "rules.yml").write_text(rules)
    config["rule_files"] = ["rules.yml"]
    config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}] if alertmanager else []}
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={path}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
                f"--enable-feature={features}",
                "--log.level=warn",
            ],
            stdout=output,
            stderr=output,
        )
    prometheus = Prometheus(process, f"http://127.0.0.1:{port}", log)
    try:
        prometheus.wait_for(lambda: [s for s in prometheus.query("up") if s["value"][1] == "1"], f"{target} is scraped")
    except BaseException:
        prometheus.close()
        raise
    return prometheus
