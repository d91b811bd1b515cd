# ruff: noqa: INP001 - beside a script
"""The panels of the dashboard "Router": what titleshot itself costs, sheds and holds."""

from __future__ import annotations

from panels import WIDTH, Panel, graph, row, states, target

M = 'model="$model"'


def rate(name: str, by: str = "", labels: str = "") -> str:
    """The rate of a counter, summed."""
    return f"sum{f' by ({by}) ' if by else ''}(rate({name}{labels}[$__rate_interval]))"


def router_panels() -> list[tuple[Panel, int, int]]:
    """Panel, width, height; rows are filled from left to right."""
    of = f"{{{M}}}"
    overhead = f"{rate('titleshot_handover_seconds_total', '', of)} / {rate('titleshot_handovers_total', '', of)}"
    whole = (
        f"{rate('titleshot_request_duration_seconds_sum', 'role', of)} / "
        f"{rate('titleshot_request_duration_seconds_count', 'role', of)}"
    )

    def lines(title: str, about: str, *asked: tuple[str, str], unit: str = "short") -> tuple[Panel, int, int]:
        return graph(title, about, [target(*each) for each in asked], unit=unit, least=0), 12, 8

    return [
        (row("Cost"), WIDTH, 1),
        lines(
            "Overhead", "Mean time in titleshot before the model server has the request.", (overhead, "mean"), unit="s"
        ),
        lines("Whole time", "Mean, from arrival to the end of the answer.", (whole, "{{role}}"), unit="s"),
        (row("Shed and refused"), WIDTH, 1),
        lines(
            "Copies shed",
            "By reason.",
            (rate("titleshot_shadow_dropped_total", "reason", of), "{{reason}}"),
            unit="cps",
        ),
        lines(
            "Refused",
            "By reason; of all models, and of the admin port.",
            (rate("titleshot_refused_requests_total", "reason"), "{{reason}}"),
            (rate("titleshot_admin_refused_total", "reason"), "admin port: {{reason}}"),
            unit="reqps",
        ),
        lines("Breaker", "Workers.", (f"sum by (state) (titleshot_breaker_workers{of})", "{{state}}")),
        lines(
            "Observations dropped",
            "Lost evidence.",
            (rate("titleshot_observations_dropped_total", "dropped_by"), "{{dropped_by}}"),
            unit="cps",
        ),
        (row("Resources"), WIDTH, 1),
        lines(
            "Connections",
            "Open now.",
            ("titleshot_client_connections", "clients"),
            ("titleshot_upstream_connections", "to model servers"),
        ),
        lines(
            "Workers",
            "Linked to the control process; revisions of the routes that one lags behind.",
            ("titleshot_proxies_connected", "workers"),
            ("titleshot_routes_revision - titleshot_routes_revision_in_use", "revisions behind"),
        ),
        (
            states(
                "In order",
                "Ledger and settings.",
                [target("titleshot_ledger_up", "ledger"), target("titleshot_config_reload_success", "settings")],
                otherwise="red",
            ),
            12,
            8,
        ),
        lines(
            "Seconds since settings were taken over",
            "The last reload.",
            ("time() - titleshot_config_reload_timestamp_seconds", "settings"),
            unit="s",
        ),
    ]
