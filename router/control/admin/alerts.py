"""Alertmanager's notifications (webhook payload, version 4): read strictly, and matched by exact labels. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal

import msgspec

MOST_ALERTS = 1000
MOST_LABELS = 64
LONGEST_TOLD = 400

_Text = Annotated[str, msgspec.Meta(max_length=4096)]
Matcher = Mapping[str, str]
"""Label -> value; an alert matches where it has all of them."""


class NotAlerts(ValueError):
    """A body that is no notification; the message says what was expected."""


class Alert(msgspec.Struct, frozen=True):
    """One alert of a notification; its other fields say nothing to us."""

    status: Literal["firing", "resolved"]
    labels: Annotated[dict[_Text, _Text], msgspec.Meta(max_length=MOST_LABELS)]
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


class _Notification(msgspec.Struct):
    version: Literal["4"]
    status: Literal["firing", "resolved"]
    alerts: Annotated[list[Alert], msgspec.Meta(max_length=MOST_ALERTS)]


def read_alerts(body: bytes) -> list[Alert]:
    """The alerts of a notification. Raises NotAlerts."""
    try:
        return msgspec.json.decode(body, type=_Notification).alerts
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotAlerts(f"expected a notification of Alertmanager's, version 4: {error}") from None


def matching(alerts: Sequence[Alert], matchers: Sequence[Matcher]) -> Alert | None:
    """The latest of the firing alerts that any matcher is for; None: none is."""
    firing = [alert for alert in alerts if alert.status == "firing" and any(_matches(alert, each) for each in matchers)]
    return max(firing, key=lambda alert: alert.since, default=None)


def left_out(alerts: Sequence[Alert], matchers: Sequence[Matcher]) -> list[dict[str, str]]:
    """The alerts that no matcher of any model is for, or that fire no more, and why nothing is done about each."""
    return [
        {
            "alert": alert.told,
            "why": "it fires no more" if alert.status == "resolved" else "no model's rollback_on has these labels",
        }
        for alert in alerts
        if alert.status == "resolved" or not any(_matches(alert, each) for each in matchers)
    ]


def _matches(alert: Alert, matcher: Matcher) -> bool:
    return bool(matcher) and all(alert.labels.get(name) == value for name, value in matcher.items())
