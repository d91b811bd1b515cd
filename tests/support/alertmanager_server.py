"""A real Alertmanager (Debian's package) with deploy/alertmanager/alertmanager.yml."""

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import httpx
import yaml
from prometheus_server import ROOT, need_prometheus

CONFIG = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"


class Alertmanager:
    """A running Alertmanager at `address` (host:port)."""

    def __init__(self, titleshot: str, token: str, folder: Path, port: int) -> None:
        """The file that users copy, but for the place of titleshot (an URL), the token's file and shorter intervals."""
        program = need_prometheus("prometheus-alertmanager")
        folder.mkdir()
        config = yaml.safe_load(CONFIG.read_text())
        (receiver,) = (each for each in config["receivers"] if each["name"] == "titleshot")
        (webhook,) = receiver["webhook_configs"]
        webhook["url"] = f"{titleshot}/webhooks/alertmanager"
        (folder / "token").write_text(token)
        webhook["http_config"]["authorization"]["credentials_file"] = str(folder / "token")
        for route in (config["route"], *config["route"]["routes"]):
            route["group_interval"] = "1s"
        path = folder / "alertmanager.yml"
        path.write_text(yaml.safe_dump(config))
        self.address = f"127.0.0.1:{port}"
        self._log = folder / "alertmanager.log"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [
                    program,
                    f"--config.file={path}",
                    f"--storage.path={folder / 'data'}",
                    f"--web.listen-address={self.address}",
                    "--cluster.listen-address=",
                    "--log.level=debug",
                ],
                stdout=output,
                stderr=output,
            )

    def ready(self) -> bool:
        """Whether it takes alerts."""
        assert self._process.poll() is None, self.log()
        return httpx.get(f"http://{self.address}/-/ready", timeout=5, trust_env=False).status_code == 200

    def fire(self, **labels: str) -> None:
        """An alert fires from now on, as if a Prometheus had sent it."""
        began = datetime.now(UTC).isoformat()  # to the microsecond: one from before the trial rolls nothing back
        httpx.post(
            f"http://{self.address}/api/v2/alerts",
            json=[{"labels": labels, "startsAt": began}],
            timeout=5,
            trust_env=False,
        ).raise_for_status()

    def delivered(self) -> tuple[float, float]:
        """Notifications that it has tried to send to webhooks, and how many attempts failed."""
        page = httpx.get(f"http://{self.address}/metrics", timeout=5, trust_env=False).text.splitlines()
        asked, failed = (
            sum(float(line.split()[-1]) for line in page if line.startswith(name) and 'integration="webhook"' in line)
            for name in (
                "alertmanager_notification_requests_total{",
                "alertmanager_notification_requests_failed_total{",
            )
        )
        return asked, failed

    def log(self) -> str:
        """What it said."""
        return self._log.read_text()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)
