"""The status page: plain HTML, made on the server, without any script.

It is built as a tree of elements, never by pasting text together, so that whatever a registry or a client wrote into a
name or a reason is text.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

from comparator.events import Decision

REFRESH_SECONDS = 5
_DEEPEST = 5

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1c2430; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.15rem; margin-top: 2rem; border-bottom: 2px solid #1c2430; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
table { border-collapse: collapse; } th, td { text-align: left; padding: .2rem .9rem .2rem 0; vertical-align: top; }
th { font-weight: 600; color: #55606f; } td table { font-size: .9em; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.problem { background: #fff0d6; border-left: 4px solid #c77700; padding: .4rem .8rem; margin: .5rem 0; }
.steps li.now { font-weight: 700; } .steps { padding-left: 1.2rem; margin: .3rem 0; }
@media (prefers-color-scheme: dark) {
  body { background: #14181e; color: #dde3ea; } th { color: #9aa6b4; } h2 { border-color: #dde3ea; }
  .problem { background: #3a2a10; }
}
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

PAGE_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""Content-Security-Policy of the page: its own style, and nothing else."""


def status_page(
    status: Mapping[str, Any], decisions: Mapping[str, Sequence[Decision]], problems: Sequence[str]
) -> bytes:
    """The page.

    Args:
        status: as `Operations.status` gives it; what is missing in it is left out.
        decisions: the latest ones by model, the newest first.
        problems: what is not well, for people.

    Returns:
        HTML in UTF-8.
    """
    html = ET.Element("html", lang="en")
    head = ET.SubElement(html, "head")
    ET.SubElement(head, "meta", charset="utf-8")
    ET.SubElement(head, "meta", name="viewport", content="width=device-width")
    ET.SubElement(head, "meta", {"http-equiv": "refresh", "content": str(REFRESH_SECONDS)})
    _add(head, "title", "titleshot")
    _add(head, "style", _STYLE)
    body = ET.SubElement(html, "body")
    _add(body, "h1", "titleshot")
    _add(body, "p", f"as of {_time(status.get('at'))}")
    for problem in problems:
        _add(body, "p", problem).set("class", "problem")
    for name, model in _mapping(status.get("models")).items():
        section = ET.SubElement(body, "section")
        _add(section, "h2", name)
        _model(section, _mapping(model))
        _decisions(section, decisions.get(name, ()))
    return b"<!DOCTYPE html>\n" + ET.tostring(html, encoding="unicode", method="html").encode(errors="replace")


def _model(section: ET.Element, model: Mapping[str, Any]) -> None:
    traffic = _mapping(model.get("traffic"))
    facts = {
        "champion": _version(model.get("champion")),
        "challenger": _version(model.get("challenger")),
        "previous": _version(model.get("previous")),
        "mode": traffic.get("mode"),
        "answered by the challenger": _percent(traffic.get("share")),
        "mirrored": _percent(traffic.get("mirror")),
    }
    if model.get("awaited") is not None:
        facts["waiting for the endpoint of"] = _version(model["awaited"])
    if model.get("frozen"):
        _add(section, "p", f"no rollout starts: {model['frozen']}").set("class", "problem")
    if error := _mapping(model.get("registry")).get("error"):
        _add(section, "p", f"registry: {error}").set("class", "problem")
    _pairs(section, facts)
    _roles(section, _mapping(model.get("roles")))
    for each in map(_mapping, model.get("untold") or ()):
        told = f"{_text(each.get('webhook'))} has yet to be told of the {_text(each.get('kind')).replace('_', ' ')} of "
        _add(section, "p", f"{told}{_version(each.get('version'))}: {each.get('problem') or 'it is being told'}").set(
            "class", "problem"
        )
    rollout = _mapping(model.get("rollout"))
    if rollout:
        _rollout(section, rollout)


def _roles(section: ET.Element, roles: Mapping[str, Any]) -> None:
    rows = []
    for role, counted in roles.items():
        of = _mapping(counted)
        precision = _mapping(of.get("precision"))
        shown = "no labels yet"
        if precision:
            shown = (
                f"{_number(precision.get('value'))} ({_number(precision.get('lower'))} to "
                f"{_number(precision.get('upper'))}, {_number(precision.get('count'))} labelled positives)"
            )
        rows.append(
            [
                role,
                _version(of.get("version")),
                _number(of.get("answers")),
                _number(of.get("failed")),
                shown,
                _milliseconds(of.get("p50_seconds")),
                _milliseconds(of.get("p99_seconds")),
            ]
        )
    _table(section, ["role", "version", "answers", "failed", "precision", "p50", "p99"], rows)


