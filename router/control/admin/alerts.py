"""Alertmanager's notifications (webhook payload, version 4): alerts read strictly, matched by exact labels. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

import msgspec

MODEL = "model"
"""The label that names a model."""

LONGEST_TOLD = 400
MOST_TOLD = 1000

Matcher = Mapping[str, str]
"""Label -> value; an alert matches where it has all of them."""


class NotAlerts(ValueError):
    """A body that is no notification; the message says what was expected."""


class Alert(msgspec.Struct, frozen=True):
    """One alert of a notification; its other fields say nothing to us."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    starts_at: Annotated[datetime, msgspec.Meta(tz=True)] = msgspec.field(name="startsAt")

    @property
    def told(self) -> str:
        """Its labels in one line of printable characters, of a bounded length: the name first."""
        name = self.labels.get("alertname", "without a name")
        others = ", ".join(f"{key}={self.labels[key]}" for key in sorted(self.labels) if key != "alertname")
        line = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in f"{name} ({others})")
        return line if len(line) <= LONGEST_TOLD else f"{line[: LONGEST_TOLD - 3]}..."

    @property
    def since(self) -> float:
        """When it began to fire, in seconds since the epoch."""
        return self.starts_at.timestamp()


_ALERT = msgspec.json.Decoder(Alert)


class _Notification(msgspec.Struct):
    version: Literal["4"]
    status: Literal["firing", "resolved"]
    alerts: list[msgspec.Raw]


@dataclass(frozen=True, slots=True)
class Read:
    """What a notification holds: the alerts, and of the entries that are none how many, and what is wrong with one."""

    alerts: Sequence[Alert]
    odd: int = 0
    problem: str = ""


def read_alerts(body: bytes) -> Read:
    """The alerts of a notification: those of a group that are none keep no other from being read.

    Raises:
        NotAlerts: it is no notification, or there is no alert among its entries.
    """
    try:
        entries = msgspec.json.decode(body, type=_Notification).alerts
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotAlerts(f"expected a notification of Alertmanager's, version 4: {error}") from None
    alerts: list[Alert] = []
    problem = ""
    for index, entry in enumerate(entries):
        try:
            alerts.append(_ALERT.decode(entry))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            problem = problem or f"alerts[{index}]: {error}"
    if entries and not alerts:
        raise NotAlerts(f"expected a notification of Alertmanager's, version 4: {problem}")
    return Read(alerts, len(entries) - len(alerts), problem)


def matching(alerts: Sequence[Alert], matchers: Sequence[Matcher]) -> Alert | None:
    """The latest of the firing alerts that any matcher is for; None: none is."""
    firing = [alert for alert in alerts if alert.status == "firing" and any(_matches(alert, each) for each in matchers)]
    return max(firing, key=lambda alert: alert.since, default=None)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The alerts that nothing is done about: of models here, and of no model here."""

    resolved: Sequence[Alert]
    ignored: Sequence[Alert]
    unknown: Sequence[Alert]

    def told(self, read: Read) -> list[dict[str, str]]:
        """Of alerts of models here, and of entries that are no alerts, why nothing is done about each."""
        odd = [{"alert": f"{read.odd} of the entries", "why": f"expected alerts: {read.problem}"}] if read.odd else []
        return _at_most(
            [
                *odd,
                *({"alert": alert.told, "why": "it fires no more"} for alert in self.resolved),
                *({"alert": alert.told, "why": "no model's rollback_on has these labels"} for alert in self.ignored),
            ]
        )

    def told_unknown(self) -> list[dict[str, str]]:
        """Of each alert of no model here, why it is none's."""
        return _at_most([{"alert": alert.told, "why": _whose(alert)} for alert in self.unknown])


def left_out(alerts: Sequence[Alert], matchers: Mapping[str, Sequence[Matcher]]) -> LeftOut:
    """The alerts that fire no more, or that no matcher of any model is for.

    An alert is of a model here if one of its matchers is for it, or the alert's label `model` names it.
    """
    every = [each for of in matchers.values() for each in of]
    resolved: list[Alert] = []
    ignored: list[Alert] = []
    unknown: list[Alert] = []
    for alert in alerts:
        matched = any(_matches(alert, each) for each in every)
        if not matched and alert.labels.get(MODEL) not in matchers:
            unknown.append(alert)
        elif alert.status == "resolved":
            resolved.append(alert)
        elif not matched:
            ignored.append(alert)
    return LeftOut(resolved, ignored, unknown)


def _whose(alert: Alert) -> str:
    if MODEL in alert.labels:
        return "there is no model here of the name in its label model"
    return "no model's rollback_on has these labels, and it has no label model"


def _at_most(told: list[dict[str, str]]) -> list[dict[str, str]]:
    """At most MOST_TOLD; the last entry says how many there are beyond."""
    beyond = len(told) - MOST_TOLD
    return [*told[:MOST_TOLD], {"alert": f"{beyond} more", "why": "left out, too"}] if beyond > 0 else told


def _matches(alert: Alert, matcher: Matcher) -> bool:
    return bool(matcher) and all(alert.labels.get(name) == value for name, value in matcher.items())
