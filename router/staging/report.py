"""The gate's report: plain data, and a page for people. Pure."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from comparator.gated import SCHEMA
from comparator.guardrail import Verdict
from router.staging.check import Check, verdict_of

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
        champion: the version that it was compared with; None: there was none.
        policy_digest: of the policy that asked for it.
        data_hash: of the holdout file.
        staging: where the staged server was.
        made_by: the program, with its version.
        at: when, in seconds since the epoch.
        checks: in order.
    """

    model: str
    version: int
    champion: int | None
    policy_digest: str
    data_hash: str
    staging: str
    made_by: str
    at: float
    checks: Sequence[Check]

    @property
    def verdict(self) -> Verdict:
        """What the checks come to."""
        return verdict_of(self.checks)

    def as_data(self) -> dict[str, Any]:
        """Plain data: the JSON of the report."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            "version": self.version,
            "champion": self.champion,
            "policy_digest": self.policy_digest,
            "data_hash": self.data_hash,
            "staging": self.staging,
            "made_by": self.made_by,
            "at": self.at,
            "verdict": self.verdict.name,
            "checks": [check.as_data() for check in self.checks],
        }

    @property
    def name(self) -> str:
        """Of its files, without their endings."""
        when = datetime.fromtimestamp(self.at, UTC).strftime("%Y%m%dT%H%M%SZ")
        return f"gate-v{self.version}-{when}"


def as_json(data: Mapping[str, Any]) -> str:
    """The report as a file."""
    return json.dumps(data, indent=1, sort_keys=True, allow_nan=False) + "\n"


def digest_of(data: Mapping[str, Any]) -> str:
    """SHA-256 of that file."""
    return hashlib.sha256(as_json(data).encode()).hexdigest()


def as_html(data: Mapping[str, Any]) -> str:
    """The report as one page: no script, nothing from elsewhere, every text escaped."""
    against = f"against version {data['champion']}" if data["champion"] is not None else "without a champion"
    head = f"{data['model']} version {data['version']} {against}: {data['verdict']}"
    facts = {
        "made": datetime.fromtimestamp(float(data["at"]), UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
        "by": data["made_by"],
        "staged server": data["staging"],
        "policy": data["policy_digest"],
        "holdout data": data["data_hash"],
    }
    listed = "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in facts.items())
    rows = "".join(
        f"<tr><td><code>{_text(check['name'])}</code></td>"
        f'<td class="{_text(check["verdict"])}">{_text(check["verdict"])}</td><td>{_text(check["reason"])}</td></tr>'
        for check in data["checks"]
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{_text(head)}</title><style>{_STYLE}</style></head><body><h1>{_text(head)}</h1>"
        f"<table>{listed}</table><h2>Checks</h2><table><thead><tr><th>check</th><th>verdict</th><th>what was found</th>"
        f"</tr></thead><tbody>{rows}</tbody></table></body></html>\n"
    )


def _text(value: object) -> str:
    return html.escape(str(value), quote=True)