def _rollout(section: ET.Element, rollout: Mapping[str, Any]) -> None:
    paused = ", paused" if rollout.get("paused") else ""
    _add(
        section,
        "h3",
        f"rollout of version {_text(rollout.get('version'))} against {_text(rollout.get('reference'))}: "
        f"{_text(rollout.get('phase'))}{paused}",
    )
    if rollout.get("hold_reason"):
        _add(section, "p", f"held: {rollout['hold_reason']}").set("class", "problem")
    steps = rollout.get("steps")
    if isinstance(steps, Sequence) and not isinstance(steps, str):
        listed = ET.SubElement(section, "ol", {"class": "steps"})
        for index, step in enumerate(map(_mapping, steps)):
            share = "" if step.get("kind") == "promote" else f" {_percent(step.get('percent'))}"
            item = _add(listed, "li", f"{_text(step.get('kind'))}{share}")
            if index == rollout.get("step") and rollout.get("active", True):
                item.set("class", "now")
    said = [_mapping(each) for each in rollout.get("confirmations") or ()]
    rows = [[_text(each.get(name)) for name in ("what", "webhook", "verdict", "reason")] for each in said]
    _table(section, ["asked", "webhook", "verdict", "why"], rows)
    if rollout.get("phase") == "sign_off":
        _waiting(section, rollout)
    evidence = rollout.get("evidence")
    if evidence:
        _add(section, "h3", "evidence")
        if isinstance(evidence, Mapping) and "at" in evidence:
            evidence = {**evidence, "at": _time(evidence["at"])}
        _any(section, evidence, 0)


def _waiting(section: ET.Element, rollout: Mapping[str, Any]) -> None:
    """Who may sign off, who has, and the digest of the evidence on this page, under which people sign."""
    rules = _mapping(rollout.get("sign_off"))
    signatures = [_mapping(each) for each in rules.get("signatures") or ()]
    _add(section, "h3", "waiting for a sign-off")
    _pairs(
        section,
        {
            "people": rules.get("people"),
            "of": ", ".join(map(_text, rules.get("by") or ())) or "all who have the right to",
            "whoever registered it": "may not sign" if rules.get("not_registrant") else "may sign, too",
            "signed by": ", ".join(f"{_text(each.get('name'))} ({_time(each.get('at'))})" for each in signatures)
            or "nobody yet",
            "digest of the evidence below": rollout.get("evidence_digest"),
        },
    )


def _decisions(section: ET.Element, decisions: Sequence[Decision]) -> None:
    if not decisions:
        return
    _add(section, "h3", "last decisions")
    rows = [
        [
            _time(decision.at),
            decision.kind.value.replace("_", " "),
            str(decision.version),
            decision.actor,
            decision.reason,
        ]
        for decision in decisions
    ]
    _table(section, ["when", "what", "version", "by", "why"], rows)


def _any(parent: ET.Element, value: object, depth: int) -> None:
    """Plain data of any shape: mappings as rows of a table, lists of mappings as a table with a head."""
    if depth > _DEEPEST:
        _add(parent, "span", "...")
    elif isinstance(value, Mapping):
        table = ET.SubElement(parent, "table")
        for key, part in value.items():
            row = ET.SubElement(table, "tr")
            _add(row, "th", _text(key).replace("_", " "))
            _any(ET.SubElement(row, "td"), part, depth + 1)
    elif isinstance(value, list | tuple):
        if value and all(isinstance(part, Mapping) for part in value):
            keys = list(dict.fromkeys(key for part in value for key in part))
            table = ET.SubElement(parent, "table")
            head = ET.SubElement(table, "tr")
            for key in keys:
                _add(head, "th", _text(key).replace("_", " "))
            for part in value:
                row = ET.SubElement(table, "tr")
                for key in keys:
                    _any(ET.SubElement(row, "td"), part.get(key), depth + 1)
        else:
            for part in value:
                _any(ET.SubElement(parent, "div"), part, depth + 1)
    else:
        _add(parent, "span", _number(value))


def _pairs(parent: ET.Element, pairs: Mapping[str, object]) -> None:
    table = ET.SubElement(parent, "table")
    for key, value in pairs.items():
        row = ET.SubElement(table, "tr")
        _add(row, "th", key)
        _add(row, "td", _text(value))


def _table(parent: ET.Element, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if not rows:
        return
    table = ET.SubElement(parent, "table")
    top = ET.SubElement(table, "tr")
    for text in head:
        _add(top, "th", text)
    for cells in rows:
        row = ET.SubElement(table, "tr")
        for text in cells:
            _add(row, "td", text)


def _add(parent: ET.Element, tag: str, text: str) -> ET.Element:
    element = ET.SubElement(parent, tag)
    element.text = text
    return element


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return "none" if value is None else str(value)


def _version(value: object) -> str:
    return "none" if value is None else f"version {value}"


def _percent(value: object) -> str:
    return "none" if value is None else f"{value} %"


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "unknown"
    return _text(value)


def _milliseconds(seconds: object) -> str:
    finite = isinstance(seconds, int | float) and math.isfinite(seconds)
    return f"{seconds * 1000:.4g} ms" if finite and isinstance(seconds, int | float) else "unknown"


def _time(at: object) -> str:
    if not isinstance(at, int | float) or not 0 < at < 253402300800:
        return "unknown"
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
