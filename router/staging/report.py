"""The gate's report: plain data, and a page for people."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from router.staging.check import Check, verdict_of

SCHEMA = 1

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.4rem .6rem;border-bottom:1px solid #ddd;"
    "vertical-align:top}.PASS{color:#176f2c}.FAIL{color:#b3261e;font-weight:600}.INCONCLUSIVE{color:#8a5a00}"
)


@dataclass(frozen=True)
class Report:
    """What the gate found of one version.

    Args:
        model: its name in the registry.
        version: its number.
        champion: the version that it was compared with.
        policy_digest: of the policy that asked for it.
        data_sha256: of the holdout file.
        at: when, in seconds since the epoch.
        checks: in order.
    """

    model: str
    version: int
    champion: int
    policy_digest: str
    data_sha256: str
    at: float
    checks: Sequence[Check]

    def as_data(self) -> dict[str, Any]:
        """Plain data: the JSON of the report."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "version": self.version,
            "champion": self.champion,
            "policy_digest": self.policy_digest,
            "data_sha256": self.data_sha256,
            "at": self.at,
            "verdict": verdict_of(self.checks).name,
            "checks": [check.as_data() for check in self.checks],
        }


def as_json(data: Mapping[str, Any]) -> str:
    """The report as a file."""
    return json.dumps(data, indent=1, sort_keys=True) + "\n"


def as_html(data: Mapping[str, Any]) -> str:
    """The report as one page: no script, nothing from elsewhere, every text escaped."""
    head = f"{data['model']} version {data['version']} against version {data['champion']}: {data['verdict']}"
    when = datetime.fromtimestamp(float(data["at"]), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    rows = "".join(
        f'<tr><td><code>{_text(check["name"])}</code></td><td class="{_text(check["verdict"])}">{_text(check["verdict"])}'
        f"</td><td>{_text(check['reason'])}</td></tr>"
        for check in data["checks"]
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{_text(head)}</title><style>{_STYLE}</style>'
        f"</head><body><h1>{_text(head)}</h1><p>{when}. Policy <code>{_text(data['policy_digest'])}</code>, holdout data "
        f"<code>{_text(data['data_sha256'])}</code>.</p><table><thead><tr><th>check</th><th>verdict</th><th>what was found"
        f"</th></tr></thead><tbody>{rows}</tbody></table></body></html>\n"
    )


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)
