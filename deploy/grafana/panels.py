# ruff: noqa: INP001 - beside a script
"""The building blocks of a dashboard: panels as Grafana 11 writes them, and their places."""

from __future__ import annotations

from typing import Any

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24

Panel = dict[str, Any]


def target(expr: str, legend: str) -> dict[str, Any]:
    """One query of a panel."""
    return {"datasource": DATASOURCE, "expr": expr, "legendFormat": legend, "range": True}


def panel(kind: str, title: str, about: str, targets: list[dict[str, Any]], **more: object) -> Panel:
    """A panel without a place; `more` is unit, and defaults and options of its kind."""
    defaults: dict[str, Any] = {"unit": more.pop("unit", "short"), "min": more.pop("least", None)}
    defaults |= {key: more.pop(key) for key in ("max", "mappings", "custom", "decimals") if key in more}
    return {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": DATASOURCE,
        "targets": [{**each, "refId": chr(ord("A") + i)} for i, each in enumerate(targets)],
        "fieldConfig": {
            "defaults": {key: value for key, value in defaults.items() if value is not None},
            "overrides": more.pop("overrides", []),
        },
        "options": more.pop("options", {}),
        **more,
    }


def graph(title: str, about: str, targets: list[dict[str, Any]], **more: Any) -> Panel:  # noqa: ANN401 - JSON
    """A time series."""
    more.setdefault("custom", {"lineWidth": 2, "fillOpacity": 0, "showPoints": "never"})
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return panel("timeseries", title, about, targets, options=options, **more)


def states(title: str, about: str, targets: list[dict[str, Any]], otherwise: str = "transparent") -> Panel:
    """What is so (1) over time, one line per legend; `otherwise` is the colour of what is not."""
    return panel(
        "state-timeline",
        title,
        about,
        targets,
        mappings=[
            {
                "type": "value",
                "options": {
                    "0": {"text": "no", "color": otherwise, "index": 0},
                    "1": {"text": "yes", "color": "green", "index": 1},
                },
            }
        ],
        custom={"fillOpacity": 80, "lineWidth": 0},
        options={
            "showValue": "never",
            "mergeValues": True,
            "rowHeight": 0.8,
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": False},
        },
    )


def stat(title: str, about: str, expr: str, legend: str = "", **more: Any) -> Panel:  # noqa: ANN401 - JSON
    """One figure, or one text."""
    text = "name" if legend else "value"
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "none",
        "graphMode": "none",
        "textMode": text,
    }
    return panel(
        "stat", title, about, [{**target(expr, legend), "instant": True, "range": False}], options=options, **more
    )


def row(title: str) -> Panel:
    """A heading."""
    return {"type": "row", "title": title, "collapsed": False, "panels": []}


def placed(panels: list[tuple[Panel, int, int]]) -> list[Panel]:
    """From left to right, top to bottom."""
    done: list[Panel] = []
    x = y = tallest = 0
    for number, (each, width, height) in enumerate(panels, start=1):
        if x + width > WIDTH:
            x, y, tallest = 0, y + tallest, 0
        done.append({"id": number, **each, "gridPos": {"x": x, "y": y, "w": width, "h": height}})
        x, tallest = x + width, max(tallest, height)
    return done
